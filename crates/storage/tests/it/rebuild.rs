//! The index is derived: thrown away, it comes back from the log, the same in everything anybody can ask.

#![expect(clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

use crate::dump::{Letters, dump};
use crate::{Folder, NOW_UNIX_S, copy_folder, letter};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use storage::{Account, Error, Letter, Options, Patch, Store, Target};
use types::{
    AccountId, Date, EmailId, Flag, FlagChange, Flags, MailboxId, ManualClock, SpecialUse, Uid,
    UidSet,
};

struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    fn of<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len())]
    }
}

fn options(folder: &Path) -> Options {
    Options { segment_bytes: 20_000, ..Options::in_folder(folder) }
}

/// Letters that answer one another, in threads over several mailboxes.
fn raw(n: usize, dice: &mut Dice) -> String {
    let answered = dice.below(n + 1);
    format!(
        "From: bob@example.test\r\nSubject: {n}\r\nMessage-ID: <{n}@example.test>\r\n\
         In-Reply-To: <{answered}@example.test>\r\nDate: {}\r\n\r\n{}\r\n",
        Date::from_unix_s(NOW_UNIX_S).rfc5322(),
        "some words of it ".repeat(dice.below(60))
    )
}

/// A random life of two accounts; each kind of change happens many times.
async fn live(store: &Store, clock: &ManualClock, steps: usize) {
    let mut dice = Dice(0x5EED);
    let mut people = Vec::new();
    for key in ["alice@example.test", "bob@example.test"] {
        people.push(store.put_account(key, "$first").await.unwrap());
    }
    for n in 0..steps {
        clock.advance_ms(i64::try_from(dice.below(5_000)).unwrap());
        let account = *dice.of(&people);
        let boxes = store.mailboxes(account).await.unwrap();
        let (at, to) = (dice.of(&boxes).clone(), dice.of(&boxes).id);
        let rows = store.messages(account, at.id, &UidSet::all()).await.unwrap();
        if rows.is_empty() || dice.below(3) == 0 {
            arrive(store, &people, account, at.id, n, &mut dice).await;
            continue;
        }
        let uids: UidSet = (0..3).map(|_| dice.of(&rows).uid).collect();
        let email = dice.of(&rows).email;
        change(store, account, (at.id, to), uids, email, &mut dice).await;
        if dice.below(12) == 0 {
            rearrange(store, account, n, &mut dice).await;
        }
    }
    store.put_account("alice@example.test", "$second").await.unwrap();
}

async fn arrive(
    store: &Store,
    people: &[AccountId],
    account: AccountId,
    mailbox: MailboxId,
    n: usize,
    dice: &mut Dice,
) {
    let letter = Letter::parse(raw(n, dice).into());
    if dice.below(6) == 0 {
        let more = (0..dice.below(4)).map(|_| Letter::parse(raw(n, dice).into()));
        let all = [letter].into_iter().chain(more).map(|letter| (letter, Flags::default(), None));
        let all: Vec<_> = all.collect();
        store.append_all(account, mailbox, all).await.unwrap();
    } else if dice.below(3) == 0 {
        let all = people.iter().map(|account| Target::inbox(*account)).collect();
        store.deliver(letter, all).await.unwrap();
    } else {
        let mut flags = Flags::new(if n.is_multiple_of(2) { &[Flag::Seen] } else { &[] });
        assert!(flags.insert_name(&format!("$nr{}", n % 5)));
        let old = Some(NOW_UNIX_S - i64::try_from(n).unwrap() * 1_000);
        store.append(account, mailbox, letter, flags, old).await.unwrap();
    }
}

async fn change(
    store: &Store,
    account: AccountId,
    (at, to): (MailboxId, MailboxId),
    uids: UidSet,
    email: EmailId,
    dice: &mut Dice,
) {
    let flags = Flags::new(&[*dice.of(&[Flag::Seen, Flag::Flagged, Flag::Deleted])]);
    match dice.below(8) {
        0 => drop(store.copy(account, at, uids, to).await.unwrap()),
        1 => drop(store.move_messages(account, at, uids, to).await.unwrap()),
        2 => drop(store.expunge(account, at, uids).await.unwrap()),
        3 => drop(store.remove(account, at, uids).await.unwrap()),
        4 => {
            let patch =
                Patch { flags: Some(FlagChange::Add(flags)), mailboxes: Some(vec![at, to]) };
            store.patch_email(account, email, patch).await.unwrap();
        }
        5 if dice.below(4) == 0 => {
            store.destroy_email(account, email).await.unwrap();
        }
        6 => {
            let change = FlagChange::Replace(flags);
            drop(store.store_flags(account, at, uids, change, None).await.unwrap());
        }
        _ => {
            let change = FlagChange::Add(flags);
            drop(store.store_flags(account, at, uids, change, None).await.unwrap());
        }
    }
}

async fn rearrange(store: &Store, account: AccountId, n: usize, dice: &mut Dice) {
    let boxes = store.mailboxes(account).await.unwrap();
    let own: Vec<_> = boxes.iter().filter(|row| row.special_use.is_none()).collect();
    let name = format!("Dom/{n}");
    match (dice.below(5), own.is_empty()) {
        (0, false) => {
            // One with others below it stays.
            let gone = store.delete_mailbox(account, dice.of(&own).id).await;
            assert!(matches!(gone, Ok(()) | Err(Error::MailboxFixed(_))), "{gone:?}");
        }
        (1, false) => {
            let moved = store.rename_mailbox(account, dice.of(&own).id, &name).await;
            assert!(matches!(moved, Ok(()) | Err(Error::MailboxFixed(_))), "{moved:?}");
        }
        (2, _) => {
            let row = dice.of(&boxes);
            store.subscribe_mailbox(account, row.id, !row.subscribed).await.unwrap();
        }
        (3, _) if n.is_multiple_of(3) => {
            let inbox = boxes.iter().find(|row| row.special_use == Some(SpecialUse::Inbox));
            store.rename_mailbox(account, inbox.unwrap().id, &name).await.unwrap();
        }
        _ => drop(store.create_mailbox(account, &name, None).await.unwrap()),
    }
}

/// The dump, and the rows of the accounts with all that is in them.
async fn all(store: &Store) -> ((String, Letters), Vec<Account>) {
    let dump = dump(store).await;
    (dump, store.index().read().unwrap().accounts().unwrap())
}

#[tokio::test]
async fn a_rebuilt_index_is_the_one_that_was_lost() {
    let folder = Folder::new();
    let clock = Arc::new(ManualClock::at_unix_s(NOW_UNIX_S));
    let store = Store::open(&options(folder.path()), clock.clone()).unwrap();
    live(&store, &clock, 300).await;
    let early = all(&store).await;
    assert!(early.0.0.lines().count() > 400, "{}", early.0.0);
    compare(folder.path(), &early, &clock).await;
    // Packed, with dead letters given up, and then some more.
    store.pack().await.unwrap();
    live(&store, &clock, 200).await;
    store.pack().await.unwrap();
    compare(folder.path(), &all(&store).await, &clock).await;
}

/// Opens copies of the running store's folder, without its index and with parts of it.
async fn compare(
    folder: &Path,
    live: &((String, Letters), Vec<Account>),
    clock: &Arc<ManualClock>,
) {
    let (sqlite, wal) = ("index.sqlite", "index.sqlite-wal");
    for (lost, index) in [
        (vec![sqlite, wal, "index.sqlite-shm"], "sqlite:"),
        (vec![sqlite], "sqlite:"),
        (vec![], "sqlite:"),
        (vec![], "memory:"),
    ] {
        let copy = Folder::new();
        copy_folder(folder, copy.path());
        for name in &lost {
            std::fs::remove_file(copy.path().join(name)).unwrap_or_default();
        }
        let options = Options { index: index.to_owned(), ..options(copy.path()) };
        let store = Store::open(&options, clock.clone()).unwrap();
        let rebuilt = all(&store).await;
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        for (ours, theirs) in lines(&rebuilt.0.0).iter().zip(lines(&live.0.0)) {
            assert_eq!(*ours, theirs, "without {lost:?}, {index}");
        }
        assert!(rebuilt == *live, "without {lost:?}, {index}");
        if index == "memory:" {
            // Its own would be compared with one that nobody has kept up.
            for name in [sqlite, wal, "index.sqlite-shm"] {
                std::fs::remove_file(copy.path().join(name)).unwrap_or_default();
            }
        }
        listens(&store).await;
        store.close().await;
    }
}

/// Who listens after a replay hears of a change, and sees it.
async fn listens(store: &Store) {
    let alice = store.account_by_key("alice@example.test").await.unwrap().unwrap().id;
    let mut watch = store.watch(alice);
    watch.seen();
    let before = store.state(alice).await.unwrap();
    let letter = Letter::parse(letter(1).into());
    let done = store.deliver(letter, vec![Target::inbox(alice)]).await.unwrap();
    let arrived = done.into_iter().next().unwrap().unwrap();
    assert!(arrived.modseq > before);
    let heard = tokio::time::timeout(Duration::from_secs(5), watch.changed()).await;
    assert!(heard.unwrap());
    assert_eq!(watch.seen(), arrived.modseq);
    let news = store.changes(alice, before, 10).await.unwrap();
    assert_eq!(news.changes.len(), 1);
    let row = store.messages(alice, arrived.mailbox, &UidSet::one(arrived.uid)).await.unwrap();
    assert_eq!(row.len(), 1);
}

/// Many letters, so that building the index takes a while: nobody gets a store before it is whole, and another
/// process that tries meanwhile is told who is at work.
#[tokio::test]
async fn nobody_sees_an_index_that_is_half_built() {
    const LETTERS: u32 = 5_000;
    let folder = Folder::new();
    let clock = Arc::new(ManualClock::at_unix_s(NOW_UNIX_S));
    let options = Options::in_folder(folder.path());
    let store = Store::open(&options, clock.clone()).unwrap();
    let alice = store.put_account("alice@example.test", "").await.unwrap();
    let arrivals: Vec<_> = (0..LETTERS)
        .map(|n| {
            let (store, letter) = (store.clone(), Letter::parse(letter(n).into()));
            tokio::spawn(async move { store.deliver(letter, vec![Target::inbox(alice)]).await })
        })
        .collect();
    for arrival in arrivals {
        arrival.await.unwrap().unwrap();
    }
    store.close().await;
    drop(store);
    crate::settled(folder.path()).await;
    std::fs::remove_file(folder.path().join("index.sqlite")).unwrap();

    let (opening, other) = (options.clone(), clock.clone());
    let opened = std::thread::spawn(move || {
        loop {
            match Store::open(&opening, other.clone()) {
                Err(Error::InUse { .. }) => {}
                opened => return opened.unwrap(),
            }
        }
    });
    let mut refused = 0;
    while !opened.is_finished() {
        match Store::open(&options, clock.clone()) {
            Err(Error::InUse { .. }) => refused += 1,
            // It was the first at the door.
            Ok(store) => whole(&store, alice, LETTERS).await,
            Err(error) => panic!("{error}"),
        }
    }
    whole(&opened.join().unwrap(), alice, LETTERS).await;
    assert!(refused > 0, "the index was built before anybody could ask");
}

async fn whole(store: &Store, alice: AccountId, letters: u32) {
    let inbox = store.mailbox_by_name(alice, "INBOX").await.unwrap();
    assert_eq!((inbox.total, inbox.unseen), (letters.into(), letters.into()));
    assert_eq!(inbox.uid_next, Uid::new(letters + 1));
}
