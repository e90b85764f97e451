//! The metadata index: accounts, mailboxes, messages, the change log, thread look-ups.
//!
//! A derived view: everything here is rebuilt from the log by applying its [`Op`]s again in order.
//! Knows nothing about the bytes of messages, the log's files, or any protocol.
//!
//! An engine keeps rows and implements [`Index`], [`Read`] and [`Txn`]; what an op does to the rows
//! stands once, in [`apply`]. One row in [`ENGINES`] names an engine, `tests/it` runs the contract on it.
//!
//! ```
//! use db::{Op, Position, Location, Txn};
//! let index = db::open("memory:").unwrap();
//! let mut txn = index.begin().unwrap();
//! let alice = Op::AccountPut { account: types::AccountId(1), key: "alice@example.test".into(), secret: "".into() };
//! db::apply(&mut *txn, &alice, None).unwrap();
//! txn.commit(Position { lsn: 1, end: Location { segment: 1, offset: 200 } }).unwrap();
//! assert!(index.read().unwrap().account_by_key("alice@example.test").unwrap().is_some());
//! ```

mod apply;
mod engines;
mod error;
mod op;
mod rows;

pub use apply::apply;
pub use engines::{ENGINES, EngineEntry, check_format, open, without_password};
pub use error::{Error, Result};
pub use op::{DecodeError, Op};
pub use rows::{
    AccountRow, AliasRow, Amount, BlobRef, ChangeKind, ChangeRow, EmailRef, EmailRow, LetterPart,
    Location, MailboxRow, MessageRef, MessageRow, NoteRow, Position, SEEN_BY,
};

use std::ops::Range;
use types::{AccountId, EmailId, MailboxId, ModSeq, ThreadId, Uid, UidSet};

/// One open index. Readers work while the single writer does.
pub trait Index: Send + Sync {
    /// Starts the one write transaction. Dropping it without [`Txn::commit`] undoes it.
    fn begin(&self) -> Result<Box<dyn Txn + '_>>;

    /// A snapshot of the last commit; later commits do not show in it.
    fn read(&self) -> Result<Box<dyn Read + '_>>;

    /// Moves committed rows into the main file so that the write-ahead part stays small. May be slow.
    fn checkpoint(&self) -> Result<()>;

    /// The bytes of letters, in an engine that is the truth itself: a commit is durable, and no log stands
    /// behind it. `None`: rows are derived from a log.
    fn letters(&self) -> Option<&dyn Letters> {
        None
    }
}

/// Letters kept in the transactions of the rows, in an index that several servers may share.
pub trait Letters: Send + Sync {
    /// Bytes `range` of a letter; `None` when it is not there any more.
    fn read(&self, location: Location, range: Range<u32>) -> Result<Option<Vec<u8>>>;

    /// Tells the other servers which accounts changed. Best effort: a change is never lost, only heard of later.
    fn announce(&self, changed: &[(AccountId, ModSeq)]);

    /// Calls `tell` for what other servers announce, until the index is dropped.
    fn listen(&self, tell: Box<dyn Fn(AccountId, ModSeq) + Send + Sync>);
}

/// What can be asked of a snapshot, or of a transaction about its own uncommitted state.
pub trait Read {
    /// How far the log has been applied; `None` in an empty index.
    fn position(&self) -> Result<Option<Position>>;
    /// The highest account id and email id ever given in this partition.
    fn last_ids(&self) -> Result<(AccountId, EmailId)>;

    fn account(&self, account: AccountId) -> Result<Option<AccountRow>>;
    /// `key` is [`types::Address::account_key`].
    fn account_by_key(&self, key: &str) -> Result<Option<AccountRow>>;
    /// Ascending by id.
    fn accounts(&self) -> Result<Vec<AccountRow>>;

    /// Where mail for this address goes; empty: it is no alias.
    fn alias(&self, key: &str) -> Result<Vec<String>>;
    /// Sorted by key.
    fn aliases(&self) -> Result<Vec<AliasRow>>;
    /// An account, and those of these aliases that exist, in any order. Asked for every recipient of every letter: one
    /// question where a question is a way to another server.
    fn account_and_aliases(
        &self,
        key: &str,
        aliases: &[&str],
    ) -> Result<(Option<AccountRow>, Vec<AliasRow>)> {
        let mut found = Vec::new();
        for key in aliases {
            let targets = self.alias(key)?;
            if !targets.is_empty() {
                found.push(AliasRow { key: (*key).to_owned(), targets });
            }
        }
        Ok((self.account_by_key(key)?, found))
    }

    /// Sorted by name.
    fn mailboxes(&self, account: AccountId) -> Result<Vec<MailboxRow>>;
    fn mailbox(&self, account: AccountId, mailbox: MailboxId) -> Result<Option<MailboxRow>>;
    fn mailbox_by_name(&self, account: AccountId, name: &str) -> Result<Option<MailboxRow>>;

    /// Messages of a mailbox whose UID is in `uids`, ascending.
    fn messages(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: &UidSet,
    ) -> Result<Vec<MessageRow>>;
    /// [`Read::messages`] one by one, for those who want many and little of each.
    fn scan_messages(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: &UidSet,
        each: &mut dyn FnMut(MessageRef<'_>),
    ) -> Result<()> {
        for row in self.messages(account, mailbox, uids)? {
            let keywords = rows::keywords(&row.flags);
            each(row.as_ref(keywords.as_deref()));
        }
        Ok(())
    }

    /// Where an email lives, by mailbox and UID: empty once its last copy is gone.
    fn homes(&self, account: AccountId, email: EmailId) -> Result<Vec<(MailboxId, MessageRow)>>;

    /// [`Read::homes`] of many, in the order asked.
    fn homes_of(
        &self,
        account: AccountId,
        emails: &[EmailId],
    ) -> Result<Vec<Vec<(MailboxId, MessageRow)>>> {
        emails.iter().map(|email| self.homes(account, *email)).collect()
    }

    fn email(&self, email: EmailId) -> Result<Option<EmailRow>>;
    /// Those of `emails` that exist, in the order asked, one by one.
    fn scan_emails(&self, emails: &[EmailId], each: &mut dyn FnMut(EmailRef<'_>)) -> Result<()> {
        for email in emails {
            if let Some(row) = self.email(*email)? {
                each(row.as_ref());
            }
        }
        Ok(())
    }

    /// Those of `emails` that exist in the account, in the order asked.
    fn existing(&self, account: AccountId, emails: &[EmailId]) -> Result<Vec<EmailId>> {
        let mut found = Vec::with_capacity(emails.len());
        self.scan_emails(emails, &mut |row| {
            if row.account == account {
                found.push(row.id);
            }
        })?;
        Ok(found)
    }

    /// Emails of a thread, ascending.
    fn thread(&self, account: AccountId, thread: ThreadId) -> Result<Vec<EmailId>>;
    /// The thread that a Message-ID (hashed by the caller) belongs to.
    fn thread_of(&self, account: AccountId, message_id_hash: u64) -> Result<Option<ThreadId>>;

    /// Notes of a mailbox, or those of the account itself, sorted by name.
    fn notes(&self, account: AccountId, mailbox: Option<MailboxId>) -> Result<Vec<NoteRow>> {
        self.notes_under(account, mailbox, "")
    }
    /// Those whose name begins so.
    fn notes_under(
        &self,
        account: AccountId,
        mailbox: Option<MailboxId>,
        prefix: &str,
    ) -> Result<Vec<NoteRow>>;
    fn note(
        &self,
        account: AccountId,
        mailbox: Option<MailboxId>,
        name: &str,
    ) -> Result<Option<Vec<u8>>>;
    /// Notes of this name in all accounts, by account and mailbox.
    fn notes_named(&self, name: &str) -> Result<Vec<(AccountId, NoteRow)>>;
    /// Messages of a shared mailbox that another user has read; some may be gone since.
    fn seen_by(&self, account: AccountId, mailbox: MailboxId, user: AccountId) -> Result<UidSet> {
        match self.note(account, Some(mailbox), &rows::seen_name(user))? {
            Some(bytes) => op::decode_uids(&bytes)
                .map_err(|_| Error::Corrupt("what a user has read cannot be read".to_owned())),
            None => Ok(UidSet::new()),
        }
    }

    /// Changes with a MODSEQ above `since`, ascending, at most `limit`. Below [`AccountRow::changes_floor`] some
    /// are missing.
    fn changes(&self, account: AccountId, since: ModSeq, limit: usize) -> Result<Vec<ChangeRow>>;
}

/// The write transaction: plain rows in and out. Reads see what was put.
pub trait Txn: Read {
    fn put_account(&mut self, row: &AccountRow) -> Result<()>;
    fn put_mailbox(&mut self, account: AccountId, row: &MailboxRow) -> Result<()>;
    /// Deletes a mailbox and its notes.
    fn delete_mailbox(&mut self, account: AccountId, mailbox: MailboxId) -> Result<()>;
    /// Adds a message; its UID must be new in the mailbox.
    fn add_message(
        &mut self,
        account: AccountId,
        mailbox: MailboxId,
        row: &MessageRow,
    ) -> Result<()>;
    /// Writes flags and MODSEQ of a message that is there.
    fn put_flags(&mut self, account: AccountId, mailbox: MailboxId, row: &MessageRow)
    -> Result<()>;
    fn delete_message(
        &mut self,
        account: AccountId,
        mailbox: MailboxId,
        uid: Uid,
        email: EmailId,
    ) -> Result<()>;
    fn add_email(&mut self, row: &EmailRow) -> Result<()>;
    /// Deletes an email; with the last one of a thread go the Message-IDs that lead there.
    fn delete_email(&mut self, email: EmailId) -> Result<()>;
    fn put_thread_of(
        &mut self,
        account: AccountId,
        message_id_hash: u64,
        thread: ThreadId,
    ) -> Result<()>;
    /// `None` deletes it.
    fn put_note(
        &mut self,
        account: AccountId,
        mailbox: Option<MailboxId>,
        name: &str,
        value: Option<&[u8]>,
    ) -> Result<()>;
    /// No targets: deletes it.
    fn put_alias(&mut self, key: &str, targets: &[String]) -> Result<()>;
    fn add_change(&mut self, account: AccountId, row: &ChangeRow) -> Result<()>;
    /// The highest MODSEQ up to which changes can be forgotten so that at least `keep` entries stay; `None` when
    /// there are no more than that. Engines may count differently: what they keep in other places.
    fn forgettable(&self, account: AccountId, keep: usize) -> Result<Option<ModSeq>>;
    /// Deletes the entries up to and with `floor`.
    fn forget_changes(&mut self, account: AccountId, floor: ModSeq) -> Result<()>;

    /// Takes these accounts for this transaction where several servers may want them; the others do it when
    /// they are first looked at. Taken together they cannot wait for each other.
    fn lock_accounts(&mut self, _accounts: &[AccountId]) -> Result<()> {
        Ok(())
    }

    /// An id for a new account, never given before.
    fn next_account(&self) -> Result<AccountId> {
        Ok(AccountId(self.last_ids()?.0.0 + 1))
    }

    /// An id for a new email, never given before.
    fn next_email(&self) -> Result<EmailId> {
        Ok(EmailId(self.last_ids()?.1.0 + 1))
    }

    /// Keeps a letter for the emails that are added with this place in the same transaction; it lives as long as
    /// one of them. Only where [`Index::letters`] are.
    fn put_letter(&mut self, _bytes: &[u8]) -> Result<Location> {
        Err(Error::Engine("this index keeps no letters".to_owned()))
    }

    /// Makes it visible, and the index remember that the log is applied up to `position`; [`Position::NO_LOG`]
    /// where there is none.
    fn commit(self: Box<Self>, position: Position) -> Result<()>;
}
