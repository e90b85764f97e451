//! Email/changes (RFC 8621 §4.3).

use super::{Answer, Context, value};
use crate::Result;
use crate::jmap::changes::{Changed, Log};
use crate::jmap::ids;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashSet};
use storage::{Change, ChangeKind};
use types::{EmailId, MailboxId, Uid};

type Row = (MailboxId, Uid);

pub(crate) fn run(ctx: &Context, params: Map<String, Value>) -> Answer<'_> {
    Box::pin(async move { value(answer(ctx, Log::read(ctx, params).await?).await?) })
}

async fn answer(ctx: &Context, log: Log) -> Result<Changed> {
    let (window, end) = log.window(|change| change.message.map(|(_, email)| email))?;
    let mut touched: BTreeMap<EmailId, Vec<&Change>> = BTreeMap::new();
    for change in window {
        if let Some((_, email)) = change.message {
            touched.entry(email).or_default().push(change);
        }
    }
    let added: HashSet<Row> =
        log.entries.iter().filter(|c| c.kind == ChangeKind::MessageAdded).filter_map(row).collect();
    let gone: HashSet<Row> =
        log.entries.iter().filter(|c| c.kind == ChangeKind::MessageGone).filter_map(row).collect();
    let old_gone: HashSet<EmailId> = log
        .entries
        .iter()
        .filter(|c| row(c).is_some_and(|r| gone.contains(&r) && !added.contains(&r)))
        .filter_map(|c| c.message.map(|(_, email)| email))
        .collect();
    let (mut created, mut updated, mut destroyed) = (Vec::new(), Vec::new(), Vec::new());
    for email in touched.into_keys() {
        let homes = ctx.store().homes(log.account, email).await;
        let homes = match homes {
            Err(storage::Error::NoMessage) => Vec::new(),
            other => other?,
        };
        // It was there before if a row of it was: one that is still there and was not added since, or
        // one that is gone and was not added since.
        let old_alive =
            homes.iter().any(|(mailbox, message)| !added.contains(&(*mailbox, message.uid)));
        let was = old_alive || old_gone.contains(&email);
        let list = match (was, !homes.is_empty()) {
            (true, true) => &mut updated,
            (true, false) => &mut destroyed,
            (false, true) => &mut created,
            (false, false) => continue,
        };
        list.push(ids::of_email(email));
    }
    Ok(Changed { created, updated, destroyed, ..log.answer(end) })
}

fn row(change: &Change) -> Option<Row> {
    change.message.map(|(uid, _)| (change.mailbox, uid))
}
