//! What each op does to the rows: the one place where counters, change log and rows meet.

use crate::op::encode_uids;
use crate::rows::seen_name;
use crate::{
    AccountRow, Amount, BlobRef, ChangeKind, ChangeRow, EmailRow, Error, MailboxRow, MessageRow,
    Op, Result, Txn,
};
use std::collections::BTreeSet;
use types::{AccountId, EmailId, Flag, Flags, MailboxId, ModSeq, Uid, UidSet, UidValidity};

/// Applies one fact. `blob` says where the frame's message bytes lie; [`Op::EmailAdd`] needs it.
/// Fails with [`Error::Corrupt`] when the op does not fit the rows, which means a damaged index or log.
pub fn apply(txn: &mut dyn Txn, op: &Op, blob: Option<BlobRef>) -> Result<()> {
    match op {
        Op::AccountPut { account, key, secret } => put_account(txn, *account, key, secret),
        Op::MailboxPut { .. } => put_mailbox(txn, op),
        Op::MailboxGone { account, mailbox, modseq } => {
            let gone = remove(txn, *account, *mailbox, *modseq, &UidSet::all())?;
            txn.delete_mailbox(*account, *mailbox)?;
            remember(txn, *account, *modseq, ChangeKind::MailboxGone, *mailbox, None)?;
            bump(txn, *account, *modseq, gone.messages + 1, |row| row.used = row.used.minus(gone))
        }
        Op::EmailAdd { account, email, thread, received_unix_s, index, message_ids, part } => {
            let blob = blob.ok_or_else(|| misfit("an email without bytes"))?;
            let blob = part.as_ref().map_or(Some(blob), |part| blob.part(part));
            let blob = blob.ok_or_else(|| misfit("an email outside of its bytes"))?;
            // Before what leads to it: that goes when its thread is empty.
            txn.add_email(&EmailRow {
                id: *email,
                account: *account,
                thread: *thread,
                received_unix_s: *received_unix_s,
                blob,
                index: index.clone(),
            })?;
            for hash in message_ids {
                txn.put_thread_of(*account, *hash, *thread)?;
            }
            Ok(())
        }
        Op::MessageAdd { account, mailbox, row } => add_message(txn, *account, *mailbox, row),
        Op::FlagsPut { account, mailbox, modseq, uids, flags } => {
            let changed = put_flags(txn, *account, *mailbox, *modseq, uids, flags)?;
            bump(txn, *account, *modseq, changed, |_| ())
        }
        Op::MessageGone { account, mailbox, modseq, uids } => {
            let gone = remove(txn, *account, *mailbox, *modseq, uids)?;
            bump(txn, *account, *modseq, gone.messages, |row| row.used = row.used.minus(gone))
        }
        Op::QuotaPut { account, limit } => {
            let row = account_of(txn, *account)?;
            txn.put_account(&AccountRow { limit: *limit, ..row })
        }
        Op::ChangesFloor { account, modseq } => forget(txn, *account, *modseq),
        Op::NotePut { account, mailbox, modseq, name, value } => {
            txn.put_note(*account, *mailbox, name, value.as_deref())?;
            noted(txn, *account, *mailbox, *modseq)
        }
        Op::SeenPut { account, mailbox, modseq, user, uids, seen } => {
            mailbox_of(txn, *account, *mailbox)?;
            let name = seen_name(*user);
            let old = txn.seen_by(*account, *mailbox, *user)?;
            let new = if *seen { old.with(uids) } else { old.without(uids) };
            let value = Some(encode_uids(&new)).filter(|_| !new.is_empty());
            txn.put_note(*account, Some(*mailbox), &name, value.as_deref())?;
            bump(txn, *account, *modseq, 0, |_| ())
        }
        Op::AliasPut { key, targets } => txn.put_alias(key, targets),
    }
}

/// Remembers that a note changed: of a mailbox as a change of the mailbox.
fn noted(
    txn: &mut dyn Txn,
    account: AccountId,
    mailbox: Option<MailboxId>,
    modseq: ModSeq,
) -> Result<()> {
    if let Some(mailbox) = mailbox {
        mailbox_of(txn, account, mailbox)?;
        remember(txn, account, modseq, ChangeKind::MailboxChanged, mailbox, None)?;
    }
    bump(txn, account, modseq, mailbox.is_some().into(), |_| ())
}

fn misfit(what: &str) -> Error {
    Error::Corrupt(format!("the log speaks of {what}"))
}

fn put_account(txn: &mut dyn Txn, account: AccountId, key: &str, secret: &str) -> Result<()> {
    let old = txn.account(account)?.unwrap_or(AccountRow {
        id: account,
        key: String::new(),
        secret: String::new(),
        modseq: ModSeq(0),
        last_mailbox: MailboxId(0),
        last_uid_validity: UidValidity(0),
        limit: Amount::default(),
        used: Amount::default(),
        changes_floor: ModSeq(0),
        new_changes: 0,
    });
    txn.put_account(&AccountRow { key: key.to_owned(), secret: secret.to_owned(), ..old })
}

fn put_mailbox(txn: &mut dyn Txn, op: &Op) -> Result<()> {
    let Op::MailboxPut { account, mailbox, modseq, uid_validity, name, special_use, subscribed } =
        op
    else {
        return Err(misfit("a mailbox that is none"));
    };
    let old = txn.mailbox(*account, *mailbox)?;
    let kind = if old.is_some() { ChangeKind::MailboxChanged } else { ChangeKind::MailboxMade };
    let row = MailboxRow {
        name: name.clone(),
        special_use: *special_use,
        subscribed: *subscribed,
        modseq: *modseq,
        ..old.unwrap_or_else(|| empty_mailbox(*mailbox, *uid_validity, *modseq))
    };
    txn.put_mailbox(*account, &row)?;
    remember(txn, *account, *modseq, kind, *mailbox, None)?;
    bump(txn, *account, *modseq, 1, |row| {
        row.last_mailbox = row.last_mailbox.max(*mailbox);
        row.last_uid_validity = row.last_uid_validity.max(*uid_validity);
    })
}

fn empty_mailbox(id: MailboxId, uid_validity: UidValidity, modseq: ModSeq) -> MailboxRow {
    MailboxRow {
        id,
        name: String::new(),
        special_use: None,
        subscribed: false,
        uid_validity,
        uid_next: Some(Uid::MIN),
        modseq,
        created: modseq,
        total: 0,
        unseen: 0,
        deleted: 0,
        size_bytes: 0,
    }
}

/// Moves the account's counters past what was given and remembered.
fn bump(
    txn: &mut dyn Txn,
    account: AccountId,
    modseq: ModSeq,
    remembered: u64,
    more: impl FnOnce(&mut AccountRow),
) -> Result<()> {
    let mut row = account_of(txn, account)?;
    row.modseq = row.modseq.max(modseq);
    row.new_changes = row.new_changes.saturating_add(remembered);
    more(&mut row);
    txn.put_account(&row)
}

fn forget(txn: &mut dyn Txn, account: AccountId, floor: ModSeq) -> Result<()> {
    let mut row = account_of(txn, account)?;
    // Never above what has happened: a log that was put together again may have lost the last changes.
    row.changes_floor = row.changes_floor.max(floor.min(row.modseq));
    row.new_changes = 0;
    txn.put_account(&row)?;
    txn.forget_changes(account, row.changes_floor)
}

fn account_of(txn: &dyn Txn, account: AccountId) -> Result<AccountRow> {
    txn.account(account)?.ok_or_else(|| misfit("an account that is not there"))
}

fn remember(
    txn: &mut dyn Txn,
    account: AccountId,
    modseq: ModSeq,
    kind: ChangeKind,
    mailbox: MailboxId,
    message: Option<(Uid, EmailId)>,
) -> Result<()> {
    txn.add_change(account, &ChangeRow { modseq, kind, mailbox, message })
}

fn mailbox_of(txn: &dyn Txn, account: AccountId, mailbox: MailboxId) -> Result<MailboxRow> {
    txn.mailbox(account, mailbox)?.ok_or_else(|| misfit("a mailbox that is not there"))
}

fn count(row: &mut MailboxRow, message: &MessageRow, sign: i64) {
    let add =
        |n: &mut u64, by: u64| *n = n.saturating_add_signed(sign.saturating_mul(by.cast_signed()));
    add(&mut row.total, 1);
    add(&mut row.unseen, u64::from(!message.flags.contains(Flag::Seen)));
    add(&mut row.deleted, u64::from(message.flags.contains(Flag::Deleted)));
    add(&mut row.size_bytes, u64::from(message.size_bytes));
}

fn add_message(
    txn: &mut dyn Txn,
    account: AccountId,
    mailbox: MailboxId,
    row: &MessageRow,
) -> Result<()> {
    let mut counters = mailbox_of(txn, account, mailbox)?;
    if counters.uid_next.is_none_or(|next| row.uid < next) {
        return Err(misfit("a UID given twice"));
    }
    counters.uid_next = row.uid.next();
    counters.modseq = counters.modseq.max(row.modseq);
    count(&mut counters, row, 1);
    txn.add_message(account, mailbox, row)?;
    txn.put_mailbox(account, &counters)?;
    let message = Some((row.uid, row.email));
    remember(txn, account, row.modseq, ChangeKind::MessageAdded, mailbox, message)?;
    let came = Amount::of(row);
    bump(txn, account, row.modseq, 1, |row| row.used = row.used.plus(came))
}

fn put_flags(
    txn: &mut dyn Txn,
    account: AccountId,
    mailbox: MailboxId,
    modseq: ModSeq,
    uids: &UidSet,
    flags: &Flags,
) -> Result<u64> {
    let mut counters = mailbox_of(txn, account, mailbox)?;
    let mut changed = 0;
    for old in txn.messages(account, mailbox, uids)? {
        let new = MessageRow { flags: flags.clone(), modseq, ..old.clone() };
        count(&mut counters, &old, -1);
        count(&mut counters, &new, 1);
        txn.put_flags(account, mailbox, &new)?;
        let message = Some((new.uid, new.email));
        remember(txn, account, modseq, ChangeKind::FlagsChanged, mailbox, message)?;
        changed += 1;
    }
    counters.modseq = counters.modseq.max(modseq);
    txn.put_mailbox(account, &counters)?;
    Ok(changed)
}

/// Gives back what went.
fn remove(
    txn: &mut dyn Txn,
    account: AccountId,
    mailbox: MailboxId,
    modseq: ModSeq,
    uids: &UidSet,
) -> Result<Amount> {
    let mut counters = mailbox_of(txn, account, mailbox)?;
    let mut emails = BTreeSet::new();
    let mut gone = Amount::default();
    for row in txn.messages(account, mailbox, uids)? {
        count(&mut counters, &row, -1);
        txn.delete_message(account, mailbox, row.uid, row.email)?;
        emails.insert(row.email);
        gone = gone.plus(Amount::of(&row));
        let message = Some((row.uid, row.email));
        remember(txn, account, modseq, ChangeKind::MessageGone, mailbox, message)?;
    }
    // Once for each email, not for each row: a mailbox may hold thousands of copies of one.
    for email in emails {
        if txn.homes(account, email)?.is_empty() {
            txn.delete_email(email)?;
        }
    }
    counters.modseq = counters.modseq.max(modseq);
    txn.put_mailbox(account, &counters)?;
    Ok(gone)
}
