//! COPY (RFC 9051 §6.4.7) and UID COPY.
//!
//! ```text
//! copy = "COPY" SP sequence-set SP mailbox
//! ```

use crate::commands::Verb;
use crate::encode;
use crate::parse::{Parsed, Parser, Set};
use crate::progress::{Counting, reporting};
use crate::reply::{Answer, Done, Error, try_create};
use crate::session::Session;
use crate::sharing::{self, Named};
use crate::upload;
use storage::Copied;
use types::{Flag, UidSet};

/// Rows read at a time, of letters that are copied one by one.
const ROWS: usize = 100;

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
        let to = session.target(&self.to).await?;
        let copied = if session.view()?.shared.is_none() && to.is_own() {
            let store = session.store();
            let copying = store.copy(account, mailbox, uids, to.mailbox.id);
            reporting(&mut session.wire, &session.tag, copying).await?.map_err(try_create)?
        } else {
            Box::pin(across(session, &uids, &to, false)).await?
        };
        Ok(Done::with(copy_uid(&copied), "Copied"))
    }
}

/// Copies letters from or to a mailbox of another account, or moves them: each is stored at the target, durably, and
/// goes at the source after the last one. What fails is taken back at the target.
pub(super) async fn across(
    session: &mut Session,
    uids: &UidSet,
    to: &Named,
    and_remove: bool,
) -> Result<Copied, Error> {
    let ((account, mailbox), me, store) = (session.here()?, session.account()?, session.store());
    let mut done = Copied { uid_validity: to.mailbox.uid_validity, uids: Vec::new() };
    let mut result = each(session, uids, to, &mut done).await;
    let (from, new): (UidSet, UidSet) = (
        done.uids.iter().map(|(from, _)| *from).collect(),
        done.uids.iter().map(|(_, to)| *to).collect(),
    );
    if result.is_ok() && and_remove && !from.is_empty() {
        result = store.remove(account, mailbox, from).await.map(drop).map_err(Error::from);
    }
    match result {
        Ok(()) => Ok(done),
        Err(error) => {
            if !new.is_empty()
                && let Err(left) = store.remove(to.account, to.mailbox.id, new).await
            {
                tracing::warn!(account = %me, error = %left, "a copy that failed cannot be taken back");
            }
            Err(error)
        }
    }
}

async fn each(
    session: &mut Session,
    uids: &UidSet,
    to: &Named,
    done: &mut Copied,
) -> Result<(), Error> {
    let ((account, mailbox), me, store) = (session.here()?, session.account()?, session.store());
    let members = session.view()?.members(uids);
    let mut counting = Counting::to(members.len());
    let mut seen = UidSet::new();
    for some in members.chunks(ROWS) {
        let set = some.iter().copied().collect();
        for (row, email) in store.list(account, mailbox, &set).await? {
            let mut flags = row.flags;
            match session.view()?.own_seen(row.uid) {
                Some(true) => flags.insert(Flag::Seen),
                Some(false) => flags.remove(Flag::Seen),
                None => {}
            }
            let (flags, is_seen) = to.marks(&flags);
            let letter = upload::parse(store.bytes(&email).await?).await;
            let received = Some(row.received_unix_s);
            let arrived = store.append(to.account, to.mailbox.id, letter, flags, received).await?;
            done.uids.push((row.uid, arrived.uid));
            if is_seen {
                seen.insert(arrived.uid);
            }
            counting.at(&mut session.wire, &session.tag, done.uids.len()).await?;
        }
    }
    sharing::mark_seen(&store, me, to, seen).await
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
