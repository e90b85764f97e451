//! All that a store shows, as text: two stores with the same dump are the same to everybody who asks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use storage::{Change, ChangeKind, Mailbox, Message, Store};
use types::{AccountId, EmailId, MailboxId, ModSeq, SpecialUse, UidSet};

/// The bytes of each letter, by the name the dump gives it.
pub(crate) type Letters = BTreeMap<String, Vec<u8>>;

/// Accounts, mailboxes, messages, threads and changes, a line each; and the letters.
pub(crate) async fn dump(store: &Store) -> (String, Letters) {
    let (mut text, mut letters) = (String::new(), Letters::new());
    let mut accounts = store.index().read().unwrap().accounts().unwrap();
    accounts.sort_by_key(|row| row.id);
    for row in accounts {
        let (id, key, secret) = (row.id, &row.key, &row.secret);
        let state = store.state(id).await.unwrap();
        writeln!(text, "account {id} {key} secret {secret:?} modseq {state}").unwrap();
        account(store, id, &mut text, &mut letters).await;
    }
    for alias in store.aliases().await.unwrap() {
        writeln!(text, "alias {} {}", alias.key, alias.targets.join(" ")).unwrap();
    }
    (text, letters)
}

async fn account(store: &Store, id: AccountId, text: &mut String, letters: &mut Letters) {
    let mut seen = BTreeMap::new();
    let mut mailboxes = store.mailboxes(id).await.unwrap();
    mailboxes.sort_by_key(|row| row.id);
    notes(store, id, None, text);
    for row in &mailboxes {
        mailbox(row, text);
        notes(store, id, Some(row.id), text);
        for message in store.messages(id, row.id, &UidSet::all()).await.unwrap() {
            let letter = letter(store, id, message.email, letters, &mut seen).await;
            line(&message, &letter, text);
        }
    }
    let mut threads = BTreeMap::<_, Vec<EmailId>>::new();
    for (email, thread) in seen {
        threads.entry(thread).or_default().push(email);
        let homes = store.homes(id, email).await.unwrap();
        let homes: Vec<_> =
            homes.iter().map(|(mailbox, row)| format!("{mailbox}/{}", row.uid)).collect();
        writeln!(text, "  email {email} in {}", homes.join(" ")).unwrap();
    }
    for thread in threads.into_keys() {
        let emails = store.thread(id, thread).await.unwrap();
        let emails: Vec<_> = emails.iter().map(ToString::to_string).collect();
        writeln!(text, "  thread {thread} is {}", emails.join(" ")).unwrap();
    }
    let floor = store.account(id).await.unwrap().changes_floor;
    let changes = store.changes(id, floor, usize::MAX).await.unwrap();
    if floor > ModSeq::default() {
        // A hundred thousand lines would say no more.
        writeln!(text, "  {} changes since {floor}", changes.changes.len()).unwrap();
        return;
    }
    let mut lines: Vec<_> = changes.changes.iter().map(|row| (row.modseq, change(row))).collect();
    // Entries of one MODSEQ have no order.
    lines.sort();
    for (modseq, line) in lines {
        writeln!(text, "  change {modseq} {line}").unwrap();
    }
}

/// Those of who has read what too.
fn notes(store: &Store, account: AccountId, mailbox: Option<MailboxId>, text: &mut String) {
    for note in store.index().read().unwrap().notes(account, mailbox).unwrap() {
        writeln!(text, "  note {:?} {:?}", note.name, note.value).unwrap();
    }
}

fn mailbox(row: &Mailbox, text: &mut String) {
    let Mailbox { id, name, uid_validity, modseq, created, .. } = row;
    let role = row.special_use.map_or("-", SpecialUse::role);
    let next = row.uid_next.map_or("none".to_owned(), |uid| uid.to_string());
    writeln!(
        text,
        "  mailbox {id} {name:?} use {role} subscribed {} validity {uid_validity} next {next} \
         modseq {modseq} made {created} total {} unseen {} deleted {} bytes {}",
        row.subscribed, row.total, row.unseen, row.deleted, row.size_bytes
    )
    .unwrap();
}

fn line(row: &Message, letter: &str, text: &mut String) {
    let Message { uid, email, modseq, flags, received_unix_s, saved_unix_s, size_bytes, .. } = row;
    writeln!(
        text,
        "    {uid} email {email} modseq {modseq} flags [{flags}] received {received_unix_s} \
         saved {saved_unix_s} bytes {size_bytes} {letter}"
    )
    .unwrap();
}

/// `thread N letter NAME`; the letter is read once, however many mailboxes have it.
async fn letter(
    store: &Store,
    account: AccountId,
    email: EmailId,
    letters: &mut Letters,
    seen: &mut BTreeMap<EmailId, types::ThreadId>,
) -> String {
    let row = store.emails(account, &[email]).await.unwrap().pop().unwrap();
    let bytes = store.bytes(&row).await.unwrap().to_vec();
    let name = blake3::hash(&bytes).to_hex().as_str()[..16].to_owned();
    seen.insert(email, row.thread);
    let line = format!("thread {} letter {name}", row.thread);
    letters.insert(name, bytes);
    line
}

/// The kind is not named as in the code, which may change while old dumps stay.
fn change(row: &Change) -> String {
    let kind = match row.kind {
        ChangeKind::MessageAdded => "added",
        ChangeKind::FlagsChanged => "flags",
        ChangeKind::MessageGone => "gone",
        ChangeKind::MailboxMade => "mailbox-made",
        ChangeKind::MailboxChanged => "mailbox-changed",
        ChangeKind::MailboxGone => "mailbox-gone",
    };
    let message = row.message.map_or(String::new(), |(uid, email)| format!(" {uid} {email}"));
    format!("{kind} {}{message}", row.mailbox)
}
