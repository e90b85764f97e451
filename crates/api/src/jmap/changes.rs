//! What happened since a state (RFC 8620 §5.2), worked out from the change log.

use super::{ids, state};
use crate::methods::{Context, arguments};
use crate::{Error, Result, limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use storage::{Change, ChangeKind};
use types::{AccountId, MailboxId, ModSeq};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Params {
    pub(crate) account_id: String,
    pub(crate) since_state: String,
    #[serde(default)]
    pub(crate) max_changes: Option<usize>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Changed {
    pub(crate) account_id: String,
    pub(crate) old_state: String,
    pub(crate) new_state: String,
    pub(crate) has_more_changes: bool,
    pub(crate) created: Vec<String>,
    pub(crate) updated: Vec<String>,
    pub(crate) destroyed: Vec<String>,
}

/// The whole log from a state until now. A part of it would not do: whether something existed before can
/// only be told with everything that came after.
pub(crate) struct Log {
    pub(crate) account: AccountId,
    pub(crate) entries: Vec<Change>,
    pub(crate) now: ModSeq,
    pub(crate) max_changes: usize,
    params: Params,
}

impl Log {
    pub(crate) async fn read(ctx: &Context, params: Map<String, Value>) -> Result<Self> {
        let params: Params = arguments(params)?;
        let account = ctx.own(&params.account_id)?;
        if params.max_changes == Some(0) {
            return Err(Error::argument("maxChanges", "must be above 0"));
        }
        let since = state::since(ctx.store(), account, &params.since_state).await?;
        let read = ctx.store().changes(account, since, limits::CHANGES).await?;
        if read.more {
            return Err(Error::NoChanges);
        }
        Ok(Self {
            account,
            entries: read.changes,
            now: read.state.max(since),
            max_changes: params.max_changes.unwrap_or(usize::MAX),
            params,
        })
    }

    /// The longest beginning of the log that touches at most `max_changes` objects, and the state after it.
    /// A single step that touches more cannot be given in pieces.
    pub(crate) fn window<Id: Ord>(
        &self,
        id_of: impl Fn(&Change) -> Option<Id>,
    ) -> Result<(&[Change], ModSeq)> {
        let mut touched = BTreeSet::new();
        let mut cut = 0;
        for (at, change) in self.entries.iter().enumerate() {
            if at > 0 && self.entries.get(at - 1).is_some_and(|c| c.modseq != change.modseq) {
                cut = at;
            }
            touched.extend(id_of(change));
            if touched.len() > self.max_changes {
                let window = self.entries.get(..cut).unwrap_or_default();
                let end = window.last().ok_or(Error::NoChanges)?.modseq;
                return Ok((window, end));
            }
        }
        Ok((&self.entries, self.now))
    }

    pub(crate) fn answer(self, new_state: ModSeq) -> Changed {
        Changed {
            account_id: self.params.account_id,
            old_state: self.params.since_state,
            has_more_changes: new_state < self.now,
            new_state: state::of(new_state),
            created: Vec::new(),
            updated: Vec::new(),
            destroyed: Vec::new(),
        }
    }
}

/// Mailboxes: made, changed (also only their counters), gone.
pub(crate) fn mailboxes(log: Log) -> Result<(Changed, bool)> {
    let (window, end) = log.window(|change| Some(change.mailbox))?;
    let of_kind = |kind| -> BTreeSet<MailboxId> {
        let entries = log.entries.iter().filter(|c| c.kind == kind);
        entries.map(|c| c.mailbox).collect()
    };
    let made = of_kind(ChangeKind::MailboxMade);
    let gone = of_kind(ChangeKind::MailboxGone);
    let touched: BTreeSet<_> = window.iter().map(|c| c.mailbox).collect();
    let counters_only = window.iter().all(|c| c.message.is_some());
    let (mut created, mut updated, mut destroyed) = (Vec::new(), Vec::new(), Vec::new());
    for id in touched {
        let list = match (made.contains(&id), gone.contains(&id)) {
            (true, true) => continue,
            (true, false) => &mut created,
            (false, true) => &mut destroyed,
            (false, false) => &mut updated,
        };
        list.push(ids::of_mailbox(id));
    }
    let changed = Changed { created, updated, destroyed, ..log.answer(end) };
    let only = counters_only && !changed.updated.is_empty();
    Ok((changed, only))
}
