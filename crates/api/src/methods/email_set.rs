//! Email/set: changes keywords and mailboxes of emails, removes emails (RFC 8621 §4.6).

use super::{Answer, Context, arguments, value};
use crate::jmap::home::{Home, mark};
use crate::jmap::set::Outcome;
use crate::jmap::{ids, state};
use crate::reply::SetError;
use crate::{Error, Result, limits};
use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use storage::Patch;
use types::{AccountId, EmailId, FlagChange, Flags, MailboxId};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Params {
    account_id: String,
    /// Change nothing unless this is the state now.
    #[serde(default)]
    if_in_state: Option<String>,
    /// Not possible yet: each is refused.
    #[serde(default)]
    create: Option<BTreeMap<String, Map<String, Value>>>,
    /// `keywords`, `mailboxIds`, or single ones: `keywords/$seen`, `mailboxIds/m2`; `true` or `null`.
    #[serde(default)]
    update: Option<BTreeMap<String, Map<String, Value>>>,
    #[serde(default)]
    destroy: Option<Vec<String>>,
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
        for id in create.into_keys() {
            outcome.made(id, Err(SetError::new("forbidden", "letters cannot be made here yet")));
        }
        updates(ctx, account, update, &destroy, &mut outcome).await;
        for chunk in destroy.chunks(limits::SETS_AT_ONCE) {
            let results = join_all(chunk.iter().map(|id| remove(ctx, account, id))).await;
            for (id, result) in chunk.iter().zip(results) {
                outcome.removed(id.clone(), result);
            }
        }
        outcome.new_state = state::now(ctx.store(), account).await?;
        value(outcome)
    })
}

/// Runs the changes some at a time, so that they wait for one sync together.
async fn updates(
    ctx: &Context,
    account: AccountId,
    update: BTreeMap<String, Map<String, Value>>,
    destroy: &[String],
    outcome: &mut Outcome,
) {
    let doomed: HashSet<&String> = destroy.iter().collect();
    let mut list: Vec<(String, Map<String, Value>)> = Vec::with_capacity(update.len());
    for (id, patch) in update {
        if doomed.contains(&id) {
            let error = SetError::new("willDestroy", "the same call removes this email");
            outcome.changed(id, Err(error));
        } else {
            list.push((id, patch));
        }
    }
    for chunk in list.chunks(limits::SETS_AT_ONCE) {
        let results = chunk.iter().map(|(id, patch)| change(ctx, account, id, patch));
        let results = join_all(results).await;
        for ((id, _), result) in chunk.iter().zip(results) {
            outcome.changed(id.clone(), result);
        }
    }
}

fn no_email() -> SetError {
    SetError::new("notFound", "there is no such email")
}

async fn remove(ctx: &Context, account: AccountId, id: &str) -> Result<(), SetError> {
    let email = ids::email(id).ok_or_else(no_email)?;
    let removed = ctx.store().destroy_email(account, email).await;
    removed.map(drop).map_err(|e| SetError::of(e, "mailboxIds"))
}

async fn change(
    ctx: &Context,
    account: AccountId,
    id: &str,
    patch: &Map<String, Value>,
) -> Result<(), SetError> {
    let email = ids::email(id).ok_or_else(no_email)?;
    let wish = Wish::of(patch)?;
    let home = home(ctx, account, email).await?;
    let patch = wish.against(&home)?;
    if patch.flags.is_none() && patch.mailboxes.is_none() {
        return Ok(());
    }
    let done = ctx.store().patch_email(account, email, patch).await;
    done.map(drop).map_err(|e| SetError::of(e, "mailboxIds"))
}

async fn home(ctx: &Context, account: AccountId, email: EmailId) -> Result<Home, SetError> {
    let homes = ctx.store().homes(account, email).await;
    let homes = homes.map_err(|e| SetError::of(e, "mailboxIds"))?;
    if homes.is_empty() {
        return Err(no_email());
    }
    Ok(Home::of(&homes))
}

/// A change as the client wrote it, checked but not yet compared with what is there.
#[derive(Debug, Default, PartialEq)]
struct Wish {
    keywords: Option<Set<String>>,
    mailboxes: Option<Set<MailboxId>>,
}

/// A set as it shall be, or what goes in and out.
#[derive(Debug, PartialEq)]
enum Set<T> {
    Whole(BTreeSet<T>),
    Patch(BTreeMap<T, bool>),
}

impl Wish {
    fn of(patch: &Map<String, Value>) -> Result<Self, SetError> {
        let mut wish = Self::default();
        for (path, value) in patch {
            match path.split_once('/') {
                None if path == "keywords" => whole(&mut wish.keywords, path, value, keyword),
                None if path == "mailboxIds" => {
                    whole(&mut wish.mailboxes, path, value, ids::mailbox)
                }
                Some(("keywords", name)) => one(&mut wish.keywords, path, name, value, keyword),
                Some(("mailboxIds", id)) => one(&mut wish.mailboxes, path, id, value, ids::mailbox),
                _ => Err(SetError::property(path, "this property cannot be changed")),
            }?;
        }
        Ok(wish)
    }

    /// What the store shall do. Keywords that JMAP does not know (`\Deleted`) stay as they are.
    fn against(self, home: &Home) -> Result<Patch, SetError> {
        let mut patch = Patch::default();
        if let Some(keywords) = self.keywords {
            let (mut add, mut remove) = (Flags::default(), Flags::default());
            for (name, on) in keywords.changes(&home.keywords) {
                if let Some(mark) = mark(&name) {
                    mark.put(if on { &mut add } else { &mut remove });
                }
            }
            if !(add.is_empty() && remove.is_empty()) {
                patch.flags = Some(FlagChange::Patch { add, remove });
            }
        }
        if let Some(mailboxes) = self.mailboxes {
            let old: BTreeSet<MailboxId> = home.mailboxes.iter().copied().collect();
            let mut new = old.clone();
            for (id, on) in mailboxes.changes(&old) {
                if on {
                    new.insert(id)
                } else {
                    new.remove(&id)
                };
            }
            if new.is_empty() {
                let reason = "an email must be in at least one mailbox; destroy it instead";
                return Err(SetError::property("mailboxIds", reason));
            }
            patch.mailboxes = (new != old).then(|| new.into_iter().collect());
        }
        Ok(patch)
    }
}

impl<T: Ord + Clone> Set<T> {
    /// What goes in (`true`) and out (`false`), given what is there.
    fn changes(self, old: &BTreeSet<T>) -> BTreeMap<T, bool> {
        match self {
            Self::Patch(changes) => changes,
            Self::Whole(new) => {
                let gone: Vec<T> = old.difference(&new).cloned().collect();
                let gone = gone.into_iter().map(|item| (item, false));
                new.into_iter().map(|item| (item, true)).chain(gone).collect()
            }
        }
    }
}

fn keyword(name: &str) -> Option<String> {
    mark(name).map(|_| name.to_ascii_lowercase())
}

fn twice() -> SetError {
    let reason = "a patch may not change a property and a part of it at once";
    SetError::new("invalidPatch", reason)
}

/// `"keywords": {"$seen": true}`
fn whole<T: Ord>(
    slot: &mut Option<Set<T>>,
    path: &str,
    value: &Value,
    read: fn(&str) -> Option<T>,
) -> Result<(), SetError> {
    if slot.is_some() {
        return Err(twice());
    }
    let object = value.as_object().ok_or_else(|| SetError::property(path, "must be an object"))?;
    let mut set = BTreeSet::new();
    for (name, on) in object {
        let item = read(name).filter(|_| *on == Value::Bool(true));
        set.insert(item.ok_or_else(|| wrong_item(path))?);
    }
    *slot = Some(Set::Whole(set));
    Ok(())
}

fn wrong_item(path: &str) -> SetError {
    SetError::property(path, "has a name that is not possible, or a value that is not true")
}

/// `"keywords/$seen": true` or `null`; `~1` and `~0` stand for `/` and `~` (RFC 6901 §4).
fn one<T: Ord>(
    slot: &mut Option<Set<T>>,
    path: &str,
    name: &str,
    value: &Value,
    read: fn(&str) -> Option<T>,
) -> Result<(), SetError> {
    let item = read(&name.replace("~1", "/").replace("~0", "~"));
    let item = item.ok_or_else(|| SetError::property(path, "is not possible"))?;
    let on = match value {
        Value::Bool(true) => true,
        Value::Null => false,
        _ => return Err(SetError::property(path, "must be true or null")),
    };
    match slot.get_or_insert_with(|| Set::Patch(BTreeMap::new())) {
        Set::Patch(changes) => drop(changes.insert(item, on)),
        Set::Whole(_) => return Err(twice()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn home() -> Home {
        Home {
            mailboxes: vec![MailboxId(1), MailboxId(2)],
            keywords: ["$seen".to_owned(), "$work".to_owned()].into(),
        }
    }

    #[test]
    fn patches() {
        #[track_caller]
        fn check(patch: &Value, add: &str, remove: &str, mailboxes: Option<&[u32]>) {
            let wish = Wish::of(patch.as_object().unwrap()).unwrap();
            let patch = wish.against(&home()).unwrap();
            let (added, removed) = match patch.flags {
                Some(FlagChange::Patch { add, remove }) => (add.to_string(), remove.to_string()),
                None => (String::new(), String::new()),
                other => panic!("{other:?}"),
            };
            assert_eq!((added.as_str(), removed.as_str()), (add, remove));
            let ids: Option<Vec<u32>> = patch.mailboxes.map(|m| m.iter().map(|m| m.0).collect());
            assert_eq!(ids.as_deref(), mailboxes);
        }
        check(&json!({}), "", "", None);
        check(&json!({"keywords/$flagged": true}), "\\Flagged", "", None);
        check(&json!({"keywords/$seen": null, "keywords/$a~1b": true}), "$a/b", "\\Seen", None);
        check(&json!({"keywords": {"$Work": true}}), "$work", "\\Seen", None);
        check(&json!({"keywords": {}}), "", "\\Seen $work", None);
        check(&json!({"mailboxIds/m3": true}), "", "", Some(&[1, 2, 3]));
        check(&json!({"mailboxIds/m1": null}), "", "", Some(&[2]));
        check(&json!({"mailboxIds": {"m9": true}}), "", "", Some(&[9]));
        check(&json!({"mailboxIds": {"m1": true, "m2": true}}), "", "", None);
    }

    #[test]
    fn refused() {
        #[track_caller]
        fn check(patch: &Value, kind: &str, property: &str) {
            let wish = Wish::of(patch.as_object().unwrap());
            let error = wish.and_then(|wish| wish.against(&home())).unwrap_err();
            assert_eq!((error.kind, error.properties.join(" ").as_str()), (kind, property));
        }
        check(&json!({"subject": "x"}), "invalidProperties", "subject");
        check(&json!({"keywords/a b": true}), "invalidProperties", "keywords/a b");
        check(&json!({"keywords/$seen": false}), "invalidProperties", "keywords/$seen");
        check(&json!({"keywords": {"$seen": 1}}), "invalidProperties", "keywords");
        check(&json!({"keywords": null}), "invalidProperties", "keywords");
        check(&json!({"keywords": {}, "keywords/$seen": true}), "invalidPatch", "");
        check(&json!({"mailboxIds": {}}), "invalidProperties", "mailboxIds");
        check(
            &json!({"mailboxIds/m1": null, "mailboxIds/m2": null}),
            "invalidProperties",
            "mailboxIds",
        );
        check(&json!({"mailboxIds/inbox": true}), "invalidProperties", "mailboxIds/inbox");
    }
}
