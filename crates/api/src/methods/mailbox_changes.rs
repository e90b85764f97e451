//! Mailbox/changes (RFC 8621 §2.2).

use super::{Answer, Context, value};
use crate::jmap::changes::{self, Log};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Changed {
    #[serde(flatten)]
    changed: changes::Changed,
    /// The counters, when nothing else changed.
    updated_properties: Option<Vec<&'static str>>,
}

pub(crate) fn run(ctx: &Context, params: Map<String, Value>) -> Answer<'_> {
    Box::pin(async move {
        let (changed, counters_only) = changes::mailboxes(Log::read(ctx, params).await?)?;
        value(Changed {
            changed,
            updated_properties: counters_only.then(|| vec!["totalEmails", "unreadEmails"]),
        })
    })
}
