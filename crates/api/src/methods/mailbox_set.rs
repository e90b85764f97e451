//! Mailbox/set: makes, renames, subscribes and removes mailboxes (RFC 8621 §2.5).

use super::{Answer, Context, arguments, value};
use crate::jmap::set::Outcome;
use crate::jmap::{ids, state};
use crate::reply::SetError;
use crate::{Error, Result, limits};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use storage::Mailbox;
use types::{AccountId, MailboxId};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Params {
    account_id: String,
    #[serde(default)]
    if_in_state: Option<String>,
    /// `name`, `parentId`, `isSubscribed`; a parent may be `#` and a creation id of the same call.
    #[serde(default)]
    create: Option<BTreeMap<String, Map<String, Value>>>,
    #[serde(default)]
    update: Option<BTreeMap<String, Map<String, Value>>>,
    #[serde(default)]
    destroy: Option<Vec<String>>,
    /// Remove the emails in a mailbox with it; else a mailbox that holds any stays.
    #[serde(default)]
    on_destroy_remove_emails: bool,
}

pub(crate) fn run(ctx: &Context, params: Map<String, Value>) -> Answer<'_> {
    Box::pin(async move {
        let params: Params = arguments(params)?;
        let account = ctx.own(&params.account_id)?;
        let (create, update) =
            (params.create.unwrap_or_default(), params.update.unwrap_or_default());
        let destroy = ids::unique(params.destroy.unwrap_or_default());
        if create.len() + update.len() + destroy.len() > limits::OBJECTS_IN_SET {
            return Err(Error::TooLarge("objects", limits::OBJECTS_IN_SET));
        }
        let old_state = state::now(ctx.store(), account).await?;
        state::expect(params.if_in_state.as_deref(), &old_state)?;
        let mut outcome =
            Outcome { account_id: params.account_id, old_state, ..Outcome::default() };
        let mut work = Work { ctx, account, made: HashMap::new() };
        work.make_all(create, &mut outcome).await;
        for (id, patch) in update {
            let result = work.change(&id, &patch).await;
            outcome.changed(id, result);
        }
        for id in destroy {
            let result = work.remove(&id, params.on_destroy_remove_emails).await;
            outcome.removed(id, result);
        }
        outcome.new_state = state::now(ctx.store(), account).await?;
        value(outcome)
    })
}

struct Work<'a> {
    ctx: &'a Context,
    account: AccountId,
    /// Mailboxes of this call by creation id.
    made: HashMap<String, MailboxId>,
}

fn stored(error: storage::Error) -> SetError {
    SetError::of(error, "name")
}

impl Work<'_> {
    /// Parents before children: what waits for another one is tried again while anything moves.
    async fn make_all(
        &mut self,
        create: BTreeMap<String, Map<String, Value>>,
        outcome: &mut Outcome,
    ) {
        let mut waiting: Vec<(String, Map<String, Value>)> = create.into_iter().collect();
        loop {
            let before = waiting.len();
            let mut later = Vec::new();
            for (id, wanted) in waiting {
                let parent = wanted.get("parentId").and_then(Value::as_str);
                let unmade = parent
                    .and_then(|p| p.strip_prefix('#'))
                    .is_some_and(|p| !self.made.contains_key(p));
                if unmade {
                    later.push((id, wanted));
                    continue;
                }
                let result = self.make(&id, &wanted).await;
                outcome.made(id, result);
            }
            if later.is_empty() || later.len() == before {
                let unknown = || SetError::property("parentId", "there is no such mailbox");
                for (id, _) in later {
                    outcome.made(id, Err(unknown()));
                }
                return;
            }
            waiting = later;
        }
    }

    async fn make(&mut self, id: &str, wanted: &Map<String, Value>) -> Result<Value, SetError> {
        let wish = Wish::of(wanted)?;
        let name = wish.name.ok_or_else(|| SetError::property("name", "is missing"))?;
        let name = self.full_name(wish.parent.as_ref(), &name).await?;
        let store = self.ctx.store();
        let mailbox = store.create_mailbox(self.account, &name, None).await.map_err(stored)?;
        if wish.subscribed == Some(false) {
            let done = store.subscribe_mailbox(self.account, mailbox.id, false).await;
            done.map_err(stored)?;
        }
        self.made.insert(id.to_owned(), mailbox.id);
        Ok(json!({"id": ids::of_mailbox(mailbox.id)}))
    }

    async fn change(&self, id: &str, patch: &Map<String, Value>) -> Result<(), SetError> {
        let store = self.ctx.store();
        let mailbox = self.find(id).await?;
        let wish = Wish::of(patch)?;
        if wish.name.is_some() || wish.parent.is_some() {
            let (above, last) = match mailbox.name.rsplit_once('/') {
                Some((above, last)) => (Some(above), last),
                None => (None, mailbox.name.as_str()),
            };
            let last = wish.name.as_deref().unwrap_or(last);
            let name = match (&wish.parent, above) {
                (Some(parent), _) => self.full_name(Some(parent), last).await?,
                (None, Some(above)) => format!("{above}/{last}"),
                (None, None) => last.to_owned(),
            };
            if name != mailbox.name {
                let done = store.rename_mailbox(self.account, mailbox.id, &name).await;
                done.map_err(stored)?;
            }
        }
        if let Some(subscribed) = wish.subscribed {
            let done = store.subscribe_mailbox(self.account, mailbox.id, subscribed).await;
            done.map_err(stored)?;
        }
        Ok(())
    }

    async fn remove(&self, id: &str, with_emails: bool) -> Result<(), SetError> {
        let mailbox = self.find(id).await?;
        if mailbox.total > 0 && !with_emails {
            return Err(SetError::new("mailboxHasEmail", "the mailbox is not empty"));
        }
        let store = self.ctx.store();
        let below = format!("{}/", mailbox.name);
        let all = store.mailboxes(self.account).await.map_err(stored)?;
        if all.iter().any(|m| m.name.starts_with(&below)) {
            return Err(SetError::new("mailboxHasChild", "there are mailboxes below it"));
        }
        store.delete_mailbox(self.account, mailbox.id).await.map_err(stored)
    }

    async fn find(&self, id: &str) -> Result<Mailbox, SetError> {
        let missing = || SetError::new("notFound", "there is no such mailbox");
        let id = match id.strip_prefix('#') {
            Some(creation) => self.made.get(creation).copied(),
            None => ids::mailbox(id),
        };
        let id = id.ok_or_else(missing)?;
        match self.ctx.store().mailbox(self.account, id).await {
            Err(storage::Error::NoMailbox) => Err(missing()),
            other => other.map_err(stored),
        }
    }

    async fn full_name(&self, parent: Option<&Parent>, name: &str) -> Result<String, SetError> {
        let Some(Parent::Mailbox(parent)) = parent else {
            return Ok(name.to_owned());
        };
        let parent = self.find(parent).await;
        let parent =
            parent.map_err(|_| SetError::property("parentId", "there is no such mailbox"))?;
        Ok(format!("{}/{name}", parent.name))
    }
}

enum Parent {
    Top,
    Mailbox(String),
}

/// What a client wants of a mailbox.
#[derive(Default)]
struct Wish {
    name: Option<String>,
    parent: Option<Parent>,
    subscribed: Option<bool>,
}

impl Wish {
    fn of(object: &Map<String, Value>) -> Result<Self, SetError> {
        let mut wish = Self::default();
        for (property, value) in object {
            match (property.as_str(), value) {
                // `/` divides levels in the store; in JMAP a level's parent says so.
                ("name", Value::String(name)) if !name.is_empty() && !name.contains('/') => {
                    wish.name = Some(name.clone());
                }
                ("name", _) => {
                    return Err(SetError::property("name", "must be text without a slash"));
                }
                ("parentId", Value::Null) => wish.parent = Some(Parent::Top),
                ("parentId", Value::String(id)) => wish.parent = Some(Parent::Mailbox(id.clone())),
                ("isSubscribed", Value::Bool(on)) => wish.subscribed = Some(*on),
                _ => return Err(SetError::property(property, "cannot be set so")),
            }
        }
        Ok(wish)
    }
}
