//! STATUS (RFC 9051 §6.3.11), and the table of what it can say.
//!
//! ```text
//! status     = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")"
//! status-att = "MESSAGES" / "UIDNEXT" / "UIDVALIDITY" / "UNSEEN" / "DELETED" / "SIZE" / ...
//! ```

use crate::commands::Verb;
use crate::encode;
use crate::parse::{Parsed, Parser, limits};
use crate::reply::{Answer, Done, Error};
use crate::session::Session;
use crate::sharing::{Named, Rights};
use std::borrow::Cow;
use storage::Mailbox;
use types::{Flag, Limits, Uid};

/// Bytes that EXPUNGE would free.
const DELETED_STORAGE: &str = "DELETED-STORAGE";
const UNSEEN: &str = "UNSEEN";

/// What STATUS can say of a mailbox: name, value, where it is specified.
pub(crate) struct Item {
    name: &'static str,
    value: fn(&Mailbox, &Limits) -> String,
    #[cfg_attr(not(test), expect(dead_code, reason = "read by people and by the table's test"))]
    spec: &'static str,
}

const fn row(
    name: &'static str,
    value: fn(&Mailbox, &Limits) -> String,
    spec: &'static str,
) -> Item {
    Item { name, value, spec }
}

/// Sorted by name.
static ITEMS: &[Item] = &[
    row("APPENDLIMIT", |_, limits| limits.message_bytes.to_string(), "RFC 7889"),
    row("DELETED", |mailbox, _| mailbox.deleted.to_string(), "RFC 9051 §6.3.11"),
    // Counted by `say`, over the messages.
    row(DELETED_STORAGE, |_, _| "0".to_owned(), "RFC 9208 §4.1.4"),
    row("HIGHESTMODSEQ", |mailbox, _| mailbox.modseq.to_string(), "RFC 7162 §3.1.7"),
    row("MAILBOXID", |mailbox, _| format!("(F{})", mailbox.id), "RFC 8474 §4.3"),
    row("MESSAGES", |mailbox, _| mailbox.total.to_string(), "RFC 9051 §6.3.11"),
    row("RECENT", |_, _| "0".to_owned(), "RFC 3501 §6.3.10"),
    row("SIZE", |mailbox, _| mailbox.size_bytes.to_string(), "RFC 8438"),
    row("UIDNEXT", |mailbox, _| uid_next(mailbox).to_string(), "RFC 9051 §6.3.11"),
    row("UIDVALIDITY", |mailbox, _| mailbox.uid_validity.to_string(), "RFC 9051 §6.3.11"),
    // Of another's mailbox counted by `say`.
    row(UNSEEN, |mailbox, _| mailbox.unseen.to_string(), "RFC 9051 §6.3.11"),
];

/// The last UID of all stands for "none left"; a number must stand there.
pub(super) fn uid_next(mailbox: &Mailbox) -> Uid {
    mailbox.uid_next.unwrap_or(Uid::MAX)
}

pub(crate) struct Status {
    mailbox: String,
    items: Vec<&'static Item>,
}

impl Verb for Status {
    const NEEDS_LIST: bool = false;

    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let mailbox = p.mailbox()?;
        p.sp()?;
        Ok(Self { mailbox, items: items(p)? })
    }

    async fn run(self, session: &mut Session) -> Answer {
        if self.items.iter().any(|item| item.name == "HIGHESTMODSEQ") {
            session.enable_condstore();
        }
        let named = session.named(&self.mailbox, Rights::READ).await?;
        say(session, &named, &self.items).await?;
        Ok(Done::new("That is its status"))
    }
}

/// `(` names of items `)`, as STATUS and LIST-STATUS have them.
pub(super) fn items(p: &mut Parser<'_>) -> Parsed<Vec<&'static Item>> {
    let items = p.list(limits::OPTIONS, |p| match ITEMS.iter().find(|item| p.word(item.name)) {
        Some(item) => Ok(item),
        None => p.wanted("something STATUS can say"),
    })?;
    if items.is_empty() { p.wanted("something STATUS can say") } else { Ok(items) }
}

/// `* STATUS Work (MESSAGES 2 UNSEEN 1)`
pub(super) async fn say(
    session: &mut Session,
    named: &Named,
    items: &[&Item],
) -> Result<(), Error> {
    let (account, mut mailbox) = (named.account, Cow::Borrowed(&named.mailbox));
    if !named.is_own() && items.iter().any(|item| item.name == UNSEEN) {
        let (me, store) = (session.account()?, session.store());
        let seen = store.seen_by(account, mailbox.id, me).await?;
        let view = store.view(account, mailbox.id).await?;
        mailbox.to_mut().unseen = (view.len() - view.members(&seen).count()) as u64;
    }
    let mut deleted_bytes = 0;
    if mailbox.deleted > 0 && items.iter().any(|item| item.name == DELETED_STORAGE) {
        let view = session.store().view(account, mailbox.id).await?;
        let deleted = view.entries().filter(|entry| entry.flags.contains(Flag::Deleted));
        deleted_bytes = deleted.map(|entry| u64::from(entry.size_bytes)).sum();
    }
    let limits = session.service.config.limits;
    let utf8 = session.utf8();
    let out = session.wire.out();
    out.extend_from_slice(b"* STATUS ");
    encode::mailbox(out, &mailbox.name, utf8);
    for (i, item) in items.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b" (" } else { b" " });
        out.extend_from_slice(item.name.as_bytes());
        out.push(b' ');
        if item.name == DELETED_STORAGE {
            encode::number(out, deleted_bytes);
        } else {
            out.extend_from_slice((item.value)(&mailbox, &limits).as_bytes());
        }
    }
    out.extend_from_slice(b")\r\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(ITEMS.is_sorted_by(|a, b| a.name < b.name));
        assert!(ITEMS.iter().all(|item| item.spec.starts_with("RFC ")));
    }
}
