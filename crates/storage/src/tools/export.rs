//! `export`: the mail of accounts as Maildir++ or mbox. Reads the log, so a server may run and the index may be
//! broken. An account is written under another name first and renamed when it is complete.

use super::offline::Offline;
use super::scan::io_error;
use super::{Doing, Progress, maildir, mbox, words};
use crate::{Error, Result};
use bytes::Bytes;
use db::{AccountRow, MailboxRow, MessageRow, Read};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use types::{SpecialUse, UidSet};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Maildir,
    Mbox,
}

/// What was written.
#[derive(Debug, Clone, Default)]
pub struct Exported {
    /// Account, folder, letters.
    pub accounts: Vec<(String, PathBuf, u64)>,
    /// What could not be written or read, a sentence each.
    pub skipped: Vec<String>,
}

/// Writes accounts to `target/ACCOUNT`. `only` are account keys; none: all.
pub fn export(
    data: &Path,
    target: &Path,
    form: Form,
    only: &[String],
    progress: Progress<'_>,
) -> Result<Exported> {
    let offline = Offline::open(data, progress)?;
    let mut accounts = Vec::new();
    for key in only {
        accounts.extend(offline.accounts(Some(key))?);
    }
    if only.is_empty() {
        accounts = offline.accounts(None)?;
    }
    crate::folder::make_private(target).map_err(|e| io_error("could not make", target, &e))?;
    let mut exported = Exported { accounts: Vec::new(), skipped: offline.problems.clone() };
    let mut work = Work {
        offline: &offline,
        form,
        progress,
        done: 0,
        total: 0,
        written: 0,
        skipped: Vec::new(),
    };
    for account in &accounts {
        let mailboxes = offline.read()?.mailboxes(account.id)?;
        work.total += mailboxes.iter().map(|m| m.total).sum::<u64>();
    }
    for account in &accounts {
        let folder = target.join(&account.key);
        if folder.exists() {
            let folder = folder.display();
            work.skipped.push(format!(
                "{}: {folder} is there already; move it away or give another folder",
                account.key
            ));
            continue;
        }
        let letters = work.account(account, &folder)?;
        exported.accounts.push((account.key.clone(), folder, letters));
    }
    exported.skipped.append(&mut work.skipped);
    Ok(exported)
}

struct Work<'a> {
    offline: &'a Offline,
    form: Form,
    progress: Progress<'a>,
    done: u64,
    total: u64,
    written: u64,
    skipped: Vec<String>,
}

impl Work<'_> {
    fn account(&mut self, account: &AccountRow, folder: &Path) -> Result<u64> {
        let partial = folder.with_file_name(format!("{}.partial", account.key));
        if partial.exists() {
            fs::remove_dir_all(&partial).map_err(|e| {
                io_error("could not remove what an earlier export left in", &partial, &e)
            })?;
        }
        let before = self.written;
        let read = self.offline.read()?;
        let mut mailboxes = read.mailboxes(account.id)?;
        mailboxes.sort_by_key(|row| row.special_use != Some(SpecialUse::Inbox));
        for mailbox in &mailboxes {
            let rows = read.messages(account.id, mailbox.id, &UidSet::all())?;
            match self.form {
                Form::Maildir => self.maildir(&*read, account, mailbox, &rows, &partial)?,
                Form::Mbox => self.mbox(&*read, account, mailbox, &rows, &partial)?,
            }
        }
        if self.form == Form::Maildir {
            let mut names = String::new();
            for row in mailboxes.iter().filter(|row| row.subscribed) {
                let _ = writeln!(names, "{}", subscription(&row.name));
            }
            write_file(&partial.join("subscriptions"), names.as_bytes())?;
        }
        // One for all: a sync for each file would take a hundred times as long.
        let synced = File::open(&partial).and_then(|file| Ok(rustix::fs::syncfs(&file)?));
        synced.map_err(|e| io_error("could not sync", &partial, &e))?;
        fs::rename(&partial, folder).map_err(|e| io_error("could not rename", &partial, &e))?;
        sync_folder(folder.parent().unwrap_or(folder))?;
        Ok(self.written - before)
    }

    /// The bytes of a message, or a line in the list of those that could not be read.
    fn letter(
        &mut self,
        read: &dyn Read,
        account: &AccountRow,
        mailbox: &MailboxRow,
        row: &MessageRow,
    ) -> Option<Bytes> {
        (self.progress)(Doing::Writing, self.done, self.total);
        self.done += 1;
        let email = read.email(row.email).map_err(Error::from);
        let bytes =
            email.and_then(|email| self.offline.letter(email.ok_or(Error::NoMessage)?.blob));
        match bytes {
            Ok(bytes) => {
                self.written += 1;
                Some(bytes)
            }
            Err(error) => {
                let name = words::message(&account.key, mailbox, row.uid);
                let letter = words::email(read, row.email);
                self.skipped.push(format!("{name} ({letter}): {error}"));
                None
            }
        }
    }

    fn maildir(
        &mut self,
        read: &dyn Read,
        account: &AccountRow,
        mailbox: &MailboxRow,
        rows: &[MessageRow],
        root: &Path,
    ) -> Result<()> {
        let (name, whole_name) = maildir::folder(&mailbox.name);
        let folder = root.join(&name);
        for sub in ["cur", "new", "tmp"] {
            let made = crate::folder::make_private(&folder.join(sub));
            made.map_err(|e| io_error("could not make", &folder, &e))?;
        }
        if !name.as_os_str().is_empty() {
            write_file(&folder.join("maildirfolder"), b"")?;
        }
        if let Some(name) = whole_name {
            write_file(&folder.join(maildir::NAME), name.as_bytes())?;
        }
        let known = maildir::keywords(rows);
        let mut more = String::new();
        for row in rows {
            let Some(bytes) = self.letter(read, account, mailbox, row) else { continue };
            let base = maildir::base(mailbox, row);
            let (info, rest) = maildir::info(&row.flags, &known);
            if !rest.is_empty() {
                let rest: Vec<&str> = rest.iter().map(types::Keyword::as_str).collect();
                let _ = writeln!(more, "{base}\t{}", rest.join(" "));
            }
            let path = folder.join("cur").join(format!("{base}{info}"));
            let file = write_file(&path, &bytes)?;
            let dated = file.set_modified(system_time(row.received_unix_s));
            dated.map_err(|e| io_error("could not set the date of", &path, &e))?;
        }
        if !known.is_empty() {
            write_file(&folder.join(maildir::KEYWORDS), maildir::keyword_file(&known).as_bytes())?;
        }
        if !more.is_empty() {
            write_file(&folder.join(maildir::MORE_KEYWORDS), more.as_bytes())?;
        }
        let uids = maildir::uid_list(mailbox, rows);
        write_file(&folder.join("dovecot-uidlist"), uids.as_bytes()).map(drop)
    }

    fn mbox(
        &mut self,
        read: &dyn Read,
        account: &AccountRow,
        mailbox: &MailboxRow,
        rows: &[MessageRow],
        root: &Path,
    ) -> Result<()> {
        let path = root.join(format!("{}.mbox", mailbox.name));
        let folder = path.parent().unwrap_or(root);
        crate::folder::make_private(folder).map_err(|e| io_error("could not make", folder, &e))?;
        let failed = |e: std::io::Error| io_error("could not write", &path, &e);
        let mut out = BufWriter::with_capacity(1 << 20, File::create_new(&path).map_err(failed)?);
        for row in rows {
            let Some(bytes) = self.letter(read, account, mailbox, row) else { continue };
            let email = read.email(row.email)?;
            let index = email.and_then(|email| mparser::Index::decode(&email.index).ok());
            let from = index.and_then(|index| index.from_().into_iter().next());
            let sender = from.map(|from| from.address).unwrap_or_default();
            mbox::write(&mut out, &bytes, row, &sender).map_err(failed)?;
        }
        out.flush().map_err(failed)
    }
}

/// As Dovecot's and Courier's list has it.
fn subscription(name: &str) -> String {
    match maildir::folder(name).0.to_str() {
        Some("") | None => "INBOX".to_owned(),
        Some(folder) => folder.trim_start_matches('.').to_owned(),
    }
}

fn system_time(unix_s: i64) -> std::time::SystemTime {
    let seconds = Duration::from_secs(unix_s.unsigned_abs());
    let time =
        if unix_s < 0 { UNIX_EPOCH.checked_sub(seconds) } else { UNIX_EPOCH.checked_add(seconds) };
    time.unwrap_or(UNIX_EPOCH)
}

/// A new file with these bytes.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<File> {
    let made = File::create_new(path).and_then(|mut file| {
        file.write_all(bytes)?;
        Ok(file)
    });
    made.map_err(|e| io_error("could not write", path, &e))
}

pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    let synced = File::open(folder).and_then(|file| file.sync_all());
    synced.map_err(|e| io_error("could not sync", folder, &e))
}
