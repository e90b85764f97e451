//! Rows in one SQLite file, write-ahead logged. `synchronous=NORMAL`: a commit is not synced, since the
//! mail log behind the index is; after a power cut the log's tail is applied again.
//!
//! One writer connection whose account and mailbox rows stay in memory, written once a commit however
//! many letters arrived; a pool of reader connections.
//!
//! A delivery writes three rows: the email with the place of its first copy, that copy, its Message-ID. What
//! was added is not written a second time in the change log: UIDs and MODSEQs of additions rise together, so
//! the messages of a mailbox tell it themselves, until they are gone.

use crate::{
    AccountRow, AliasRow, Amount, BlobRef, ChangeKind, ChangeRow, EmailRef, EmailRow, Error, Index,
    Location, MailboxRow, MessageRef, MessageRow, NoteRow, Position, Read, Result, Txn, rows,
};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, Params, Row, Statement, params};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use types::{
    AccountId, EmailId, MailboxId, ModSeq, SpecialUse, ThreadId, Uid, UidSet, UidValidity,
};

/// Raised when the tables change; an older index is thrown away and built again from the log.
const FORMAT: u32 = 5;
/// Rows of accounts and mailboxes the writer keeps between commits; more: it starts afresh.
const WRITER_CACHE_ROWS: usize = 50_000;
/// Room for what a transaction over many letters changes; negative numbers are KiB to SQLite.
const WRITER_PAGES_KIB: i64 = -49_152;

const SCHEMA: &str = "
CREATE TABLE position (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    lsn INTEGER NOT NULL, segment INTEGER NOT NULL, end INTEGER NOT NULL,
    last_account INTEGER NOT NULL, last_email INTEGER NOT NULL);
CREATE TABLE account (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, secret TEXT NOT NULL, modseq INTEGER NOT NULL,
    last_mailbox INTEGER NOT NULL, last_uid_validity INTEGER NOT NULL,
    limit_bytes INTEGER NOT NULL, limit_messages INTEGER NOT NULL,
    used_bytes INTEGER NOT NULL, used_messages INTEGER NOT NULL,
    changes_floor INTEGER NOT NULL, new_changes INTEGER NOT NULL);
CREATE TABLE mailbox (
    account INTEGER NOT NULL, id INTEGER NOT NULL, name TEXT NOT NULL, special_use TEXT NOT NULL,
    subscribed INTEGER NOT NULL, uid_validity INTEGER NOT NULL, uid_next INTEGER NOT NULL,
    modseq INTEGER NOT NULL, created INTEGER NOT NULL, total INTEGER NOT NULL,
    unseen INTEGER NOT NULL, deleted INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
    PRIMARY KEY (account, id)) WITHOUT ROWID;
CREATE INDEX mailbox_name ON mailbox (account, name);
CREATE TABLE message (
    account INTEGER NOT NULL, mailbox INTEGER NOT NULL, uid INTEGER NOT NULL,
    email INTEGER NOT NULL, modseq INTEGER NOT NULL, added INTEGER NOT NULL,
    flags INTEGER NOT NULL, keywords TEXT,
    received INTEGER NOT NULL, saved INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
    PRIMARY KEY (account, mailbox, uid)) WITHOUT ROWID;
-- where copies of an email are beside the place in its own row
CREATE TABLE home (
    email INTEGER NOT NULL, mailbox INTEGER NOT NULL, uid INTEGER NOT NULL,
    PRIMARY KEY (email, mailbox, uid)) WITHOUT ROWID;
CREATE TABLE email (
    id INTEGER PRIMARY KEY, account INTEGER NOT NULL, thread INTEGER NOT NULL,
    received INTEGER NOT NULL, segment INTEGER NOT NULL, offset INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL, hash BLOB NOT NULL,
    mailbox INTEGER NOT NULL, uid INTEGER NOT NULL, -- the place of one copy; uid 0: no copy here
    part_table BLOB NOT NULL);
-- the first email of a thread gives it its number and is found by that
CREATE INDEX email_thread ON email (thread) WHERE thread <> id;
CREATE TABLE thread_of (
    account INTEGER NOT NULL, message_id_hash INTEGER NOT NULL, thread INTEGER NOT NULL,
    PRIMARY KEY (account, message_id_hash)) WITHOUT ROWID;
-- for what goes with the last email of a thread; new threads have the highest numbers: it grows at its end
CREATE INDEX thread_of_thread ON thread_of (thread);
-- a target each, in their order
CREATE TABLE alias (
    key TEXT NOT NULL, place INTEGER NOT NULL, target TEXT NOT NULL,
    PRIMARY KEY (key, place)) WITHOUT ROWID;
-- mailbox 0: about the account
CREATE TABLE note (
    account INTEGER NOT NULL, mailbox INTEGER NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (account, mailbox, name)) WITHOUT ROWID;
CREATE INDEX note_name ON note (name);
-- all but additions of messages that are still there
CREATE TABLE change (
    account INTEGER NOT NULL, modseq INTEGER NOT NULL, mailbox INTEGER NOT NULL,
    uid INTEGER NOT NULL, kind INTEGER NOT NULL, email INTEGER NOT NULL,
    PRIMARY KEY (account, modseq, mailbox, uid, kind)) WITHOUT ROWID;
";

/// Refuses a file of a newer form by its header alone: opening it would make files beside it.
pub(super) fn check_format(path: &Path) -> Result<()> {
    let mut header = [0; 64];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    let Some(found) = header.last_chunk().map(|bytes| u32::from_be_bytes(*bytes)) else {
        return Ok(());
    };
    // https://www.sqlite.org/fileformat.html: the user version at byte 60. What is no such file, `open` says.
    if read.is_ok() && header.starts_with(b"SQLite format 3\0") && found > FORMAT {
        return Err(Error::Newer { found, known: FORMAT });
    }
    Ok(())
}

pub(super) fn open(path: &str) -> Result<Arc<dyn Index>> {
    check_format(Path::new(path))?;
    let path = PathBuf::from(path);
    let mut connection = connect(&path)?;
    let mut format = format_of(&connection)?;
    if format > FORMAT {
        return Err(Error::Newer { found: format, known: FORMAT });
    }
    if (1..FORMAT).contains(&format) {
        drop(connection);
        remove(&path)?;
        connection = connect(&path)?;
        format = format_of(&connection)?;
    }
    if format < FORMAT {
        connection
            .execute_batch(&format!("BEGIN; {SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;"))?;
    }
    connection.pragma_update(None, "cache_size", WRITER_PAGES_KIB)?;
    let checkpointer = Mutex::new(connect(&path)?);
    Ok(Arc::new(Sqlite {
        writer: Mutex::new(Writer { connection, cache: RefCell::default() }),
        readers: Mutex::default(),
        checkpointer,
        path,
    }))
}

fn format_of(connection: &Connection) -> Result<u32> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// Takes an index of an older form away; the log builds it again.
fn remove(path: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        match std::fs::remove_file(&file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                let name = Path::new(&file).display();
                return Err(Error::Engine(format!("could not remove the old index {name}: {e}")));
            }
            _ => {}
        }
    }
    Ok(())
}

fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Plans that do not depend on values: else a cached statement is compiled again nearly each time it gets some.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // The writer checkpoints by itself only when nobody else has for long: 256 MB of 4 KB pages.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 65536;
         PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY; PRAGMA busy_timeout = 10000;",
    )?;
    Ok(connection)
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full(text),
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                Self::Corrupt(text)
            }
            _ => Self::Engine(text),
        }
    }
}

struct Sqlite {
    path: PathBuf,
    writer: Mutex<Writer>,
    readers: Mutex<Vec<Connection>>,
    checkpointer: Mutex<Connection>,
}

struct Writer {
    connection: Connection,
    cache: RefCell<Cache>,
}

/// Rows that every delivery reads and changes, and whether each must still be written.
#[derive(Default)]
struct Cache {
    last_ids: Option<(AccountId, EmailId)>,
    accounts: HashMap<AccountId, (AccountRow, bool)>,
    mailboxes: HashMap<(AccountId, MailboxId), (MailboxRow, bool)>,
    /// Keys of rows that must still be written, so that nobody looks through all of them.
    waiting_accounts: Vec<AccountId>,
    waiting_mailboxes: Vec<(AccountId, MailboxId)>,
    /// An email that waits for its first copy, to be written with its place.
    email: Option<EmailRow>,
    /// New rows that are written many at a time, before anything looks at their tables.
    emails: Vec<(EmailRow, Option<(MailboxId, Uid)>)>,
    messages: Vec<(AccountId, MailboxId, MessageRow)>,
    threads: Vec<[i64; 3]>,
}

/// New rows are written when so many wait.
const NEW_ROWS: usize = 256;
/// So many with one statement: setting one up costs as much as a row.
const ROWS_AT_ONCE: usize = 32;

/// `INSERT … VALUES (…)` of one row, and of [`ROWS_AT_ONCE`].
struct Insert {
    one: String,
    many: String,
}

impl Insert {
    fn into(table: &str, columns: usize) -> Self {
        let row = format!("({})", vec!["?"; columns].join(","));
        let rows = vec![&row[..]; ROWS_AT_ONCE].join(",");
        let one = format!("{table} VALUES {row}");
        Self { one, many: format!("{table} VALUES {rows}") }
    }

    /// Inserts `items`; `bind` binds the columns of one from the given place on.
    fn rows<T>(
        &self,
        connection: &Connection,
        items: &[T],
        bind: impl Fn(&mut Statement<'_>, &mut Places, &T) -> rusqlite::Result<()>,
    ) -> Result<()> {
        let (chunks, rest) = items.as_chunks::<ROWS_AT_ONCE>();
        let chunks = chunks.iter().map(|chunk| (&self.many, &chunk[..]));
        for (sql, items) in chunks.chain(rest.chunks(1).map(|item| (&self.one, item))) {
            let mut statement = connection.prepare_cached(sql)?;
            let mut places = Places(0);
            for item in items {
                bind(&mut statement, &mut places, item)?;
            }
            statement.raw_execute()?;
        }
        Ok(())
    }
}

/// Counts the parameters of a statement.
struct Places(usize);

impl Places {
    fn bind(
        &mut self,
        statement: &mut Statement<'_>,
        value: impl rusqlite::ToSql,
    ) -> rusqlite::Result<()> {
        self.0 += 1;
        statement.raw_bind_parameter(self.0, value)
    }
}

static EMAILS: LazyLock<Insert> = LazyLock::new(|| Insert::into("INSERT INTO email", 11));
static MESSAGES: LazyLock<Insert> = LazyLock::new(|| Insert::into("INSERT INTO message", 11));
static THREADS: LazyLock<Insert> =
    LazyLock::new(|| Insert::into("INSERT OR REPLACE INTO thread_of", 3));

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Index for Sqlite {
    fn begin(&self) -> Result<Box<dyn Txn + '_>> {
        let writer = lock(&self.writer);
        writer.connection.execute_batch("BEGIN IMMEDIATE")?;
        Ok(Box::new(SqliteTxn { writer, done: false }))
    }

    fn read(&self) -> Result<Box<dyn Read + '_>> {
        let pooled = lock(&self.readers).pop();
        let connection = match pooled {
            Some(connection) => connection,
            None => connect(&self.path)?,
        };
        connection.prepare_cached("BEGIN")?.execute([])?;
        Ok(Box::new(SqliteRead { pool: self, connection: Some(connection) }))
    }

    fn checkpoint(&self) -> Result<()> {
        let checkpointer = lock(&self.checkpointer);
        checkpointer.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        Ok(())
    }
}

struct SqliteRead<'a> {
    pool: &'a Sqlite,
    connection: Option<Connection>,
}

impl Drop for SqliteRead<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && connection.prepare_cached("COMMIT").and_then(|mut end| end.execute([])).is_ok()
        {
            lock(&self.pool.readers).push(connection);
        }
    }
}

struct SqliteTxn<'a> {
    writer: MutexGuard<'a, Writer>,
    done: bool,
}

impl Drop for SqliteTxn<'_> {
    fn drop(&mut self) {
        if !self.done {
            *self.writer.cache.borrow_mut() = Cache::default();
            if self.writer.connection.execute_batch("ROLLBACK").is_err() {
                // SQLite has rolled back by itself (disk full); the next BEGIN shows anything worse.
            }
        }
    }
}

/// Numbers above 2^63 keep their bits; SQLite has signed ones only.
fn db_int(n: u64) -> i64 {
    n.cast_signed()
}

fn uint(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(at)?.cast_unsigned())
}

fn account_row(row: &Row<'_>) -> rusqlite::Result<AccountRow> {
    Ok(AccountRow {
        id: AccountId(uint(row, 0)?),
        key: row.get(1)?,
        secret: row.get(2)?,
        modseq: ModSeq(uint(row, 3)?),
        last_mailbox: MailboxId(row.get(4)?),
        last_uid_validity: UidValidity(row.get(5)?),
        limit: Amount { size_bytes: uint(row, 6)?, messages: uint(row, 7)? },
        used: Amount { size_bytes: uint(row, 8)?, messages: uint(row, 9)? },
        changes_floor: ModSeq(uint(row, 10)?),
        new_changes: uint(row, 11)?,
    })
}

fn mailbox_row(row: &Row<'_>) -> rusqlite::Result<MailboxRow> {
    Ok(MailboxRow {
        id: MailboxId(row.get(0)?),
        name: row.get(1)?,
        special_use: SpecialUse::from_role(row.get_ref(2)?.as_str()?),
        subscribed: row.get(3)?,
        uid_validity: UidValidity(row.get(4)?),
        uid_next: Uid::new(row.get(5)?),
        modseq: ModSeq(uint(row, 6)?),
        created: ModSeq(uint(row, 7)?),
        total: uint(row, 8)?,
        unseen: uint(row, 9)?,
        deleted: uint(row, 10)?,
        size_bytes: uint(row, 11)?,
    })
}

/// Columns `uid, email, modseq, flags, keywords, received, saved, size_bytes` from `at` on.
fn message_ref<'a>(row: &'a Row<'_>, at: usize) -> rusqlite::Result<MessageRef<'a>> {
    Ok(MessageRef {
        uid: Uid::new(row.get(at)?).unwrap_or(Uid::MIN),
        email: EmailId(uint(row, at + 1)?),
        modseq: ModSeq(uint(row, at + 2)?),
        system: row.get(at + 3)?,
        keywords: row.get_ref(at + 4)?.as_str_or_null()?,
        received_unix_s: row.get(at + 5)?,
        saved_unix_s: row.get(at + 6)?,
        size_bytes: row.get(at + 7)?,
    })
}

/// The columns of [`EMAIL`].
fn email_ref<'a>(row: &'a Row<'_>) -> rusqlite::Result<EmailRef<'a>> {
    Ok(EmailRef {
        id: EmailId(uint(row, 0)?),
        account: AccountId(uint(row, 1)?),
        thread: ThreadId(uint(row, 2)?),
        received_unix_s: row.get(3)?,
        blob: BlobRef {
            location: Location { segment: uint(row, 4)?, offset: uint(row, 5)? },
            size_bytes: row.get(6)?,
            hash: row.get(7)?,
        },
        index: row.get_ref(8)?.as_blob()?,
    })
}

const ROWS: &str =
    "SELECT uid, email, modseq, flags, keywords, received, saved, size_bytes FROM message
     WHERE account = ? AND mailbox = ? AND uid BETWEEN ? AND ? ORDER BY uid";
const EMAIL: &str = "SELECT id, account, thread, received, segment, offset, size_bytes, hash,
     part_table FROM email WHERE id = ?";
const MAILBOX: &str = "SELECT id, name, special_use, subscribed, uid_validity, uid_next, modseq, \
                       created, total, unseen, deleted, size_bytes FROM mailbox";
const ACCOUNT: &str = "SELECT id, key, secret, modseq, last_mailbox, last_uid_validity, limit_bytes, limit_messages, \
     used_bytes, used_messages, changes_floor, new_changes FROM account";

fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params, row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn one<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    row: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>> {
    Ok(connection.prepare_cached(sql)?.query_row(params, row).optional()?)
}

/// The questions, asked of one connection.
impl Read for Connection {
    fn position(&self) -> Result<Option<Position>> {
        one(self, "SELECT lsn, segment, end FROM position", [], |row| {
            let end = Location { segment: uint(row, 1)?, offset: uint(row, 2)? };
            Ok(Position { lsn: uint(row, 0)?, end })
        })
    }

    fn last_ids(&self) -> Result<(AccountId, EmailId)> {
        let ids = one(self, "SELECT last_account, last_email FROM position", [], |row| {
            Ok((AccountId(uint(row, 0)?), EmailId(uint(row, 1)?)))
        })?;
        Ok(ids.unwrap_or_default())
    }

    fn account(&self, account: AccountId) -> Result<Option<AccountRow>> {
        one(self, &format!("{ACCOUNT} WHERE id = ?"), [db_int(account.0)], account_row)
    }

    fn account_by_key(&self, key: &str) -> Result<Option<AccountRow>> {
        one(self, &format!("{ACCOUNT} WHERE key = ?"), [key], account_row)
    }

    fn accounts(&self) -> Result<Vec<AccountRow>> {
        all(self, &format!("{ACCOUNT} ORDER BY id"), [], account_row)
    }

    fn alias(&self, key: &str) -> Result<Vec<String>> {
        let sql = "SELECT target FROM alias WHERE key = ? ORDER BY place";
        all(self, sql, [key], |row| row.get(0))
    }

    fn aliases(&self) -> Result<Vec<AliasRow>> {
        let sql = "SELECT key, target FROM alias ORDER BY key, place";
        let rows = all(self, sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows::aliases(rows))
    }

    fn mailboxes(&self, account: AccountId) -> Result<Vec<MailboxRow>> {
        let sql = format!("{MAILBOX} WHERE account = ? ORDER BY name");
        all(self, &sql, [db_int(account.0)], mailbox_row)
    }

    fn mailbox(&self, account: AccountId, mailbox: MailboxId) -> Result<Option<MailboxRow>> {
        let sql = format!("{MAILBOX} WHERE account = ? AND id = ?");
        one(self, &sql, params![db_int(account.0), mailbox.0], mailbox_row)
    }

    fn mailbox_by_name(&self, account: AccountId, name: &str) -> Result<Option<MailboxRow>> {
        let sql = format!("{MAILBOX} WHERE account = ? AND name = ?");
        one(self, &sql, params![db_int(account.0), name], mailbox_row)
    }

    fn messages(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: &UidSet,
    ) -> Result<Vec<MessageRow>> {
        let mut found = Vec::new();
        self.scan_messages(account, mailbox, uids, &mut |row| found.push(row.to_row()))?;
        Ok(found)
    }

    fn scan_messages(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: &UidSet,
        each: &mut dyn FnMut(MessageRef<'_>),
    ) -> Result<()> {
        let mut statement = self.prepare_cached(ROWS)?;
        for (first, last) in uids.ranges() {
            let range = params![db_int(account.0), mailbox.0, first.get(), last.get()];
            let mut rows = statement.query(range)?;
            while let Some(row) = rows.next()? {
                each(message_ref(row, 0)?);
            }
        }
        Ok(())
    }

    fn homes(&self, account: AccountId, email: EmailId) -> Result<Vec<(MailboxId, MessageRow)>> {
        let sql = "SELECT m.mailbox, m.uid, m.email, m.modseq, m.flags, m.keywords, m.received,
             m.saved, m.size_bytes FROM (SELECT mailbox, uid FROM email WHERE id = ?2 AND uid > 0
             UNION ALL SELECT mailbox, uid FROM home WHERE email = ?2) h CROSS JOIN message m
             ON m.account = ?1 AND m.mailbox = h.mailbox AND m.uid = h.uid
             ORDER BY m.mailbox, m.uid";
        all(self, sql, [db_int(account.0), db_int(email.0)], |row| {
            Ok((MailboxId(row.get(0)?), message_ref(row, 1)?.to_row()))
        })
    }

    fn email(&self, email: EmailId) -> Result<Option<EmailRow>> {
        one(self, EMAIL, [db_int(email.0)], |row| Ok(email_ref(row)?.to_row()))
    }

    fn scan_emails(&self, emails: &[EmailId], each: &mut dyn FnMut(EmailRef<'_>)) -> Result<()> {
        let mut statement = self.prepare_cached(EMAIL)?;
        for email in emails {
            if let Some(row) = statement.query([db_int(email.0)])?.next()? {
                each(email_ref(row)?);
            }
        }
        Ok(())
    }

    fn existing(&self, account: AccountId, emails: &[EmailId]) -> Result<Vec<EmailId>> {
        let mut statement = self.prepare_cached("SELECT account FROM email WHERE id = ?")?;
        let mut found = Vec::with_capacity(emails.len());
        for email in emails {
            let mut rows = statement.query([db_int(email.0)])?;
            if let Some(row) = rows.next()?
                && uint(row, 0)? == account.0
            {
                found.push(*email);
            }
        }
        Ok(found)
    }

    fn thread(&self, account: AccountId, thread: ThreadId) -> Result<Vec<EmailId>> {
        let sql = "SELECT id FROM email WHERE id = ?1 AND thread = ?1 AND account = ?2
             UNION ALL SELECT id FROM email WHERE thread = ?1 AND thread <> id AND account = ?2
             ORDER BY id";
        all(self, sql, [db_int(thread.0), db_int(account.0)], |row| Ok(EmailId(uint(row, 0)?)))
    }

    fn thread_of(&self, account: AccountId, message_id_hash: u64) -> Result<Option<ThreadId>> {
        let sql = "SELECT thread FROM thread_of WHERE account = ? AND message_id_hash = ?";
        let key = [db_int(account.0), db_int(message_id_hash)];
        one(self, sql, key, |row| Ok(ThreadId(uint(row, 0)?)))
    }

    fn notes_under(
        &self,
        account: AccountId,
        mailbox: Option<MailboxId>,
        prefix: &str,
    ) -> Result<Vec<NoteRow>> {
        let sql = "SELECT name, value FROM note WHERE account = ?1 AND mailbox = ?2 AND name >= ?3
             AND substr(name, 1, length(?3)) = ?3 ORDER BY name";
        let key = params![db_int(account.0), mailbox.unwrap_or_default().0, prefix];
        all(self, sql, key, |row| Ok(NoteRow { mailbox, name: row.get(0)?, value: row.get(1)? }))
    }

    fn note(
        &self,
        account: AccountId,
        mailbox: Option<MailboxId>,
        name: &str,
    ) -> Result<Option<Vec<u8>>> {
        let sql = "SELECT value FROM note WHERE account = ? AND mailbox = ? AND name = ?";
        let key = params![db_int(account.0), mailbox.unwrap_or_default().0, name];
        one(self, sql, key, |row| row.get(0))
    }

    fn notes_named(&self, name: &str) -> Result<Vec<(AccountId, NoteRow)>> {
        let sql =
            "SELECT account, mailbox, value FROM note WHERE name = ? ORDER BY account, mailbox";
        all(self, sql, [name], |row| {
            let mailbox = Some(MailboxId(row.get(1)?)).filter(|mailbox| mailbox.0 > 0);
            let note = NoteRow { mailbox, name: name.to_owned(), value: row.get(2)? };
            Ok((AccountId(uint(row, 0)?), note))
        })
    }

    fn changes(&self, account: AccountId, since: ModSeq, limit: usize) -> Result<Vec<ChangeRow>> {
        let mut found = written_changes(self, account, since, limit)?;
        for mailbox in Read::mailboxes(self, account)? {
            if mailbox.modseq > since {
                found.extend(additions(self, account, &mailbox, since, limit)?);
            }
        }
        found.sort_by_key(|row| {
            let uid = row.message.map_or(0, |(uid, _)| uid.get());
            (row.modseq, row.mailbox, uid, row.kind as u8)
        });
        found.truncate(limit);
        Ok(found)
    }
}

/// The change log without additions of messages that are still there.
fn written_changes(
    connection: &Connection,
    account: AccountId,
    since: ModSeq,
    limit: usize,
) -> Result<Vec<ChangeRow>> {
    let sql = "SELECT modseq, kind, mailbox, uid, email FROM change
             WHERE account = ? AND modseq > ? ORDER BY modseq, mailbox, uid, kind LIMIT ?";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    all(connection, sql, params![db_int(account.0), db_int(since.0), limit], |row| {
        let kind = row.get::<_, u8>(1)?;
        let uid = Uid::new(row.get(3)?);
        let email = EmailId(uint(row, 4)?);
        Ok(ChangeRow {
            modseq: ModSeq(uint(row, 0)?),
            kind: ChangeKind::from_u8(kind).unwrap_or(ChangeKind::MailboxChanged),
            mailbox: MailboxId(row.get(2)?),
            message: uid.map(|uid| (uid, email)),
        })
    })
}

/// Messages of a mailbox that were added after `since`, the first `limit` of them.
fn additions(
    connection: &Connection,
    account: AccountId,
    mailbox: &MailboxRow,
    since: ModSeq,
    limit: usize,
) -> Result<Vec<ChangeRow>> {
    let (owner, id) = (db_int(account.0), mailbox.id.0);
    let at_or_after = "SELECT added FROM message WHERE account = ? AND mailbox = ? AND uid >= ?
         ORDER BY uid LIMIT 1";
    // A message that came later has the higher UID: the first new one is found by halving.
    let (mut old, mut new) = (0, mailbox.uid_next.map_or(u32::MAX, Uid::get));
    while new - old > 1 {
        let middle = old + (new - old) / 2;
        let added = one(connection, at_or_after, params![owner, id, middle], |row| uint(row, 0))?;
        if added.is_some_and(|added| added <= since.0) { old = middle } else { new = middle }
    }
    let sql = "SELECT added, uid, email FROM message WHERE account = ? AND mailbox = ? AND uid >= ?
         AND added > ? ORDER BY uid LIMIT ?";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    all(connection, sql, params![owner, id, old, db_int(since.0), limit], |row| {
        Ok(ChangeRow {
            modseq: ModSeq(uint(row, 0)?),
            kind: ChangeKind::MessageAdded,
            mailbox: mailbox.id,
            message: Some((Uid::new(row.get(1)?).unwrap_or(Uid::MIN), EmailId(uint(row, 2)?))),
        })
    })
}

impl SqliteRead<'_> {
    fn rows(&self) -> Result<&Connection> {
        self.connection.as_ref().ok_or_else(|| Error::Engine("reader is closed".to_owned()))
    }
}

impl SqliteTxn<'_> {
    /// As it is, for tables that hold no new rows back.
    fn connection(&self) -> &Connection {
        &self.writer.connection
    }

    /// The connection once all new rows are written.
    fn db(&self) -> Result<&Connection> {
        self.flush_new()?;
        Ok(self.connection())
    }

    /// The connection as a reader that must not see stale rows: waiting ones are written first.
    fn rows(&self) -> Result<&Connection> {
        self.flush()?;
        Ok(self.connection())
    }

    /// Writes new rows, in the order of their keys: neighbours are then put on a page together.
    fn flush_new(&self) -> Result<()> {
        let mut cache = self.writer.cache.borrow_mut();
        let Cache { emails, messages, threads, .. } = &mut *cache;
        let connection = self.connection();
        EMAILS.rows(connection, emails, |statement, places, (row, place)| {
            let (mailbox, uid) = place.map_or((0, 0), |(mailbox, uid)| (mailbox.0, uid.get()));
            places.bind(statement, db_int(row.id.0))?;
            places.bind(statement, db_int(row.account.0))?;
            places.bind(statement, db_int(row.thread.0))?;
            places.bind(statement, row.received_unix_s)?;
            places.bind(statement, db_int(row.blob.location.segment))?;
            places.bind(statement, db_int(row.blob.location.offset))?;
            places.bind(statement, row.blob.size_bytes)?;
            places.bind(statement, row.blob.hash)?;
            places.bind(statement, mailbox)?;
            places.bind(statement, uid)?;
            places.bind(statement, &row.index)
        })?;
        emails.clear();
        messages.sort_unstable_by_key(|(account, mailbox, row)| (*account, *mailbox, row.uid));
        MESSAGES.rows(connection, messages, |statement, places, (account, mailbox, row)| {
            places.bind(statement, db_int(account.0))?;
            places.bind(statement, mailbox.0)?;
            places.bind(statement, row.uid.get())?;
            places.bind(statement, db_int(row.email.0))?;
            places.bind(statement, db_int(row.modseq.0))?;
            places.bind(statement, db_int(row.modseq.0))?;
            places.bind(statement, row.flags.bits())?;
            places.bind(statement, rows::keywords(&row.flags))?;
            places.bind(statement, row.received_unix_s)?;
            places.bind(statement, row.saved_unix_s)?;
            places.bind(statement, row.size_bytes)
        })?;
        messages.clear();
        // Of two for one key the later stays the later.
        threads.sort_by_key(|[account, hash, _]| (*account, *hash));
        THREADS.rows(connection, threads, |statement, places, row| {
            row.iter().try_for_each(|column| places.bind(statement, *column))
        })?;
        threads.clear();
        Ok(())
    }

    /// Writes what the cache holds back.
    fn flush(&self) -> Result<()> {
        self.flush_email()?;
        self.flush_new()?;
        let mut cache = self.writer.cache.borrow_mut();
        let Cache { accounts, mailboxes, waiting_accounts, waiting_mailboxes, .. } = &mut *cache;
        for account in waiting_accounts.drain(..) {
            if let Some((row, dirty)) = accounts.get_mut(&account) {
                self.write_account(row)?;
                *dirty = false;
            }
        }
        for key in waiting_mailboxes.drain(..) {
            if let Some((row, dirty)) = mailboxes.get_mut(&key) {
                self.write_mailbox(key.0, row)?;
                *dirty = false;
            }
        }
        Ok(())
    }

    fn flush_email(&self) -> Result<()> {
        let waiting = self.writer.cache.borrow_mut().email.take();
        waiting.map_or(Ok(()), |row| self.write_email(row, None))
    }

    fn write_email(&self, row: EmailRow, place: Option<(MailboxId, Uid)>) -> Result<()> {
        let mut cache = self.writer.cache.borrow_mut();
        cache.emails.push((row, place));
        let is_full = cache.emails.len() >= NEW_ROWS;
        drop(cache);
        if is_full { self.flush_new() } else { Ok(()) }
    }

    /// Remembers where a copy is: in the email's own row if that knows no place.
    fn add_home(&self, email: EmailId, mailbox: MailboxId, uid: Uid) -> Result<()> {
        let waiting = self.writer.cache.borrow_mut().email.take();
        if let Some(row) = waiting {
            if row.id == email {
                return self.write_email(row, Some((mailbox, uid)));
            }
            self.write_email(row, None)?;
        }
        let place = params![db_int(email.0), mailbox.0, uid.get()];
        let sql = "UPDATE email SET mailbox = ?2, uid = ?3 WHERE id = ?1 AND uid = 0";
        if self.db()?.prepare_cached(sql)?.execute(place)? == 0 {
            self.execute("INSERT INTO home VALUES (?,?,?)", place)?;
        }
        Ok(())
    }

    fn delete_home(&self, email: EmailId, mailbox: MailboxId, uid: Uid) -> Result<()> {
        let place = params![db_int(email.0), mailbox.0, uid.get()];
        let sql = "DELETE FROM home WHERE email = ? AND mailbox = ? AND uid = ?";
        if self.db()?.prepare_cached(sql)?.execute(place)? == 0 {
            let sql = "UPDATE email SET mailbox = 0, uid = 0
                 WHERE id = ?1 AND mailbox = ?2 AND uid = ?3";
            self.execute(sql, place)?;
        }
        Ok(())
    }

    fn write_change(&self, account: AccountId, row: &ChangeRow) -> Result<()> {
        let (uid, email) = row.message.map_or((0, EmailId(0)), |(uid, email)| (uid.get(), email));
        self.execute(
            "INSERT OR REPLACE INTO change VALUES (?,?,?,?,?,?)",
            params![
                db_int(account.0),
                db_int(row.modseq.0),
                row.mailbox.0,
                uid,
                row.kind as u8,
                db_int(email.0)
            ],
        )
    }

    fn write_account(&self, row: &AccountRow) -> Result<()> {
        self.put(
            "INSERT INTO account VALUES (?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET
             key = ?2, secret = ?3, modseq = ?4, last_mailbox = ?5, last_uid_validity = ?6,
             limit_bytes = ?7, limit_messages = ?8, used_bytes = ?9, used_messages = ?10,
             changes_floor = ?11, new_changes = ?12",
            params![
                db_int(row.id.0),
                row.key,
                row.secret,
                db_int(row.modseq.0),
                row.last_mailbox.0,
                row.last_uid_validity.0,
                db_int(row.limit.size_bytes),
                db_int(row.limit.messages),
                db_int(row.used.size_bytes),
                db_int(row.used.messages),
                db_int(row.changes_floor.0),
                db_int(row.new_changes)
            ],
        )
    }

    fn write_mailbox(&self, account: AccountId, row: &MailboxRow) -> Result<()> {
        self.put(
            "INSERT INTO mailbox VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (account, id)
             DO UPDATE SET name = ?3, special_use = ?4, subscribed = ?5, uid_validity = ?6,
             uid_next = ?7, modseq = ?8, created = ?9, total = ?10, unseen = ?11, deleted = ?12,
             size_bytes = ?13",
            params![
                db_int(account.0),
                row.id.0,
                row.name,
                row.special_use.map_or("", SpecialUse::role),
                row.subscribed,
                row.uid_validity.0,
                row.uid_next.map_or(0, Uid::get),
                db_int(row.modseq.0),
                db_int(row.created.0),
                db_int(row.total),
                db_int(row.unseen),
                db_int(row.deleted),
                db_int(row.size_bytes)
            ],
        )
    }

    /// For tables that hold no new rows back.
    fn put(&self, sql: &str, params: impl Params) -> Result<()> {
        self.connection().prepare_cached(sql)?.execute(params)?;
        Ok(())
    }

    fn execute(&self, sql: &str, params: impl Params) -> Result<()> {
        self.db()?.prepare_cached(sql)?.execute(params)?;
        Ok(())
    }
}

/// Every question of a reader goes to its connection; of a transaction too, but for cached rows.
macro_rules! forward {
    ($type:ty: $($name:ident($($arg:ident: $arg_type:ty),*) -> $result:ty;)*; $($own:item)*) => {
        impl Read for $type {
            $(fn $name(&self, $($arg: $arg_type),*) -> Result<$result> {
                Read::$name(self.rows()?, $($arg),*)
            })*
            $($own)*
        }
    };
}

forward! {
    SqliteRead<'_>:
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
    scan_messages(account: AccountId, mailbox: MailboxId, uids: &UidSet, each: &mut dyn FnMut(MessageRef<'_>)) -> ();
    homes(account: AccountId, email: EmailId) -> Vec<(MailboxId, MessageRow)>;
    email(email: EmailId) -> Option<EmailRow>;
    scan_emails(emails: &[EmailId], each: &mut dyn FnMut(EmailRef<'_>)) -> ();
    existing(account: AccountId, emails: &[EmailId]) -> Vec<EmailId>;
    thread(account: AccountId, thread: ThreadId) -> Vec<EmailId>;
    thread_of(account: AccountId, message_id_hash: u64) -> Option<ThreadId>;
    notes_under(account: AccountId, mailbox: Option<MailboxId>, prefix: &str) -> Vec<NoteRow>;
    note(account: AccountId, mailbox: Option<MailboxId>, name: &str) -> Option<Vec<u8>>;
    notes_named(name: &str) -> Vec<(AccountId, NoteRow)>;
    changes(account: AccountId, since: ModSeq, limit: usize) -> Vec<ChangeRow>;
    ;
}

forward! {
    SqliteTxn<'_>:
    position() -> Option<Position>;
    account_by_key(key: &str) -> Option<AccountRow>;
    accounts() -> Vec<AccountRow>;
    alias(key: &str) -> Vec<String>;
    aliases() -> Vec<AliasRow>;
    mailboxes(account: AccountId) -> Vec<MailboxRow>;
    mailbox_by_name(account: AccountId, name: &str) -> Option<MailboxRow>;
    notes_under(account: AccountId, mailbox: Option<MailboxId>, prefix: &str) -> Vec<NoteRow>;
    note(account: AccountId, mailbox: Option<MailboxId>, name: &str) -> Option<Vec<u8>>;
    notes_named(name: &str) -> Vec<(AccountId, NoteRow)>;
    changes(account: AccountId, since: ModSeq, limit: usize) -> Vec<ChangeRow>;
    ;
    fn messages(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: &UidSet,
    ) -> Result<Vec<MessageRow>> {
        self.db()?.messages(account, mailbox, uids)
    }

    fn homes(&self, account: AccountId, email: EmailId) -> Result<Vec<(MailboxId, MessageRow)>> {
        self.flush_email()?;
        self.db()?.homes(account, email)
    }

    fn email(&self, email: EmailId) -> Result<Option<EmailRow>> {
        self.flush_email()?;
        self.db()?.email(email)
    }

    fn thread(&self, account: AccountId, thread: ThreadId) -> Result<Vec<EmailId>> {
        self.flush_email()?;
        self.db()?.thread(account, thread)
    }

    fn thread_of(&self, account: AccountId, message_id_hash: u64) -> Result<Option<ThreadId>> {
        self.db()?.thread_of(account, message_id_hash)
    }

    fn last_ids(&self) -> Result<(AccountId, EmailId)> {
        let mut cache = self.writer.cache.borrow_mut();
        if let Some(ids) = cache.last_ids {
            return Ok(ids);
        }
        let ids = self.connection().last_ids()?;
        cache.last_ids = Some(ids);
        Ok(ids)
    }

    fn account(&self, account: AccountId) -> Result<Option<AccountRow>> {
        let mut cache = self.writer.cache.borrow_mut();
        if let Some((row, _)) = cache.accounts.get(&account) {
            return Ok(Some(row.clone()));
        }
        let row = self.connection().account(account)?;
        if let Some(row) = &row {
            cache.accounts.insert(account, (row.clone(), false));
        }
        Ok(row)
    }

    fn mailbox(&self, account: AccountId, mailbox: MailboxId) -> Result<Option<MailboxRow>> {
        let mut cache = self.writer.cache.borrow_mut();
        if let Some((row, _)) = cache.mailboxes.get(&(account, mailbox)) {
            return Ok(Some(row.clone()));
        }
        let row = self.connection().mailbox(account, mailbox)?;
        if let Some(row) = &row {
            cache.mailboxes.insert((account, mailbox), (row.clone(), false));
        }
        Ok(row)
    }
}

impl Txn for SqliteTxn<'_> {
    fn put_account(&mut self, row: &AccountRow) -> Result<()> {
        let (account, email) = self.last_ids()?;
        let mut cache = self.writer.cache.borrow_mut();
        cache.last_ids = Some((account.max(row.id), email));
        let old = cache.accounts.insert(row.id, (row.clone(), true));
        if old.is_none_or(|(_, dirty)| !dirty) {
            cache.waiting_accounts.push(row.id);
        }
        Ok(())
    }

    fn put_mailbox(&mut self, account: AccountId, row: &MailboxRow) -> Result<()> {
        let mut cache = self.writer.cache.borrow_mut();
        let key = (account, row.id);
        let old = cache.mailboxes.insert(key, (row.clone(), true));
        if old.is_none_or(|(_, dirty)| !dirty) {
            cache.waiting_mailboxes.push(key);
        }
        Ok(())
    }

    fn delete_mailbox(&mut self, account: AccountId, mailbox: MailboxId) -> Result<()> {
        self.writer.cache.borrow_mut().mailboxes.remove(&(account, mailbox));
        let key = params![db_int(account.0), mailbox.0];
        self.execute("DELETE FROM mailbox WHERE account = ? AND id = ?", key)?;
        self.execute("DELETE FROM note WHERE account = ? AND mailbox = ?", key)
    }

    fn add_message(
        &mut self,
        account: AccountId,
        mailbox: MailboxId,
        row: &MessageRow,
    ) -> Result<()> {
        let mut cache = self.writer.cache.borrow_mut();
        cache.messages.push((account, mailbox, row.clone()));
        let is_full = cache.messages.len() >= NEW_ROWS;
        drop(cache);
        if is_full {
            self.flush_new()?;
        }
        self.add_home(row.email, mailbox, row.uid)
    }

    fn put_flags(
        &mut self,
        account: AccountId,
        mailbox: MailboxId,
        row: &MessageRow,
    ) -> Result<()> {
        self.execute(
            "UPDATE message SET modseq = ?4, flags = ?5, keywords = ?6
             WHERE account = ?1 AND mailbox = ?2 AND uid = ?3",
            params![
                db_int(account.0),
                mailbox.0,
                row.uid.get(),
                db_int(row.modseq.0),
                row.flags.bits(),
                rows::keywords(&row.flags)
            ],
        )
    }

    fn delete_message(
        &mut self,
        account: AccountId,
        mailbox: MailboxId,
        uid: Uid,
        email: EmailId,
    ) -> Result<()> {
        let key = params![db_int(account.0), mailbox.0, uid.get()];
        let sql = "DELETE FROM message WHERE account = ? AND mailbox = ? AND uid = ?
             RETURNING added";
        let added = one(self.db()?, sql, key, |row| uint(row, 0))?;
        let floor = self.account(account)?.map_or(ModSeq(0), |row| row.changes_floor);
        // From now on only the change log can tell when it came.
        if let Some(added) = added.filter(|added| *added > floor.0) {
            let kind = ChangeKind::MessageAdded;
            let (modseq, message) = (ModSeq(added), Some((uid, email)));
            self.write_change(account, &ChangeRow { modseq, kind, mailbox, message })?;
        }
        self.delete_home(email, mailbox, uid)
    }

    fn add_email(&mut self, row: &EmailRow) -> Result<()> {
        let (account, email) = self.last_ids()?;
        self.flush_email()?;
        let mut cache = self.writer.cache.borrow_mut();
        cache.last_ids = Some((account, email.max(row.id)));
        cache.email = Some(row.clone());
        Ok(())
    }

    fn delete_email(&mut self, email: EmailId) -> Result<()> {
        self.flush_email()?;
        let sql = "DELETE FROM email WHERE id = ? RETURNING thread";
        let thread: Option<i64> = one(self.db()?, sql, [db_int(email.0)], |row| row.get(0))?;
        let Some(thread) = thread else { return Ok(()) };
        let sql = "DELETE FROM thread_of WHERE thread = ?1
             AND NOT EXISTS (SELECT 1 FROM email WHERE id = ?1 AND thread = ?1)
             AND NOT EXISTS (SELECT 1 FROM email WHERE thread = ?1 AND thread <> id)";
        self.execute(sql, [thread])
    }

    fn put_thread_of(
        &mut self,
        account: AccountId,
        message_id_hash: u64,
        thread: ThreadId,
    ) -> Result<()> {
        let row = [db_int(account.0), db_int(message_id_hash), db_int(thread.0)];
        self.writer.cache.borrow_mut().threads.push(row);
        Ok(())
    }

    fn put_note(
        &mut self,
        account: AccountId,
        mailbox: Option<MailboxId>,
        name: &str,
        value: Option<&[u8]>,
    ) -> Result<()> {
        let (account, mailbox) = (db_int(account.0), mailbox.unwrap_or_default().0);
        let key = params![account, mailbox, name];
        let Some(value) = value else {
            let sql = "DELETE FROM note WHERE account = ? AND mailbox = ? AND name = ?";
            return self.execute(sql, key);
        };
        let sql = "INSERT OR REPLACE INTO note VALUES (?,?,?,?)";
        self.execute(sql, params![account, mailbox, name, value])
    }

    fn put_alias(&mut self, key: &str, targets: &[String]) -> Result<()> {
        self.execute("DELETE FROM alias WHERE key = ?", [key])?;
        for (place, target) in (0_i64..).zip(targets) {
            self.execute("INSERT INTO alias VALUES (?,?,?)", params![key, place, target])?;
        }
        Ok(())
    }

    fn add_change(&mut self, account: AccountId, row: &ChangeRow) -> Result<()> {
        // The message itself tells that.
        if row.kind == ChangeKind::MessageAdded {
            return Ok(());
        }
        self.write_change(account, row)
    }

    fn forgettable(&self, account: AccountId, keep: usize) -> Result<Option<ModSeq>> {
        let sql =
            "SELECT modseq FROM change WHERE account = ? ORDER BY modseq DESC LIMIT 1 OFFSET ?";
        let key = [db_int(account.0), i64::try_from(keep).unwrap_or(i64::MAX)];
        let first_too_much = one(self.db()?, sql, key, |row| uint(row, 0))?;
        Ok(first_too_much.map(|modseq| ModSeq(modseq.saturating_sub(1))))
    }

    fn forget_changes(&mut self, account: AccountId, floor: ModSeq) -> Result<()> {
        let key = [db_int(account.0), db_int(floor.0)];
        self.execute("DELETE FROM change WHERE account = ? AND modseq <= ?", key)
    }

    fn commit(mut self: Box<Self>, position: Position) -> Result<()> {
        self.flush()?;
        let (account, email) = self.last_ids()?;
        self.execute(
            "INSERT OR REPLACE INTO position VALUES (1,?,?,?,?,?)",
            [
                db_int(position.lsn),
                db_int(position.end.segment),
                db_int(position.end.offset),
                db_int(account.0),
                db_int(email.0),
            ],
        )?;
        self.db()?.execute_batch("COMMIT")?;
        self.done = true;
        let mut cache = self.writer.cache.borrow_mut();
        if cache.accounts.len() + cache.mailboxes.len() > WRITER_CACHE_ROWS {
            *cache = Cache::default();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_compiled_once() {
        let folder = tempfile::tempdir().unwrap();
        let connection = connect(&folder.path().join("index")).unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        let of = |uid: i64| [1, 1, uid, uid];
        for uid in 1..100 {
            let mut statement = connection.prepare_cached(ROWS).unwrap();
            let found = statement.query(of(uid)).unwrap().next().unwrap().is_some();
            assert!(!found);
        }
        let statement = connection.prepare_cached(ROWS).unwrap();
        assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0);
    }
}
