//! Views and cached rows: what a reader gets is what the mailbox holds at one moment, whoever writes meanwhile, and
//! never older than what was answered before.
#![expect(clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on should stop")]

use crate::{EVERY, NOW_UNIX_S, Scene, figure, letter, uid, uids};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use storage::{Error, Letter, Message, Store};
use types::{AccountId, EmailId, Flag, FlagChange, Flags, Keyword, MailboxId, ModSeq, Uid, UidSet};

/// Numbers that are the same at every run for one seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }

    fn uids(&mut self, most: u32) -> UidSet {
        let most = most as usize + 1;
        let range = |random: &mut Self| {
            let first = u32::try_from(random.below(most) + 1).unwrap();
            (uid(first), uid(first + u32::try_from(random.below(4)).unwrap()))
        };
        UidSet::from_ranges((0..=self.below(3)).map(|_| range(self)).collect::<Vec<_>>())
    }

    fn flags(&mut self) -> Flags {
        let mut flags = Flags::default();
        for flag in Flag::ALL {
            if self.below(3) == 0 {
                flags.insert(flag);
            }
        }
        if self.below(2) == 0 {
            flags.insert_keyword(Keyword::new(["$a", "b", "Work"][self.below(3)]).unwrap());
        }
        flags
    }
}

/// A message as the test knows it; not all answers tell a MODSEQ.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    email: EmailId,
    flags: Flags,
    received_unix_s: i64,
    modseq: Option<ModSeq>,
}

type Contents = [BTreeMap<Uid, Known>; 2];

/// What the two mailboxes held after each change.
struct History {
    mailboxes: [MailboxId; 2],
    moments: Mutex<Vec<Contents>>,
    /// Changes that were begun, and those that were answered.
    begun: AtomicUsize,
    answered: AtomicUsize,
    letters: AtomicUsize,
}

struct Writer {
    store: Store,
    account: AccountId,
    history: Arc<History>,
    now: Contents,
    random: Random,
}

impl Writer {
    async fn work(mut self, changes: usize) {
        for _ in 0..changes {
            self.history.begun.fetch_add(1, Ordering::SeqCst);
            self.change().await;
            self.history.moments.lock().unwrap().push(self.now.clone());
            self.history.answered.fetch_add(1, Ordering::SeqCst);
            if self.random.below(4) == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn change(&mut self) {
        let at = self.random.below(2);
        let mailbox = self.history.mailboxes[at];
        let last = self.now[at].keys().last().map_or(1, |uid| uid.get());
        let some = self.random.uids(last);
        match self.random.below(10) {
            0..=3 => self.append(at, mailbox).await,
            4..=6 => {
                let change = match self.random.below(3) {
                    0 => FlagChange::Add(self.random.flags()),
                    1 => FlagChange::Remove(self.random.flags()),
                    _ => FlagChange::Replace(self.random.flags()),
                };
                let stored = self.store.store_flags(self.account, mailbox, some, change, None);
                for row in stored.await.unwrap().rows {
                    let known = self.now[at].get_mut(&row.uid).unwrap();
                    (known.flags, known.modseq) = (row.flags, Some(row.modseq));
                }
            }
            7 => {
                let to = self.history.mailboxes[1 - at];
                let copied = self.store.copy(self.account, mailbox, some, to).await.unwrap();
                for (from, to) in copied.uids {
                    let known = Known { modseq: None, ..self.now[at][&from].clone() };
                    self.now[1 - at].insert(to, known);
                }
            }
            _ => {
                for uid in self.store.remove(self.account, mailbox, some).await.unwrap().iter() {
                    self.now[at].remove(&uid);
                }
            }
        }
    }

    async fn append(&mut self, at: usize, mailbox: MailboxId) {
        let flags = self.random.flags();
        // Far from the time of storing, too.
        let received_unix_s =
            [NOW_UNIX_S, -62_000_000_000, 253_000_000_000, 0][self.random.below(4)];
        let n = self.history.letters.load(Ordering::SeqCst) + 1;
        let raw = Letter::parse(letter(u32::try_from(n).unwrap()).into());
        let received = Some(received_unix_s);
        let arrived =
            self.store.append(self.account, mailbox, raw, flags.clone(), received).await.unwrap();
        self.history.letters.store(n, Ordering::SeqCst);
        let modseq = Some(arrived.modseq);
        let known = Known { email: arrived.email, flags, received_unix_s, modseq };
        self.now[at].insert(arrived.uid, known);
    }
}

/// What a reader saw, and between which changes.
struct Seen {
    from: usize,
    to: usize,
    what: Saw,
}

enum Saw {
    Rows(usize, UidSet, Vec<Message>),
    Emails(Vec<EmailId>, BTreeSet<EmailId>),
}

impl Seen {
    /// The first moment from `after` on at which it was so.
    fn moment(&self, moments: &[Contents], after: usize) -> Option<usize> {
        let holds = |now: &Contents| match &self.what {
            Saw::Rows(at, uids, rows) => {
                let expect = now[*at].iter().filter(|(uid, _)| uids.contains(**uid));
                rows.len() == expect.clone().count()
                    && rows.iter().zip(expect).all(|(row, (uid, known))| {
                        let same = (row.uid, row.email, &row.flags, row.received_unix_s);
                        same == (*uid, known.email, &known.flags, known.received_unix_s)
                            && known.modseq.is_none_or(|modseq| modseq == row.modseq)
                    })
            }
            Saw::Emails(asked, found) => {
                let there: BTreeSet<EmailId> =
                    now.iter().flat_map(BTreeMap::values).map(|known| known.email).collect();
                asked.iter().all(|id| there.contains(id) == found.contains(id))
            }
        };
        (self.from.max(after)..=self.to).find(|at| moments.get(*at).is_some_and(holds))
    }
}

async fn look(store: &Store, account: AccountId, history: &History, random: &mut Random) -> Saw {
    let at = random.below(2);
    let mailbox = history.mailboxes[at];
    let letters = history.letters.load(Ordering::SeqCst);
    let some = random.uids(u32::try_from(letters).unwrap());
    match random.below(4) {
        0 => {
            let view = store.view(account, mailbox).await.unwrap();
            let rows: Vec<Message> = view.entries().map(|entry| entry.to_row()).collect();
            let unseen = |row: &Message| !row.flags.contains(Flag::Seen);
            assert_eq!(view.mailbox().total, rows.len() as u64);
            assert_eq!(view.mailbox().unseen, rows.iter().filter(|r| unseen(r)).count() as u64);
            assert_eq!(view.first_unseen(), rows.iter().position(unseen));
            assert!(view.state() >= view.mailbox().modseq);
            assert!(rows.iter().all(|row| row.modseq <= view.mailbox().modseq));
            Saw::Rows(at, UidSet::all(), rows)
        }
        1 => {
            let rows = store.messages(account, mailbox, &some).await.unwrap();
            Saw::Rows(at, some, rows)
        }
        2 => {
            let listed = store.list(account, mailbox, &some).await.unwrap();
            for (row, email) in &listed {
                assert_eq!((row.email, row.size_bytes), (email.id, email.size_bytes));
            }
            Saw::Rows(at, some, listed.into_iter().map(|(row, _)| row).collect())
        }
        _ => {
            let asked: Vec<EmailId> = (1..=letters as u64).map(EmailId).collect();
            let found = store.emails(account, &asked).await.unwrap();
            Saw::Emails(asked, found.into_iter().map(|email| email.id).collect())
        }
    }
}

async fn read_until_done(
    store: Store,
    account: AccountId,
    history: Arc<History>,
    changes: usize,
    seed: u64,
) -> Vec<Seen> {
    let mut random = Random(seed);
    let mut all = Vec::new();
    loop {
        let from = history.answered.load(Ordering::SeqCst);
        let what = look(&store, account, &history, &mut random).await;
        let to = history.begun.load(Ordering::SeqCst);
        all.push(Seen { from, to, what });
        if from == changes {
            return all;
        }
        tokio::task::yield_now().await;
    }
}

/// One writes, three read: each answer is the truth of a moment not before its question, and later answers are not
/// of earlier moments.
async fn one_writes_others_read(index: &str, cache_bytes: u64, changes: usize) {
    let mut scene = Scene::on(index).await;
    scene.options.cache_bytes = cache_bytes;
    let scene = scene.reopen().await;
    let mailboxes = [scene.inbox().await.id, scene.named("Archive").await.id];
    let history = Arc::new(History {
        mailboxes,
        moments: Mutex::new(vec![Contents::default()]),
        begun: AtomicUsize::new(0),
        answered: AtomicUsize::new(0),
        letters: AtomicUsize::new(0),
    });
    let (store, account) = (scene.store.clone(), scene.alice);
    let readers: Vec<_> = (1..=3)
        .map(|seed| {
            let (store, history) = (store.clone(), history.clone());
            tokio::spawn(read_until_done(store, account, history, changes, seed))
        })
        .collect();
    let (now, random) = (Contents::default(), Random(7));
    Writer { store, account, history: history.clone(), now, random }.work(changes).await;
    let moments = history.moments.lock().unwrap().clone();
    assert_eq!(moments.len(), changes + 1);
    for reader in readers {
        let mut last = 0;
        for (number, seen) in reader.await.unwrap().iter().enumerate() {
            let (from, to) = (seen.from, seen.to);
            let moment = seen.moment(&moments, last);
            last = moment.unwrap_or_else(|| {
                panic!("{index}: answer {number} is of no moment between {from} and {to}")
            });
        }
    }
    scene.check_counters().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stale_view_is_never_served() {
    for index in EVERY {
        let changes = if index == "sqlite:" { 600 } else { 200 };
        one_writes_others_read(index, 64 << 20, changes).await;
    }
}

/// The same with a cache that forgets most, and with none.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nor_with_a_small_cache() {
    for cache_bytes in [0, 100_000] {
        one_writes_others_read("sqlite:", cache_bytes, 300).await;
    }
}

#[tokio::test]
async fn what_did_not_change_is_not_read_again() {
    for index in ["sqlite:", "memory:"] {
        let scene = Scene::on(index).await;
        for n in 1..=20 {
            scene.deliver(&letter(n)).await;
        }
        let (store, inbox) = (&scene.store, scene.inbox().await.id);
        let hits =
            |kind: &str| figure(store, &format!("storage_cache_hits_total{{kind=\"{kind}\"}}"));
        let first = store.view(scene.alice, inbox).await.unwrap();
        assert!(Arc::ptr_eq(&first, &store.view(scene.alice, inbox).await.unwrap()));
        // Changes elsewhere leave it as it is.
        let sent = scene.named("Sent").await.id;
        let raw = Letter::parse(letter(21).into());
        let arrived = store.append(scene.alice, sent, raw, Flags::default(), None).await.unwrap();
        let again = store.view(scene.alice, inbox).await.unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(again.state(), arrived.modseq);
        assert_eq!(hits("views"), 2);
        let before = hits("rows");
        for _ in 0..2 {
            let listed = store.list(scene.alice, inbox, &UidSet::all()).await.unwrap();
            let subjects: Vec<_> = listed
                .iter()
                .map(|(_, email)| email.index.envelope.subject.clone().unwrap())
                .collect();
            assert_eq!(subjects, (1..=20).map(|n| format!("letter {n}")).collect::<Vec<_>>());
        }
        assert_eq!(hits("rows") - before, 20);
        // A newer view is another one; who holds the old one keeps it.
        scene.deliver(&letter(22)).await;
        assert_eq!(store.view(scene.alice, inbox).await.unwrap().len(), 21);
        assert_eq!(first.len(), 20);
    }
}

#[tokio::test]
async fn a_glance_reads_no_more_than_it_may() {
    for index in ["sqlite:", "memory:"] {
        let scene = Scene::on(index).await;
        for n in 1..=3 {
            scene.deliver(&letter(n)).await;
        }
        let glance = async |most| {
            let glance = scene.store.glance(scene.alice, "inbox", most).await.unwrap();
            assert_eq!(glance.mailbox, scene.inbox().await);
            assert_eq!(glance.state, scene.store.state(scene.alice).await.unwrap());
            glance.view.map(|view| view.len())
        };
        assert_eq!(glance(2).await, None);
        assert_eq!(glance(3).await, Some(3));
        // What has been read needs little more after a change.
        scene.deliver(&letter(4)).await;
        assert_eq!(glance(0).await, Some(4));
        let other = scene.store.glance(scene.alice, "Nowhere", 9).await;
        assert!(matches!(other, Err(Error::NoMailbox)));
    }
}

#[tokio::test]
async fn the_cache_keeps_its_bound() {
    let mut scene = Scene::new().await;
    let bound_bytes = 300_000;
    scene.options.cache_bytes = bound_bytes;
    let scene = scene.reopen().await;
    let inbox = scene.inbox().await.id;
    let raw = |n| format!("{}{}", letter(n), "x".repeat(5_000));
    for n in 1..=100 {
        scene.deliver(&raw(n)).await;
        let view = scene.store.view(scene.alice, inbox).await.unwrap();
        let newest: UidSet = view.uids().iter().rev().take(10).copied().collect();
        let listed = scene.store.list(scene.alice, inbox, &newest).await.unwrap();
        for (row, email) in &listed {
            let range = scene.store.range(email, 0..10).await.unwrap();
            assert_eq!(&range[..], b"From: Bob ");
            assert_eq!(scene.raw(row).await.len(), row.size_bytes as usize);
        }
        assert!(figure(&scene.store, "storage_cache_bytes") <= bound_bytes);
    }
    assert!(figure(&scene.store, "storage_cache_bytes") > bound_bytes / 2);
    for kind in ["letters", "rows", "views"] {
        let hits = figure(&scene.store, &format!("storage_cache_hits_total{{kind=\"{kind}\"}}"));
        assert!(hits > 0, "no hits of {kind}");
    }
}

#[tokio::test]
async fn ranges_of_many_letters_come_in_the_order_asked() {
    for index in EVERY {
        let scene = Scene::on(index).await;
        let large = format!("Subject: large\r\n\r\n{}", "y".repeat(2_000_000));
        let raws = [letter(1), large, letter(3)];
        for raw in &raws {
            scene.deliver(raw).await;
        }
        let inbox = scene.inbox().await.id;
        let listed = scene.store.list(scene.alice, inbox, &UidSet::all()).await.unwrap();
        let wanted = [
            (2, 0..5),
            (1, 1_000_000..1_000_010),
            (1, 0..2_000_018),
            (0, 3..9),
            (0, Range { start: 9, end: 4 }),
        ];
        for _ in 0..2 {
            let asked = wanted.iter().map(|(at, range)| (listed[*at].1.clone(), range.clone()));
            let found = scene.store.ranges(asked.collect()).await.unwrap();
            for ((at, range), bytes) in wanted.iter().zip(found) {
                let range = range.start as usize..(range.end as usize).max(range.start as usize);
                let expect = raws[*at].as_bytes().get(range).unwrap();
                assert!(bytes.unwrap() == expect, "{index} {at}");
            }
        }
        let gone = scene.store.view(scene.alice, MailboxId(99)).await;
        assert!(matches!(gone, Err(Error::NoMailbox)));
        let ids: Vec<EmailId> = listed.iter().map(|(row, _)| row.email).collect();
        scene.store.remove(scene.alice, inbox, uids(&[2])).await.unwrap();
        let left = scene.store.emails(scene.alice, &ids).await.unwrap();
        assert_eq!(left.iter().map(|email| email.id).collect::<Vec<_>>(), [ids[0], ids[2]]);
        let homes = scene.store.homes_of(scene.alice, &ids).await.unwrap();
        assert_eq!(homes.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 1]);
    }
}
