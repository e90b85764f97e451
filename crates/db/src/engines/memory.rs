//! Rows in ordered maps. A writer changes a copy that readers do not share; commit puts it in place.

use crate::{
    AccountRow, AliasRow, ChangeRow, EmailRow, Index, MailboxRow, MessageRow, NoteRow, Position,
    Read, Result, Txn,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use types::{AccountId, EmailId, MailboxId, ModSeq, ThreadId, Uid, UidSet};

#[expect(clippy::unnecessary_wraps, reason = "the form of every row in ENGINES")]
pub(super) fn open(_rest: &str) -> Result<Arc<dyn Index>> {
    Ok(Arc::new(Memory::default()))
}

#[derive(Default)]
struct Memory {
    current: Mutex<Arc<Rows>>,
    writer: Mutex<()>,
}

#[derive(Clone, Default)]
struct Rows {
    position: Option<Position>,
    last_account: AccountId,
    last_email: EmailId,
    accounts: BTreeMap<AccountId, AccountRow>,
    account_keys: BTreeMap<String, AccountId>,
    aliases: BTreeMap<String, Vec<String>>,
    mailboxes: BTreeMap<(AccountId, MailboxId), MailboxRow>,
    messages: BTreeMap<(AccountId, MailboxId, Uid), MessageRow>,
    homes: BTreeSet<(EmailId, MailboxId, Uid)>,
    emails: BTreeMap<EmailId, EmailRow>,
    threads: BTreeMap<(AccountId, u64), ThreadId>,
    notes: BTreeMap<(AccountId, MailboxId), BTreeMap<String, Vec<u8>>>,
    changes: BTreeMap<(AccountId, ModSeq), Vec<ChangeRow>>,
}

struct MemoryTxn<'a> {
    rows: Arc<Rows>,
    memory: &'a Memory,
    _one_writer: MutexGuard<'a, ()>,
}

impl Memory {
    fn current(&self) -> MutexGuard<'_, Arc<Rows>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index for Memory {
    fn begin(&self) -> Result<Box<dyn Txn + '_>> {
        let guard = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = self.current().clone();
        Ok(Box::new(MemoryTxn { rows, memory: self, _one_writer: guard }))
    }

    fn read(&self) -> Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.current().clone()))
    }

    fn checkpoint(&self) -> Result<()> {
        Ok(())
    }
}

impl Read for Arc<Rows> {
    fn position(&self) -> Result<Option<Position>> {
        Ok(self.position)
    }

    fn last_ids(&self) -> Result<(AccountId, EmailId)> {
        Ok((self.last_account, self.last_email))
    }

    fn account(&self, account: AccountId) -> Result<Option<AccountRow>> {
        Ok(self.accounts.get(&account).cloned())
    }

    fn account_by_key(&self, key: &str) -> Result<Option<AccountRow>> {
        let id = self.account_keys.get(key);
        Ok(id.and_then(|id| self.accounts.get(id)).cloned())
    }

    fn accounts(&self) -> Result<Vec<AccountRow>> {
        Ok(self.accounts.values().cloned().collect())
    }

    fn alias(&self, key: &str) -> Result<Vec<String>> {
        Ok(self.aliases.get(key).cloned().unwrap_or_default())
    }

    fn aliases(&self) -> Result<Vec<AliasRow>> {
        let row = |(key, targets): (&String, &Vec<String>)| AliasRow {
            key: key.clone(),
            targets: targets.clone(),
        };
        Ok(self.aliases.iter().map(row).collect())
    }

    fn mailboxes(&self, account: AccountId) -> Result<Vec<MailboxRow>> {
        let all = (account, MailboxId(0))..=(account, MailboxId(u32::MAX));
        let mut rows: Vec<_> = self.mailboxes.range(all).map(|(_, row)| row.clone()).collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(rows)
    }

    fn mailbox(&self, account: AccountId, mailbox: MailboxId) -> Result<Option<MailboxRow>> {
        Ok(self.mailboxes.get(&(account, mailbox)).cloned())
    }

    fn mailbox_by_name(&self, account: AccountId, name: &str) -> Result<Option<MailboxRow>> {
        Ok(self.mailboxes(account)?.into_iter().find(|row| row.name == name))
    }

    fn messages(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: &UidSet,
    ) -> Result<Vec<MessageRow>> {
        let range = |&(a, b)| self.messages.range((account, mailbox, a)..=(account, mailbox, b));
        Ok(uids.ranges().iter().flat_map(range).map(|(_, row)| row.clone()).collect())
    }

    fn homes(&self, account: AccountId, email: EmailId) -> Result<Vec<(MailboxId, MessageRow)>> {
        let all = (email, MailboxId(0), Uid::MIN)..=(email, MailboxId(u32::MAX), Uid::MAX);
        let places = self.homes.range(all).map(|(_, mailbox, uid)| (*mailbox, *uid));
        let row = |(mailbox, uid)| {
            self.messages.get(&(account, mailbox, uid)).map(|row| (mailbox, row.clone()))
        };
        Ok(places.filter_map(row).collect())
    }

    fn email(&self, email: EmailId) -> Result<Option<EmailRow>> {
        Ok(self.emails.get(&email).cloned())
    }

    fn thread(&self, account: AccountId, thread: ThreadId) -> Result<Vec<EmailId>> {
        let of_thread = |row: &&EmailRow| row.account == account && row.thread == thread;
        Ok(self.emails.values().filter(of_thread).map(|row| row.id).collect())
    }

    fn thread_of(&self, account: AccountId, message_id_hash: u64) -> Result<Option<ThreadId>> {
        Ok(self.threads.get(&(account, message_id_hash)).copied())
    }

    fn notes_under(
        &self,
        account: AccountId,
        mailbox: Option<MailboxId>,
        prefix: &str,
    ) -> Result<Vec<NoteRow>> {
        let notes = self.notes.get(&(account, mailbox.unwrap_or_default()));
        let row = |(name, value): (&String, &Vec<u8>)| NoteRow {
            mailbox,
            name: name.clone(),
            value: value.clone(),
        };
        let under = notes.into_iter().flatten().filter(|(name, _)| name.starts_with(prefix));
        Ok(under.map(row).collect())
    }

    fn note(
        &self,
        account: AccountId,
        mailbox: Option<MailboxId>,
        name: &str,
    ) -> Result<Option<Vec<u8>>> {
        let notes = self.notes.get(&(account, mailbox.unwrap_or_default()));
        Ok(notes.and_then(|notes| notes.get(name)).cloned())
    }

    fn notes_named(&self, name: &str) -> Result<Vec<(AccountId, NoteRow)>> {
        let mut found = Vec::new();
        for ((account, mailbox), notes) in &self.notes {
            let mailbox = Some(*mailbox).filter(|mailbox| mailbox.0 > 0);
            found.extend(notes.get(name).map(|value| {
                (*account, NoteRow { mailbox, name: name.to_owned(), value: value.clone() })
            }));
        }
        Ok(found)
    }

    fn changes(&self, account: AccountId, since: ModSeq, limit: usize) -> Result<Vec<ChangeRow>> {
        let all = (account, since.next())..=(account, ModSeq(u64::MAX));
        Ok(self.changes.range(all).flat_map(|(_, rows)| rows).take(limit).cloned().collect())
    }
}

/// Every question to a transaction goes to its own rows.
macro_rules! forward {
    ($($name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {
        impl Read for MemoryTxn<'_> {
            $(fn $name(&self, $($arg: $type),*) -> Result<$result> { self.rows.$name($($arg),*) })*
        }
    };
}

forward! {
    position() -> Option<Position>;
    last_ids() -> (AccountId, EmailId);
    account(account: AccountId) -> Option<AccountRow>;
    account_by_key(key: &str) -> Option<AccountRow>;
    accounts() -> Vec<AccountRow>;
    alias(key: &str) -> Vec<String>;
    aliases() -> Vec<AliasRow>;
    mailboxes(account: AccountId) -> Vec<MailboxRow>;
    mailbox(account: AccountId, mailbox: MailboxId) -> Option<MailboxRow>;
    mailbox_by_name(account: AccountId, name: &str) -> Option<MailboxRow>;
    messages(account: AccountId, mailbox: MailboxId, uids: &UidSet) -> Vec<MessageRow>;
    homes(account: AccountId, email: EmailId) -> Vec<(MailboxId, MessageRow)>;
    email(email: EmailId) -> Option<EmailRow>;
    thread(account: AccountId, thread: ThreadId) -> Vec<EmailId>;
    thread_of(account: AccountId, message_id_hash: u64) -> Option<ThreadId>;
    notes_under(account: AccountId, mailbox: Option<MailboxId>, prefix: &str) -> Vec<NoteRow>;
    note(account: AccountId, mailbox: Option<MailboxId>, name: &str) -> Option<Vec<u8>>;
    notes_named(name: &str) -> Vec<(AccountId, NoteRow)>;
    changes(account: AccountId, since: ModSeq, limit: usize) -> Vec<ChangeRow>;
}

impl MemoryTxn<'_> {
    fn rows(&mut self) -> &mut Rows {
        Arc::make_mut(&mut self.rows)
    }
}

impl Txn for MemoryTxn<'_> {
    fn put_account(&mut self, row: &AccountRow) -> Result<()> {
        let rows = self.rows();
        rows.last_account = rows.last_account.max(row.id);
        if let Some(old) = rows.accounts.insert(row.id, row.clone()) {
            rows.account_keys.remove(&old.key);
        }
        rows.account_keys.insert(row.key.clone(), row.id);
        Ok(())
    }

    fn put_mailbox(&mut self, account: AccountId, row: &MailboxRow) -> Result<()> {
        self.rows().mailboxes.insert((account, row.id), row.clone());
        Ok(())
    }

    fn delete_mailbox(&mut self, account: AccountId, mailbox: MailboxId) -> Result<()> {
        let rows = self.rows();
        rows.mailboxes.remove(&(account, mailbox));
        rows.notes.remove(&(account, mailbox));
        Ok(())
    }

    fn add_message(
        &mut self,
        account: AccountId,
        mailbox: MailboxId,
        row: &MessageRow,
    ) -> Result<()> {
        let rows = self.rows();
        rows.messages.insert((account, mailbox, row.uid), row.clone());
        rows.homes.insert((row.email, mailbox, row.uid));
        Ok(())
    }

    fn put_flags(
        &mut self,
        account: AccountId,
        mailbox: MailboxId,
        row: &MessageRow,
    ) -> Result<()> {
        self.rows().messages.insert((account, mailbox, row.uid), row.clone());
        Ok(())
    }

    fn delete_message(
        &mut self,
        account: AccountId,
        mailbox: MailboxId,
        uid: Uid,
        email: EmailId,
    ) -> Result<()> {
        let rows = self.rows();
        rows.messages.remove(&(account, mailbox, uid));
        rows.homes.remove(&(email, mailbox, uid));
        Ok(())
    }

    fn add_email(&mut self, row: &EmailRow) -> Result<()> {
        let rows = self.rows();
        rows.last_email = rows.last_email.max(row.id);
        rows.emails.insert(row.id, row.clone());
        Ok(())
    }

    fn delete_email(&mut self, email: EmailId) -> Result<()> {
        let rows = self.rows();
        let gone = rows.emails.remove(&email);
        let thread = |row: &EmailRow| (row.account, row.thread);
        if let Some(last) = gone.as_ref().map(thread)
            && !rows.emails.values().any(|row| thread(row) == last)
        {
            rows.threads.retain(|(account, _), thread| (*account, *thread) != last);
        }
        Ok(())
    }

    fn put_thread_of(
        &mut self,
        account: AccountId,
        message_id_hash: u64,
        thread: ThreadId,
    ) -> Result<()> {
        self.rows().threads.insert((account, message_id_hash), thread);
        Ok(())
    }

    fn put_note(
        &mut self,
        account: AccountId,
        mailbox: Option<MailboxId>,
        name: &str,
        value: Option<&[u8]>,
    ) -> Result<()> {
        let notes = self.rows().notes.entry((account, mailbox.unwrap_or_default())).or_default();
        match value {
            Some(value) => notes.insert(name.to_owned(), value.to_vec()),
            None => notes.remove(name),
        };
        Ok(())
    }

    fn put_alias(&mut self, key: &str, targets: &[String]) -> Result<()> {
        if targets.is_empty() {
            self.rows().aliases.remove(key);
        } else {
            self.rows().aliases.insert(key.to_owned(), targets.to_vec());
        }
        Ok(())
    }

    fn add_change(&mut self, account: AccountId, row: &ChangeRow) -> Result<()> {
        self.rows().changes.entry((account, row.modseq)).or_default().push(row.clone());
        Ok(())
    }

    fn forgettable(&self, account: AccountId, keep: usize) -> Result<Option<ModSeq>> {
        let all = (account, ModSeq(0))..=(account, ModSeq(u64::MAX));
        let newest_first =
            self.rows.changes.range(all).rev().flat_map(|(_, rows)| rows.iter().rev());
        let first_too_much = newest_first.skip(keep).map(|row| row.modseq).next();
        Ok(first_too_much.map(|modseq| ModSeq(modseq.0.saturating_sub(1))))
    }

    fn forget_changes(&mut self, account: AccountId, floor: ModSeq) -> Result<()> {
        self.rows().changes.retain(|(owner, modseq), _| *owner != account || *modseq > floor);
        Ok(())
    }

    fn commit(mut self: Box<Self>, position: Position) -> Result<()> {
        self.rows().position = Some(position);
        *self.memory.current() = self.rows;
        Ok(())
    }
}
