//! Catching up quickly: what a client asks of CONDSTORE and QRESYNC (RFC 7162), and what went since it looked last.
//! The change log of the store is the source; where it does not reach back so far, every UID that could have been
//! and is not there is named.

use crate::encode;
use crate::fetch;
use crate::parse::{Parsed, Parser, Set, limits};
use crate::reply::Error;
use crate::session::Session;
use storage::{ChangeKind, View};
use types::{ModSeq, Uid, UidSet};

/// Entries of the change log read at a time.
const CHANGES: usize = 1_000;

/// What the client has switched on; until it logs out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "extensions, each on or off by itself")]
pub(crate) struct Enabled {
    /// Changes of flags are told with their MODSEQ (RFC 7162 §3.1).
    pub(crate) condstore: bool,
    /// What went is told by UID, not by number (RFC 7162 §3.2.10).
    pub(crate) qresync: bool,
    /// Answers are of `IMAP4rev2` (RFC 9051 §6.3.1).
    pub(crate) rev2: bool,
    /// UTF-8 may stand in quoted strings, and mailbox names are UTF-8 (RFC 6855 §3, RFC 9051 §5.1).
    pub(crate) utf8: bool,
    /// Messages have UIDs and no numbers (RFC 9586).
    pub(crate) uid_only: bool,
}

/// What the client knows of a mailbox that it opens.
///
/// ```text
/// select-param = "CONDSTORE" / "QRESYNC" SP "(" uidvalidity SP mod-sequence-value [SP known-uids]
///                [SP "(" known-sequence-set SP known-uid-set ")"] ")"
/// ```
#[derive(Debug, Default)]
pub(crate) struct Opening {
    pub(crate) condstore: bool,
    pub(crate) known: Option<Known>,
}

#[derive(Debug)]
pub(crate) struct Known {
    uid_validity: u32,
    since: ModSeq,
    /// `None`: all there were.
    uids: Option<Set>,
}

impl Opening {
    /// The parameters behind the mailbox; there may be none.
    pub(crate) fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        let mut opening = Self::default();
        if !p.more() {
            return Ok(opening);
        }
        p.list(limits::OPTIONS, |p| {
            if p.one_of(&["CONDSTORE", "QRESYNC"], "CONDSTORE or QRESYNC")? == 0 {
                opening.condstore = true;
            } else {
                p.sp()?;
                opening.known = Some(Known::parse(p)?);
            }
            Ok(())
        })?;
        Ok(opening)
    }
}

impl Known {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.need(b'(', "an opening parenthesis")?;
        p.skip_spaces();
        let uid_validity = p.number()?;
        p.sp()?;
        let since = mod_sequence(p)?;
        let mut uids = None;
        p.skip_spaces();
        if p.at_set() {
            uids = Some(p.set()?);
            p.skip_spaces();
        }
        if p.take(b'(') {
            // Which numbers it remembers (RFC 7162 §3.2.5.2): a hint for servers that forget what went.
            p.skip_spaces();
            p.set()?;
            p.sp()?;
            p.set()?;
            p.skip_spaces();
            p.need(b')', "a closing parenthesis")?;
            p.skip_spaces();
        }
        p.need(b')', "a closing parenthesis")?;
        Ok(Self { uid_validity, since, uids })
    }
}

/// ```text
/// mod-sequence-value = 1*DIGIT    ; 0 < n <= 9,223,372,036,854,775,807
/// ```
/// Zero, which nothing is older than, is taken too.
pub(crate) fn mod_sequence(p: &mut Parser<'_>) -> Parsed<ModSeq> {
    p.number64().map(ModSeq)
}

/// What changed in a mailbox that was just opened, for a client that knew it before (RFC 7162 §3.2.5.1):
/// nothing when its UIDs are no longer valid.
pub(crate) async fn catch_up(
    session: &mut Session,
    view: &View,
    known: &Known,
) -> Result<(), Error> {
    if known.uid_validity != view.mailbox().uid_validity.0 {
        return Ok(());
    }
    let uids = match &known.uids {
        Some(set) => session.view()?.possible(set)?,
        None => UidSet::all(),
    };
    say_vanished(session, &uids, known.since).await?;
    for entry in view.members(&uids).filter(|entry| entry.modseq > known.since) {
        fetch::say_flags(session, &[entry.to_row()], true).await?;
    }
    Ok(())
}

/// `* VANISHED (EARLIER) 3:5,9`: those of `uids` that went after `since`, or earlier (RFC 7162 §3.2.10.1).
pub(crate) async fn say_vanished(
    session: &mut Session,
    uids: &UidSet,
    since: ModSeq,
) -> Result<(), Error> {
    let (account, mailbox) = session.here()?;
    let store = session.store();
    let mut gone = Vec::new();
    let mut from = since;
    let text = loop {
        match store.changes(account, from, CHANGES).await {
            Ok(news) => {
                let view = session.view()?;
                gone.extend(news.changes.iter().filter_map(|change| {
                    let (uid, _) = change.message.filter(|_| change.mailbox == mailbox)?;
                    let went = change.kind == ChangeKind::MessageGone;
                    (went && uids.contains(uid) && view.number_of(uid).is_none()).then_some(uid)
                }));
                from = news.state;
                if !news.more {
                    gone.sort_unstable();
                    gone.dedup();
                    break encode::uid_runs(gone);
                }
            }
            Err(storage::Error::TooOld) => {
                let now = store.view(account, mailbox).await?;
                let last = match now.mailbox().uid_next {
                    Some(next) => Uid::new(next.get() - 1),
                    None => Some(Uid::MAX),
                };
                let Some(last) = last else { return Ok(()) };
                // Also not what came since the mailbox was opened, or went and is told later.
                let mut there = [now.uids().as_slice(), session.view()?.uids()].concat();
                there.sort();
                there.dedup();
                break missing(&there, uids, last);
            }
            Err(other) => return Err(other.into()),
        }
    };
    if !text.is_empty() {
        session.wire.say(&format!("* VANISHED (EARLIER) {text}"));
        session.wire.relieve().await?;
    }
    Ok(())
}

/// The UIDs of `uids` up to `last` that `there` does not have, as a set. Linear in both.
fn missing(there: &[Uid], uids: &UidSet, last: Uid) -> String {
    let mut text = String::new();
    let mut add = |first: u32, last: u32| {
        if first <= last {
            let comma = if text.is_empty() { "" } else { "," };
            let end = if first == last { String::new() } else { format!(":{last}") };
            text.extend([comma, &first.to_string(), &end]);
        }
    };
    for (first, end) in uids.ranges() {
        let (mut next, end) = (first.get(), end.get().min(last.get()));
        let from = there.partition_point(|uid| uid.get() < next);
        for uid in there.get(from..).unwrap_or_default() {
            if uid.get() > end {
                break;
            }
            add(next, uid.get() - 1);
            next = uid.get().saturating_add(1);
        }
        // The last UID of all has none after it.
        if there.last() != Some(&Uid::MAX) || end < u32::MAX {
            add(next, end);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::whole;

    #[test]
    fn openings() {
        type Resync = (u32, u64, bool);
        #[track_caller]
        fn check(text: &str, expect: Option<(bool, Option<Resync>)>) {
            let found = whole(text.as_bytes(), Opening::parse).ok();
            let known = |k: Known| (k.uid_validity, k.since.0, k.uids.is_some());
            assert_eq!(found.map(|o| (o.condstore, o.known.map(known))), expect, "{text}");
        }
        check("", Some((false, None)));
        check(" (CONDSTORE)", Some((true, None)));
        check(
            " (qresync (67890007 20050715194045000 41,43:211,214:541))",
            Some((false, Some((67890007, 20050715194045000, true)))),
        );
        check(" (QRESYNC (1 2))", Some((false, Some((1, 2, false)))));
        check(" (QRESYNC (1 2 (1,5 3,9)) CONDSTORE)", Some((true, Some((1, 2, false)))));
        check(" (QRESYNC (1 2 1:9 (1,5 3,9)))", Some((false, Some((1, 2, true)))));
        check(" (QRESYNC (1))", None);
        check(" (QRESYNC 1 2)", None);
        check(" (QRESYNC (1 99999999999999999999))", None);
        check(" (QRESYNC (1 2 x))", None);
        check(" (LATER)", None);
    }

    #[test]
    fn missing_uids() {
        #[track_caller]
        fn check(there: &[u32], uids: &[(u32, u32)], last: u32, expect: &str) {
            let uid = |n: u32| Uid::new(n).unwrap();
            let there: Vec<_> = there.iter().map(|n| uid(*n)).collect();
            let uids = UidSet::from_ranges(uids.iter().map(|(a, b)| (uid(*a), uid(*b))));
            assert_eq!(missing(&there, &uids, uid(last)), expect);
        }
        check(&[2, 3, 7], &[(1, u32::MAX)], 9, "1,4:6,8:9");
        check(&[2, 3, 7], &[(2, 3), (7, 7)], 9, "");
        check(&[2, 3, 7], &[(3, 4), (6, 8)], 7, "4,6");
        check(&[], &[(1, u32::MAX)], 3, "1:3");
        check(&[u32::MAX], &[(u32::MAX - 1, u32::MAX)], u32::MAX, "4294967294");
    }
}
