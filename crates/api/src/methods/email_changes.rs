//! Email/changes (RFC 8621 §4.3).

use super::{Answer, Context, value};
use crate::jmap::changes::{Changed, Log};
use crate::jmap::ids;
use crate::{Error, Result, limits};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashSet};
use storage::{Change, ChangeKind};
use types::{EmailId, MailboxId, Uid};

type Row = (MailboxId, Uid);

pub(crate) fn run(ctx: &Context, params: Map<String, Value>) -> Answer<'_> {
    Box::pin(async move { value(answer(ctx, Log::read(ctx, params).await?).await?) })
}

async fn answer(ctx: &Context, log: Log) -> Result<Changed> {
    let (window, end) = log.window(|change| change.message.map(|(_, email)| email))?;
    let touched: BTreeSet<EmailId> =
        window.iter().filter_map(|change| change.message.map(|(_, email)| email)).collect();
    let mut homes: Vec<(EmailId, Vec<Row>)> = Vec::with_capacity(touched.len());
    for email in touched {
        let rows = match ctx.store().homes(log.account, email).await {
            Err(storage::Error::NoMessage) => Vec::new(),
            other => other?,
        };
        let rows = rows.iter().map(|(mailbox, message)| (*mailbox, message.uid));
        homes.push((email, rows.collect()));
    }
    // Read after the homes, so that every row in them that is new is known to be.
    let tail = ctx.store().changes(log.account, log.now, limits::CHANGES).await?;
    if tail.more {
        return Err(Error::NoChanges);
    }
    let rows_of = |kind| -> HashSet<Row> {
        let entries = log.entries.iter().chain(&tail.changes).filter(|c| c.kind == kind);
        entries.filter_map(row).collect()
    };
    let (added, gone) = (rows_of(ChangeKind::MessageAdded), rows_of(ChangeKind::MessageGone));
    // An email was there before if a row of it was: one that was not added since.
    let old_gone: HashSet<EmailId> = log
        .entries
        .iter()
        .chain(&tail.changes)
        .filter(|c| row(c).is_some_and(|r| gone.contains(&r) && !added.contains(&r)))
        .filter_map(|c| c.message.map(|(_, email)| email))
        .collect();
    let (mut created, mut updated, mut destroyed) = (Vec::new(), Vec::new(), Vec::new());
    for (email, rows) in homes {
        let was = old_gone.contains(&email) || rows.iter().any(|row| !added.contains(row));
        let list = match (was, !rows.is_empty()) {
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
