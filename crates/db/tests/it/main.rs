//! The contract: what every index engine must do, whatever it keeps its rows in.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should stop, and say where"
)]

#[path = "../postgres/mod.rs"]
mod postgres;
mod postgres_only;
mod postgres_tls;

use db::{
    Amount, BlobRef, ChangeKind, ENGINES, Index, Location, MessageRow, Op, Position, Read, Txn,
};
use std::sync::Arc;
use types::{
    AccountId, EmailId, Flag, Flags, Keyword, MailboxId, ModSeq, SpecialUse, ThreadId, Uid, UidSet,
    UidValidity,
};

const ALICE: AccountId = AccountId(1);
const INBOX: MailboxId = MailboxId(1);

/// Runs a test on a fresh index of every engine in the table.
fn on_every_engine(test: impl Fn(&dyn Index)) {
    for engine in ENGINES {
        let place = Place::new(engine.scheme);
        println!("engine {}", engine.scheme);
        test(&*db::open(&place.url).unwrap());
    }
}

/// Where an engine keeps its rows in one test.
struct Place {
    url: String,
    _folder: Option<tempfile::TempDir>,
    _database: Option<postgres::Database>,
}

impl Place {
    fn new(scheme: &str) -> Self {
        if scheme == "postgres" {
            let database = postgres::Database::new();
            return Self { url: database.url.clone(), _folder: None, _database: Some(database) };
        }
        let folder = tempfile::tempdir().unwrap();
        let url = format!("{scheme}:{}", folder.path().join("index").display());
        Self { url, _folder: Some(folder), _database: None }
    }
}

fn position(lsn: u64) -> Position {
    Position { lsn, end: Location { segment: 1, offset: lsn * 100 } }
}

fn blob(n: u64) -> BlobRef {
    BlobRef { location: Location { segment: 1, offset: n }, size_bytes: 10, hash: [7; 16] }
}

fn uid(n: u32) -> Uid {
    Uid::new(n).unwrap()
}

fn apply_all(txn: &mut dyn Txn, ops: &[Op]) {
    for op in ops {
        db::apply(txn, op, Some(blob(1))).unwrap();
    }
}

fn commit(index: &dyn Index, lsn: u64, ops: &[Op]) {
    let mut txn = index.begin().unwrap();
    apply_all(&mut *txn, ops);
    txn.commit(position(lsn)).unwrap();
}

fn account() -> Op {
    Op::AccountPut { account: ALICE, key: "alice@example.test".into(), secret: "phc".into() }
}

fn mailbox(id: u32, modseq: u64, name: &str) -> Op {
    Op::MailboxPut {
        account: ALICE,
        mailbox: MailboxId(id),
        modseq: ModSeq(modseq),
        uid_validity: UidValidity(1000 + id),
        name: name.into(),
        special_use: (id == 1).then_some(SpecialUse::Inbox),
        subscribed: true,
    }
}

fn message(mailbox: u32, n: u32, email: u64, modseq: u64) -> Op {
    Op::MessageAdd {
        account: ALICE,
        mailbox: MailboxId(mailbox),
        row: MessageRow {
            uid: uid(n),
            email: EmailId(email),
            modseq: ModSeq(modseq),
            flags: Flags::default(),
            received_unix_s: 5,
            saved_unix_s: 6,
            size_bytes: 10,
        },
    }
}

fn email(id: u64, thread: u64) -> Op {
    Op::EmailAdd {
        account: ALICE,
        email: EmailId(id),
        thread: ThreadId(thread),
        received_unix_s: 5,
        index: vec![1, 2, 3],
        message_ids: vec![id, u64::MAX - id],
        part: None,
    }
}

/// Account, INBOX and Work; three letters in INBOX, the first two of one thread.
fn filled(index: &dyn Index) {
    let ops = [account(), mailbox(1, 1, "INBOX"), mailbox(2, 2, "Work")];
    commit(index, 1, &ops);
    let ops = [email(1, 1), message(1, 1, 1, 3), email(2, 1), message(1, 2, 2, 4)];
    commit(index, 2, &ops);
    commit(index, 3, &[email(3, 3), message(1, 3, 3, 5)]);
}

fn counters(read: &dyn Read, id: u32) -> (u64, u64, u64, u64, Option<Uid>) {
    let row = read.mailbox(ALICE, MailboxId(id)).unwrap().unwrap();
    (row.total, row.unseen, row.deleted, row.size_bytes, row.uid_next)
}

#[test]
fn an_empty_index_knows_nothing() {
    on_every_engine(|index| {
        let read = index.read().unwrap();
        assert_eq!(read.position().unwrap(), None);
        assert_eq!(read.last_ids().unwrap(), (AccountId(0), EmailId(0)));
        assert!(read.account(ALICE).unwrap().is_none());
        assert!(read.mailboxes(ALICE).unwrap().is_empty());
        assert!(read.messages(ALICE, INBOX, &UidSet::all()).unwrap().is_empty());
        assert!(read.changes(ALICE, ModSeq(0), 10).unwrap().is_empty());
    });
}

#[test]
fn what_is_put_is_read() {
    on_every_engine(|index| {
        filled(index);
        let read = index.read().unwrap();
        assert_eq!(read.position().unwrap(), Some(position(3)));
        assert_eq!(read.last_ids().unwrap(), (ALICE, EmailId(3)));
        let alice = read.account_by_key("alice@example.test").unwrap().unwrap();
        assert_eq!((alice.id, alice.modseq, &*alice.secret), (ALICE, ModSeq(5), "phc"));
        assert_eq!(alice.last_mailbox, MailboxId(2));
        assert_eq!(alice.last_uid_validity, UidValidity(1002));
        assert_eq!(read.accounts().unwrap(), [alice]);
        let names: Vec<_> =
            read.mailboxes(ALICE).unwrap().into_iter().map(|row| row.name).collect();
        assert_eq!(names, ["INBOX", "Work"]);
        let work = read.mailbox_by_name(ALICE, "Work").unwrap().unwrap();
        assert_eq!((work.id, work.special_use, work.created), (MailboxId(2), None, ModSeq(2)));
        assert_eq!(counters(&*read, 1), (3, 3, 0, 30, Some(uid(4))));
        let row = read.email(EmailId(2)).unwrap().unwrap();
        assert_eq!((row.account, row.thread, &*row.index), (ALICE, ThreadId(1), &[1, 2, 3][..]));
        assert_eq!(row.blob, blob(1));
        assert_eq!(read.thread(ALICE, ThreadId(1)).unwrap(), [EmailId(1), EmailId(2)]);
        assert_eq!(read.thread_of(ALICE, u64::MAX - 2).unwrap(), Some(ThreadId(1)));
        assert_eq!(read.thread_of(ALICE, 99).unwrap(), None);
    });
}

#[test]
fn ranges_of_uids() {
    on_every_engine(|index| {
        filled(index);
        let read = index.read().unwrap();
        let check = |ranges: &[(u32, u32)], expect: &[u32]| {
            let set = UidSet::from_ranges(ranges.iter().map(|&(a, b)| (uid(a), uid(b))));
            let found = read.messages(ALICE, INBOX, &set).unwrap();
            assert_eq!(found.iter().map(|row| row.uid.get()).collect::<Vec<_>>(), expect);
        };
        check(&[], &[]);
        check(&[(2, 2)], &[2]);
        check(&[(3, u32::MAX), (1, 1)], &[1, 3]);
        check(&[(4, 9)], &[]);
    });
}

/// Many at once are the same as one by one, in a snapshot and in a transaction.
#[test]
fn many_at_once() {
    on_every_engine(|index| {
        filled(index);
        let mut flags = Flags::new(&[Flag::Seen]);
        flags.insert_keyword(Keyword::new("$Work").unwrap());
        let (modseq, uids) = (ModSeq(6), UidSet::one(uid(2)));
        let put = Op::FlagsPut { account: ALICE, mailbox: INBOX, modseq, uids, flags };
        commit(index, 4, &[put, message(2, 1, 1, 7)]);
        let asked = [3, 9, 1, 2].map(EmailId);
        let check = |read: &dyn Read| {
            let mut rows = Vec::new();
            let uids = UidSet::from_ranges([(uid(3), uid(9)), (uid(1), uid(2))]);
            read.scan_messages(ALICE, INBOX, &uids, &mut |row| rows.push(row.to_row())).unwrap();
            assert_eq!(rows, read.messages(ALICE, INBOX, &uids).unwrap());
            assert_eq!(rows.len(), 3);
            let mut emails = Vec::new();
            read.scan_emails(&asked, &mut |row| emails.push(row.to_row())).unwrap();
            let single = asked.iter().filter_map(|id| read.email(*id).unwrap());
            assert_eq!(emails, single.collect::<Vec<_>>());
            assert_eq!(emails.len(), 3);
            assert_eq!(read.existing(ALICE, &asked).unwrap(), [3, 1, 2].map(EmailId));
            assert_eq!(read.existing(AccountId(2), &asked).unwrap(), []);
            let homes = read.homes_of(ALICE, &asked).unwrap();
            let single = asked.iter().map(|id| read.homes(ALICE, *id).unwrap());
            assert_eq!(homes, single.collect::<Vec<_>>());
            assert_eq!(homes.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 2, 1]);
            assert!(read.homes_of(AccountId(2), &asked).unwrap().iter().all(Vec::is_empty));
        };
        check(&*index.read().unwrap());
        check(&*index.begin().unwrap());
    });
}

#[test]
fn flags_count_and_are_remembered() {
    on_every_engine(|index| {
        filled(index);
        let mut flags = Flags::new(&[Flag::Seen, Flag::Deleted]);
        flags.insert_keyword(Keyword::new("$Work").unwrap());
        flags.insert_keyword(Keyword::new("a").unwrap());
        let uids: UidSet = [uid(1), uid(3), uid(9)].into_iter().collect();
        let op = Op::FlagsPut {
            account: ALICE,
            mailbox: INBOX,
            modseq: ModSeq(6),
            uids,
            flags: flags.clone(),
        };
        commit(index, 4, &[op]);
        let read = index.read().unwrap();
        assert_eq!(counters(&*read, 1), (3, 1, 2, 30, Some(uid(4))));
        let rows = read.messages(ALICE, INBOX, &UidSet::all()).unwrap();
        assert_eq!(rows[0].flags, flags);
        assert_eq!((rows[0].modseq, rows[1].modseq), (ModSeq(6), ModSeq(4)));
        let changes = read.changes(ALICE, ModSeq(5), 10).unwrap();
        let seen: Vec<_> = changes.iter().map(|c| (c.kind, c.message)).collect();
        let changed = ChangeKind::FlagsChanged;
        assert_eq!(
            seen,
            [(changed, Some((uid(1), EmailId(1)))), (changed, Some((uid(3), EmailId(3))))]
        );
        assert_eq!(read.changes(ALICE, ModSeq(0), 2).unwrap().len(), 2);
    });
}

#[test]
fn an_email_lives_until_its_last_copy_goes() {
    on_every_engine(|index| {
        filled(index);
        commit(index, 4, &[message(2, 1, 1, 6)]);
        let homes = |index: &dyn Index| {
            let homes = index.read().unwrap().homes(ALICE, EmailId(1)).unwrap();
            homes.into_iter().map(|(id, row)| (id.0, row.uid.get())).collect::<Vec<_>>()
        };
        assert_eq!(homes(index), [(1, 1), (2, 1)]);
        let gone = |mailbox, modseq| Op::MessageGone {
            account: ALICE,
            mailbox,
            modseq: ModSeq(modseq),
            uids: UidSet::one(uid(1)),
        };
        commit(index, 5, &[gone(INBOX, 7)]);
        assert_eq!(homes(index), [(2, 1)]);
        assert!(index.read().unwrap().email(EmailId(1)).unwrap().is_some());
        let op = Op::MailboxGone { account: ALICE, mailbox: MailboxId(2), modseq: ModSeq(8) };
        commit(index, 6, &[op]);
        assert_eq!(homes(index), []);
        let read = index.read().unwrap();
        assert!(read.email(EmailId(1)).unwrap().is_none());
        assert!(read.mailbox(ALICE, MailboxId(2)).unwrap().is_none());
        assert_eq!(counters(&*read, 1), (2, 2, 0, 20, Some(uid(4))));
        let kinds: Vec<_> =
            read.changes(ALICE, ModSeq(6), 10).unwrap().iter().map(|c| c.kind).collect();
        assert_eq!(kinds.len(), 3, "{kinds:?}");
        assert_eq!(kinds[0], ChangeKind::MessageGone);
        assert!(kinds.contains(&ChangeKind::MailboxGone));
        assert_eq!(read.last_ids().unwrap().1, EmailId(3));
    });
}

#[test]
fn what_an_account_holds_is_counted_by_copies() {
    on_every_engine(|index| {
        filled(index);
        let held = |index: &dyn Index| {
            let row = index.read().unwrap().account(ALICE).unwrap().unwrap();
            (row.used.messages, row.used.size_bytes)
        };
        assert_eq!(held(index), (3, 30));
        commit(index, 4, &[message(2, 1, 1, 6)]);
        assert_eq!(held(index), (4, 40), "a copy counts");
        let uids: UidSet = [uid(1), uid(2), uid(9)].into_iter().collect();
        let gone = Op::MessageGone { account: ALICE, mailbox: INBOX, modseq: ModSeq(7), uids };
        commit(index, 5, &[gone]);
        assert_eq!(held(index), (2, 20));
        let limit = Amount { size_bytes: u64::MAX, messages: 7 };
        let gone = Op::MailboxGone { account: ALICE, mailbox: MailboxId(2), modseq: ModSeq(8) };
        commit(index, 6, &[gone, Op::QuotaPut { account: ALICE, limit }, account()]);
        assert_eq!(held(index), (1, 10));
        assert_eq!(index.read().unwrap().account(ALICE).unwrap().unwrap().limit, limit);
    });
}

#[test]
fn an_alias_is_put_replaced_and_taken_away() {
    on_every_engine(|index| {
        let put = |key: &str, targets: &[&str]| Op::AliasPut {
            key: key.to_owned(),
            targets: targets.iter().map(|target| (*target).to_owned()).collect(),
        };
        let all = |index: &dyn Index| -> Vec<String> {
            let rows = index.read().unwrap().aliases().unwrap();
            rows.iter().map(|row| format!("{}={}", row.key, row.targets.join(","))).collect()
        };
        let (sales, catch_all) = ("sales@example.test", "@example.test");
        let many: Vec<String> = (0..100).map(|n| format!("u{n:02}@b.test")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let first = [put(sales, &many), put(catch_all, &["bob@example.test"]), account()];
        commit(index, 1, &first);
        assert_eq!(index.read().unwrap().alias(sales).unwrap(), many);
        // In an open transaction too; the order is the one they were given in.
        let mut txn = index.begin().unwrap();
        apply_all(&mut *txn, &[put(sales, &["z@b.test", "a@b.test"]), put("Ż@b.test", &["x@y"])]);
        assert_eq!(txn.alias(sales).unwrap(), ["z@b.test", "a@b.test"]);
        assert_eq!(txn.aliases().unwrap().len(), 3);
        let found = txn.account_and_aliases("alice@example.test", &[sales, catch_all, ""]).unwrap();
        assert_eq!((found.0.map(|row| row.id), found.1.len()), (Some(ALICE), 2));
        assert_eq!(
            all(index)[0],
            "@example.test=bob@example.test",
            "a reader sees the last commit"
        );
        assert_eq!(index.read().unwrap().alias(sales).unwrap().len(), 100);
        txn.commit(position(2)).unwrap();
        let expect = ["@example.test=bob@example.test", "sales@example.test=z@b.test,a@b.test"];
        assert_eq!(all(index)[..2], expect);
        let read = index.read().unwrap();
        let ask = |key: &str, aliases: &[&str]| {
            let (account, mut rows) = read.account_and_aliases(key, aliases).unwrap();
            rows.sort_by(|a, b| a.key.cmp(&b.key));
            let rows: Vec<_> =
                rows.iter().map(|row| format!("{}={}", row.key, row.targets.join(","))).collect();
            (account.map(|row| (row.id, row.key, row.secret)), rows)
        };
        let alice = || Some((ALICE, "alice@example.test".to_owned(), "phc".to_owned()));
        assert_eq!(
            ask("alice@example.test", &[sales, catch_all]),
            (alice(), expect.map(str::to_owned).to_vec())
        );
        assert_eq!(ask("alice@example.test", &["alice@example.test"]), (alice(), Vec::new()));
        assert_eq!(ask("alice@example.test", &[]), (alice(), Vec::new()));
        assert_eq!(ask("ghost@example.test", &[sales]), (None, vec![expect[1].to_owned()]));
        assert_eq!(ask("ghost@example.test", &["@b.test"]), (None, Vec::new()));
        drop(read);
        commit(index, 3, &[put(sales, &[]), put("never@example.test", &[])]);
        assert_eq!(all(index), [expect[0], "Ż@b.test=x@y"]);
        // What is dropped is undone.
        apply_all(&mut *index.begin().unwrap(), &[put(catch_all, &[])]);
        assert_eq!(all(index).len(), 2);
    });
}

#[test]
fn changes_up_to_the_floor_are_forgotten() {
    on_every_engine(|index| {
        filled(index);
        let seen = |uids: &[u32], modseq| Op::FlagsPut {
            account: ALICE,
            mailbox: INBOX,
            modseq: ModSeq(modseq),
            uids: uids.iter().map(|n| uid(*n)).collect(),
            flags: Flags::new(&[Flag::Seen]),
        };
        commit(index, 4, &[seen(&[1], 6), seen(&[1, 2, 3], 7), seen(&[2], 8)]);
        let mut txn = index.begin().unwrap();
        let forgettable = |keep| txn.forgettable(ALICE, keep).unwrap().map(|modseq| modseq.0);
        assert_eq!(txn.account(ALICE).unwrap().unwrap().new_changes, 10);
        assert_eq!(forgettable(0), Some(7));
        assert_eq!(forgettable(1), Some(6));
        assert_eq!(forgettable(3), Some(6), "what happened at once stays together");
        assert_eq!(forgettable(4), Some(5));
        assert_eq!(forgettable(100), None);
        apply_all(&mut *txn, &[Op::ChangesFloor { account: ALICE, modseq: ModSeq(6) }]);
        txn.commit(position(5)).unwrap();
        let modseqs = |since| -> Vec<u64> {
            let rows = index.read().unwrap().changes(ALICE, ModSeq(since), 100).unwrap();
            rows.iter().map(|row| row.modseq.0).collect()
        };
        assert_eq!(modseqs(6), [7, 7, 7, 8]);
        let row = index.read().unwrap().account(ALICE).unwrap().unwrap();
        assert_eq!((row.changes_floor, row.new_changes, row.modseq), (ModSeq(6), 0, ModSeq(8)));
        let uids = UidSet::one(uid(2));
        let gone = Op::MessageGone { account: ALICE, mailbox: INBOX, modseq: ModSeq(9), uids };
        commit(index, 6, &[gone]);
        assert_eq!(modseqs(8), [9]);
        // Never back, never above what has happened.
        for (asked, floor) in [(3, 6), (100, 9)] {
            commit(index, 7, &[Op::ChangesFloor { account: ALICE, modseq: ModSeq(asked) }]);
            let row = index.read().unwrap().account(ALICE).unwrap().unwrap();
            assert_eq!(row.changes_floor, ModSeq(floor));
        }
        assert_eq!(modseqs(9), []);
        let txn = index.begin().unwrap();
        assert_eq!(txn.forgettable(ALICE, 0).unwrap(), None);
    });
}

#[test]
fn notes_are_kept_and_go_with_their_mailbox() {
    on_every_engine(|index| {
        filled(index);
        let put = |mailbox: Option<u32>, name: &str, value: Option<&[u8]>| Op::NotePut {
            account: ALICE,
            mailbox: mailbox.map(MailboxId),
            modseq: ModSeq(20),
            name: name.to_owned(),
            value: value.map(<[u8]>::to_vec),
        };
        let ops = [
            put(None, "b", Some(b"own")),
            put(Some(1), "b", Some(b"first")),
            put(Some(1), "a", Some(b"")),
            put(Some(1), "b", Some(b"then")),
            put(Some(1), "c", Some(b"x")),
            put(Some(1), "c", None),
            put(Some(1), "d", None),
        ];
        commit(index, 4, &ops);
        let read = index.read().unwrap();
        let told = |rows: Vec<db::NoteRow>| -> Vec<(String, Vec<u8>)> {
            rows.into_iter().map(|row| (row.name, row.value)).collect()
        };
        let notes = told(read.notes(ALICE, Some(MailboxId(1))).unwrap());
        assert_eq!(notes, [("a".to_owned(), b"".to_vec()), ("b".to_owned(), b"then".to_vec())]);
        assert_eq!(told(read.notes(ALICE, None).unwrap()), [("b".to_owned(), b"own".to_vec())]);
        let under =
            |prefix: &str| told(read.notes_under(ALICE, Some(MailboxId(1)), prefix).unwrap());
        assert_eq!(
            (under("").len(), under("a").len(), under("ab").len(), under("%").len()),
            (2, 1, 0, 0)
        );
        assert_eq!(read.note(ALICE, None, "b").unwrap().as_deref(), Some(&b"own"[..]));
        assert_eq!(read.note(ALICE, None, "a").unwrap(), None);
        let named = read.notes_named("b").unwrap();
        let places: Vec<_> = named.iter().map(|(of, row)| (*of, row.mailbox)).collect();
        assert_eq!(places, [(ALICE, None), (ALICE, Some(MailboxId(1)))]);
        let last = read.changes(ALICE, ModSeq(19), 9).unwrap();
        assert!(last.iter().all(|row| row.kind == ChangeKind::MailboxChanged) && !last.is_empty());
        assert_eq!(read.account(ALICE).unwrap().unwrap().modseq, ModSeq(20));
        drop(read);
        let modseq = ModSeq(21);
        commit(index, 5, &[Op::MailboxGone { account: ALICE, mailbox: MailboxId(1), modseq }]);
        let read = index.read().unwrap();
        assert_eq!(read.notes(ALICE, Some(MailboxId(1))).unwrap(), []);
        assert_eq!(read.notes(ALICE, None).unwrap().len(), 1);
    });
}

#[test]
fn who_has_read_what() {
    on_every_engine(|index| {
        filled(index);
        let (bob, mailbox) = (AccountId(7), MailboxId(1));
        let put = |uids: &[u32], seen| Op::SeenPut {
            account: ALICE,
            mailbox,
            modseq: ModSeq(20),
            user: bob,
            uids: uids.iter().map(|n| uid(*n)).collect(),
            seen,
        };
        let check = |lsn, ops: &[Op], expect: &str| {
            commit(index, lsn, ops);
            let read = index.read().unwrap();
            assert_eq!(read.seen_by(ALICE, mailbox, bob).unwrap().to_string(), expect);
            assert!(read.seen_by(ALICE, mailbox, ALICE).unwrap().is_empty());
        };
        check(4, &[], "");
        check(5, &[put(&[1, 3], true), put(&[2], true)], "1:3");
        check(6, &[put(&[2, 9], false)], "1,3");
        check(7, &[put(&[1, 3], false)], "");
        assert_eq!(index.read().unwrap().notes(ALICE, Some(mailbox)).unwrap(), []);
    });
}

#[test]
fn message_ids_go_with_the_last_email_of_their_thread() {
    on_every_engine(|index| {
        filled(index);
        let gone = |n, modseq| Op::MessageGone {
            account: ALICE,
            mailbox: INBOX,
            modseq: ModSeq(modseq),
            uids: UidSet::one(uid(n)),
        };
        let leads = || {
            let read = index.read().unwrap();
            [1, 2, 3].map(|n| read.thread_of(ALICE, u64::MAX - n).unwrap().map(|thread| thread.0))
        };
        assert_eq!(leads(), [Some(1), Some(1), Some(3)]);
        commit(index, 4, &[gone(1, 6)]);
        assert_eq!(leads(), [Some(1), Some(1), Some(3)], "an answer is still there");
        commit(index, 5, &[gone(3, 7)]);
        assert_eq!(leads(), [Some(1), Some(1), None]);
        commit(index, 6, &[gone(2, 8), email(4, 1), message(1, 4, 4, 9)]);
        let read = index.read().unwrap();
        assert_eq!(leads(), [None, None, None]);
        assert_eq!(read.thread_of(ALICE, u64::MAX - 4).unwrap(), Some(ThreadId(1)));
    });
}

#[test]
fn a_dropped_transaction_leaves_nothing() {
    on_every_engine(|index| {
        filled(index);
        {
            let mut txn = index.begin().unwrap();
            apply_all(&mut *txn, &[email(4, 4), message(1, 4, 4, 6), mailbox(3, 7, "New")]);
            assert_eq!(counters(&*txn, 1).0, 4);
            assert!(txn.mailbox_by_name(ALICE, "New").unwrap().is_some());
            assert_eq!(txn.last_ids().unwrap().1, EmailId(4));
        }
        let txn = index.begin().unwrap();
        assert_eq!(counters(&*txn, 1), (3, 3, 0, 30, Some(uid(4))));
        assert!(txn.mailbox_by_name(ALICE, "New").unwrap().is_none());
        assert_eq!(txn.last_ids().unwrap().1, EmailId(3));
        assert_eq!(txn.account(ALICE).unwrap().unwrap().modseq, ModSeq(5));
    });
}

#[test]
fn a_reader_keeps_its_moment() {
    on_every_engine(|index| {
        filled(index);
        let before = index.read().unwrap();
        assert_eq!(counters(&*before, 1).0, 3);
        commit(index, 4, &[email(4, 4), message(1, 4, 4, 6)]);
        assert_eq!(counters(&*before, 1).0, 3);
        assert_eq!(before.messages(ALICE, INBOX, &UidSet::all()).unwrap().len(), 3);
        assert_eq!(counters(&*index.read().unwrap(), 1).0, 4);
    });
}

#[test]
fn a_renamed_mailbox_keeps_its_counters() {
    on_every_engine(|index| {
        filled(index);
        commit(index, 4, &[mailbox(1, 6, "Old mail")]);
        let read = index.read().unwrap();
        let row = read.mailbox_by_name(ALICE, "Old mail").unwrap().unwrap();
        assert_eq!((row.total, row.created, row.modseq), (3, ModSeq(1), ModSeq(6)));
        assert!(read.mailbox_by_name(ALICE, "INBOX").unwrap().is_none());
        let last = read.changes(ALICE, ModSeq(5), 10).unwrap();
        assert_eq!((last[0].kind, last[0].message), (ChangeKind::MailboxChanged, None));
    });
}

#[test]
fn facts_that_do_not_fit_are_refused() {
    on_every_engine(|index| {
        filled(index);
        let refused = |op: &Op, blob| {
            let mut txn = index.begin().unwrap();
            let error = db::apply(&mut *txn, op, blob).unwrap_err();
            assert!(matches!(error, db::Error::Corrupt(_)), "{op:?}: {error}");
        };
        refused(&message(1, 3, 9, 9), None);
        refused(&message(9, 1, 9, 9), None);
        refused(&email(9, 9), None);
    });
}

#[test]
fn everything_is_there_after_reopening() {
    for engine in ENGINES.iter().filter(|engine| engine.scheme != "memory") {
        let place = Place::new(engine.scheme);
        filled(&*db::open(&place.url).unwrap());
        let index: Arc<dyn Index> = db::open(&place.url).unwrap();
        index.checkpoint().unwrap();
        let read = index.read().unwrap();
        assert_eq!(read.position().unwrap(), Some(position(3)));
        assert_eq!(counters(&*read, 1), (3, 3, 0, 30, Some(uid(4))));
    }
}

#[test]
fn a_newer_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let refused = db::open(&format!("sqlite:{}", path.display())).err().unwrap();
    assert!(matches!(refused, db::Error::Newer { found: 99, .. }), "{refused}");
}

/// Numbers that are the same at every run for one seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// A life of a few mailboxes: letters come, are copied, flagged, removed; now and then a mailbox goes.
struct Life {
    random: Random,
    modseq: u64,
    emails: u64,
    uid_next: [u32; 3],
    copies: Vec<(u32, u32, u64)>,
}

impl Life {
    fn add(&mut self, ops: &mut Vec<Op>, email: u64) {
        let mailbox = u32::try_from(self.random.below(3)).unwrap() + 1;
        let next = self.uid_next.get_mut(mailbox as usize - 1).unwrap();
        ops.push(message(mailbox, *next, email, self.modseq));
        self.copies.push((mailbox, *next, email));
        *next += 1;
    }

    fn step(&mut self) -> Vec<Op> {
        self.modseq += 1;
        let modseq = ModSeq(self.modseq);
        let mailbox = MailboxId(u32::try_from(self.random.below(3)).unwrap() + 1);
        let uids: UidSet =
            (0..3).map(|_| uid(u32::try_from(self.random.below(40)).unwrap() + 1)).collect();
        let gone = |copies: &mut Vec<(u32, u32, u64)>, uids: &UidSet| {
            copies.retain(|copy| copy.0 != mailbox.0 || !uids.contains(uid(copy.1)));
        };
        let mut ops = Vec::new();
        match self.random.below(10) {
            0..=4 => {
                self.emails += 1;
                let thread = 1 + self.random.below(self.emails);
                let thread = if self.random.below(2) == 0 { thread } else { self.emails };
                ops.push(email(self.emails, thread));
                self.add(&mut ops, self.emails);
            }
            5 | 6 if !self.copies.is_empty() => {
                let at = self.random.below(self.copies.len() as u64);
                let (_, _, email) = *self.copies.get(usize::try_from(at).unwrap()).unwrap();
                self.add(&mut ops, email);
            }
            7 | 8 => {
                gone(&mut self.copies, &uids);
                ops.push(Op::MessageGone { account: ALICE, mailbox, modseq, uids });
            }
            5 | 6 => {
                let name = format!("note {}", self.random.below(3));
                let value = (self.random.below(3) > 0).then(|| vec![0, 7]);
                let mailbox = Some(mailbox).filter(|_| self.random.below(4) > 0);
                ops.push(Op::NotePut { account: ALICE, mailbox, modseq, name, value });
                let (mailbox, seen) = (MailboxId(2), self.random.below(3) > 0);
                let user = AccountId(9);
                ops.push(Op::SeenPut { account: ALICE, mailbox, modseq, user, uids, seen });
            }
            9 if self.random.below(8) == 1 => {
                let floor = ModSeq(self.random.below(self.modseq));
                ops.push(Op::ChangesFloor { account: ALICE, modseq: floor });
            }
            9 if self.random.below(8) == 0 => {
                gone(&mut self.copies, &UidSet::all());
                *self.uid_next.get_mut(mailbox.0 as usize - 1).unwrap() = 1;
                ops.push(Op::MailboxGone { account: ALICE, mailbox, modseq });
                self.modseq += 1;
                ops.push(self::mailbox(mailbox.0, self.modseq, &format!("M{}", mailbox.0)));
            }
            _ => {
                let flags = Flags::new(&[Flag::Seen]);
                ops.push(Op::FlagsPut { account: ALICE, mailbox, modseq, uids, flags });
            }
        }
        ops
    }
}

/// Whatever happened, every engine says the same as the plainest one, inside a transaction and after it.
#[test]
fn engines_agree() {
    for seed in 0..6 {
        on_every_engine(|index| {
            let reference = db::open("memory:").unwrap();
            let start = [account(), mailbox(1, 1, "M1"), mailbox(2, 2, "M2"), mailbox(3, 3, "M3")];
            commit(index, 1, &start);
            commit(&*reference, 1, &start);
            let (random, copies) = (Random(seed), Vec::new());
            let mut life = Life { random, modseq: 3, emails: 0, uid_next: [1; 3], copies };
            for lsn in 2..12 {
                let (mut ours, mut theirs) = (index.begin().unwrap(), reference.begin().unwrap());
                for _ in 0..life.random.below(30) {
                    let ops = life.step();
                    apply_all(&mut *ours, &ops);
                    apply_all(&mut *theirs, &ops);
                }
                same(&*ours, &*theirs, &mut life, seed);
                ours.commit(position(lsn)).unwrap();
                theirs.commit(position(lsn)).unwrap();
                same(&*index.read().unwrap(), &*reference.read().unwrap(), &mut life, seed);
            }
        });
    }
}

fn same(ours: &dyn Read, theirs: &dyn Read, life: &mut Life, seed: u64) {
    let told = |read: &dyn Read, since: u64, limit: usize| {
        let mut rows = read.changes(ALICE, ModSeq(since), limit).unwrap();
        rows.sort_by_key(|row| {
            (row.modseq, row.mailbox, row.message.map(|(uid, _)| uid), row.kind as u8)
        });
        rows
    };
    assert_eq!(ours.mailboxes(ALICE).unwrap(), theirs.mailboxes(ALICE).unwrap(), "seed {seed}");
    let owner = ours.account(ALICE).unwrap().unwrap();
    assert_eq!(Some(&owner), theirs.account(ALICE).unwrap().as_ref(), "seed {seed}");
    let mut held = Amount::default();
    for id in 1..=3 {
        let rows = |read: &dyn Read| read.messages(ALICE, MailboxId(id), &UidSet::all()).unwrap();
        assert_eq!(rows(ours), rows(theirs), "seed {seed}");
        held = rows(ours).iter().fold(held, |held, row| held.plus(Amount::of(row)));
    }
    assert_eq!(owner.used, held, "seed {seed}");
    for id in [None, Some(1), Some(2), Some(3)] {
        let notes = |read: &dyn Read| read.notes(ALICE, id.map(MailboxId)).unwrap();
        assert_eq!(notes(ours), notes(theirs), "seed {seed}");
    }
    let named = |read: &dyn Read| read.notes_named("note 1").unwrap();
    assert_eq!(named(ours), named(theirs), "seed {seed}");
    for id in 1..=life.emails {
        let of = |read: &dyn Read| {
            let mut homes = read.homes(ALICE, EmailId(id)).unwrap();
            homes.sort_by_key(|(mailbox, row)| (*mailbox, row.uid));
            let thread = read.thread(ALICE, ThreadId(id)).unwrap();
            (homes, read.email(EmailId(id)).unwrap(), thread, read.thread_of(ALICE, id).unwrap())
        };
        assert_eq!(of(ours), of(theirs), "seed {seed}, email {id}");
    }
    let floor = owner.changes_floor.0;
    let since = life.random.below(life.modseq + 1).max(floor);
    for since in [floor, since] {
        assert_eq!(
            told(ours, since, 10_000),
            told(theirs, since, 10_000),
            "seed {seed} since {since}"
        );
    }
    // Of a part only whole MODSEQs compare: inside one any order will do.
    let (a, b) = (told(ours, since, 7), told(theirs, since, 7));
    let modseqs = |rows: &[db::ChangeRow]| rows.iter().map(|row| row.modseq).collect::<Vec<_>>();
    assert_eq!(modseqs(&a), modseqs(&b), "seed {seed} since {since}");
}

#[test]
fn an_index_of_an_older_form_is_thrown_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let old =
        "PRAGMA journal_mode = WAL; PRAGMA user_version = 1; CREATE TABLE account (id INTEGER)";
    rusqlite::Connection::open(&path).unwrap().execute_batch(old).unwrap();
    let index = db::open(&format!("sqlite:{}", path.display())).unwrap();
    assert_eq!(index.read().unwrap().position().unwrap(), None);
    filled(&*index);
}
