//! CREATE, RENAME, DELETE, SUBSCRIBE (RFC 9051 §6.3.4 to §6.3.8), and which names are allowed.

use crate::writer::{Facts, Intent};
use crate::{Error, Result};
use db::{MailboxRow, Op};
use types::{AccountId, MailboxId, ModSeq, SpecialUse, UidSet, UidValidity};
use unicode_normalization::UnicodeNormalization as _;

/// One level of a name; 255 bytes is what other servers take.
const LEVEL_BYTES: usize = 255;
/// The whole name.
const NAME_BYTES: usize = 1000;
const LEVELS: usize = 20;
/// Mailboxes of one account; a client that makes more is running wild.
const MAILBOXES: usize = 10_000;

/// The name as it is stored: composed (NFC), so that two that look the same are the same (RFC 9051 §5.1 asks for
/// Net-Unicode; some clients send it decomposed). `INBOX` in any case becomes `INBOX`; a trailing `/` is dropped, since
/// clients send it for a mailbox that will have children (RFC 9051 §6.3.4).
pub(crate) fn canonical_name(name: &str) -> Result<String> {
    let refused = |why| Err(Error::MailboxName(why));
    // Before it is composed and after: that may make it shorter or longer.
    if name.len() > 2 * NAME_BYTES {
        return refused("it is longer than 1,000 bytes");
    }
    let name: String = name.nfc().collect();
    let name = name.strip_suffix('/').unwrap_or(&name);
    if name.is_empty() {
        return refused("it is empty");
    }
    if name.len() > NAME_BYTES {
        return refused("it is longer than 1,000 bytes");
    }
    let levels: Vec<&str> = name.split('/').collect();
    if levels.len() > LEVELS {
        return refused("it has more than 20 levels");
    }
    for level in &levels {
        match *level {
            "" => return refused("a level between two / is empty"),
            "." | ".." => return refused("a level is . or .."),
            level if level.len() > LEVEL_BYTES => {
                return refused("a level is longer than 255 bytes");
            }
            level if level.chars().any(|c| c.is_control() || c == '\u{fffd}') => {
                return refused("it has a control character");
            }
            _ => {}
        }
    }
    let (first, rest) = name.split_once('/').map_or((name, None), |(a, b)| (a, Some(b)));
    let first = if first.eq_ignore_ascii_case("INBOX") { "INBOX" } else { first };
    Ok(rest.map_or_else(|| first.to_owned(), |rest| format!("{first}/{rest}")))
}

pub(crate) struct CreateMailbox {
    pub(crate) account: AccountId,
    pub(crate) name: String,
    pub(crate) special_use: Option<SpecialUse>,
}

impl Intent for CreateMailbox {
    type Outcome = MailboxRow;

    fn accounts(&self) -> Vec<AccountId> {
        vec![self.account]
    }

    fn resolve(&self, facts: &mut Facts<'_>) -> Result<MailboxRow> {
        let name = canonical_name(&self.name)?;
        let existing = facts.txn.mailboxes(self.account)?;
        if existing.iter().any(|row| row.name == name) {
            return Err(Error::MailboxExists);
        }
        if existing.len() >= MAILBOXES {
            return Err(Error::MailboxFixed("the account has 10,000 mailboxes already"));
        }
        if self.special_use.is_some() && existing.iter().any(|r| r.special_use == self.special_use)
        {
            return Err(Error::MailboxFixed("another mailbox has this special use"));
        }
        for above in missing_above(&existing, &name) {
            put_new(facts, self.account, &above, None)?;
        }
        put_new(facts, self.account, &name, self.special_use)
    }
}

/// The levels above a name that are no mailboxes yet, highest first.
fn missing_above(existing: &[MailboxRow], name: &str) -> Vec<String> {
    let above = name.match_indices('/').filter_map(|(at, _)| name.get(..at));
    above
        .filter(|above| !existing.iter().any(|row| row.name == *above))
        .map(str::to_owned)
        .collect()
}

fn put_new(
    facts: &mut Facts<'_>,
    account: AccountId,
    name: &str,
    special_use: Option<SpecialUse>,
) -> Result<MailboxRow> {
    let row = facts.account(account)?;
    let mailbox = MailboxId(row.last_mailbox.0 + 1);
    let now = u32::try_from(facts.now_unix_s).unwrap_or(u32::MAX);
    let uid_validity = UidValidity(now.max(row.last_uid_validity.0.saturating_add(1)));
    let modseq = facts.next_change(account)?;
    facts.end_subscription(account, name, modseq)?;
    let name = name.to_owned();
    facts.put(&Op::MailboxPut {
        account,
        mailbox,
        modseq,
        uid_validity,
        name,
        special_use,
        subscribed: true,
    })?;
    facts.mailbox(account, mailbox)
}

/// Puts a mailbox again with another name or subscription.
fn put_again(
    facts: &mut Facts<'_>,
    account: AccountId,
    row: &MailboxRow,
    modseq: ModSeq,
) -> Result<()> {
    facts.put(&Op::MailboxPut {
        account,
        mailbox: row.id,
        modseq,
        uid_validity: row.uid_validity,
        name: row.name.clone(),
        special_use: row.special_use,
        subscribed: row.subscribed,
    })
}

pub(crate) struct RenameMailbox {
    pub(crate) account: AccountId,
    pub(crate) mailbox: MailboxId,
    pub(crate) name: String,
}

impl Intent for RenameMailbox {
    type Outcome = ();

    fn accounts(&self) -> Vec<AccountId> {
        vec![self.account]
    }

    fn resolve(&self, facts: &mut Facts<'_>) -> Result<()> {
        let account = self.account;
        let row = facts.mailbox(account, self.mailbox)?;
        let name = canonical_name(&self.name)?;
        let existing = facts.txn.mailboxes(account)?;
        let below_old = format!("{}/", row.name);
        if name.starts_with(&below_old) {
            return Err(Error::MailboxFixed("it would lie below itself"));
        }
        if existing.iter().any(|other| other.name == name) {
            return Err(Error::MailboxExists);
        }
        let missing = missing_above(&existing, &name);
        if row.special_use == Some(SpecialUse::Inbox) {
            for above in missing {
                put_new(facts, account, &above, None)?;
            }
            let new = put_new(facts, account, &name, None)?;
            return empty_into(facts, account, &row, new.id);
        }
        let moved: Vec<MailboxRow> = existing
            .into_iter()
            .filter(|other| other.id == row.id || other.name.starts_with(&below_old))
            .collect();
        let renamed = |other: &MailboxRow| {
            let below = other.name.get(row.name.len()..).unwrap_or_default();
            canonical_name(&format!("{name}{below}"))
        };
        let names: Vec<String> = moved.iter().map(renamed).collect::<Result<_>>()?;
        // RFC 9051 §6.3.6: the levels above the new name are made.
        for above in missing {
            put_new(facts, account, &above, None)?;
        }
        let modseq = facts.next_change(account)?;
        for (old, name) in moved.into_iter().zip(names) {
            facts.end_subscription(account, &name, modseq)?;
            put_again(facts, account, &MailboxRow { name, ..old }, modseq)?;
        }
        Ok(())
    }
}

/// RENAME of INBOX: its messages move, the inbox stays, empty (RFC 9051 §6.3.6).
fn empty_into(
    facts: &mut Facts<'_>,
    account: AccountId,
    inbox: &MailboxRow,
    to: MailboxId,
) -> Result<()> {
    let rows = facts.txn.messages(account, inbox.id, &UidSet::all())?;
    let modseq = facts.next_change(account)?;
    for row in &rows {
        facts.add_copy(account, to, modseq, row)?;
    }
    let uids: UidSet = rows.iter().map(|row| row.uid).collect();
    if uids.is_empty() {
        return Ok(());
    }
    facts.put(&Op::MessageGone { account, mailbox: inbox.id, modseq, uids })
}

pub(crate) struct DeleteMailbox {
    pub(crate) account: AccountId,
    pub(crate) mailbox: MailboxId,
}

impl Intent for DeleteMailbox {
    type Outcome = ();

    fn accounts(&self) -> Vec<AccountId> {
        vec![self.account]
    }

    fn resolve(&self, facts: &mut Facts<'_>) -> Result<()> {
        let (account, mailbox) = (self.account, self.mailbox);
        let row = facts.mailbox(account, mailbox)?;
        if row.special_use == Some(SpecialUse::Inbox) {
            return Err(Error::MailboxFixed("the inbox cannot be deleted"));
        }
        let below = format!("{}/", row.name);
        if facts.txn.mailboxes(account)?.iter().any(|other| other.name.starts_with(&below)) {
            return Err(Error::MailboxFixed("it has mailboxes below it; delete those first"));
        }
        let modseq = facts.next_change(account)?;
        facts.put(&Op::MailboxGone { account, mailbox, modseq })?;
        if row.subscribed { facts.keep_subscription(account, &row.name, modseq) } else { Ok(()) }
    }
}

pub(crate) struct SubscribeMailbox {
    pub(crate) account: AccountId,
    pub(crate) mailbox: MailboxId,
    pub(crate) subscribed: bool,
}

impl Intent for SubscribeMailbox {
    type Outcome = ();

    fn accounts(&self) -> Vec<AccountId> {
        vec![self.account]
    }

    fn resolve(&self, facts: &mut Facts<'_>) -> Result<()> {
        let row = facts.mailbox(self.account, self.mailbox)?;
        if row.subscribed == self.subscribed {
            return Ok(());
        }
        let modseq = facts.next_change(self.account)?;
        let row = MailboxRow { subscribed: self.subscribed, ..row };
        put_again(facts, self.account, &row, modseq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        #[track_caller]
        fn check(name: &str, expect: Option<&str>) {
            assert_eq!(canonical_name(name).ok().as_deref(), expect, "{name:?}");
        }
        check("inbox", Some("INBOX"));
        check("Inbox/Work", Some("INBOX/Work"));
        check("Żółte/kartki/", Some("Żółte/kartki"));
        check("a b&c", Some("a b&c"));
        check("Z\u{307}o\u{301}\u{142}ty", Some("\u{17b}\u{f3}\u{142}ty"));
        check(&"o\u{301}".repeat(333).replace('o', "x"), None);
        for bad in ["", "/", "a//b", "/a", "..", "a/../b", ".", "a\0b", "a\nb", "a\u{fffd}"] {
            check(bad, None);
        }
        check(&"x".repeat(256), None);
        check(&"x/".repeat(21), None);
        check(&format!("{}x", "xyz/".repeat(18)), Some(&format!("{}x", "xyz/".repeat(18))));
        check(&"y".repeat(5000), None);
    }
}
