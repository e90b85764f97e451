//! Data folders as earlier builds wrote them: this build opens each, and finds in it what was put there.
//!
//! A folder `testdata/KIND-vN/` holds `data/`, a data folder, `expect.txt`, the dump of its store by the build that
//! wrote it, and `letters/`, the bytes of each letter in it. Whoever changes a format raises its version, adds the folder
//! of the new one with [`write`], and leaves the old ones alone: `docs/format/segment.md`, "A new version".

use crate::dump::dump;
use crate::{NOW_UNIX_S, copy_folder};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::{Amount, Into, Letter, Options, Store, Target};
use types::{
    AccountId, Flag, FlagChange, Flags, Keyword, MailboxId, ManualClock, SpecialUse, Uid, UidSet,
};

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// A letter, then its answer in the same thread, a part in base64, eight-bit text, and one without a byte.
fn raws() -> Vec<Vec<u8>> {
    let answer = "From: Bob <bob@example.test>\r\nTo: alice@example.test\r\nSubject: Re: Obiad\r\n\
        Message-ID: <2@example.test>\r\nIn-Reply-To: <1@example.test>\r\n\
        References: <1@example.test>\r\n\r\nTak, o pierwszej.\r\n";
    let parts = "From: carol@example.test\r\nTo: alice@example.test\r\nSubject: =?utf-8?q?Zdj=C4=99cie?=\r\n\
        Message-ID: <3@example.test>\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n--=_b\r\nContent-Type: text/plain\r\n\r\n\
        W za\u{142}\u{105}czniku.\r\n--=_b\r\nContent-Type: image/gif; name=kropka.gif\r\n\
        Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\n\r\n\
        R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7\r\n--=_b--\r\n";
    let first = "From: Alice <alice@example.test>\r\nTo: bob@example.test\r\nSubject: Obiad\r\n\
        Message-ID: <1@example.test>\r\nDate: Sun, 22 Nov 2026 18:00:00 +0000\r\n\r\nO pierwszej?\r\n";
    let eight_bit =
        b"Subject: caf\xe9\n\nlines that end with LF, a NUL \0 and no last line end".to_vec();
    vec![first.into(), answer.into(), parts.into(), eight_bit, Vec::new()]
}

/// What every build can do: accounts, letters, flags, copies, moves, removals, mailboxes.
async fn live_in(store: &Store, clock: &ManualClock) {
    let alice =
        store.put_account("alice@example.test", "$argon2id$v=19$not-a-secret").await.unwrap();
    let bob = store.put_account("bob@example.test", "").await.unwrap();
    let inbox = store.mailbox_by_name(alice, "INBOX").await.unwrap().id;
    for raw in raws() {
        clock.advance_ms(61_000);
        let letter = Letter::parse(raw.into());
        let seen = Flags::new(&[Flag::Seen]);
        let to_bob = Target { flags: seen, ..Target::inbox(bob) };
        store.deliver(letter, vec![Target::inbox(alice), to_bob]).await.unwrap();
    }
    let projects = store.create_mailbox(alice, "Praca/Projekty", None).await.unwrap().id;
    let old = Some(NOW_UNIX_S - 90_000_000);
    for (n, raw) in raws().into_iter().enumerate() {
        clock.advance_ms(1_500);
        let mut flags = Flags::new(if n % 2 == 0 { &[Flag::Answered, Flag::Draft] } else { &[] });
        flags.insert_keyword(Keyword::new(&format!("etykieta-{n}")).unwrap());
        store.append(alice, projects, Letter::parse(raw.into()), flags, old).await.unwrap();
    }
    change(store, alice, inbox, projects).await;
    let letter = Letter::parse(raws().remove(1).into());
    let junk = Into::Use(SpecialUse::Junk);
    store.deliver(letter, vec![Target { into: junk, ..Target::inbox(bob) }]).await.unwrap();
}

async fn change(store: &Store, alice: AccountId, inbox: MailboxId, projects: MailboxId) {
    let one = |n| UidSet::one(Uid::new(n).unwrap());
    let trash = store.mailbox_by_name(alice, "Trash").await.unwrap().id;
    let flagged = FlagChange::Add(Flags::new(&[Flag::Flagged]));
    store.store_flags(alice, inbox, one(1), flagged, None).await.unwrap();
    let deleted = FlagChange::Add(Flags::new(&[Flag::Deleted]));
    store.store_flags(alice, projects, UidSet::all(), deleted, None).await.unwrap();
    store.copy(alice, inbox, one(3), projects).await.unwrap();
    store.move_messages(alice, inbox, one(2), trash).await.unwrap();
    store.expunge(alice, projects, one(1)).await.unwrap();
    store.remove(alice, inbox, one(5)).await.unwrap();
    store.rename_mailbox(alice, projects, "Praca/Żółte").await.unwrap();
    store.subscribe_mailbox(alice, trash, false).await.unwrap();
    let gone = store.create_mailbox(alice, "Na chwilę", None).await.unwrap().id;
    store.copy(alice, inbox, one(1), gone).await.unwrap();
    store.delete_mailbox(alice, gone).await.unwrap();
}

/// What the fixtures from `index-v3` and `folder-v2` on have: a limit, and changes that are forgotten.
const LIMIT: Amount = Amount { size_bytes: 5_000_000, messages: 1_000 };

async fn limit(store: &Store) {
    let alice = store.account_by_key("alice@example.test").await.unwrap().unwrap().id;
    store.set_quota(alice, LIMIT).await.unwrap();
}

/// What the fixtures from `index-v4` and `folder-v3` on have: notes, and somebody else who has read something.
async fn notes(store: &Store) {
    let account = async |key: &str| store.account_by_key(key).await.unwrap().unwrap().id;
    let (alice, bob) = (account("alice@example.test").await, account("bob@example.test").await);
    let inbox = store.mailbox_by_name(alice, "INBOX").await.unwrap().id;
    let note = |name: &str, value: &[u8]| (name.to_owned(), Some(value.to_vec()));
    let of_inbox = vec![note("acl/bob@example.test", b"lrs"), note("/shared/comment", b"\0\xff")];
    store.put_notes(alice, Some(inbox), of_inbox).await.unwrap();
    store.put_notes(alice, Some(inbox), vec![("/shared/comment".to_owned(), None)]).await.unwrap();
    store.put_notes(alice, None, vec![note("/private/comment", b"")]).await.unwrap();
    let seen = || FlagChange::Add(Flags::new(&[Flag::Seen]));
    let all = UidSet::all();
    store.store_flags_for(bob, alice, inbox, all, seen(), None).await.unwrap();
    let first = UidSet::one(Uid::MIN);
    let unseen = FlagChange::Remove(Flags::new(&[Flag::Seen]));
    store.store_flags_for(bob, alice, inbox, first, unseen, None).await.unwrap();
}

/// What the fixtures from `folder-v4` on have: letters that came together, of which one is gone again.
async fn together(store: &Store) {
    let alice = store.account_by_key("alice@example.test").await.unwrap().unwrap().id;
    let home = store.create_mailbox(alice, "Razem", None).await.unwrap().id;
    let letter = |raw: Vec<u8>| (Letter::parse(raw.into()), Flags::new(&[Flag::Draft]), Some(5));
    let letters = raws().into_iter().map(letter).collect();
    assert_eq!(store.append_all(alice, home, letters).await.unwrap().len(), 5);
    store.remove(alice, home, UidSet::one(Uid::new(2).unwrap())).await.unwrap();
}

/// What the fixtures from `index-v5` and `folder-v5` on have: aliases, of which one was changed and one is gone.
async fn aliases(store: &Store) {
    let put = async |key: &str, targets: &[&str]| {
        let targets: Vec<String> = targets.iter().map(|target| (*target).to_owned()).collect();
        store.put_alias(key, &targets).await.unwrap();
    };
    put("biuro@example.test", &["alice@example.test"]).await;
    put("biuro@example.test", &["bob@example.test", "Biuro+x@dalej.test"]).await;
    put("@example.test", &["alice@example.test"]).await;
    put("@stary.test", &["@example.test"]).await;
    put("dawno@example.test", &["bob@example.test"]).await;
    put("dawno@example.test", &[]).await;
}

/// Flags of 1,280 messages, changed so often that the change log gets a floor. Ten of them stay.
async fn forget_changes(store: &Store) {
    let alice = store.account_by_key("alice@example.test").await.unwrap().unwrap().id;
    let many = store.create_mailbox(alice, "Wiele", None).await.unwrap().id;
    let copy = async || store.copy(alice, many, UidSet::all(), many).await.unwrap();
    for n in 0..10 {
        let letter = Letter::parse(raws().remove(n % 2).into());
        store.append(alice, many, letter, Flags::default(), None).await.unwrap();
    }
    for _ in 0..7 {
        copy().await;
    }
    for round in 0..90 {
        let seen = Flags::new(&[Flag::Seen]);
        let change = if round % 2 == 0 { FlagChange::Add(seen) } else { FlagChange::Remove(seen) };
        store.store_flags(alice, many, UidSet::all(), change, None).await.unwrap();
    }
    let last = Uid::new(1_280).unwrap();
    store.remove(alice, many, UidSet::from_ranges([(Uid::new(11).unwrap(), last)])).await.unwrap();
    assert!(store.account(alice).await.unwrap().changes_floor.0 > 0);
}

/// What only packs have: letters enough for a dictionary, a body of a file of its own, letters given up.
async fn pack(store: &Store, data: &Path) {
    let alice = store.account_by_key("alice@example.test").await.unwrap().unwrap().id;
    let inbox = store.mailbox_by_name(alice, "INBOX").await.unwrap().id;
    let append = async |raw: String| {
        let letter = Letter::parse(raw.into());
        store.append(alice, inbox, letter, Flags::default(), None).await.unwrap().uid
    };
    let body = "Ta sama linia, tylko z liczbą na końcu.\r\n".repeat(1600);
    // The first goes with the small ones, the second keeps their body.
    let large = append(format!("Subject: duży\r\n\r\n{body}")).await;
    append(format!("Subject: duży\r\n\r\n{body}")).await;
    let mut small = UidSet::one(large);
    for n in 0..130_u32 {
        let words = ["jutro", "wczoraj", "spotkanie", "faktura", "obiad", "kopia", "dzień"];
        let at = |by: u32| words.iter().cycle().nth((n * by) as usize).unwrap();
        let raw = format!(
            "From: Bob <bob@example.test>\r\nTo: alice@example.test\r\nSubject: {} {n}\r\n\r\n{} {} {n}\r\n",
            at(2),
            at(3),
            at(5)
        );
        let uid = append(raw).await;
        if n % 10 != 0 {
            small.insert(uid);
        }
    }
    store.seal().await.unwrap();
    assert_eq!(store.pack().await.unwrap().unwrap().written, 1);
    // The index is asked who is alive: whoever reads waits for it.
    store.remove(alice, inbox, small).await.unwrap();
    store.mailbox(alice, inbox).await.unwrap();
    store.seal().await.unwrap();
    append("Subject: po wszystkim\r\n\r\n.\r\n".to_owned()).await;
    store.mailbox(alice, inbox).await.unwrap();
    store.pack().await.unwrap();
    let seen = storage::tools::inspect_folder(data, &storage::tools::silent).unwrap();
    let packs: Vec<_> = seen.segments.iter().filter_map(|line| line.pack.as_ref()).collect();
    assert!(packs.iter().any(|pack| pack.dictionary_bytes > 0 && pack.shared_bodies == 1));
    assert!(packs.iter().any(|pack| pack.generation == 2 && pack.gone_letters > 100), "{packs:?}");
}

/// Each of them, by name.
fn all() -> Vec<(String, PathBuf)> {
    let folders = std::fs::read_dir(testdata()).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = folders
        .filter(|home| home.join("data").is_dir())
        .map(|home| (home.file_name().unwrap().to_str().unwrap().to_owned(), home))
        .collect();
    found.sort();
    found
}

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let of =
        |path: PathBuf| if path.is_dir() { size(&path) } else { path.metadata().unwrap().len() };
    entries.map(|entry| of(entry.path())).sum()
}

#[tokio::test]
async fn each_old_folder_opens_with_all_that_was_in_it() {
    let all = all();
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    let versions = "folder-v2 folder-v3 folder-v4 folder-v5 index-v1 index-v2 index-v3 index-v4 index-v5 pack-v1 segment-v1";
    for version in versions.split(' ') {
        assert!(names.contains(&version), "{version} is missing from {names:?}");
    }
    for (name, home) in all {
        assert!(size(&home) < 130_000, "{name} is too large to carry along for ever");
        opens(&name, &home).await;
    }
}

async fn opens(name: &str, home: &Path) {
    let folder = crate::Folder::new();
    copy_folder(&home.join("data"), folder.path());
    let expect = std::fs::read_to_string(home.join("expect.txt")).unwrap();
    let clock = Arc::new(ManualClock::at_unix_s(NOW_UNIX_S + 3_600));
    let store = Store::open(&Options::in_folder(folder.path()), clock).unwrap();
    let (text, letters) = dump(&store).await;
    assert_eq!(text, expect, "{name}");
    for (letter, bytes) in letters {
        let sent = std::fs::read(home.join("letters").join(format!("{letter}.eml"))).unwrap();
        assert!(bytes == sent, "{name}: letter {letter}");
    }
    // And life goes on in it.
    let account = store.account_by_key("alice@example.test").await.unwrap().unwrap();
    let has_limit =
        name.starts_with("folder") || ["index-v3", "index-v4", "index-v5"].contains(&name);
    assert_eq!(account.limit, if has_limit { LIMIT } else { Amount::default() }, "{name}");
    assert_eq!(account.changes_floor.0 > 0, name.starts_with("folder"), "{name}");
    let aliases = store.aliases().await.unwrap().len();
    assert_eq!(aliases, if name.ends_with("-v5") { 3 } else { 0 }, "{name}");
    let alice = account.id;
    let inbox = store.mailbox_by_name(alice, "INBOX").await.unwrap();
    let letter = Letter::parse(raws().remove(1).into());
    let arrived = store.deliver(letter, vec![Target::inbox(alice)]).await.unwrap().pop().unwrap();
    let arrived = arrived.unwrap();
    assert_eq!(Some(arrived.uid), inbox.uid_next, "{name}");
    assert_eq!(arrived.uid_validity, inbox.uid_validity, "{name}");
    store.close().await;
}

/// Writes the folder of a version that has none yet. `with_index` `false`: of the log alone.
pub(crate) async fn write(name: &str, segment_bytes: u64, with_index: bool) {
    let home = testdata().join(name);
    assert!(!home.exists(), "{} is there: old versions stay as they are", home.display());
    let data = home.join("data");
    let clock = Arc::new(ManualClock::at_unix_s(NOW_UNIX_S));
    let options = Options { segment_bytes, ..Options::in_folder(&data) };
    let store = Store::open(&options, clock.clone()).unwrap();
    live_in(&store, &clock).await;
    match name.split('-').next() {
        Some("pack") => pack(&store, &data).await,
        Some("index") => {
            limit(&store).await;
            notes(&store).await;
            aliases(&store).await;
        }
        Some("folder") => {
            forget_changes(&store).await;
            limit(&store).await;
            notes(&store).await;
            together(&store).await;
            aliases(&store).await;
        }
        _ => {}
    }
    let (text, letters) = dump(&store).await;
    store.close().await;
    drop(store);
    for (file, kept) in [("lock", false), ("index.sqlite", with_index)] {
        if !kept {
            std::fs::remove_file(data.join(file)).unwrap();
        }
    }
    for file in ["index.sqlite-wal", "index.sqlite-shm"] {
        std::fs::remove_file(data.join(file)).unwrap_or_default();
    }
    std::fs::write(home.join("expect.txt"), text).unwrap();
    std::fs::create_dir(home.join("letters")).unwrap();
    for (name, bytes) in letters {
        std::fs::write(home.join("letters").join(format!("{name}.eml")), bytes).unwrap();
    }
}

/// `STORE_FIXTURE=index-v3 cargo test -p storage --test it -- --ignored --exact fixtures::write_one` after a format
/// was given that version; all but `index-…` leave the index out, so that the log stands alone.
#[tokio::test]
#[ignore = "writes into testdata/: run it once for each new version of a format"]
async fn write_one() {
    let name = std::env::var("STORE_FIXTURE").unwrap();
    let segment_bytes = if name.starts_with("segment") { 3_000 } else { 64 << 20 };
    write(&name, segment_bytes, name.starts_with("index")).await;
}
