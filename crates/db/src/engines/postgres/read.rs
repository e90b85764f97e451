//! The questions, asked of one connection.

use super::Postgres;
use super::session::Session;
use crate::{
    AccountRow, AliasRow, Amount, BlobRef, ChangeKind, ChangeRow, EmailRef, EmailRow, Error,
    Location, MailboxRow, MessageRow, NoteRow, Position, Read, Result, rows,
};
use std::collections::HashMap;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use types::{
    AccountId, EmailId, Flags, Keyword, MailboxId, ModSeq, SpecialUse, ThreadId, Uid, UidSet,
    UidValidity,
};

/// Questions about one moment, that of the first of them.
pub(super) struct PostgresRead<'a> {
    pub(super) pool: &'a Postgres,
    /// Taken when it goes back.
    pub(super) session: Option<Session>,
}

impl Drop for PostgresRead<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.pool.give_back(session);
        }
    }
}

impl PostgresRead<'_> {
    fn session(&self) -> Result<&Session> {
        self.session.as_ref().ok_or_else(|| Error::Engine("reader is closed".to_owned()))
    }
}

/// Columns in their order, one after the other.
struct Columns<'a>(&'a Row, usize);

impl<'a> Columns<'a> {
    fn next<T: FromSql<'a>>(&mut self) -> Result<T> {
        self.1 += 1;
        Ok(self.0.try_get(self.1 - 1)?)
    }

    /// PostgreSQL has signed numbers only; those above 2^63 keep their bits.
    fn number(&mut self) -> Result<u64> {
        Ok(self.next::<i64>()?.cast_unsigned())
    }

    fn small(&mut self) -> Result<u32> {
        u32::try_from(self.next::<i64>()?)
            .map_err(|_| Error::Corrupt("a number that is too large for its place".to_owned()))
    }
}

pub(super) fn account_row(row: &Row) -> Result<AccountRow> {
    let mut columns = Columns(row, 0);
    Ok(AccountRow {
        id: AccountId(columns.number()?),
        key: columns.next()?,
        secret: columns.next()?,
        modseq: ModSeq(columns.number()?),
        last_mailbox: MailboxId(columns.small()?),
        last_uid_validity: UidValidity(columns.small()?),
        limit: Amount { size_bytes: columns.number()?, messages: columns.number()? },
        used: Amount { size_bytes: columns.number()?, messages: columns.number()? },
        changes_floor: ModSeq(columns.number()?),
        new_changes: columns.number()?,
    })
}

fn mailbox_row(row: &Row) -> Result<MailboxRow> {
    let mut columns = Columns(row, 0);
    Ok(MailboxRow {
        id: MailboxId(columns.small()?),
        name: columns.next()?,
        special_use: SpecialUse::from_role(columns.next()?),
        subscribed: columns.next()?,
        uid_validity: UidValidity(columns.small()?),
        uid_next: Uid::new(columns.small()?),
        modseq: ModSeq(columns.number()?),
        created: ModSeq(columns.number()?),
        total: columns.number()?,
        unseen: columns.number()?,
        deleted: columns.number()?,
        size_bytes: columns.number()?,
    })
}

/// The columns of [`MESSAGE_COLUMNS`] from `at` on.
fn message_row(row: &Row, at: usize) -> Result<MessageRow> {
    let mut columns = Columns(row, at);
    let uid = Uid::new(columns.small()?).ok_or_else(|| Error::Corrupt("UID 0".to_owned()))?;
    let (email, modseq) = (EmailId(columns.number()?), ModSeq(columns.number()?));
    let mut flags = Flags::from_bits(columns.next::<i16>()?.to_le_bytes()[0]);
    if let Some(keywords) = columns.next::<Option<&str>>()? {
        keywords.split(' ').filter_map(Keyword::new).for_each(|k| flags.insert_keyword(k));
    }
    Ok(MessageRow {
        uid,
        email,
        modseq,
        flags,
        received_unix_s: columns.next()?,
        saved_unix_s: columns.next()?,
        size_bytes: columns.small()?,
    })
}

fn email_ref(row: &Row) -> Result<EmailRef<'_>> {
    let mut columns = Columns(row, 0);
    Ok(EmailRef {
        id: EmailId(columns.number()?),
        account: AccountId(columns.number()?),
        thread: ThreadId(columns.number()?),
        received_unix_s: columns.next()?,
        blob: BlobRef {
            location: Location { segment: columns.number()?, offset: columns.number()? },
            size_bytes: columns.small()?,
            hash: <[u8; 16]>::try_from(columns.next::<&[u8]>()?)
                .map_err(|_| Error::Corrupt("a hash that is not 16 bytes".to_owned()))?,
        },
        index: columns.next()?,
    })
}

fn change_row(row: &Row) -> Result<ChangeRow> {
    let mut columns = Columns(row, 0);
    let modseq = ModSeq(columns.number()?);
    let kind = u8::try_from(columns.next::<i16>()?).ok().and_then(ChangeKind::from_u8);
    let mailbox = MailboxId(columns.small()?);
    let uid = Uid::new(columns.small()?);
    let email = EmailId(columns.number()?);
    Ok(ChangeRow {
        modseq,
        kind: kind.unwrap_or(ChangeKind::MailboxChanged),
        mailbox,
        message: uid.map(|uid| (uid, email)),
    })
}

/// `SELECT` of all columns in the order the functions above take them, with what follows.
macro_rules! select {
    (account $rest:literal) => {
        concat!(
            "SELECT id, key, secret, modseq, last_mailbox, last_uid_validity, limit_bytes, ",
            "limit_messages, used_bytes, used_messages, changes_floor, new_changes FROM account ",
            $rest
        )
    };
    (mailbox $rest:literal) => {
        concat!(
            "SELECT id, name, special_use, subscribed, uid_validity, uid_next, modseq, created, ",
            "total, unseen, deleted, size_bytes FROM mailbox ",
            $rest
        )
    };
    (message $rest:literal) => {
        concat!(
            "SELECT uid, email, modseq, flags, keywords, received, saved, size_bytes FROM message ",
            $rest
        )
    };
}
pub(super) use select;

pub(super) fn int(n: u64) -> i64 {
    n.cast_signed()
}

fn ints(emails: &[EmailId]) -> Vec<i64> {
    emails.iter().map(|email| int(email.0)).collect()
}

/// The questions that a reader and a transaction ask in the same words. [`Session`] is no [`Read`]: a
/// transaction must think of its locks and of rows it has not written yet first.
impl Session {
    fn one<T>(
        &self,
        sql: &'static str,
        values: &[super::session::Value<'_>],
        read: impl Fn(&Row) -> Result<T>,
    ) -> Result<Option<T>> {
        self.row(sql, values)?.as_ref().map(read).transpose()
    }

    fn many<T>(
        &self,
        sql: &'static str,
        values: &[super::session::Value<'_>],
        read: impl Fn(&Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.rows(sql, values)?.iter().map(read).collect()
    }
}

impl Session {
    /// Mailboxes with a special use, of several accounts.
    pub(super) fn special_mailboxes(
        &self,
        accounts: &[i64],
    ) -> Result<Vec<(AccountId, MailboxRow)>> {
        let sql =
            "SELECT id, name, special_use, subscribed, uid_validity, uid_next, modseq, created,
             total, unseen, deleted, size_bytes, account FROM mailbox
             WHERE account = ANY($1) AND special_use <> ''";
        self.many(sql, &[&accounts], |row| {
            Ok((AccountId(Columns(row, 12).number()?), mailbox_row(row)?))
        })
    }
}

impl Read for Session {
    fn position(&self) -> Result<Option<Position>> {
        self.one("SELECT lsn, segment, end_byte FROM position", &[], |row| {
            let mut columns = Columns(row, 0);
            let lsn = columns.number()?;
            let end = Location { segment: columns.number()?, offset: columns.number()? };
            Ok(Position { lsn, end })
        })
    }

    fn last_ids(&self) -> Result<(AccountId, EmailId)> {
        let sql = "SELECT greatest((SELECT max(id) FROM account), (SELECT last_account FROM position), 0),
                 greatest((SELECT max(id) FROM email), (SELECT last_email FROM position), 0)";
        let ids = self.one(sql, &[], |row| {
            let mut columns = Columns(row, 0);
            Ok((AccountId(columns.number()?), EmailId(columns.number()?)))
        })?;
        Ok(ids.unwrap_or_default())
    }

    fn account(&self, account: AccountId) -> Result<Option<AccountRow>> {
        self.one(select!(account "WHERE id = $1"), &[&int(account.0)], account_row)
    }

    fn account_by_key(&self, key: &str) -> Result<Option<AccountRow>> {
        self.one(select!(account "WHERE key = $1"), &[&key], account_row)
    }

    fn accounts(&self) -> Result<Vec<AccountRow>> {
        self.many(select!(account "ORDER BY id"), &[], account_row)
    }

    fn alias(&self, key: &str) -> Result<Vec<String>> {
        let sql = "SELECT target FROM alias WHERE key = $1 ORDER BY place";
        self.many(sql, &[&key], |row| Ok(row.try_get(0)?))
    }

    fn aliases(&self) -> Result<Vec<AliasRow>> {
        let sql = "SELECT key, target FROM alias ORDER BY key, place";
        Ok(rows::aliases(self.many(sql, &[], |row| Ok((row.try_get(0)?, row.try_get(1)?)))?))
    }

    fn account_and_aliases(
        &self,
        key: &str,
        aliases: &[&str],
    ) -> Result<(Option<AccountRow>, Vec<AliasRow>)> {
        // A row there always is: of nothing, of the account, or of each target.
        let sql = "SELECT account.id, account.key, secret, modseq, last_mailbox, last_uid_validity,
             limit_bytes, limit_messages, used_bytes, used_messages, changes_floor, new_changes,
             alias.key, target FROM (SELECT) AS one LEFT JOIN account ON account.key = $1
             LEFT JOIN alias ON alias.key = ANY($2) ORDER BY alias.key, place";
        let found = self.rows(sql, &[&key, &aliases])?;
        let account = match found.first() {
            Some(row) if row.try_get::<_, Option<i64>>(0)?.is_some() => Some(account_row(row)?),
            _ => None,
        };
        let mut targets = Vec::new();
        for row in &found {
            if let Some(key) = row.try_get::<_, Option<String>>(12)? {
                targets.push((key, row.try_get(13)?));
            }
        }
        Ok((account, rows::aliases(targets)))
    }

    fn mailboxes(&self, account: AccountId) -> Result<Vec<MailboxRow>> {
        let sql = select!(mailbox "WHERE account = $1 ORDER BY name");
        self.many(sql, &[&int(account.0)], mailbox_row)
    }

    fn mailbox(&self, account: AccountId, mailbox: MailboxId) -> Result<Option<MailboxRow>> {
        let sql = select!(mailbox "WHERE account = $1 AND id = $2");
        self.one(sql, &[&int(account.0), &i64::from(mailbox.0)], mailbox_row)
    }

    fn mailbox_by_name(&self, account: AccountId, name: &str) -> Result<Option<MailboxRow>> {
        let sql = select!(mailbox "WHERE account = $1 AND name = $2");
        self.one(sql, &[&int(account.0), &name], mailbox_row)
    }

    fn messages(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: &UidSet,
    ) -> Result<Vec<MessageRow>> {
        let (account, mailbox) = (int(account.0), i64::from(mailbox.0));
        let (first, last): (Vec<i64>, Vec<i64>) =
            uids.ranges().iter().map(|(a, b)| (i64::from(a.get()), i64::from(b.get()))).unzip();
        match (&first[..], &last[..]) {
            ([], _) => Ok(Vec::new()),
            ([first], [last]) => {
                let sql = select!(message "WHERE account = $1 AND mailbox = $2
                     AND uid BETWEEN $3 AND $4 ORDER BY uid");
                self.many(sql, &[&account, &mailbox, first, last], |row| message_row(row, 0))
            }
            _ => {
                let sql = select!(message "JOIN unnest($3::int8[], $4::int8[]) AS wanted (low, high)
                     ON uid BETWEEN low AND high
                     WHERE account = $1 AND mailbox = $2 ORDER BY uid");
                self.many(sql, &[&account, &mailbox, &first, &last], |row| message_row(row, 0))
            }
        }
    }

    fn homes(&self, account: AccountId, email: EmailId) -> Result<Vec<(MailboxId, MessageRow)>> {
        let sql = "SELECT mailbox, uid, email, modseq, flags, keywords, received, saved, size_bytes
             FROM message WHERE email = $2 AND account = $1 ORDER BY mailbox, uid";
        self.many(sql, &[&int(account.0), &int(email.0)], |row| {
            Ok((MailboxId(Columns(row, 0).small()?), message_row(row, 1)?))
        })
    }

    fn email(&self, email: EmailId) -> Result<Option<EmailRow>> {
        let sql = "SELECT id, account, thread, received, segment, start_byte, size_bytes, hash,
             part_table FROM email WHERE id = $1";
        self.one(sql, &[&int(email.0)], |row| Ok(email_ref(row)?.to_row()))
    }

    fn scan_emails(&self, emails: &[EmailId], each: &mut dyn FnMut(EmailRef<'_>)) -> Result<()> {
        let sql = "SELECT id, account, thread, received, segment, start_byte, size_bytes, hash,
             part_table FROM email JOIN unnest($1::int8[]) WITH ORDINALITY AS wanted (id, place)
             USING (id) ORDER BY place";
        for row in self.rows(sql, &[&ints(emails)])? {
            each(email_ref(&row)?);
        }
        Ok(())
    }

    fn existing(&self, account: AccountId, emails: &[EmailId]) -> Result<Vec<EmailId>> {
        let sql =
            "SELECT id FROM email JOIN unnest($2::int8[]) WITH ORDINALITY AS wanted (id, place)
             USING (id) WHERE account = $1 ORDER BY place";
        let values: [super::session::Value<'_>; 2] = [&int(account.0), &ints(emails)];
        self.many(sql, &values, |row| Ok(EmailId(Columns(row, 0).number()?)))
    }

    fn homes_of(
        &self,
        account: AccountId,
        emails: &[EmailId],
    ) -> Result<Vec<Vec<(MailboxId, MessageRow)>>> {
        let sql = "SELECT mailbox, uid, email, modseq, flags, keywords, received, saved, size_bytes
             FROM message WHERE email = ANY($2) AND account = $1 ORDER BY mailbox, uid";
        let rows = self.many(sql, &[&int(account.0), &ints(emails)], |row| {
            Ok((MailboxId(Columns(row, 0).small()?), message_row(row, 1)?))
        })?;
        let mut homes = HashMap::<EmailId, Vec<_>>::new();
        for row in rows {
            homes.entry(row.1.email).or_default().push(row);
        }
        Ok(emails.iter().map(|email| homes.get(email).cloned().unwrap_or_default()).collect())
    }

    fn thread(&self, account: AccountId, thread: ThreadId) -> Result<Vec<EmailId>> {
        let sql = "SELECT id FROM email WHERE account = $1 AND thread = $2 ORDER BY id";
        let values: [super::session::Value<'_>; 2] = [&int(account.0), &int(thread.0)];
        self.many(sql, &values, |row| Ok(EmailId(Columns(row, 0).number()?)))
    }

    fn thread_of(&self, account: AccountId, message_id_hash: u64) -> Result<Option<ThreadId>> {
        let sql = "SELECT thread FROM thread_of WHERE account = $1 AND message_id_hash = $2";
        let values: [super::session::Value<'_>; 2] = [&int(account.0), &int(message_id_hash)];
        self.one(sql, &values, |row| Ok(ThreadId(Columns(row, 0).number()?)))
    }

    fn notes_under(
        &self,
        account: AccountId,
        mailbox: Option<MailboxId>,
        prefix: &str,
    ) -> Result<Vec<NoteRow>> {
        let sql = "SELECT name, value FROM note WHERE account = $1 AND mailbox = $2 AND name >= $3
             AND starts_with(name, $3) ORDER BY name";
        let of = i64::from(mailbox.unwrap_or_default().0);
        self.many(sql, &[&int(account.0), &of, &prefix], |row| {
            Ok(NoteRow { mailbox, name: row.try_get(0)?, value: row.try_get(1)? })
        })
    }

    fn note(
        &self,
        account: AccountId,
        mailbox: Option<MailboxId>,
        name: &str,
    ) -> Result<Option<Vec<u8>>> {
        let sql = "SELECT value FROM note WHERE account = $1 AND mailbox = $2 AND name = $3";
        let of = i64::from(mailbox.unwrap_or_default().0);
        self.one(sql, &[&int(account.0), &of, &name], |row| Ok(row.try_get(0)?))
    }

    fn notes_named(&self, name: &str) -> Result<Vec<(AccountId, NoteRow)>> {
        let sql =
            "SELECT account, mailbox, value FROM note WHERE name = $1 ORDER BY account, mailbox";
        self.many(sql, &[&name], |row| {
            let mailbox = Some(MailboxId(Columns(row, 1).small()?)).filter(|m| m.0 > 0);
            let note = NoteRow { mailbox, name: name.to_owned(), value: row.try_get(2)? };
            Ok((AccountId(Columns(row, 0).number()?), note))
        })
    }

    fn changes(&self, account: AccountId, since: ModSeq, limit: usize) -> Result<Vec<ChangeRow>> {
        let sql = "SELECT modseq, kind, mailbox, uid, email FROM change
             WHERE account = $1 AND modseq > $2 ORDER BY modseq, mailbox, uid, kind LIMIT $3";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.many(sql, &[&int(account.0), &int(since.0), &limit], change_row)
    }
}

/// Every question of a reader goes to its connection.
macro_rules! forward {
    ($($name:ident($($arg:ident: $arg_type:ty),*) -> $result:ty;)*) => {
        impl Read for PostgresRead<'_> {
            $(fn $name(&self, $($arg: $arg_type),*) -> Result<$result> {
                Read::$name(self.session()?, $($arg),*)
            })*
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
    account_and_aliases(key: &str, aliases: &[&str]) -> (Option<AccountRow>, Vec<AliasRow>);
    mailboxes(account: AccountId) -> Vec<MailboxRow>;
    mailbox(account: AccountId, mailbox: MailboxId) -> Option<MailboxRow>;
    mailbox_by_name(account: AccountId, name: &str) -> Option<MailboxRow>;
    messages(account: AccountId, mailbox: MailboxId, uids: &UidSet) -> Vec<MessageRow>;
    homes(account: AccountId, email: EmailId) -> Vec<(MailboxId, MessageRow)>;
    email(email: EmailId) -> Option<EmailRow>;
    scan_emails(emails: &[EmailId], each: &mut dyn FnMut(EmailRef<'_>)) -> ();
    existing(account: AccountId, emails: &[EmailId]) -> Vec<EmailId>;
    homes_of(account: AccountId, emails: &[EmailId]) -> Vec<Vec<(MailboxId, MessageRow)>>;
    thread(account: AccountId, thread: ThreadId) -> Vec<EmailId>;
    thread_of(account: AccountId, message_id_hash: u64) -> Option<ThreadId>;
    notes_under(account: AccountId, mailbox: Option<MailboxId>, prefix: &str) -> Vec<NoteRow>;
    note(account: AccountId, mailbox: Option<MailboxId>, name: &str) -> Option<Vec<u8>>;
    notes_named(name: &str) -> Vec<(AccountId, NoteRow)>;
    changes(account: AccountId, since: ModSeq, limit: usize) -> Vec<ChangeRow>;
}
