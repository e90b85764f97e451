//! The tables, and how older ones become today's.

use super::session::{Place, Session};
use crate::{Error, Result};

/// The oldest PostgreSQL that is taken: what came before 13 is out of support, and untested.
const OLDEST_SERVER: i32 = 130_000;
/// Two nodes that start at the same moment take turns here. The number only has to be ours.
const MIGRATION_LOCK: &str = "SELECT pg_advisory_xact_lock(8017154412006711)";

/// Version 1 is made by the first, 2 from 1 by the second, and so on. What stands here never changes.
pub(super) const MIGRATIONS: &[&str] = &["
CREATE TABLE position (
    one SMALLINT PRIMARY KEY CHECK (one = 1),
    lsn BIGINT NOT NULL, segment BIGINT NOT NULL, end_byte BIGINT NOT NULL,
    last_account BIGINT NOT NULL, last_email BIGINT NOT NULL);
-- Rows that every delivery changes; room in the page keeps the change there.
CREATE TABLE account (
    id BIGINT PRIMARY KEY, key TEXT COLLATE \"C\" NOT NULL UNIQUE, secret TEXT NOT NULL,
    modseq BIGINT NOT NULL, last_mailbox BIGINT NOT NULL, last_uid_validity BIGINT NOT NULL)
    WITH (fillfactor = 50);
CREATE TABLE mailbox (
    account BIGINT NOT NULL, id BIGINT NOT NULL, name TEXT COLLATE \"C\" NOT NULL,
    special_use TEXT NOT NULL, subscribed BOOLEAN NOT NULL, uid_validity BIGINT NOT NULL,
    uid_next BIGINT NOT NULL, modseq BIGINT NOT NULL, created BIGINT NOT NULL, total BIGINT NOT NULL,
    unseen BIGINT NOT NULL, deleted BIGINT NOT NULL, size_bytes BIGINT NOT NULL,
    PRIMARY KEY (account, id)) WITH (fillfactor = 50);
CREATE INDEX mailbox_name ON mailbox (account, name);
CREATE TABLE message (
    account BIGINT NOT NULL, mailbox BIGINT NOT NULL, uid BIGINT NOT NULL, email BIGINT NOT NULL,
    modseq BIGINT NOT NULL, flags SMALLINT NOT NULL, keywords TEXT, received BIGINT NOT NULL,
    saved BIGINT NOT NULL, size_bytes BIGINT NOT NULL,
    PRIMARY KEY (account, mailbox, uid)) WITH (fillfactor = 90);
CREATE INDEX message_email ON message (email);
CREATE TABLE email (
    id BIGINT PRIMARY KEY, account BIGINT NOT NULL, thread BIGINT NOT NULL, received BIGINT NOT NULL,
    segment BIGINT NOT NULL, start_byte BIGINT NOT NULL, size_bytes BIGINT NOT NULL,
    hash BYTEA NOT NULL, part_table BYTEA NOT NULL);
CREATE INDEX email_thread ON email (account, thread);
CREATE TABLE thread_of (
    account BIGINT NOT NULL, message_id_hash BIGINT NOT NULL, thread BIGINT NOT NULL,
    PRIMARY KEY (account, message_id_hash));
CREATE TABLE change (
    account BIGINT NOT NULL, modseq BIGINT NOT NULL, mailbox BIGINT NOT NULL, uid BIGINT NOT NULL,
    kind SMALLINT NOT NULL, email BIGINT NOT NULL,
    PRIMARY KEY (account, modseq, mailbox, uid, kind));
", "
-- EXTERNAL: not compressed, so that a part of a letter is read without the rest. A letter nobody refers to any
-- more stays a while for those who are reading it.
CREATE TABLE letter (
    id BIGINT PRIMARY KEY, emails BIGINT NOT NULL, gone_at TIMESTAMPTZ, bytes BYTEA NOT NULL);
ALTER TABLE letter ALTER COLUMN bytes SET STORAGE EXTERNAL;
CREATE INDEX letter_gone ON letter (gone_at) WHERE gone_at IS NOT NULL;
-- Servers take numbers by the handful; what one does not use is never given.
CREATE SEQUENCE account_id;
CREATE SEQUENCE email_id INCREMENT BY 32;
SELECT setval('account_id', (SELECT coalesce(max(id), 0) + 1 FROM account), false),
    setval('email_id', (SELECT coalesce(max(id), 0) + 1 FROM email), false);
", "
ALTER TABLE account ADD COLUMN limit_bytes BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN limit_messages BIGINT NOT NULL DEFAULT 0, ADD COLUMN used_bytes BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN used_messages BIGINT NOT NULL DEFAULT 0, ADD COLUMN changes_floor BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN new_changes BIGINT NOT NULL DEFAULT 0;
UPDATE account SET used_bytes = held.size_bytes, used_messages = held.total
    FROM (SELECT account, sum(size_bytes)::bigint AS size_bytes, sum(total)::bigint AS total
        FROM mailbox GROUP BY account) AS held WHERE held.account = account.id;
CREATE INDEX thread_of_thread ON thread_of (thread);
DELETE FROM thread_of WHERE NOT EXISTS (SELECT FROM email
    WHERE email.account = thread_of.account AND email.thread = thread_of.thread);
", "
-- Every transaction leaves its mark, so that one whose answer was lost can be looked for. Numbers of transactions do
-- not serve: after a crash PostgreSQL gives those again that had not reached the disk.
CREATE TABLE done (mark BIGINT PRIMARY KEY, at TIMESTAMPTZ NOT NULL DEFAULT now());
", "
-- Mailbox 0: about the account.
CREATE TABLE note (
    account BIGINT NOT NULL, mailbox BIGINT NOT NULL, name TEXT COLLATE \"C\" NOT NULL,
    value BYTEA NOT NULL, PRIMARY KEY (account, mailbox, name));
CREATE INDEX note_name ON note (name);
", "
-- A target each, in their order.
CREATE TABLE alias (
    key TEXT COLLATE \"C\" NOT NULL, place BIGINT NOT NULL, target TEXT NOT NULL, PRIMARY KEY (key, place));
"];

/// Refuses a server that would lose letters or change names.
pub(super) fn check_server(session: &Session, place: &Place) -> Result<()> {
    let sql =
        "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),
         current_setting('fsync')";
    let row = session.row(sql, &[])?.ok_or_else(|| Error::Engine("no settings".to_owned()))?;
    let (version, encoding, fsync): (i32, String, String) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let why = if version < OLDEST_SERVER {
        format!("PostgreSQL {} is too old; 13 or newer is needed", version / 10_000)
    } else if encoding != "UTF8" {
        format!("its encoding is {encoding}; make the database with ENCODING 'UTF8'")
    } else if fsync != "on" {
        "it runs with fsync = off and would lose letters at a power cut; switch it on".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::Refused { place: place.shown().to_owned(), why })
}

/// Brings the tables to the last version of `migrations`, in one transaction; refuses newer ones untouched.
pub(super) fn migrate(session: &Session, migrations: &[&str]) -> Result<()> {
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    let found = version(session)?;
    if found > known {
        return Err(Error::Newer { found, known });
    }
    if found == known {
        return Ok(());
    }
    session.batch(&format!("BEGIN; {MIGRATION_LOCK}"))?;
    let done = upgrade(session, migrations);
    session.batch(if done.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    done
}

fn upgrade(session: &Session, migrations: &[&str]) -> Result<()> {
    // Another node may have done it while this one waited for the lock.
    let found = version(session)?;
    if found == 0 {
        session.batch(
            "CREATE TABLE IF NOT EXISTS openpoczta (version INTEGER NOT NULL);
             INSERT INTO openpoczta SELECT 0 WHERE NOT EXISTS (SELECT FROM openpoczta)",
        )?;
    }
    for (sql, version) in migrations.iter().zip(1_u32..).filter(|(_, version)| *version > found) {
        session.batch(&format!("{sql}; UPDATE openpoczta SET version = {version}"))?;
    }
    Ok(())
}

/// 0 in an empty database.
fn version(session: &Session) -> Result<u32> {
    let there = session.row("SELECT to_regclass('openpoczta') IS NOT NULL", &[])?;
    if !there.is_some_and(|row| row.try_get(0).unwrap_or(false)) {
        return Ok(0);
    }
    let row = session.row("SELECT version FROM openpoczta", &[])?;
    let version = row.map_or(Ok(0), |row| row.try_get::<_, i32>(0))?;
    Ok(u32::try_from(version).unwrap_or(u32::MAX))
}
