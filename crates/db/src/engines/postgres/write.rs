//! The write transaction. Rows of accounts and mailboxes are locked when they are first looked at and kept here to
//! the end; new rows wait here too and go to the server together, one statement for each kind, when a question
//! needs them or at the commit. A batch of many letters so costs a few ways to the server, not a few for each.

use super::read::{account_row, int, select};
use super::session::{Change, Session};
use super::{Postgres, letters, lock};
use crate::{
    AccountRow, AliasRow, ChangeRow, EmailRow, Error, Location, MailboxRow, MessageRow, NoteRow,
    Position, Read, Result, Txn,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::MutexGuard;
use std::time::{Duration, Instant};
use tokio_postgres::types::ToSql;
use types::{
    AccountId, EmailId, Flags, Keyword, MailboxId, ModSeq, SpecialUse, ThreadId, Uid, UidSet,
};

/// How long the fate of a commit whose answer was lost is asked for.
const FATE_TIMEOUT: Duration = Duration::from_secs(15);
const FATE_EVERY: Duration = Duration::from_millis(300);
const LEAVE_MARK: &str = "INSERT INTO done (mark) VALUES ($1)";

pub(super) struct PostgresTxn<'a> {
    database: &'a Postgres,
    /// Where the connection goes back to.
    home: MutexGuard<'a, Option<Session>>,
    /// Taken at the end.
    session: Option<Session>,
    rows: RefCell<Rows>,
}

/// Rows read under the lock, and rows that are still to be written.
#[derive(Default)]
struct Rows {
    accounts: HashMap<AccountId, (AccountRow, bool)>,
    mailboxes: HashMap<(AccountId, MailboxId), (MailboxRow, bool)>,
    messages: BTreeMap<(AccountId, MailboxId, Uid), Fate>,
    emails: Vec<EmailRow>,
    emails_gone: Vec<i64>,
    letters: BTreeMap<u64, Letter>,
    threads: BTreeMap<(AccountId, u64), ThreadId>,
    changes: BTreeMap<(AccountId, ModSeq, MailboxId, u32, u8), EmailId>,
    /// The highest ids put, also of what is gone again.
    last_ids: (AccountId, EmailId),
}

/// A letter put in this transaction.
struct Letter {
    /// Until they are written.
    bytes: Option<Vec<u8>>,
    /// Emails of this transaction that have it; those the table does not know of yet.
    new_emails: i64,
}

/// What is to happen to a message.
enum Fate {
    New(MessageRow),
    Flags(MessageRow),
    Gone,
}

impl<'a> PostgresTxn<'a> {
    pub(super) fn new(
        database: &'a Postgres,
        home: MutexGuard<'a, Option<Session>>,
        session: Session,
    ) -> Self {
        Self { database, home, session: Some(session), rows: RefCell::default() }
    }

    fn session(&self) -> Result<&Session> {
        self.session.as_ref().ok_or_else(|| Error::Engine("transaction is over".to_owned()))
    }

    /// Takes the account for this transaction; waits while another node has it. `None`: there is none.
    fn lock(&self, account: AccountId) -> Result<Option<AccountRow>> {
        if let Some((row, _)) = self.rows.borrow().accounts.get(&account) {
            return Ok(Some(row.clone()));
        }
        let sql = select!(account "WHERE id = $1 FOR UPDATE");
        let row = self.session()?.row(sql, &[&int(account.0)])?;
        Ok(row.map(|row| account_row(&row)).transpose()?.map(|row| self.locked(row)))
    }

    fn locked(&self, row: AccountRow) -> AccountRow {
        self.rows.borrow_mut().accounts.entry(row.id).or_insert((row.clone(), false));
        row
    }

    /// The connection, for a question about an account that must see all that was put.
    fn all_of(&self, account: AccountId) -> Result<&Session> {
        self.lock(account)?;
        self.flush()?;
        self.session()
    }

    /// Writes what waits.
    fn flush(&self) -> Result<()> {
        let changes = self.rows.borrow_mut().take_changes();
        if changes.is_empty() { Ok(()) } else { self.session()?.all(&changes) }
    }
}

impl Drop for PostgresTxn<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take()
            && session.batch("ROLLBACK").is_ok()
        {
            *self.home = Some(session);
        }
    }
}

impl Read for PostgresTxn<'_> {
    fn position(&self) -> Result<Option<Position>> {
        self.session()?.position()
    }

    fn last_ids(&self) -> Result<(AccountId, EmailId)> {
        self.flush()?;
        let (account, email) = self.session()?.last_ids()?;
        let put = self.rows.borrow().last_ids;
        Ok((account.max(put.0), email.max(put.1)))
    }

    fn account(&self, account: AccountId) -> Result<Option<AccountRow>> {
        self.lock(account)
    }

    fn account_by_key(&self, key: &str) -> Result<Option<AccountRow>> {
        self.flush()?;
        let row = self.session()?.row(select!(account "WHERE key = $1 FOR UPDATE"), &[&key])?;
        Ok(row.map(|row| account_row(&row)).transpose()?.map(|row| self.locked(row)))
    }

    fn accounts(&self) -> Result<Vec<AccountRow>> {
        self.flush()?;
        self.session()?.accounts()
    }

    fn alias(&self, key: &str) -> Result<Vec<String>> {
        self.session()?.alias(key)
    }

    fn aliases(&self) -> Result<Vec<AliasRow>> {
        self.session()?.aliases()
    }

    fn mailboxes(&self, account: AccountId) -> Result<Vec<MailboxRow>> {
        self.all_of(account)?.mailboxes(account)
    }

    fn mailbox(&self, account: AccountId, mailbox: MailboxId) -> Result<Option<MailboxRow>> {
        if let Some((row, _)) = self.rows.borrow().mailboxes.get(&(account, mailbox)) {
            return Ok(Some(row.clone()));
        }
        self.lock(account)?;
        let row = self.session()?.mailbox(account, mailbox)?;
        if let Some(row) = &row {
            self.rows.borrow_mut().mailboxes.insert((account, mailbox), (row.clone(), false));
        }
        Ok(row)
    }

    fn mailbox_by_name(&self, account: AccountId, name: &str) -> Result<Option<MailboxRow>> {
        self.all_of(account)?.mailbox_by_name(account, name)
    }

    fn messages(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: &UidSet,
    ) -> Result<Vec<MessageRow>> {
        self.all_of(account)?.messages(account, mailbox, uids)
    }

    fn homes(&self, account: AccountId, email: EmailId) -> Result<Vec<(MailboxId, MessageRow)>> {
        self.all_of(account)?.homes(account, email)
    }

    fn email(&self, email: EmailId) -> Result<Option<EmailRow>> {
        self.flush()?;
        self.session()?.email(email)
    }

    fn thread(&self, account: AccountId, thread: ThreadId) -> Result<Vec<EmailId>> {
        self.all_of(account)?.thread(account, thread)
    }

    /// Asked for every letter of a batch: rows that wait need not be written for it.
    fn thread_of(&self, account: AccountId, message_id_hash: u64) -> Result<Option<ThreadId>> {
        self.lock(account)?;
        if let Some(thread) = self.rows.borrow().threads.get(&(account, message_id_hash)) {
            return Ok(Some(*thread));
        }
        self.session()?.thread_of(account, message_id_hash)
    }

    fn notes_under(
        &self,
        account: AccountId,
        mailbox: Option<MailboxId>,
        prefix: &str,
    ) -> Result<Vec<NoteRow>> {
        self.all_of(account)?.notes_under(account, mailbox, prefix)
    }

    fn note(
        &self,
        account: AccountId,
        mailbox: Option<MailboxId>,
        name: &str,
    ) -> Result<Option<Vec<u8>>> {
        self.all_of(account)?.note(account, mailbox, name)
    }

    fn notes_named(&self, name: &str) -> Result<Vec<(AccountId, NoteRow)>> {
        self.session()?.notes_named(name)
    }

    fn changes(&self, account: AccountId, since: ModSeq, limit: usize) -> Result<Vec<ChangeRow>> {
        self.all_of(account)?.changes(account, since, limit)
    }
}

impl Txn for PostgresTxn<'_> {
    fn put_account(&mut self, row: &AccountRow) -> Result<()> {
        let rows = self.rows.get_mut();
        rows.last_ids.0 = rows.last_ids.0.max(row.id);
        rows.accounts.insert(row.id, (row.clone(), true));
        Ok(())
    }

    fn put_mailbox(&mut self, account: AccountId, row: &MailboxRow) -> Result<()> {
        self.rows.get_mut().mailboxes.insert((account, row.id), (row.clone(), true));
        Ok(())
    }

    fn delete_mailbox(&mut self, account: AccountId, mailbox: MailboxId) -> Result<()> {
        self.flush()?;
        self.rows.get_mut().mailboxes.remove(&(account, mailbox));
        let sql = "DELETE FROM mailbox WHERE account = $1 AND id = $2";
        self.session()?.rows(sql, &[&int(account.0), &i64::from(mailbox.0)])?;
        let sql = "DELETE FROM note WHERE account = $1 AND mailbox = $2";
        self.session()?.rows(sql, &[&int(account.0), &i64::from(mailbox.0)])?;
        Ok(())
    }

    fn add_message(
        &mut self,
        account: AccountId,
        mailbox: MailboxId,
        row: &MessageRow,
    ) -> Result<()> {
        let key = (account, mailbox, row.uid);
        match self.rows.get_mut().messages.insert(key, Fate::New(row.clone())) {
            None => Ok(()),
            Some(_) => Err(Error::Corrupt("a UID given twice".to_owned())),
        }
    }

    fn put_flags(
        &mut self,
        account: AccountId,
        mailbox: MailboxId,
        row: &MessageRow,
    ) -> Result<()> {
        let fate = self.rows.get_mut().messages.entry((account, mailbox, row.uid));
        fate.and_modify(|fate| match fate {
            Fate::New(waiting) | Fate::Flags(waiting) => waiting.clone_from(row),
            Fate::Gone => {}
        })
        .or_insert_with(|| Fate::Flags(row.clone()));
        Ok(())
    }

    fn delete_message(
        &mut self,
        account: AccountId,
        mailbox: MailboxId,
        uid: Uid,
        _email: EmailId,
    ) -> Result<()> {
        let key = (account, mailbox, uid);
        let messages = &mut self.rows.get_mut().messages;
        if let Some(Fate::New(_)) = messages.insert(key, Fate::Gone) {
            messages.remove(&key);
        }
        Ok(())
    }

    fn add_email(&mut self, row: &EmailRow) -> Result<()> {
        // What leads to a thread goes with its last email, also when the next comes in the same transaction.
        if row.thread.0 != row.id.0 && !self.rows.get_mut().emails_gone.is_empty() {
            self.flush()?;
        }
        let rows = self.rows.get_mut();
        rows.last_ids.1 = rows.last_ids.1.max(row.id);
        if let Some(letter) = rows.letters.get_mut(&row.blob.location.segment) {
            letter.new_emails += 1;
        }
        rows.emails.push(row.clone());
        Ok(())
    }

    fn delete_email(&mut self, email: EmailId) -> Result<()> {
        self.rows.get_mut().emails_gone.push(int(email.0));
        Ok(())
    }

    fn put_thread_of(
        &mut self,
        account: AccountId,
        message_id_hash: u64,
        thread: ThreadId,
    ) -> Result<()> {
        self.rows.get_mut().threads.insert((account, message_id_hash), thread);
        Ok(())
    }

    fn put_note(
        &mut self,
        account: AccountId,
        mailbox: Option<MailboxId>,
        name: &str,
        value: Option<&[u8]>,
    ) -> Result<()> {
        let (account, mailbox) = (int(account.0), i64::from(mailbox.unwrap_or_default().0));
        let Some(value) = value else {
            let sql = "DELETE FROM note WHERE account = $1 AND mailbox = $2 AND name = $3";
            return self.session()?.rows(sql, &[&account, &mailbox, &name]).map(|_| ());
        };
        let sql = "INSERT INTO note VALUES ($1, $2, $3, $4)
             ON CONFLICT (account, mailbox, name) DO UPDATE SET value = excluded.value";
        self.session()?.rows(sql, &[&account, &mailbox, &name, &value]).map(|_| ())
    }

    fn put_alias(&mut self, key: &str, targets: &[String]) -> Result<()> {
        let session = self.session()?;
        // Two servers that put one alias would mix their targets. Who reads does not wait.
        session.batch("LOCK TABLE alias IN SHARE ROW EXCLUSIVE MODE")?;
        session.rows("DELETE FROM alias WHERE key = $1", &[&key])?;
        let sql = "INSERT INTO alias SELECT $1, place, target
             FROM unnest($2::text[]) WITH ORDINALITY AS new (target, place)";
        session.rows(sql, &[&key, &targets]).map(|_| ())
    }

    fn add_change(&mut self, account: AccountId, row: &ChangeRow) -> Result<()> {
        let (uid, email) = row.message.map_or((0, EmailId(0)), |(uid, email)| (uid.get(), email));
        let key = (account, row.modseq, row.mailbox, uid, row.kind as u8);
        self.rows.get_mut().changes.insert(key, email);
        Ok(())
    }

    fn forgettable(&self, account: AccountId, keep: usize) -> Result<Option<ModSeq>> {
        let sql = "SELECT modseq FROM change WHERE account = $1 ORDER BY modseq DESC
             LIMIT 1 OFFSET $2";
        let keep = i64::try_from(keep).unwrap_or(i64::MAX);
        let row = self.all_of(account)?.row(sql, &[&int(account.0), &keep])?;
        let first_too_much: Option<i64> = row.map(|row| row.try_get(0)).transpose()?;
        Ok(first_too_much.map(|modseq| ModSeq(modseq.cast_unsigned().saturating_sub(1))))
    }

    fn forget_changes(&mut self, account: AccountId, floor: ModSeq) -> Result<()> {
        let sql = "DELETE FROM change WHERE account = $1 AND modseq <= $2";
        let session = self.all_of(account)?;
        session.rows(sql, &[&int(account.0), &int(floor.0)]).map(|_| ())
    }

    fn lock_accounts(&mut self, accounts: &[AccountId]) -> Result<()> {
        let ids: Vec<i64> = accounts.iter().map(|account| int(account.0)).collect();
        // One order for all: nobody waits for somebody who waits for him.
        let sql = select!(account "WHERE id = ANY($1) ORDER BY id FOR UPDATE");
        for row in self.session()?.rows(sql, &[&ids])? {
            self.locked(account_row(&row)?);
        }
        // Where most letters go; looked at only now that the accounts are held.
        let mailboxes = self.session()?.special_mailboxes(&ids)?;
        for (account, row) in mailboxes {
            self.rows.get_mut().mailboxes.entry((account, row.id)).or_insert((row, false));
        }
        Ok(())
    }

    fn next_account(&self) -> Result<AccountId> {
        let (last, _) = self.last_ids()?;
        letters::next_account(self.session()?, last)
    }

    fn next_email(&self) -> Result<EmailId> {
        Ok(EmailId(lock(&self.database.ids).next(self.session()?)?))
    }

    fn put_letter(&mut self, bytes: &[u8]) -> Result<Location> {
        let letter = self.next_email()?;
        let waiting = Letter { bytes: Some(bytes.to_vec()), new_emails: 0 };
        self.rows.get_mut().letters.insert(letter.0, waiting);
        Ok(letters::place_of(letter))
    }

    /// All that waits, the mark and the commit go together: one way to the server and back.
    fn commit(mut self: Box<Self>, position: Position) -> Result<()> {
        if position != Position::NO_LOG {
            self.put_position(position)?;
        }
        let mark = new_mark();
        let mut changes = self.rows.borrow_mut().take_changes();
        changes.push(Change { sql: LEAVE_MARK, values: vec![Box::new(mark)] });
        changes.push(Change { sql: "COMMIT", values: Vec::new() });
        if let Err(error) = self.session()?.all(&changes) {
            // Whatever else failed, failed before the commit; PostgreSQL then takes that for a rollback.
            let undone = !matches!(error, Error::Lost(_));
            self.session = self.session.take().filter(|session| undone && session.is_open());
            if undone || !self.fate_of(mark)? {
                return Err(error);
            }
        }
        *self.home = self.session.take();
        Ok(())
    }
}

/// A number that no other transaction of these days has.
fn new_mark() -> i64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::thread::current().id()).cast_signed()
}

impl PostgresTxn<'_> {
    fn put_position(&self, position: Position) -> Result<()> {
        let (account, email) = self.last_ids()?;
        let sql = "INSERT INTO position VALUES (1, $1, $2, $3, $4, $5) ON CONFLICT (one) DO UPDATE
             SET lsn = $1, segment = $2, end_byte = $3, last_account = $4, last_email = $5";
        let (lsn, end) = (int(position.lsn), position.end);
        let (account, email) = (int(account.0), int(email.0));
        let values: [super::session::Value<'_>; 5] =
            [&lsn, &int(end.segment), &int(end.offset), &account, &email];
        self.session()?.rows(sql, &values).map(|_| ())
    }

    /// Whether a transaction is committed whose connection was lost before the answer came.
    fn fate_of(&self, mark: i64) -> Result<bool> {
        let until = Instant::now() + FATE_TIMEOUT;
        loop {
            if let Ok(committed) = self.database.place.connect().and_then(|s| fate(&s, mark)) {
                return Ok(committed);
            }
            if Instant::now() > until {
                return Err(Error::Unsettled);
            }
            std::thread::park_timeout(FATE_EVERY);
        }
    }
}

/// Waits while the transaction is still at work. One that has not left its mark by then never can: it is taken.
fn fate(session: &Session, mark: i64) -> Result<bool> {
    let sql = "INSERT INTO done (mark) VALUES ($1) ON CONFLICT DO NOTHING RETURNING mark";
    if session.row(sql, &[&mark])?.is_some() {
        return Ok(false);
    }
    // It may have been waiting for a standby still: a commit after it waits for both.
    let sql = "SELECT pg_logical_emit_message(true, 'openpoczta', '')::text";
    session.rows(sql, &[]).map(|_| true)
}

/// A statement that takes its rows as one array for each column, and those arrays.
macro_rules! change {
    ($sql:expr, $rows:expr, |$row:ident| $($column:expr),+) => {
        Change { sql: $sql, values: vec![$({
            let column: Vec<_> = $rows.iter().map(|$row| $column).collect();
            Box::new(column) as Box<dyn ToSql + Sync>
        }),+] }
    };
}

impl Rows {
    /// All that waits, in the order in which it must happen.
    fn take_changes(&mut self) -> Vec<Change> {
        let rows = [
            self.take_accounts(),
            self.take_mailboxes(),
            self.take_emails(),
            self.take_threads(),
            self.take_history(),
        ];
        let mut changes = self.take_letters();
        changes.extend(rows.into_iter().flatten());
        changes.extend(self.take_messages());
        if !self.emails_gone.is_empty() {
            let gone = std::mem::take(&mut self.emails_gone);
            // A letter in the table goes with its last email, an hour later. Message-IDs that lead to a thread
            // go with its last email at once.
            let sql = "WITH gone AS (DELETE FROM email WHERE id = ANY($1::int8[])
                     RETURNING id, account, thread, segment),
                 lost AS (DELETE FROM thread_of USING (SELECT DISTINCT account, thread FROM gone) AS old
                     WHERE thread_of.thread = old.thread AND thread_of.account = old.account
                     AND NOT EXISTS (SELECT FROM email WHERE email.account = old.account
                         AND email.thread = old.thread AND email.id <> ALL($1::int8[]))),
                 fewer AS (SELECT segment AS id, count(*) AS emails FROM gone GROUP BY segment)
                 UPDATE letter SET emails = letter.emails - fewer.emails,
                     gone_at = CASE WHEN letter.emails <= fewer.emails THEN now() END
                 FROM fewer WHERE letter.id = fewer.id";
            changes.push(change!(sql, gone, |id| *id));
        }
        changes
    }

    fn take_accounts(&mut self) -> Option<Change> {
        let dirty = self.accounts.values_mut().filter(|(_, dirty)| *dirty);
        let rows: Vec<&AccountRow> = dirty
            .map(|(row, dirty)| {
                *dirty = false;
                &*row
            })
            .collect();
        let sql = "INSERT INTO account SELECT * FROM unnest($1::int8[], $2::text[], $3::text[],
             $4::int8[], $5::int8[], $6::int8[], $7::int8[], $8::int8[], $9::int8[], $10::int8[],
             $11::int8[], $12::int8[]) ON CONFLICT (id) DO UPDATE SET key = excluded.key,
             secret = excluded.secret, modseq = excluded.modseq,
             last_mailbox = excluded.last_mailbox, last_uid_validity = excluded.last_uid_validity,
             limit_bytes = excluded.limit_bytes, limit_messages = excluded.limit_messages,
             used_bytes = excluded.used_bytes, used_messages = excluded.used_messages,
             changes_floor = excluded.changes_floor, new_changes = excluded.new_changes";
        (!rows.is_empty()).then(|| {
            change!(
                sql,
                rows,
                |row| int(row.id.0),
                row.key.clone(),
                row.secret.clone(),
                int(row.modseq.0),
                i64::from(row.last_mailbox.0),
                i64::from(row.last_uid_validity.0),
                int(row.limit.size_bytes),
                int(row.limit.messages),
                int(row.used.size_bytes),
                int(row.used.messages),
                int(row.changes_floor.0),
                int(row.new_changes)
            )
        })
    }

    fn take_mailboxes(&mut self) -> Option<Change> {
        let dirty = self.mailboxes.iter_mut().filter(|(_, (_, dirty))| *dirty);
        let rows: Vec<(AccountId, MailboxRow)> = dirty
            .map(|((account, _), (row, dirty))| {
                *dirty = false;
                (*account, row.clone())
            })
            .collect();
        let sql = "INSERT INTO mailbox SELECT * FROM unnest($1::int8[], $2::int8[], $3::text[],
             $4::text[], $5::bool[], $6::int8[], $7::int8[], $8::int8[], $9::int8[], $10::int8[],
             $11::int8[], $12::int8[], $13::int8[]) ON CONFLICT (account, id) DO UPDATE SET
             name = excluded.name, special_use = excluded.special_use,
             subscribed = excluded.subscribed, uid_validity = excluded.uid_validity,
             uid_next = excluded.uid_next, modseq = excluded.modseq, created = excluded.created,
             total = excluded.total, unseen = excluded.unseen, deleted = excluded.deleted,
             size_bytes = excluded.size_bytes";
        (!rows.is_empty()).then(|| {
            change!(
                sql,
                rows,
                |row| int(row.0.0),
                i64::from(row.1.id.0),
                row.1.name.clone(),
                row.1.special_use.map_or("", SpecialUse::role),
                row.1.subscribed,
                i64::from(row.1.uid_validity.0),
                i64::from(row.1.uid_next.map_or(0, Uid::get)),
                int(row.1.modseq.0),
                int(row.1.created.0),
                int(row.1.total),
                int(row.1.unseen),
                int(row.1.deleted),
                int(row.1.size_bytes)
            )
        })
    }

    fn take_emails(&mut self) -> Option<Change> {
        let rows = std::mem::take(&mut self.emails);
        let sql = "INSERT INTO email SELECT * FROM unnest($1::int8[], $2::int8[], $3::int8[],
             $4::int8[], $5::int8[], $6::int8[], $7::int8[], $8::bytea[], $9::bytea[])";
        (!rows.is_empty()).then(|| {
            change!(
                sql,
                rows,
                |row| int(row.id.0),
                int(row.account.0),
                int(row.thread.0),
                row.received_unix_s,
                int(row.blob.location.segment),
                int(row.blob.location.offset),
                i64::from(row.blob.size_bytes),
                row.blob.hash.to_vec(),
                row.index.clone()
            )
        })
    }

    /// A letter that went to nobody is not kept. One that is written stays known by its number: more emails
    /// may come to have it.
    fn take_letters(&mut self) -> Vec<Change> {
        let (mut ids, mut emails, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        let mut more = Vec::new();
        for (id, letter) in self.letters.iter_mut().filter(|(_, letter)| letter.new_emails > 0) {
            let count = std::mem::take(&mut letter.new_emails);
            match letter.bytes.take() {
                Some(written) => {
                    ids.push(int(*id));
                    emails.push(count);
                    bytes.push(written);
                }
                None => more.push((int(*id), count)),
            }
        }
        let mut changes = Vec::new();
        if !ids.is_empty() {
            let sql = "INSERT INTO letter (id, emails, bytes)
                 SELECT * FROM unnest($1::int8[], $2::int8[], $3::bytea[])";
            let values: Vec<Box<dyn ToSql + Sync>> =
                vec![Box::new(ids), Box::new(emails), Box::new(bytes)];
            changes.push(Change { sql, values });
        }
        if !more.is_empty() {
            let sql = "UPDATE letter SET emails = letter.emails + more.emails
                 FROM unnest($1::int8[], $2::int8[]) AS more (id, emails) WHERE letter.id = more.id";
            changes.push(change!(sql, more, |row| row.0, row.1));
        }
        changes
    }

    fn take_threads(&mut self) -> Option<Change> {
        let rows = std::mem::take(&mut self.threads);
        let sql = "INSERT INTO thread_of SELECT * FROM unnest($1::int8[], $2::int8[], $3::int8[])
             ON CONFLICT (account, message_id_hash) DO UPDATE SET thread = excluded.thread";
        (!rows.is_empty())
            .then(|| change!(sql, rows, |row| int(row.0.0.0), int(row.0.1), int(row.1.0)))
    }

    fn take_history(&mut self) -> Option<Change> {
        let rows = std::mem::take(&mut self.changes);
        let sql = "INSERT INTO change SELECT * FROM unnest($1::int8[], $2::int8[], $3::int8[],
             $4::int8[], $5::int2[], $6::int8[]) ON CONFLICT (account, modseq, mailbox, uid, kind)
             DO UPDATE SET email = excluded.email";
        (!rows.is_empty()).then(|| {
            change!(
                sql,
                rows,
                |row| int(row.0.0.0),
                int(row.0.1.0),
                i64::from(row.0.2.0),
                i64::from(row.0.3),
                i16::from(row.0.4),
                int(row.1.0)
            )
        })
    }

    fn take_messages(&mut self) -> Vec<Change> {
        let (mut new, mut flags, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for ((account, mailbox, uid), fate) in std::mem::take(&mut self.messages) {
            let place = (int(account.0), i64::from(mailbox.0), i64::from(uid.get()));
            match fate {
                Fate::New(row) => new.push((place, row)),
                Fate::Flags(row) => flags.push((place, row)),
                Fate::Gone => gone.push(place),
            }
        }
        let mut changes = Vec::new();
        if !new.is_empty() {
            changes.push(new_messages(&new));
        }
        if !flags.is_empty() {
            let sql = "UPDATE message SET modseq = new.modseq, flags = new.flags,
                 keywords = new.keywords FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[],
                 $5::int2[], $6::text[]) AS new (account, mailbox, uid, modseq, flags, keywords)
                 WHERE message.account = new.account AND message.mailbox = new.mailbox
                 AND message.uid = new.uid";
            changes.push(change!(
                sql,
                flags,
                |row| row.0.0,
                row.0.1,
                row.0.2,
                int(row.1.modseq.0),
                i16::from(row.1.flags.bits()),
                keywords(&row.1.flags)
            ));
        }
        if !gone.is_empty() {
            let sql = "DELETE FROM message USING unnest($1::int8[], $2::int8[], $3::int8[])
                 AS old (account, mailbox, uid) WHERE message.account = old.account
                 AND message.mailbox = old.mailbox AND message.uid = old.uid";
            changes.push(change!(sql, gone, |row| row.0, row.1, row.2));
        }
        changes
    }
}

fn new_messages(rows: &[((i64, i64, i64), MessageRow)]) -> Change {
    let sql = "INSERT INTO message SELECT * FROM unnest($1::int8[], $2::int8[], $3::int8[],
         $4::int8[], $5::int8[], $6::int2[], $7::text[], $8::int8[], $9::int8[], $10::int8[])";
    change!(
        sql,
        rows,
        |row| row.0.0,
        row.0.1,
        row.0.2,
        int(row.1.email.0),
        int(row.1.modseq.0),
        i16::from(row.1.flags.bits()),
        keywords(&row.1.flags),
        row.1.received_unix_s,
        row.1.saved_unix_s,
        i64::from(row.1.size_bytes)
    )
}

/// Keywords in one text, separated by spaces; NULL when there are none.
fn keywords(flags: &Flags) -> Option<String> {
    let words: Vec<&str> = flags.keywords().iter().map(Keyword::as_str).collect();
    (!words.is_empty()).then(|| words.join(" "))
}
