//! COPY (RFC 9051 §6.4.7) and UID COPY.
//!
//! ```text
//! copy = "COPY" SP sequence-set SP mailbox
//! ```

use crate::commands::Verb;
use crate::encode;
use crate::parse::{Parsed, Parser, Set};
use crate::reply::{Answer, Done, try_create};
use crate::session::Session;
use storage::Copied;

/// COPY and MOVE have the same arguments.
pub(crate) struct Copy {
    pub(super) set: Set,
    pub(super) by_uid: bool,
    pub(super) to: String,
}

impl Verb for Copy {
    const BY_NUMBER: bool = true;

    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let set = p.set()?;
        p.sp()?;
        Ok(Self { set, by_uid: p.by_uid, to: p.mailbox()? })
    }

    async fn run(self, session: &mut Session) -> Answer {
        let (account, mailbox) = session.here()?;
        let uids = session.view()?.resolve(&self.set, self.by_uid)?;
        let store = session.store();
        let to = store.mailbox_by_name(account, &self.to).await.map_err(try_create)?;
        let copied = store.copy(account, mailbox, uids, to.id).await.map_err(try_create)?;
        Ok(Done::with(copy_uid(&copied), "Copied"))
    }
}

/// ```text
/// resp-code-copy = "COPYUID" SP nz-number SP uid-set SP uid-set
/// ```
/// `None` when nothing was copied: a set cannot be empty (RFC 4315 §3).
pub(super) fn copy_uid(copied: &Copied) -> Option<String> {
    if copied.uids.is_empty() {
        return None;
    }
    let from = encode::uid_runs(copied.uids.iter().map(|(from, _)| *from));
    let to = encode::uid_runs(copied.uids.iter().map(|(_, to)| *to));
    Some(format!("COPYUID {} {from} {to}", copied.uid_validity))
}
