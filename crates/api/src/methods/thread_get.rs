//! Thread/get: the emails of conversations, oldest first (RFC 8621 §3.1).

use super::{Answer, Context, arguments, value};
use crate::jmap::{ids, state};
use crate::{Error, limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Params {
    account_id: String,
    /// Which ones; `null` (all of them) is more than one call gives.
    ids: Option<Vec<String>>,
    /// `id` and `emailIds`; both are always given.
    #[serde(default)]
    properties: Option<Vec<String>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Got {
    account_id: String,
    state: String,
    list: Vec<Thread>,
    not_found: Vec<String>,
}

/// A conversation.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Thread {
    id: String,
    /// Oldest first.
    email_ids: Vec<String>,
}

pub(crate) fn run(ctx: &Context, params: Map<String, Value>) -> Answer<'_> {
    Box::pin(async move {
        let params: Params = arguments(params)?;
        let account = ctx.own(&params.account_id)?;
        if let Some(name) = params.properties.iter().flatten().find(|p| !known(p)) {
            return Err(Error::argument("properties", format!("no property {name:?}")));
        }
        let wanted = params
            .ids
            .filter(|ids| ids.len() <= limits::OBJECTS_IN_GET)
            .ok_or(Error::TooLarge("ids", limits::OBJECTS_IN_GET))?;
        let mut got = Got {
            account_id: params.account_id,
            state: state::now(ctx.store(), account).await?,
            list: Vec::new(),
            not_found: Vec::new(),
        };
        for id in ids::unique(wanted) {
            let emails = match ids::thread(&id) {
                Some(thread) => ctx.store().thread(account, thread).await?,
                None => Vec::new(),
            };
            if emails.is_empty() {
                got.not_found.push(id);
            } else {
                let email_ids = emails.into_iter().map(ids::of_email).collect();
                got.list.push(Thread { id, email_ids });
            }
        }
        value(got)
    })
}

fn known(property: &str) -> bool {
    matches!(property, "id" | "emailIds")
}
