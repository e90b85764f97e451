//! Names and events in words that a person understands.

use super::scan::{Event, State};
use db::{Amount, MailboxRow, Op, Read};
use types::{AccountId, Date, EmailId, MailboxId, Uid};

/// A kind of event and a sentence about it; none for a good frame.
pub(crate) fn event(event: &Event<'_>) -> Option<(&'static str, String)> {
    Some(match event {
        Event::Frame(_) => return None,
        Event::Damage(damage) => {
            let (from, to) = (damage.from, damage.to);
            let place = format!("segment {:x}, bytes {from} to {to}", damage.segment);
            let (first, last) = damage.lost;
            let lost = last.checked_sub(first).map(|n| n + 1);
            match (damage.state, lost) {
                (Some(State::LetterDamaged), _) => (
                    "letter-damaged",
                    format!("{place}: the bytes of a letter are not those that were written"),
                ),
                (Some(_), _) => ("bit-flipped", format!("{place}: one bit is flipped")),
                (None, Some(1)) => {
                    ("frame-damaged", format!("{place}: change {first} of the log cannot be read"))
                }
                (None, Some(n)) => (
                    "frame-damaged",
                    format!("{place}: {n} changes of the log, {first} to {last}, cannot be read"),
                ),
                (None, None) => {
                    ("frame-damaged", format!("{place}: these bytes are no changes of the log"))
                }
            }
        }
        Event::Torn { at, bytes } => (
            "torn-end",
            format!(
                "segment {:x} ends with {bytes} bytes, from byte {} on, that were never confirmed to anybody",
                at.segment, at.offset
            ),
        ),
        Event::Missing { first, last } if first == last => {
            ("segment-missing", format!("segment {first:x} is missing"))
        }
        Event::Missing { first, last } => {
            ("segment-missing", format!("segments {first:x} to {last:x} are missing"))
        }
        Event::Unreadable { path, bytes, .. }
            if path.extension().is_some_and(|end| end == "pack") =>
        {
            (
                "header-damaged",
                format!(
                    "the table of {}, or the beginning of the segment in it, is damaged beyond one bit: none of \
                     its {bytes} bytes can be checked",
                    path.display()
                ),
            )
        }
        Event::Unreadable { path, bytes, .. } => (
            "header-damaged",
            format!(
                "the header of {} is damaged beyond one bit: none of its {bytes} bytes can be checked",
                path.display()
            ),
        ),
        Event::Pack { fault, .. } => {
            let (path, from, to) = (fault.path.display(), fault.bytes.start, fault.bytes.end);
            let place = format!("{path}, bytes {from} to {to} ({})", fault.what);
            if fault.put_right {
                ("bit-flipped", format!("{place}: flipped, and what was written is known"))
            } else {
                ("pack-damaged", format!("{place}: these bytes are not those that were written"))
            }
        }
        Event::HeaderCorrected { id } => {
            ("bit-flipped", format!("a bit or more in the header of segment {id:x} is flipped"))
        }
    })
}

/// `alice@example.test`, or the number of an account nobody knows.
pub(crate) fn account(read: &dyn Read, id: AccountId) -> String {
    match read.account(id) {
        Ok(Some(row)) => row.key,
        _ => format!("account {id}"),
    }
}

pub(crate) fn mailbox(read: &dyn Read, account: AccountId, id: MailboxId) -> String {
    match read.mailbox(account, id) {
        Ok(Some(row)) => row.name,
        _ => format!("mailbox {id}"),
    }
}

/// `letter 17, "Subject", of alice@example.test`
pub(crate) fn email(read: &dyn Read, id: EmailId) -> String {
    let Ok(Some(row)) = read.email(id) else {
        return format!("letter {id}");
    };
    let owner = account(read, row.account);
    match mparser::Index::decode(&row.index) {
        Ok(index) => format!("letter {id} \"{}\" of {owner}", printable(&index.subject())),
        Err(_) => format!("letter {id} of {owner}"),
    }
}

/// Without control characters, and not endless: a subject comes from a stranger.
pub(crate) fn printable(text: &str) -> String {
    let clean: String =
        text.chars().map(|c| if c.is_control() { '?' } else { c }).take(80).collect();
    if text.chars().count() > 80 { format!("{clean}…") } else { clean }
}

/// Who has a letter that an op brings: `alice@example.test, INBOX, UID 43: "Subject"`.
pub(crate) fn letters_of(ops: &[Op], read: &dyn Read) -> Vec<String> {
    let mut names = Vec::new();
    for op in ops {
        let Op::EmailAdd { account: owner, email, index, .. } = op else { continue };
        let subject = mparser::Index::decode(index).map(|index| printable(&index.subject()));
        let subject = subject.unwrap_or_default();
        let mut place = String::new();
        for op in ops {
            if let Op::MessageAdd { account, mailbox: id, row } = op
                && (account, row.email) == (owner, *email)
            {
                place = format!(", {}, UID {}", mailbox(read, *account, *id), row.uid);
            }
        }
        names.push(format!("letter {email} \"{subject}\" of {}{place}", account(read, *owner)));
    }
    names
}

pub(crate) fn message(owner: &str, mailbox: &MailboxRow, uid: Uid) -> String {
    format!("{owner}, {}, UID {uid}", mailbox.name)
}

pub(crate) fn when(unix_s: i64) -> String {
    Date::from_unix_s(unix_s).rfc3339()
}

/// A limit; 0 is none.
fn amount(limit: Amount) -> String {
    match (limit.size_bytes, limit.messages) {
        (0, 0) => "as much as it likes".to_owned(),
        (size_bytes, 0) => format!("{size_bytes} bytes"),
        (0, messages) => format!("{messages} messages"),
        (size_bytes, messages) => format!("{size_bytes} bytes and {messages} messages"),
    }
}

/// An op in words, without secrets.
pub(crate) fn op(op: &Op) -> String {
    match op {
        Op::AccountPut { account, key, secret } => {
            let login = if secret.is_empty() { "no password" } else { "with a password" };
            format!("account {account} is {key}, {login}")
        }
        Op::MailboxPut { account, mailbox, name, subscribed, modseq, .. } => {
            let hidden = if *subscribed { "" } else { ", not subscribed" };
            format!(
                "account {account}: mailbox {mailbox} is \"{}\"{hidden} (modseq {modseq})",
                printable(name)
            )
        }
        Op::MailboxGone { account, mailbox, modseq } => {
            format!("account {account}: mailbox {mailbox} is deleted (modseq {modseq})")
        }
        Op::EmailAdd { account, email, thread, .. } => {
            format!("account {account}: letter {email} in thread {thread}")
        }
        Op::MessageAdd { account, mailbox, row } => format!(
            "account {account}: letter {} comes into mailbox {mailbox} as UID {} with ({}) (modseq {})",
            row.email, row.uid, row.flags, row.modseq
        ),
        Op::FlagsPut { account, mailbox, modseq, uids, flags } => format!(
            "account {account}: mailbox {mailbox}, UID {uids} now ({flags}) (modseq {modseq})"
        ),
        Op::MessageGone { account, mailbox, modseq, uids } => {
            format!("account {account}: mailbox {mailbox}, UID {uids} removed (modseq {modseq})")
        }
        Op::QuotaPut { account, limit } => {
            format!("account {account}: may hold {}", amount(*limit))
        }
        Op::ChangesFloor { account, modseq } => {
            format!("account {account}: changes up to modseq {modseq} are forgotten")
        }
        Op::NotePut { account, mailbox, name, value, modseq } => {
            let what =
                value.as_ref().map_or("no longer".to_owned(), |v| format!("{} bytes", v.len()));
            let of = mailbox.map_or(String::new(), |mailbox| format!("mailbox {mailbox}, "));
            format!(
                "account {account}: {of}note \"{}\" is {what} (modseq {modseq})",
                printable(name)
            )
        }
        Op::SeenPut { account, mailbox, user, uids, seen, modseq } => {
            let seen = if *seen { "read" } else { "unread" };
            format!(
                "account {account}: mailbox {mailbox}, UID {uids} now {seen} for account {user} (modseq {modseq})"
            )
        }
        Op::AliasPut { key, targets } if targets.is_empty() => {
            format!("alias {} is gone", printable(key))
        }
        Op::AliasPut { key, targets } => {
            format!("alias {} leads to {}", printable(key), printable(&targets.join(", ")))
        }
        #[expect(
            unreachable_patterns,
            reason = "an op that a later change adds is shown by its name"
        )]
        other => format!("{other:?}").chars().take(120).collect(),
    }
}
