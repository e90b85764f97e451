//! The rows that deliveries need, in memory and ahead of the index.
//!
//! A delivery looks at counters of its account and mailbox, and asks which thread a Message-ID leads to. With
//! those at hand it is resolved without the index's transaction, where [`crate::applier`] still applies earlier
//! ones. [`Ahead::txn`] is a transaction over them for [`db::apply`], so that the rules of counting stand once;
//! rows nobody asks for are not kept.
//!
//! Every other change is resolved in the index's own transaction. The accounts it touches are *bound*: they have
//! no rows here until readers of the index see that change.

use db::{
    AccountRow, AliasRow, ChangeRow, EmailRow, Error, Index, MailboxRow, MessageRow, NoteRow,
    Position, Read, Result, Txn,
};
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use types::{AccountId, EmailId, MailboxId, ModSeq, ThreadId, Uid, UidSet};

/// Rows of accounts and mailboxes that are kept; with more it starts afresh.
const ROWS: usize = 50_000;

type Threads = HashMap<(AccountId, u64), ThreadId>;

/// What is known ahead of the index.
pub(crate) struct Ahead {
    /// The last ids given.
    ids: (AccountId, EmailId),
    accounts: HashMap<AccountId, AccountRow>,
    mailboxes: HashMap<(AccountId, MailboxId), MailboxRow>,
    /// Where new Message-IDs lead that readers of the index may not see yet.
    threads: Threads,
    /// The same; readers see all of them from this change on.
    older_threads: (Threads, u64),
    /// Until readers see this change.
    bound: HashMap<AccountId, u64>,
}

impl Ahead {
    /// Knows nothing but the last ids given.
    pub(crate) fn new(ids: (AccountId, EmailId)) -> Self {
        Self {
            ids,
            accounts: HashMap::new(),
            mailboxes: HashMap::new(),
            threads: HashMap::new(),
            older_threads: (HashMap::new(), 0),
            bound: HashMap::new(),
        }
    }

    /// [`Ahead::forget`] will give all rows up. What it is told must then be all that readers do not see.
    pub(crate) fn is_full(&self) -> bool {
        self.accounts.len() + self.mailboxes.len() > ROWS
    }

    pub(crate) fn binds_any(&self) -> bool {
        !self.bound.is_empty()
    }

    /// Whether changes of the account are only in the index's transaction.
    pub(crate) fn is_bound(&self, account: AccountId) -> bool {
        self.bound.contains_key(&account)
    }

    /// Call before a batch: readers of the index see the log up to `shown_lsn`, it ends at `last_lsn`.
    pub(crate) fn forget(
        &mut self,
        shown_lsn: u64,
        last_lsn: u64,
        hidden: impl FnOnce() -> Vec<AccountId>,
    ) {
        self.bound.retain(|_, lsn| *lsn > shown_lsn);
        if self.older_threads.1 <= shown_lsn {
            self.older_threads = (std::mem::take(&mut self.threads), last_lsn);
        }
        if self.is_full() {
            self.accounts.clear();
            self.mailboxes.clear();
            self.bound.extend(hidden().into_iter().map(|account| (account, last_lsn)));
        }
    }

    /// Changes of these accounts, up to `lsn`, are only in the index's transaction.
    pub(crate) fn bind(
        &mut self,
        accounts: impl Iterator<Item = AccountId>,
        lsn: u64,
        ids: (AccountId, EmailId),
    ) {
        self.ids = ids;
        self.bound.extend(accounts.map(|account| (account, lsn)));
        self.accounts.retain(|account, _| !self.bound.contains_key(account));
        self.mailboxes.retain(|(account, _), _| !self.bound.contains_key(account));
        self.threads.retain(|(account, _), _| !self.bound.contains_key(account));
        self.older_threads.0.retain(|(account, _), _| !self.bound.contains_key(account));
    }

    /// For one batch. Open it after [`Ahead::forget`], so that it sees what was forgotten.
    pub(crate) fn txn<'a>(&'a mut self, index: &'a dyn Index) -> AheadTxn<'a> {
        AheadTxn { ahead: RefCell::new(self), index, shown: OnceCell::new() }
    }
}

/// Resolves deliveries; whatever else is asked is a mistake of ours.
pub(crate) struct AheadTxn<'a> {
    ahead: RefCell<&'a mut Ahead>,
    index: &'a dyn Index,
    /// What readers of the index see.
    shown: OnceCell<Box<dyn Read + 'a>>,
}

fn not_here<T>() -> Result<T> {
    Err(Error::Engine("only deliveries are resolved ahead of the index".to_owned()))
}

impl AheadTxn<'_> {
    fn shown(&self) -> Result<&dyn Read> {
        if let Some(shown) = self.shown.get() {
            return Ok(&**shown);
        }
        let shown = self.index.read()?;
        Ok(&**self.shown.get_or_init(|| shown))
    }
}

impl Read for AheadTxn<'_> {
    fn position(&self) -> Result<Option<Position>> {
        not_here()
    }

    fn last_ids(&self) -> Result<(AccountId, EmailId)> {
        Ok(self.ahead.borrow().ids)
    }

    fn account(&self, account: AccountId) -> Result<Option<AccountRow>> {
        let mut ahead = self.ahead.borrow_mut();
        if let Some(row) = ahead.accounts.get(&account) {
            return Ok(Some(row.clone()));
        }
        let row = self.shown()?.account(account)?;
        if let Some(row) = &row {
            ahead.accounts.insert(account, row.clone());
        }
        Ok(row)
    }

    fn account_by_key(&self, _key: &str) -> Result<Option<AccountRow>> {
        not_here()
    }

    fn accounts(&self) -> Result<Vec<AccountRow>> {
        not_here()
    }

    fn alias(&self, _: &str) -> Result<Vec<String>> {
        not_here()
    }

    fn aliases(&self) -> Result<Vec<AliasRow>> {
        not_here()
    }

    fn mailboxes(&self, account: AccountId) -> Result<Vec<MailboxRow>> {
        let mut rows = self.shown()?.mailboxes(account)?;
        let ahead = self.ahead.borrow();
        for row in &mut rows {
            if let Some(newer) = ahead.mailboxes.get(&(account, row.id)) {
                row.clone_from(newer);
            }
        }
        Ok(rows)
    }

    fn mailbox(&self, account: AccountId, mailbox: MailboxId) -> Result<Option<MailboxRow>> {
        let mut ahead = self.ahead.borrow_mut();
        if let Some(row) = ahead.mailboxes.get(&(account, mailbox)) {
            return Ok(Some(row.clone()));
        }
        let row = self.shown()?.mailbox(account, mailbox)?;
        if let Some(row) = &row {
            ahead.mailboxes.insert((account, mailbox), row.clone());
        }
        Ok(row)
    }

    fn mailbox_by_name(&self, account: AccountId, name: &str) -> Result<Option<MailboxRow>> {
        Ok(self.mailboxes(account)?.into_iter().find(|row| row.name == name))
    }

    fn messages(&self, _: AccountId, _: MailboxId, _: &UidSet) -> Result<Vec<MessageRow>> {
        not_here()
    }

    fn homes(&self, _: AccountId, _: EmailId) -> Result<Vec<(MailboxId, MessageRow)>> {
        not_here()
    }

    fn email(&self, _: EmailId) -> Result<Option<EmailRow>> {
        not_here()
    }

    fn thread(&self, _: AccountId, _: ThreadId) -> Result<Vec<EmailId>> {
        not_here()
    }

    fn thread_of(&self, account: AccountId, message_id_hash: u64) -> Result<Option<ThreadId>> {
        let ahead = self.ahead.borrow();
        let key = (account, message_id_hash);
        let known = ahead.threads.get(&key).or_else(|| ahead.older_threads.0.get(&key));
        match known {
            Some(thread) => Ok(Some(*thread)),
            None => self.shown()?.thread_of(account, message_id_hash),
        }
    }

    fn notes_under(&self, _: AccountId, _: Option<MailboxId>, _: &str) -> Result<Vec<NoteRow>> {
        not_here()
    }

    fn note(&self, _: AccountId, _: Option<MailboxId>, _: &str) -> Result<Option<Vec<u8>>> {
        not_here()
    }

    fn notes_named(&self, _: &str) -> Result<Vec<(AccountId, NoteRow)>> {
        not_here()
    }

    fn changes(&self, _: AccountId, _: ModSeq, _: usize) -> Result<Vec<ChangeRow>> {
        not_here()
    }
}

impl Txn for AheadTxn<'_> {
    fn put_account(&mut self, row: &AccountRow) -> Result<()> {
        self.ahead.get_mut().accounts.insert(row.id, row.clone());
        Ok(())
    }

    fn put_mailbox(&mut self, account: AccountId, row: &MailboxRow) -> Result<()> {
        self.ahead.get_mut().mailboxes.insert((account, row.id), row.clone());
        Ok(())
    }

    fn delete_mailbox(&mut self, _: AccountId, _: MailboxId) -> Result<()> {
        not_here()
    }

    fn add_message(&mut self, _: AccountId, _: MailboxId, _: &MessageRow) -> Result<()> {
        Ok(())
    }

    fn put_flags(&mut self, _: AccountId, _: MailboxId, _: &MessageRow) -> Result<()> {
        not_here()
    }

    fn delete_message(&mut self, _: AccountId, _: MailboxId, _: Uid, _: EmailId) -> Result<()> {
        not_here()
    }

    fn add_email(&mut self, row: &EmailRow) -> Result<()> {
        let ids = &mut self.ahead.get_mut().ids;
        ids.1 = ids.1.max(row.id);
        Ok(())
    }

    fn delete_email(&mut self, _: EmailId) -> Result<()> {
        not_here()
    }

    fn put_thread_of(&mut self, account: AccountId, hash: u64, thread: ThreadId) -> Result<()> {
        self.ahead.get_mut().threads.insert((account, hash), thread);
        Ok(())
    }

    fn put_note(
        &mut self,
        _: AccountId,
        _: Option<MailboxId>,
        _: &str,
        _: Option<&[u8]>,
    ) -> Result<()> {
        not_here()
    }

    fn put_alias(&mut self, _: &str, _: &[String]) -> Result<()> {
        not_here()
    }

    fn add_change(&mut self, _: AccountId, _: &ChangeRow) -> Result<()> {
        Ok(())
    }

    fn forgettable(&self, _: AccountId, _: usize) -> Result<Option<ModSeq>> {
        not_here()
    }

    fn forget_changes(&mut self, _: AccountId, _: ModSeq) -> Result<()> {
        not_here()
    }

    /// There is nothing to commit: the log has it, and the index will.
    fn commit(self: Box<Self>, _: Position) -> Result<()> {
        not_here()
    }
}
