//! Mailbox/get: mailboxes with their counters (RFC 8621 §2.1). Counters of threads come later: they are not
//! kept, and counting them would read every letter's thread.

use super::{Answer, Context, arguments, value};
use crate::jmap::{ids, state};
use crate::{Error, limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::HashMap;
use storage::Mailbox;
use types::{MailboxId, SpecialUse};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Params {
    account_id: String,
    /// `null`: all of them.
    ids: Option<Vec<String>>,
    #[serde(default)]
    properties: Option<Vec<String>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Got {
    account_id: String,
    state: String,
    #[schemars(with = "Vec<MailboxObject>")]
    list: Vec<Value>,
    not_found: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Mailbox")]
pub(crate) struct MailboxObject {
    id: String,
    /// The last level of its name.
    name: String,
    parent_id: Option<String>,
    /// `inbox`, `drafts`, `sent`, `junk`, `trash` or `archive`.
    role: Option<&'static str>,
    /// Lower comes first.
    sort_order: u32,
    total_emails: u64,
    unread_emails: u64,
    my_rights: Rights,
    is_subscribed: bool,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "MailboxRights")]
#[expect(clippy::struct_excessive_bools, reason = "the names and types are RFC 8621's")]
pub(crate) struct Rights {
    may_read_items: bool,
    may_add_items: bool,
    may_remove_items: bool,
    may_set_seen: bool,
    may_set_keywords: bool,
    may_create_child: bool,
    may_rename: bool,
    may_delete: bool,
    may_submit: bool,
}

const PROPERTIES: [&str; 9] = [
    "id",
    "isSubscribed",
    "myRights",
    "name",
    "parentId",
    "role",
    "sortOrder",
    "totalEmails",
    "unreadEmails",
];

pub(crate) fn run(ctx: &Context, params: Map<String, Value>) -> Answer<'_> {
    Box::pin(async move {
        let params: Params = arguments(params)?;
        let account = ctx.own(&params.account_id)?;
        if let Some(name) = wrong_property(params.properties.as_deref()) {
            let shown: String = name.chars().take(60).collect();
            let reason = format!("there is no property {shown:?}");
            return Err(Error::argument("properties", reason));
        }
        let asked = params.ids.map(ids::unique);
        if asked.as_ref().is_some_and(|ids| ids.len() > limits::OBJECTS_IN_GET) {
            return Err(Error::TooLarge("ids", limits::OBJECTS_IN_GET));
        }
        let state = state::now(ctx.store(), account).await?;
        let mailboxes = ctx.store().mailboxes(account).await?;
        let parents: HashMap<&str, MailboxId> =
            mailboxes.iter().map(|m| (m.name.as_str(), m.id)).collect();
        let known: HashMap<String, &Mailbox> =
            mailboxes.iter().map(|m| (ids::of_mailbox(m.id), m)).collect();
        let asked = asked.unwrap_or_else(|| {
            let all = mailboxes.iter().map(|m| ids::of_mailbox(m.id));
            all.collect()
        });
        let mut got = Got {
            account_id: params.account_id,
            state,
            list: Vec::with_capacity(asked.len()),
            not_found: Vec::new(),
        };
        for id in asked {
            match known.get(&id) {
                Some(mailbox) => {
                    let object = value(object(mailbox, &parents))?;
                    got.list.push(only(object, params.properties.as_deref()));
                }
                None => got.not_found.push(id),
            }
        }
        value(got)
    })
}

fn wrong_property(properties: Option<&[String]>) -> Option<&String> {
    let mut names = properties.unwrap_or_default().iter();
    names.find(|n| !PROPERTIES.contains(&n.as_str()))
}

/// Keeps the properties that were asked for, and `id`.
fn only(object: Value, properties: Option<&[String]>) -> Value {
    match (object, properties) {
        (Value::Object(mut map), Some(names)) => {
            map.retain(|key, _| key == "id" || names.contains(key));
            Value::Object(map)
        }
        (object, _) => object,
    }
}

fn object(mailbox: &Mailbox, parents: &HashMap<&str, MailboxId>) -> MailboxObject {
    // A level whose parent does not exist stands at the top with its whole name.
    let split = mailbox.name.rsplit_once('/');
    let parent = split.and_then(|(above, last)| Some((*parents.get(above)?, last)));
    let inbox = mailbox.special_use == Some(SpecialUse::Inbox) || mailbox.name == "INBOX";
    MailboxObject {
        id: ids::of_mailbox(mailbox.id),
        name: parent.map_or(mailbox.name.as_str(), |(_, last)| last).to_owned(),
        parent_id: parent.map(|(id, _)| ids::of_mailbox(id)),
        role: if inbox {
            Some(SpecialUse::Inbox.role())
        } else {
            mailbox.special_use.map(SpecialUse::role)
        },
        sort_order: sort_order(inbox, mailbox.special_use),
        total_emails: mailbox.total,
        unread_emails: mailbox.unseen,
        my_rights: Rights {
            may_read_items: true,
            may_add_items: true,
            may_remove_items: true,
            may_set_seen: true,
            may_set_keywords: true,
            may_create_child: true,
            may_rename: !inbox,
            may_delete: !inbox,
            may_submit: false,
        },
        is_subscribed: mailbox.subscribed,
    }
}

/// The order people know from other mail programs: inbox first, own folders last.
fn sort_order(inbox: bool, special_use: Option<SpecialUse>) -> u32 {
    if inbox {
        return 1;
    }
    match special_use {
        Some(SpecialUse::Inbox) => 1,
        Some(SpecialUse::Drafts) => 2,
        Some(SpecialUse::Sent) => 3,
        Some(SpecialUse::Archive) => 4,
        Some(SpecialUse::Junk) => 5,
        Some(SpecialUse::Trash) => 6,
        None => 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_shows_the_properties() {
        let schema = schemars::schema_for!(MailboxObject);
        let shown = schema.get("properties").and_then(Value::as_object).unwrap();
        let shown: Vec<&str> = shown.keys().map(String::as_str).collect();
        assert_eq!(shown, PROPERTIES);
    }
}
