//! The selected mailbox as this session has been told it is: which number means which UID, and what has
//! happened that the client does not know yet.
//!
//! Only UIDs are kept, four bytes for each message, in one list for all sessions that know the same;
//! flags and the rest are read from the store when asked. Of a large mailbox that nobody has looked at, SELECT knows the
//! counters alone: its list is read before the first command that needs it.
//! What others do comes from the store's change log, and is told in the order EXPUNGE, EXISTS, FETCH, so
//! that the numbers are right at every line (RFC 9051 §7.5.1).

use crate::cmd::select;
use crate::contexts::{self, Contexts};
use crate::encode;
use crate::fetch;
use crate::parse::{Bound, Set};
use crate::reply::Error;
use crate::session::Session;
use crate::sharing::{self, Rights};
use crate::wire::Wire;
use std::sync::Arc;
use storage::{Change, ChangeKind, Flagged, Mailbox, Message, Store, Watch};
use types::{AccountId, MailboxId, ModSeq, Uid, UidSet};

/// Entries of the change log read at a time.
const CHANGES: usize = 1_000;
/// Rows of messages asked for at a time, when flags of many changed.
const ROWS: usize = 1_000;
/// Changes of one's own that are kept while the log is not read, as NOTIFY may have it.
const OWN_CHANGES: usize = 1_000;
/// A list of fewer UIDs is a session's own when it changes: a few kilobytes.
const OWN: usize = 256;

#[derive(Debug)]
pub(crate) struct Selected {
    pub(crate) mailbox: MailboxId,
    /// Opened with EXAMINE.
    pub(crate) read_only: bool,
    /// Ascending; a message's number is its place, counted from 1. Shared with all who selected the mailbox since
    /// it changed last.
    uids: Arc<Vec<Uid>>,
    /// What is known instead while the list has not been read.
    unread: Option<Unread>,
    /// The change log has been read up to here.
    modseq: ModSeq,
    /// Read from it but not told: new messages, messages that went, messages with other flags.
    fresh: Vec<Uid>,
    gone: Vec<Uid>,
    flagged: Vec<Uid>,
    /// Flags that the client knows from the answer to its own command.
    own: Vec<(ModSeq, UidSet)>,
    /// What `$` means (RFC 5182); those that went since are still in it.
    saved: UidSet,
    /// Results that are kept up to date.
    pub(crate) contexts: Contexts,
    /// `None`: it is one's own.
    pub(crate) shared: Option<Box<Shared>>,
}

/// What is to be known of a mailbox of another account.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) account: AccountId,
    /// As the client knows it.
    pub(crate) name: String,
    pub(crate) rights: Rights,
    /// The news of its owner's account.
    pub(crate) watch: Watch,
    /// Rights and `\Seen` were read after this.
    pub(crate) checked: ModSeq,
    /// What one has read of it.
    pub(crate) seen: UidSet,
}

/// A mailbox whose UIDs have not been read.
#[derive(Debug, Clone, Copy)]
struct Unread {
    /// Messages; the client has been told so many.
    count: usize,
    /// All of them are below it. `None`: every UID has been given.
    uid_next: Option<Uid>,
}

impl Selected {
    /// Only its counters are known, as they were at `modseq`.
    pub(crate) fn unread(mailbox: &Mailbox, read_only: bool, modseq: ModSeq) -> Self {
        let count = usize::try_from(mailbox.total).unwrap_or(usize::MAX);
        let unread = Some(Unread { count, uid_next: mailbox.uid_next });
        Self { unread, ..Self::new(mailbox.id, read_only, Arc::default(), modseq) }
    }

    /// `modseq` must not be newer than the list of UIDs.
    pub(crate) fn new(
        mailbox: MailboxId,
        read_only: bool,
        uids: Arc<Vec<Uid>>,
        modseq: ModSeq,
    ) -> Self {
        Self {
            mailbox,
            read_only,
            uids,
            unread: None,
            modseq,
            fresh: Vec::new(),
            gone: Vec::new(),
            flagged: Vec::new(),
            own: Vec::new(),
            saved: UidSet::new(),
            contexts: Contexts::default(),
            shared: None,
        }
    }

    /// Whose it is.
    pub(crate) fn of(self, shared: Option<Box<Shared>>) -> Self {
        Self { shared, ..self }
    }

    /// From now on this is what `$` means.
    pub(crate) fn save(&mut self, found: UidSet) {
        self.saved = found;
    }

    /// All that the client knows happened up to here.
    pub(crate) fn modseq(&self) -> ModSeq {
        self.modseq
    }

    pub(crate) fn uids(&self) -> &[Uid] {
        &self.uids
    }

    pub(crate) fn len(&self) -> usize {
        self.unread.map_or(self.uids.len(), |unread| unread.count)
    }

    /// Whether one has read it, where that is not what its flags say.
    pub(crate) fn own_seen(&self, uid: Uid) -> Option<bool> {
        self.shared.as_ref().map(|shared| shared.seen.contains(uid))
    }

    /// The last message that the client has been told of.
    pub(crate) fn newest_told(&self) -> Option<Uid> {
        match self.unread {
            Some(Unread { uid_next: Some(next), .. }) => Uid::new(next.get() - 1),
            Some(Unread { uid_next: None, .. }) => Some(Uid::MAX),
            None => self.uids.last().copied(),
        }
    }

    pub(crate) fn is_unread(&self) -> bool {
        self.unread.is_some()
    }

    /// Takes in the list: `there` are the UIDs of now or of any moment after [`Selected::modseq`], `gone` those that
    /// went since then.
    fn read(&mut self, there: Arc<Vec<Uid>>, gone: &[Uid]) {
        let Some(Unread { count, uid_next }) = self.unread.take() else { return };
        let known = |uid: &&Uid| uid_next.is_none_or(|next| **uid < next);
        self.uids = there;
        let all_known = self.uids.last().is_none_or(|last| known(&last));
        if gone.iter().any(|uid| known(&uid)) || !all_known {
            let all = self.uids.iter().chain(gone);
            let mut uids: Vec<Uid> = all.filter(known).copied().collect();
            uids.sort();
            uids.dedup();
            self.uids = uids.into();
        }
        if self.uids.len() < count {
            // The log has forgotten some that went. The client knows that they were there, but not which: UIDs that
            // name no message take their places, and are told as gone the next time.
            let uids = Arc::make_mut(&mut self.uids);
            let missing = count - uids.len();
            let is_free = |uid: &Uid| uids.binary_search(uid).is_err();
            let free: Vec<Uid> =
                (1..=u32::MAX).filter_map(Uid::new).filter(is_free).take(missing).collect();
            uids.extend_from_slice(&free);
            uids.sort();
            self.gone.extend(free);
        }
    }

    /// The message number of a UID. `None`: not (or no longer) in what the client knows.
    pub(crate) fn number_of(&self, uid: Uid) -> Option<u32> {
        let at = self.uids.binary_search(&uid).ok()?;
        u32::try_from(at + 1).ok()
    }

    /// The UIDs of a set that the client knows, ascending.
    pub(crate) fn members(&self, set: &UidSet) -> Vec<Uid> {
        let mut members = Vec::new();
        for (first, last) in set.ranges() {
            let from = self.uids.partition_point(|uid| uid < first);
            let to = self.uids.partition_point(|uid| uid <= last);
            members.extend_from_slice(self.uids.get(from..to).unwrap_or_default());
        }
        members
    }

    /// What a set of the client's means, as UIDs.
    ///
    /// A range of numbers becomes the range between its two UIDs: a UID in between that the client does
    /// not know belongs to no message, since UIDs only ascend. UIDs past the last one known are cut off:
    /// there may be a message, but the client has not been told its number.
    pub(crate) fn resolve(&self, set: &Set, by_uid: bool) -> Result<UidSet, Error> {
        let Some(last_known) = self.uids.last().copied() else {
            let asks_for_number = |b: Bound| !by_uid && matches!(b, Bound::Number(n) if n != 1);
            if set.0.iter().any(|(a, b)| asks_for_number(*a) || asks_for_number(*b)) {
                return Err(Error::Bad("there is no message of that number, the mailbox is empty"));
            }
            return Ok(UidSet::new());
        };
        let bound = |bound: Bound| match bound {
            Bound::Last | Bound::Saved => Ok(last_known),
            Bound::Number(n) if by_uid => Uid::new(n).ok_or(Error::Bad("0 is no UID")),
            Bound::Number(n) => {
                let place = usize::try_from(n).ok().and_then(|n| n.checked_sub(1));
                let uid = place.and_then(|place| self.uids.get(place));
                uid.copied().ok_or(Error::Bad("there is no message of that number"))
            }
        };
        let mut ranges = Vec::with_capacity(set.0.len());
        for (a, b) in &set.0 {
            if *a == Bound::Saved {
                ranges.extend_from_slice(self.saved.ranges());
                continue;
            }
            let (a, b) = (bound(*a)?, bound(*b)?);
            let (first, last) = (a.min(b), a.max(b).min(last_known));
            if first <= last {
                ranges.push((first, last));
            }
        }
        Ok(UidSet::from_ranges(ranges))
    }

    /// The client has been told these flags in an answer; the change log need not tell them again. Where nothing else
    /// happened since it was read, it need not even be asked.
    pub(crate) fn told(&mut self, stored: &Flagged) {
        if stored.before == self.modseq && self.contexts.is_empty() {
            self.modseq = stored.after;
            return;
        }
        if self.own.len() >= OWN_CHANGES {
            // They are told once more, which does no harm.
            self.own.clear();
        }
        let rows = stored.rows.iter().map(|row| (row.modseq, row.uid));
        let mut rest: Vec<_> = rows.filter(|(modseq, _)| *modseq > self.modseq).collect();
        rest.sort_unstable();
        for run in rest.chunk_by(|a, b| a.0 == b.0) {
            let uids = run.iter().map(|(_, uid)| *uid).collect();
            self.own.extend(run.first().map(|(modseq, _)| (*modseq, uids)));
        }
    }

    /// Reads entries of the change log.
    fn take_in(&mut self, changes: &[Change]) {
        for change in changes.iter().filter(|c| c.mailbox == self.mailbox) {
            let Some((uid, _)) = change.message else { continue };
            match change.kind {
                ChangeKind::MessageAdded if self.newest().is_none_or(|newest| newest < uid) => {
                    self.fresh.push(uid);
                }
                ChangeKind::MessageGone => self.gone.push(uid),
                ChangeKind::FlagsChanged => {
                    let own = |(modseq, uids): &(ModSeq, UidSet)| {
                        *modseq == change.modseq && uids.contains(uid)
                    };
                    if !self.own.iter().any(own) {
                        self.flagged.push(uid);
                    }
                }
                _ => {}
            }
        }
    }

    /// Finds out what changed without the change log, which does not reach back so far (RFC 7162 §3.2.5).
    fn look_again(&mut self, rows: &[Message], state: ModSeq) {
        let is_there = |uid: &Uid| rows.binary_search_by_key(uid, |row| row.uid).is_ok();
        let newest = self.newest();
        let known = self.uids.iter().chain(&self.fresh);
        self.gone.extend(known.filter(|uid| !is_there(uid)).copied().collect::<Vec<_>>());
        for row in rows {
            if newest.is_none_or(|newest| newest < row.uid) {
                self.fresh.push(row.uid);
            } else if row.modseq > self.modseq {
                self.flagged.push(row.uid);
            }
        }
        self.modseq = self.modseq.max(state);
    }

    /// A set of UIDs as it is, whether there are messages or not: `*` is the last one known, the end of a range
    /// the last that can be.
    pub(crate) fn possible(&self, set: &Set) -> Result<UidSet, Error> {
        let last = self.uids.last().copied().unwrap_or(Uid::MAX);
        let mut ranges = Vec::with_capacity(set.0.len());
        for range in &set.0 {
            let number = |n| Uid::new(n).ok_or(Error::Bad("0 is no UID"));
            ranges.push(match *range {
                (Bound::Saved, _) | (_, Bound::Saved) => {
                    ranges.extend_from_slice(self.saved.ranges());
                    continue;
                }
                (Bound::Last, Bound::Last) => (last, last),
                (Bound::Number(n), Bound::Last) | (Bound::Last, Bound::Number(n)) => {
                    (number(n)?.min(last), Uid::MAX)
                }
                (Bound::Number(a), Bound::Number(b)) => (number(a.min(b))?, number(a.max(b))?),
            });
        }
        Ok(UidSet::from_ranges(ranges))
    }

    /// Messages that went, which the client still counts.
    pub(crate) fn vanished(&self) -> Vec<Uid> {
        let mut gone = self.gone.clone();
        gone.retain(|uid| self.number_of(*uid).is_some());
        gone.sort_unstable();
        gone.dedup();
        gone
    }

    fn newest(&self) -> Option<Uid> {
        self.fresh.last().or(self.uids.last()).copied()
    }

    /// Makes what was read from the log part of the list. Gives the numbers of the messages that went, each
    /// as it is when those before it are out, and whether there are new ones. `shared` is the list as it will be.
    fn settle(&mut self, expunge: bool, shared: Option<Arc<Vec<Uid>>>) -> (Vec<u32>, bool) {
        let mut gone = std::mem::take(&mut self.gone);
        gone.sort_unstable();
        gone.dedup();
        // A message may come and go before anybody is told of it.
        let fresh = std::mem::take(&mut self.fresh);
        let fresh: Vec<Uid> =
            fresh.into_iter().filter(|uid| gone.binary_search(uid).is_err()).collect();
        let mut numbers: Vec<u32> = gone.iter().filter_map(|uid| self.number_of(*uid)).collect();
        let length = (self.uids.len() + fresh.len()).saturating_sub(numbers.len());
        let told = expunge || numbers.is_empty();
        let shared = shared.filter(|shared| told && shared.len() == length);
        if expunge {
            if !numbers.is_empty() && shared.is_none() {
                Arc::make_mut(&mut self.uids).retain(|uid| gone.binary_search(uid).is_err());
            }
            for (before, number) in (0..).zip(&mut numbers) {
                *number -= before;
            }
        } else {
            numbers.clear();
            self.gone = gone;
        }
        if let Some(shared) = shared {
            self.uids = shared;
        } else if !fresh.is_empty() {
            Arc::make_mut(&mut self.uids).extend_from_slice(&fresh);
        }
        (numbers, !fresh.is_empty())
    }

    /// The list as others have it who know the same: else each of thousands would change a copy of its own.
    async fn shared(&self, store: &Store, account: AccountId) -> Option<Arc<Vec<Uid>>> {
        if self.uids.len() < OWN || (self.fresh.is_empty() && self.gone.is_empty()) {
            return None;
        }
        let view = store.view(account, self.mailbox).await.ok()?;
        let same = view.mailbox().modseq <= self.modseq && self.modseq <= view.state();
        same.then(|| view.uids())
    }

    /// Messages whose flags are to be told.
    fn flagged(&self) -> Vec<Uid> {
        self.members(&self.flagged.iter().copied().collect())
    }
}

/// Reads the list of UIDs as it was at the MODSEQ that the client knows, if that has not been done.
pub(crate) async fn read_list(
    store: &Store,
    account: AccountId,
    selected: &mut Selected,
    wire: &mut Wire,
) -> Result<(), Error> {
    if !selected.is_unread() {
        return Ok(());
    }
    let view = store.view(account, selected.mailbox).await?;
    let (mut gone, mut from) = (Vec::new(), selected.modseq);
    while from < view.state() {
        let news = match store.changes(account, from, CHANGES).await {
            Err(storage::Error::TooOld) => break,
            news => news?,
        };
        gone.extend(news.changes.iter().filter_map(|change| {
            let (uid, _) = change.message.filter(|_| change.mailbox == selected.mailbox)?;
            (change.kind == ChangeKind::MessageGone).then_some(uid)
        }));
        from = news.state;
        if !news.more {
            break;
        }
    }
    selected.read(view.uids(), &gone);
    select::say_keywords(wire, &view, selected.read_only);
    Ok(())
}

/// Finds out about lost rights, where the selected mailbox is another's and something happened there.
pub(crate) async fn look_again(session: &mut Session) -> Result<(), Error> {
    let shared = session.selected.as_mut().and_then(|selected| selected.shared.as_mut());
    let Some(shared) = shared else { return Ok(()) };
    let newest = shared.watch.seen();
    if newest <= shared.checked {
        return Ok(());
    }
    shared.checked = newest;
    // Boxed: few sessions do it, and all wait with what this function needs.
    Box::pin(sharing::look_again(session)).await
}

/// Tells the client what happened in its mailbox. With `expunge` false, messages that went keep their
/// numbers until the next time.
pub(crate) async fn tell(session: &mut Session, expunge: bool) -> Result<(), Error> {
    look_again(session).await?;
    if session.selected.is_none() {
        return Ok(());
    }
    let (account, _) = session.here()?;
    let newest = session.listen().map(Watch::seen).unwrap_or_default();
    let store = session.store();
    let Some(selected) = &mut session.selected else { return Ok(()) };
    if newest > selected.modseq {
        loop {
            let news = match store.changes(account, selected.modseq, CHANGES).await {
                Err(storage::Error::TooOld) => {
                    read_list(&store, account, selected, &mut session.wire).await?;
                    // The state first: what happens between the two is looked at twice, not missed.
                    let state = store.state(account).await?;
                    let rows = store.messages(account, selected.mailbox, &UidSet::all()).await?;
                    selected.look_again(&rows, state);
                    continue;
                }
                news => news?,
            };
            if news.changes.iter().any(|change| change.mailbox == selected.mailbox) {
                read_list(&store, account, selected, &mut session.wire).await?;
                selected.take_in(&news.changes);
            }
            selected.modseq = selected.modseq.max(news.state);
            if !news.more {
                break;
            }
        }
        selected.own.clear();
    }
    let by_uid = session.enabled.qresync || session.enabled.uid_only;
    // RFC 7162 §3.2.10, RFC 9586 §3.5: one line of UIDs instead of a line for each number.
    let vanished = if by_uid && expunge { selected.vanished() } else { Vec::new() };
    let leaving = if expunge { contexts::leave(selected) } else { Vec::new() };
    let shared = selected.shared(&store, account).await;
    let (mut gone, any_new) = selected.settle(expunge, shared);
    session.wire.out().extend_from_slice(&leaving);
    if by_uid {
        gone.clear();
    }
    let count = selected.len();
    if !vanished.is_empty() {
        session.wire.say(&format!("* VANISHED {}", encode::uid_runs(vanished)));
    }
    for number in gone {
        fetch::response(session.wire.out(), number, "EXPUNGE\r\n");
        session.wire.relieve().await?;
    }
    if any_new {
        session.wire.say(&format!("* {count} EXISTS"));
    }
    tell_flags(session).await?;
    if session.selected.as_ref().is_some_and(|selected| !selected.contexts.is_empty()) {
        // Boxed: few sessions keep results, and all wait with what this function needs.
        Box::pin(contexts::refresh(session)).await?;
    }
    Ok(())
}

async fn tell_flags(session: &mut Session) -> Result<(), Error> {
    let (account, mailbox) = session.here()?;
    let wanted = session.notify.as_ref().is_none_or(|notify| notify.tells_flags());
    let uids = if wanted { session.view()?.flagged() } else { Vec::new() };
    for uids in uids.chunks(ROWS) {
        let uids = uids.iter().copied().collect();
        let rows = session.store().messages(account, mailbox, &uids).await?;
        fetch::say_flags(session, &rows, true).await?;
    }
    if let Some(selected) = &mut session.selected {
        selected.flagged = Vec::new();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::EmailId;

    fn uid(n: u32) -> Uid {
        Uid::new(n).unwrap()
    }

    fn view(uids: &[u32]) -> Selected {
        let uids: Vec<Uid> = uids.iter().map(|n| uid(*n)).collect();
        Selected::new(MailboxId(1), false, uids.into(), ModSeq(10))
    }

    #[test]
    fn sets() {
        #[track_caller]
        fn check(uids: &[u32], set: &str, by_uid: bool, expect: Option<&[u32]>) {
            let view = view(uids);
            let set = crate::parse::Parser::new(set.as_bytes()).set().unwrap();
            let found = view.resolve(&set, by_uid).ok().map(|set| view.members(&set));
            let found = found.map(|uids| uids.into_iter().map(Uid::get).collect::<Vec<_>>());
            assert_eq!(found.as_deref(), expect, "{set:?}");
        }
        let uids = &[3, 5, 9, 20];
        check(uids, "1", false, Some(&[3]));
        check(uids, "2:3", false, Some(&[5, 9]));
        check(uids, "3:2,1", false, Some(&[3, 5, 9]));
        check(uids, "*", false, Some(&[20]));
        check(uids, "3:*", false, Some(&[9, 20]));
        check(uids, "5", false, None);
        check(uids, "1:5", false, None);
        check(uids, "4:10", true, Some(&[5, 9]));
        check(uids, "1:*", true, Some(uids));
        check(uids, "100:*", true, Some(&[20]));
        check(uids, "100", true, Some(&[]));
        check(uids, "20:4294967295", true, Some(&[20]));
        check(&[], "1:*", false, Some(&[]));
        check(&[], "*", false, Some(&[]));
        check(&[], "2", false, None);
        check(&[], "2:9", true, Some(&[]));
    }

    fn change(modseq: u64, kind: ChangeKind, mailbox: u32, n: u32) -> Change {
        let message = Some((uid(n), EmailId(n.into())));
        Change { modseq: ModSeq(modseq), kind, mailbox: MailboxId(mailbox), message }
    }

    #[test]
    fn numbers_follow_what_was_told() {
        use ChangeKind::{FlagsChanged, MessageAdded, MessageGone};
        let mut view = view(&[1, 2, 3, 4, 5]);
        view.take_in(&[
            change(11, MessageGone, 1, 4),
            change(11, MessageGone, 1, 2),
            change(12, MessageAdded, 1, 6),
            change(12, MessageAdded, 1, 7),
            change(13, MessageGone, 1, 6),
            change(13, MessageGone, 2, 1),
            change(14, FlagsChanged, 1, 4),
            change(14, FlagsChanged, 1, 5),
        ]);
        assert_eq!(view.settle(false, None), (vec![], true));
        assert_eq!(view.len(), 6, "what went still has its number");
        assert_eq!(view.number_of(uid(7)), Some(6));
        assert_eq!(view.settle(true, None), (vec![2, 3], false));
        assert_eq!(view.number_of(uid(7)), Some(4));
        assert_eq!(view.flagged(), [uid(5)]);
        assert_eq!(view.settle(true, None), (vec![], false));
    }

    #[test]
    fn a_list_that_is_read_later_is_as_it_was() {
        #[track_caller]
        fn check(there: &[u32], gone: &[u32], expect: &[u32], made_up: &[u32]) {
            let unread = Unread { count: 4, uid_next: Some(uid(9)) };
            let mut view = Selected { unread: Some(unread), ..view(&[]) };
            let uids = |of: &[u32]| of.iter().map(|n| uid(*n)).collect::<Vec<_>>();
            assert_eq!(view.len(), 4);
            view.read(uids(there).into(), &uids(gone));
            assert_eq!(*view.uids, uids(expect));
            assert_eq!(view.gone, uids(made_up));
            assert!(!view.is_unread());
        }
        check(&[2, 4, 6, 8], &[], &[2, 4, 6, 8], &[]);
        check(&[2, 4, 6, 8, 9], &[], &[2, 4, 6, 8], &[]);
        check(&[2, 8, 12], &[4, 6], &[2, 4, 6, 8], &[]);
        // It may be told as gone and still be there, and come and go after.
        check(&[2, 4, 6, 8], &[4, 10], &[2, 4, 6, 8], &[]);
        // The log has forgotten two: UIDs that no message has stand in for them.
        check(&[2, 8, 9], &[], &[1, 2, 3, 8], &[1, 3]);
        check(&[], &[8], &[1, 2, 3, 8], &[1, 2, 3]);
    }

    #[test]
    fn a_shared_list_is_taken_when_it_says_the_same() {
        #[track_caller]
        fn check(gone: &[u32], fresh: &[u32], expunge: bool, shared: &[u32], expect: bool) {
            let mut view = view(&[1, 2, 3]);
            view.gone = gone.iter().map(|n| uid(*n)).collect();
            view.fresh = fresh.iter().map(|n| uid(*n)).collect();
            let shared: Arc<Vec<Uid>> = Arc::new(shared.iter().map(|n| uid(*n)).collect());
            view.settle(expunge, Some(shared.clone()));
            assert_eq!(Arc::ptr_eq(&view.uids, &shared), expect);
        }
        check(&[2], &[4], true, &[1, 3, 4], true);
        check(&[], &[4], false, &[1, 2, 3, 4], true);
        // The client still counts message 2.
        check(&[2], &[4], false, &[1, 3, 4], false);
        check(&[], &[4], true, &[1, 2, 3, 4, 5], false);
    }

    fn row(n: u32, modseq: u64) -> Message {
        Message {
            uid: uid(n),
            email: EmailId(1),
            modseq: ModSeq(modseq),
            flags: types::Flags::default(),
            received_unix_s: 0,
            saved_unix_s: 0,
            size_bytes: 0,
        }
    }

    #[test]
    fn without_the_change_log_the_same_is_found() {
        let mut view = view(&[1, 2, 3, 4]);
        view.take_in(&[change(11, ChangeKind::MessageAdded, 1, 6)]);
        view.look_again(&[row(1, 9), row(3, 12), row(7, 13)], ModSeq(14));
        // The log from there on may tell some of it again.
        view.take_in(&[
            change(15, ChangeKind::MessageAdded, 1, 7),
            change(15, ChangeKind::MessageGone, 1, 2),
        ]);
        assert_eq!(view.settle(true, None), (vec![2, 3], true));
        assert_eq!(*view.uids, [uid(1), uid(3), uid(7)]);
        assert_eq!(view.flagged(), [uid(3)]);
        assert_eq!(view.modseq, ModSeq(14));
    }

    #[test]
    fn own_flags_are_told_once() {
        let mut view = view(&[1, 2]);
        view.told(&flagged(vec![row(1, 12), row(2, 9)], 11, 12));
        let log: Vec<_> = [(11, 1), (12, 1), (12, 2)]
            .map(|(m, n)| change(m, ChangeKind::FlagsChanged, 1, n))
            .into();
        view.take_in(&log[1..]);
        assert_eq!(view.flagged(), [uid(2)], "somebody else changed 2");
        view.take_in(&log[..1]);
        assert_eq!(view.flagged(), [uid(1), uid(2)], "somebody else changed 1 before");
    }

    fn flagged(rows: Vec<Message>, before: u64, after: u64) -> Flagged {
        let (before, after) = (ModSeq(before), ModSeq(after));
        Flagged { rows, modified: UidSet::new(), before, after }
    }

    #[test]
    fn the_log_is_not_asked_for_what_is_all_ones_own() {
        let mut view = view(&[1, 2]);
        let known = view.modseq;
        view.told(&flagged(vec![row(1, known.0 + 1)], known.0, known.0 + 1));
        assert_eq!(view.modseq, known.next());
        view.told(&flagged(vec![row(1, known.0 + 3)], known.0 + 2, known.0 + 3));
        assert_eq!(view.modseq, known.next(), "somebody else changed something");
    }
}
