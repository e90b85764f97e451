//! The messages of a mailbox at one moment, 40 bytes each, shared by all who look at it.
//!
//! A view never changes. A newer one is made from it and the change log, so that a mailbox is read from one end to
//! the other only once; whatever the log cannot tell, and every doubt, ends in reading it anew.

use crate::Result;
use crate::watch::Moment;
use db::{AccountRow, MailboxRow, MessageRef, MessageRow, Read};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use types::{EmailId, Flag, Flags, ModSeq, Uid, UidSet};

/// A mailbox and its messages at one moment, ascending by UID.
#[derive(Debug)]
pub struct View {
    mailbox: MailboxRow,
    uids: Arc<Vec<Uid>>,
    /// For each its place in `sets`.
    flags: Vec<u32>,
    rest: Vec<Rest>,
    sets: Vec<Flags>,
    sums: Sums,
    /// SAVEDATE where it is too far from INTERNALDATE; ascending.
    far_saved: Vec<(Uid, i64)>,
    /// The account's MODSEQ when it was last known to be so.
    state: AtomicU64,
    moment: AtomicU64,
}

/// What is left of a message.
#[derive(Debug, Clone, Copy)]
struct Rest {
    email: EmailId,
    modseq: ModSeq,
    received_unix_s: i64,
    size_bytes: u32,
    /// Seconds from INTERNALDATE to SAVEDATE; [`FAR`]: they stand in `far_saved`.
    saved_after_s: i32,
}

const FAR: i32 = i32::MIN;

/// One message of a view.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    pub uid: Uid,
    pub email: EmailId,
    pub modseq: ModSeq,
    pub flags: &'a Flags,
    pub received_unix_s: i64,
    pub saved_unix_s: i64,
    pub size_bytes: u32,
}

impl Entry<'_> {
    pub fn to_row(&self) -> MessageRow {
        MessageRow {
            uid: self.uid,
            email: self.email,
            modseq: self.modseq,
            flags: self.flags.clone(),
            received_unix_s: self.received_unix_s,
            saved_unix_s: self.saved_unix_s,
            size_bytes: self.size_bytes,
        }
    }
}

impl View {
    /// The mailbox with its counters.
    pub fn mailbox(&self) -> &MailboxRow {
        &self.mailbox
    }

    /// The account's MODSEQ up to which nothing is missing here.
    pub fn state(&self) -> ModSeq {
        ModSeq(self.state.load(Ordering::Relaxed))
    }

    pub fn len(&self) -> usize {
        self.uids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.uids.is_empty()
    }

    /// Ascending; a message's number is its place, counted from 1.
    pub fn uids(&self) -> Arc<Vec<Uid>> {
        self.uids.clone()
    }

    pub fn get(&self, at: usize) -> Option<Entry<'_>> {
        let uid = *self.uids.get(at)?;
        let rest = self.rest.get(at)?;
        let set = usize::try_from(*self.flags.get(at)?).ok()?;
        let saved_unix_s = match rest.saved_after_s {
            FAR => {
                let found = self.far_saved.binary_search_by_key(&uid, |(uid, _)| *uid).ok()?;
                self.far_saved.get(found)?.1
            }
            near => rest.received_unix_s + i64::from(near),
        };
        Some(Entry {
            uid,
            email: rest.email,
            modseq: rest.modseq,
            flags: self.sets.get(set)?,
            received_unix_s: rest.received_unix_s,
            saved_unix_s,
            size_bytes: rest.size_bytes,
        })
    }

    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    /// Those whose UID is in the set.
    pub fn members<'a>(&'a self, uids: &'a UidSet) -> impl Iterator<Item = Entry<'a>> {
        let places = uids.ranges().iter().flat_map(|range| self.places(*range));
        places.filter_map(|at| self.get(at))
    }

    fn places(&self, (first, last): (Uid, Uid)) -> Range<usize> {
        let from = self.uids.partition_point(|uid| *uid < first);
        from..self.uids.partition_point(|uid| *uid <= last).max(from)
    }

    /// The place of the first message without `\Seen`.
    pub fn first_unseen(&self) -> Option<usize> {
        let unseen: Vec<bool> = self.sets.iter().map(|set| !set.contains(Flag::Seen)).collect();
        let is_unseen = |set: &u32| unseen.get(*set as usize).copied().unwrap_or_default();
        if self.mailbox.unseen == 0 { None } else { self.flags.iter().position(is_unseen) }
    }

    /// The different flags that messages have, in no particular order.
    pub fn flags_in_use(&self) -> Vec<&Flags> {
        let mut used = vec![false; self.sets.len()];
        for set in &self.flags {
            if let Some(used) = used.get_mut(*set as usize) {
                *used = true;
            }
        }
        self.sets.iter().zip(used).filter_map(|(set, used)| used.then_some(set)).collect()
    }

    /// Memory it takes, about.
    pub(crate) fn weight_bytes(&self) -> usize {
        let sets = self.sets.iter().map(|set| {
            let keywords = set.keywords().iter().map(|keyword| 40 + keyword.as_str().len());
            size_of::<Flags>() + keywords.sum::<usize>()
        });
        size_of::<Self>()
            + self.mailbox.name.len()
            + self.len() * (size_of::<Uid>() + size_of::<u32>() + size_of::<Rest>())
            + self.far_saved.len() * size_of::<(Uid, i64)>()
            + sets.sum::<usize>()
    }

    /// Whether it was known to be right at that moment.
    pub(crate) fn is_of(&self, moment: Moment) -> bool {
        self.moment.load(Ordering::Acquire) == moment.0
    }

    /// It was still right at that moment, and up to that state of the account.
    fn holds(&self, moment: Moment, state: ModSeq) {
        // First the state: whoever finds the moment must not find an older state with it.
        self.state.fetch_max(state.0, Ordering::Relaxed);
        self.moment.fetch_max(moment.0, Ordering::AcqRel);
    }
}

/// A mailbox as a snapshot of the index has it.
pub(crate) struct Now<'a> {
    pub(crate) read: &'a dyn Read,
    pub(crate) account: &'a AccountRow,
    pub(crate) mailbox: MailboxRow,
    pub(crate) moment: Moment,
}

impl Now<'_> {
    /// The view of now; from an older one, if that is quicker than reading all.
    pub(crate) fn view(&self, older: Option<Arc<View>>) -> Result<Arc<View>> {
        match self.near(older)? {
            Some(view) => Ok(view),
            None => Ok(Arc::new(self.whole()?)),
        }
    }

    /// The same; `None` when there is no older one that is near enough.
    pub(crate) fn near(&self, older: Option<Arc<View>>) -> Result<Option<Arc<View>>> {
        let Some(older) = older else { return Ok(None) };
        if older.mailbox == self.mailbox {
            older.holds(self.moment, self.account.modseq);
            return Ok(Some(older));
        }
        Ok(self.forward(&older)?.map(Arc::new))
    }

    fn whole(&self) -> Result<View> {
        let mut building = Building::default();
        building.reserve(usize::try_from(self.mailbox.total).unwrap_or_default());
        self.scan(&UidSet::all(), &mut |row| building.push(row))?;
        Ok(building.finish(self))
    }

    fn scan(&self, uids: &UidSet, each: &mut dyn FnMut(&MessageRef<'_>)) -> Result<()> {
        let (account, mailbox) = (self.account.id, self.mailbox.id);
        Ok(self.read.scan_messages(account, mailbox, uids, &mut |row| each(&row))?)
    }

    /// `None`: too much has happened, or what happened is not known.
    fn forward(&self, older: &View) -> Result<Option<View>> {
        let (since, id) = (older.state(), self.mailbox.id);
        let most = FEW_CHANGES + older.len() / WORTH;
        if since < self.account.changes_floor || older.sets.len() > older.len() + MANY_SETS {
            return Ok(None);
        }
        let changes = self.read.changes(self.account.id, since, most)?;
        if changes.len() >= most {
            return Ok(None);
        }
        let here = changes.iter().filter(|change| change.mailbox == id);
        let touched: UidSet = here.filter_map(|change| Some(change.message?.0)).collect();
        let mut building = Building::of(older);
        building.reserve(older.len() + changes.len());
        let mut fresh =
            Building { sets: std::mem::take(&mut building.sets), ..Building::default() };
        self.scan(&touched, &mut |row| fresh.push(row))?;
        building.sets = std::mem::take(&mut fresh.sets);
        building.merge(older, &fresh, &touched);
        let fits = building.sums == Sums::of(&self.mailbox);
        Ok(fits.then(|| building.finish(self)))
    }
}

/// So many changes are always worth a look.
const FEW_CHANGES: usize = 256;
/// And a change for so many messages: to look one up costs about as much as to read a few in a row.
const WORTH: usize = 4;
/// Sets of flags nobody uses any more that are carried along.
const MANY_SETS: usize = 256;

/// What the counters of a mailbox say, worked out from its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sums {
    total: u64,
    unseen: u64,
    deleted: u64,
    size_bytes: u64,
}

impl Sums {
    fn of(mailbox: &MailboxRow) -> Self {
        let MailboxRow { total, unseen, deleted, size_bytes, .. } = *mailbox;
        Self { total, unseen, deleted, size_bytes }
    }

    fn one(flags: &Flags, size_bytes: u32) -> Self {
        Self {
            total: 1,
            unseen: u64::from(!flags.contains(Flag::Seen)),
            deleted: u64::from(flags.contains(Flag::Deleted)),
            size_bytes: size_bytes.into(),
        }
    }

    fn with(self, other: Self, add: fn(u64, u64) -> u64) -> Self {
        Self {
            total: add(self.total, other.total),
            unseen: add(self.unseen, other.unseen),
            deleted: add(self.deleted, other.deleted),
            size_bytes: add(self.size_bytes, other.size_bytes),
        }
    }
}

/// A view in the making.
#[derive(Default)]
struct Building {
    uids: Vec<Uid>,
    flags: Vec<u32>,
    rest: Vec<Rest>,
    far_saved: Vec<(Uid, i64)>,
    sets: Sets,
    sums: Sums,
}

/// Flags that messages have, each once.
#[derive(Default)]
struct Sets {
    list: Vec<Flags>,
    plain: Places,
    worded: HashMap<String, Places>,
}

/// Places in the list, by system flags.
type Places = [Option<u32>; 32];

impl Sets {
    fn of(list: &[Flags]) -> Self {
        let mut sets = Self { list: list.to_vec(), ..Self::default() };
        for (at, set) in (0..).zip(list) {
            let words: Vec<&str> = set.keywords().iter().map(types::Keyword::as_str).collect();
            let words = (!words.is_empty()).then(|| words.join(" "));
            sets.remember(words.as_deref(), set.bits(), at);
        }
        sets
    }

    fn remember(&mut self, keywords: Option<&str>, system: u8, at: u32) {
        let places = match keywords {
            None => &mut self.plain,
            Some(words) => self.worded.entry(words.to_owned()).or_default(),
        };
        if let Some(place) = places.get_mut(usize::from(system)) {
            *place = Some(at);
        }
    }

    fn place(&mut self, row: &MessageRef<'_>) -> u32 {
        let places = match row.keywords {
            None => Some(&self.plain),
            Some(words) => self.worded.get(words),
        };
        let known = places.and_then(|places| *places.get(usize::from(row.system))?);
        known.unwrap_or_else(|| {
            let next = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
            self.list.push(row.flags());
            self.remember(row.keywords, row.system, next);
            next
        })
    }

    fn get(&self, at: u32) -> Option<&Flags> {
        self.list.get(at as usize)
    }
}

impl Building {
    fn of(older: &View) -> Self {
        Self { sets: Sets::of(&older.sets), sums: older.sums, ..Self::default() }
    }

    fn reserve(&mut self, count: usize) {
        self.uids.reserve(count);
        self.flags.reserve(count);
        self.rest.reserve(count);
    }

    fn push(&mut self, row: &MessageRef<'_>) {
        let set = self.sets.place(row);
        if let Some(flags) = self.sets.get(set) {
            self.sums = self.sums.with(Sums::one(flags, row.size_bytes), u64::saturating_add);
        }
        let after_s = row.saved_unix_s.checked_sub(row.received_unix_s);
        let near = after_s.and_then(|after_s| i32::try_from(after_s).ok());
        let saved_after_s = near.filter(|near| *near != FAR).unwrap_or_else(|| {
            self.far_saved.push((row.uid, row.saved_unix_s));
            FAR
        });
        self.uids.push(row.uid);
        self.flags.push(set);
        self.rest.push(Rest {
            email: row.email,
            modseq: row.modseq,
            received_unix_s: row.received_unix_s,
            size_bytes: row.size_bytes,
            saved_after_s,
        });
    }

    /// All of the older view but what was touched, and the fresh rows in between.
    fn merge(&mut self, older: &View, fresh: &Self, touched: &UidSet) {
        let (mut from, mut fresh_from) = (0, 0);
        for range in touched.ranges() {
            let places = older.places(*range);
            self.copy(&older.uids, &older.flags, &older.rest, from..places.start);
            let fresh_to = fresh.uids.partition_point(|uid| *uid <= range.1);
            self.copy(&fresh.uids, &fresh.flags, &fresh.rest, fresh_from..fresh_to);
            for gone in places.clone().filter_map(|at| older.get(at)) {
                let one = Sums::one(gone.flags, gone.size_bytes);
                self.sums = self.sums.with(one, u64::saturating_sub);
            }
            (from, fresh_from) = (places.end, fresh_to);
        }
        self.copy(&older.uids, &older.flags, &older.rest, from..older.len());
        self.sums = self.sums.with(fresh.sums, u64::saturating_add);
        let kept = older.far_saved.iter().filter(|(uid, _)| !touched.contains(*uid));
        self.far_saved = kept.chain(&fresh.far_saved).copied().collect();
        self.far_saved.sort_unstable();
    }

    fn copy(&mut self, uids: &[Uid], flags: &[u32], rest: &[Rest], range: Range<usize>) {
        self.uids.extend_from_slice(uids.get(range.clone()).unwrap_or_default());
        self.flags.extend_from_slice(flags.get(range.clone()).unwrap_or_default());
        self.rest.extend_from_slice(rest.get(range).unwrap_or_default());
    }

    fn finish(self, now: &Now<'_>) -> View {
        View {
            mailbox: now.mailbox.clone(),
            uids: Arc::new(self.uids),
            flags: self.flags,
            rest: self.rest,
            sets: self.sets.list,
            sums: self.sums,
            far_saved: self.far_saved,
            state: AtomicU64::new(now.account.modseq.0),
            moment: AtomicU64::new(now.moment.0),
        }
    }
}
