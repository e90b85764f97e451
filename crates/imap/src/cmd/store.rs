//! STORE (RFC 9051 §6.4.6) and UID STORE.
//!
//! ```text
//! store           = "STORE" SP sequence-set [SP "(" "UNCHANGEDSINCE" SP mod-sequence ")"] SP store-att-flags
//! store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))
//! ```

use crate::commands::Verb;
use crate::encode;
use crate::fetch;
use crate::parse::{Parsed, Parser, Set};
use crate::reply::{Answer, Done, Error};
use crate::resync;
use crate::session::Session;
use crate::sharing::{self, Rights};
use types::{Flag, FlagChange, Flags, ModSeq, UidSet};

pub(crate) struct Store {
    set: Set,
    by_uid: bool,
    change: FlagChange,
    silent: bool,
    /// RFC 7162 §3.1.3
    unchanged_since: Option<ModSeq>,
}

impl Verb for Store {
    const KEEPS_NUMBERS: bool = true;

    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let set = p.set()?;
        p.sp()?;
        let mut unchanged_since = None;
        if p.peek() == Some(b'(') {
            let conditions = p.list(1, |p| {
                p.one_of(&["UNCHANGEDSINCE"], "UNCHANGEDSINCE")?;
                p.sp()?;
                unchanged_since = Some(resync::mod_sequence(p)?);
                Ok(())
            })?;
            if conditions.is_empty() {
                return p.wanted("UNCHANGEDSINCE in the parentheses");
            }
            p.sp()?;
        }
        let change: fn(Flags) -> FlagChange = if p.take(b'+') {
            FlagChange::Add
        } else if p.take(b'-') {
            FlagChange::Remove
        } else {
            FlagChange::Replace
        };
        let silent = p.one_of(&["FLAGS", "FLAGS.SILENT"], "FLAGS or FLAGS.SILENT")? == 1;
        p.sp()?;
        let flags = p.store_flags()?;
        Ok(Self { set, by_uid: p.by_uid, change: change(flags), silent, unchanged_since })
    }

    async fn run(self, session: &mut Session) -> Answer {
        session.writable(Rights::NONE)?;
        if self.unchanged_since.is_some() {
            session.enable_condstore();
        }
        if self.silent {
            // So that what others did before is told, and only our own change is not.
            session.tell(false).await?;
        }
        let uids = session.view()?.resolve(&self.set, self.by_uid)?;
        let asked = session.view()?.members(&uids).len();
        let change = allowed(session, &uids, self.change).await?;
        let stored = session.store_flags(uids, change, self.unchanged_since).await?;
        if !self.silent {
            fetch::say_flags(session, &stored.rows, self.by_uid).await?;
        } else if session.enabled.condstore {
            fetch::say_modseqs(session, &stored.rows, self.by_uid).await?;
        }
        if let Some(selected) = &mut session.selected {
            selected.told(&stored);
        }
        let modified = session.view()?.members(&stored.modified);
        if !modified.is_empty() {
            let view = session.view()?;
            let set = if self.by_uid {
                encode::uid_runs(modified)
            } else {
                encode::runs(modified.into_iter().filter_map(|uid| view.number_of(uid)))
            };
            return Ok(Done::with(format!("MODIFIED {set}"), "Some have changed since, they stay"));
        }
        // RFC 2180 §4.2: some of them are gone, which the client has not been told.
        if !self.silent && !self.by_uid && stored.rows.len() < asked {
            return Err(Error::no("EXPUNGEISSUED", "some of the messages are no longer there"));
        }
        Ok(Done::new("Flags stored"))
    }
}

/// What one may do of it (RFC 4314 §4). An error only when nothing is left.
async fn allowed(
    session: &mut Session,
    uids: &UidSet,
    change: FlagChange,
) -> Result<FlagChange, Error> {
    let rights = session.rights();
    if rights.has(Rights::ALL_FLAGS) {
        return Ok(change);
    }
    let mut there = Flags::default();
    if matches!(change, FlagChange::Replace(_)) {
        let (account, mailbox) = session.here()?;
        for row in session.store().messages(account, mailbox, uids).await? {
            row.flags.system().for_each(|flag| there.insert(flag));
            row.flags.keywords().iter().for_each(|k| there.insert_keyword(k.clone()));
        }
        // One's own is among them or not: it is cleared if it is not asked for.
        there.insert(Flag::Seen);
    }
    rights.allowed_change(change, &there).ok_or(sharing::NO_PERMISSION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::whole;

    #[test]
    fn forms() {
        #[track_caller]
        fn check(text: &str, expect: Option<(&str, bool)>) {
            let found = whole(text.as_bytes(), Store::parse).ok().map(|s| {
                let name = match s.change {
                    FlagChange::Replace(flags) => format!("={flags}"),
                    FlagChange::Add(flags) => format!("+{flags}"),
                    FlagChange::Remove(flags) => format!("-{flags}"),
                    FlagChange::Patch { .. } => String::new(),
                };
                (name, s.silent)
            });
            assert_eq!(found.as_ref().map(|(n, s)| (n.as_str(), *s)), expect, "{text}");
        }
        check(" 1 FLAGS (\\Seen)", Some(("=\\Seen", false)));
        check(" 1 flags.silent ()", Some(("=", true)));
        check(" 1 +FLAGS \\Seen $a", Some(("+\\Seen $a", false)));
        check(" 1:* -FLAGS.SILENT (\\Deleted)", Some(("-\\Deleted", true)));
        check(" 1 (UNCHANGEDSINCE 0) FLAGS (\\Seen)", Some(("=\\Seen", false)));
        check(" 1 ( unchangedsince 12 ) -FLAGS.SILENT \\Seen", Some(("-\\Seen", true)));
        check(" 1 (UNCHANGEDSINCE) FLAGS (\\Seen)", None);
        check(" 1 (UNCHANGEDSINCE -1) FLAGS (\\Seen)", None);
        check(" 1 (UNCHANGEDSINCE 9223372036854775808) FLAGS (\\Seen)", None);
        check(" 1 () FLAGS (\\Seen)", None);
        check(" 1 +-FLAGS (\\Seen)", None);
        check(" 1 + FLAGS (\\Seen)", None);
        check(" 1 FLAGS", None);
        check(" 1 FLAGS.LOUD (\\Seen)", None);
        check(" x FLAGS (\\Seen)", None);
    }
}
