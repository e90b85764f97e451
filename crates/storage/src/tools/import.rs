//! `import`: letters of a Maildir or of mbox files into an open store. Like APPEND: no filter, no trace fields.
//!
//! Running it twice brings no doubles: a letter is passed over when its mailbox already has the same bytes
//! with the same date, as often as the source has them. So what was interrupted is begun again by the same command.

use super::export::Form;
use super::scan::io_error;
use super::{Doing, Progress, maildir, mbox, words};
use crate::log::blob_hash;
use crate::ops::canonical_name;
use crate::{Arrived, Error, Letter, Result, Store};
use memchr::memmem;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::{self, File};
use std::future::{Future, poll_fn};
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::Poll;
use std::time::UNIX_EPOCH;
use types::{AccountId, Flags, Keyword, MailboxId};

/// Letters that wait for one sync of the disk together.
const IN_FLIGHT: usize = 256;
/// Bytes of letters that wait.
const IN_FLIGHT_BYTES: usize = 64 << 20;
/// Folders in folders; a loop of links is never followed, this is for odd trees.
const DEPTH: usize = 32;
/// Rows of a mailbox looked at together.
const ROWS: usize = 1000;

/// Where letters come from.
#[derive(Debug, Clone)]
pub struct ImportFrom {
    pub form: Form,
    /// A Maildir, an mbox file, or a folder of mbox files.
    pub path: PathBuf,
    /// The mailbox that all of it goes below; without it names are taken as they are.
    pub into: Option<String>,
    /// Leave line ends as they are, also where a letter has LF alone.
    pub keep_line_ends: bool,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Imported {
    pub letters: u64,
    /// Were there already.
    pub known: u64,
    /// Mailboxes that were made.
    pub made: Vec<String>,
    /// What could not be read or stored, a sentence each.
    pub skipped: Vec<String>,
    /// Why it ended early; the same command goes on where it stopped.
    pub stopped: Option<Error>,
}

/// Takes letters in until all are in or the store refuses to go on.
pub async fn import(
    store: &Store,
    account: AccountId,
    from: &ImportFrom,
    progress: Progress<'_>,
) -> Result<Imported> {
    let sources = match from.form {
        Form::Maildir => maildirs(&from.path)?,
        Form::Mbox => mboxes(&from.path)?,
    };
    let total = sources.iter().map(|(_, path)| count(path, from.form)).sum();
    let mut work = Work {
        store,
        account,
        from,
        progress,
        total,
        seen: 0,
        waiting: VecDeque::new(),
        waiting_bytes: 0,
        imported: Imported::default(),
    };
    for (name, path) in sources {
        if let Err(error) = work.source(&name, &path).await {
            work.imported.stopped = Some(error);
            break;
        }
    }
    if let Err(error) = work.drain(0, 0).await {
        work.imported.stopped.get_or_insert(error);
    }
    Ok(work.imported)
}

type Appending<'a> = Pin<Box<dyn Future<Output = Result<Arrived>> + Send + 'a>>;

struct Work<'a> {
    store: &'a Store,
    account: AccountId,
    from: &'a ImportFrom,
    progress: Progress<'a>,
    total: u64,
    seen: u64,
    /// Letters handed to the store, in order: what they are, their size, their outcome.
    waiting: VecDeque<(String, usize, Appending<'a>)>,
    waiting_bytes: usize,
    imported: Imported,
}

/// How often a mailbox has a letter already, by the hash of its bytes and its date.
type Known = HashMap<([u8; 16], i64), u32>;

/// One letter of a source.
struct Item {
    what: String,
    bytes: Vec<u8>,
    flags: Flags,
    received_unix_s: Option<i64>,
    /// The bytes are exactly those of the letter.
    exact: bool,
}

impl Work<'_> {
    async fn source(&mut self, name: &str, path: &Path) -> Result<()> {
        let (mailbox, mut known) = match self.mailbox(name).await {
            Ok(mailbox) => (mailbox, self.known(mailbox).await?),
            Err(error @ (Error::MailboxName(_) | Error::MailboxFixed(_))) => {
                let path = path.display();
                self.imported
                    .skipped
                    .push(format!("{path}: no mailbox {:?}: {error}", words::printable(name)));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        match self.from.form {
            Form::Maildir => self.maildir(mailbox, &mut known, path).await,
            Form::Mbox => self.mbox(mailbox, &mut known, path).await,
        }
    }

    /// The mailbox of that name, made when it is not there.
    async fn mailbox(&mut self, name: &str) -> Result<MailboxId> {
        let single = self.from.form == Form::Mbox && self.from.path.is_file();
        let name = match &self.from.into {
            None => name.to_owned(),
            Some(into) if name == "INBOX" || single => into.clone(),
            Some(into) => format!("{}/{name}", into.trim_end_matches('/')),
        };
        let name = canonical_name(&name)?;
        match self.store.mailbox_by_name(self.account, &name).await {
            Ok(row) => Ok(row.id),
            Err(Error::NoMailbox) => {
                let row = self.store.create_mailbox(self.account, &name, None).await?;
                self.imported.made.push(name);
                Ok(row.id)
            }
            Err(error) => Err(error),
        }
    }

    /// What the mailbox holds.
    async fn known(&self, mailbox: MailboxId) -> Result<Known> {
        let rows = self.store.snapshot(self.account, mailbox).await?.messages;
        let mut known = Known::new();
        for rows in rows.chunks(ROWS) {
            let ids: Vec<_> = rows.iter().map(|row| row.email).collect();
            let emails = self.store.emails(self.account, &ids).await?;
            let by_id: HashMap<_, _> = emails.iter().map(|e| (e.id, e.blob.hash)).collect();
            for row in rows {
                if let Some(hash) = by_id.get(&row.email) {
                    *known.entry((*hash, row.received_unix_s)).or_default() += 1;
                }
            }
        }
        Ok(known)
    }

    async fn maildir(
        &mut self,
        mailbox: MailboxId,
        known: &mut Known,
        folder: &Path,
    ) -> Result<()> {
        let keywords = maildir::read_keywords(folder);
        let more = maildir::read_more_keywords(folder);
        for (file, path) in maildir_files(folder, &mut self.imported.skipped) {
            let what = path.display().to_string();
            let mut flags = Flags::default();
            if path.parent().is_some_and(|parent| parent.ends_with("cur")) {
                flags = maildir::flags(&file, &keywords);
            }
            let base = maildir::without_info(&file);
            let rest: &[Keyword] = more.get(base).map_or(&[], Vec::as_slice);
            for keyword in rest {
                flags.insert_keyword(keyword.clone());
            }
            let exact = base.contains(&format!(".{},", maildir::HOST));
            match read_file(&path) {
                Ok((bytes, received_unix_s)) => {
                    let item = Item { what, bytes, flags, received_unix_s, exact };
                    self.item(mailbox, known, item).await?;
                }
                Err(error) => {
                    self.seen += 1;
                    self.imported.skipped.push(format!("{what}: {error}"));
                }
            }
        }
        Ok(())
    }

    async fn mbox(&mut self, mailbox: MailboxId, known: &mut Known, path: &Path) -> Result<()> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) => {
                self.imported.skipped.push(format!("{}: {error}", path.display()));
                return Ok(());
            }
        };
        let dated = file.metadata().ok().and_then(|m| modified(&m));
        let mut reader = mbox::Reader::new(BufReader::with_capacity(1 << 20, file));
        loop {
            match reader.next() {
                Ok(Some(read)) => {
                    let item = Item {
                        what: format!("{}, the letter at byte {}", path.display(), read.offset),
                        bytes: read.bytes,
                        flags: read.flags,
                        received_unix_s: read.received_unix_s.or(dated),
                        exact: read.ours,
                    };
                    self.item(mailbox, known, item).await?;
                }
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.imported.skipped.push(format!("{}: {error}", path.display()));
                    // Past a letter that is too large the next one is good.
                    if error.kind() != ErrorKind::InvalidData {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Hands one letter to the store, unless it is there.
    async fn item(&mut self, mailbox: MailboxId, known: &mut Known, item: Item) -> Result<()> {
        self.seen += 1;
        (self.progress)(Doing::Importing, self.seen, self.total.max(self.seen));
        let bare = !item.exact && !self.from.keep_line_ends && only_lf(&item.bytes);
        let bytes = if bare { mbox::to_crlf(&item.bytes) } else { item.bytes };
        let hash = blob_hash(&bytes);
        let letter = Letter::parse(bytes.into());
        let received = item.received_unix_s.or_else(|| Some(letter.index.date()?.to_unix_s()));
        let received = received.unwrap_or(0);
        if let Some(count) = known.get_mut(&(hash, received)).filter(|count| **count > 0) {
            *count -= 1;
            self.imported.known += 1;
            return Ok(());
        }
        let size = letter.bytes.len();
        let (store, account) = (self.store, self.account);
        let append = store.append(account, mailbox, letter, item.flags, Some(received));
        let mut append: Appending<'_> = Box::pin(append);
        // The first poll puts it into the writer's queue: letters get their UIDs in the order of the source.
        match poll_fn(|context| Poll::Ready(append.as_mut().poll(context))).await {
            Poll::Ready(outcome) => self.outcome(&item.what, outcome),
            Poll::Pending => {
                self.waiting.push_back((item.what, size, append));
                self.waiting_bytes += size;
                self.drain(IN_FLIGHT, IN_FLIGHT_BYTES).await
            }
        }
    }

    /// Waits for the oldest letters until no more than so many, and so many bytes, are on their way.
    async fn drain(&mut self, letters: usize, bytes: usize) -> Result<()> {
        let mut first = Ok(());
        while self.waiting.len() > letters || self.waiting_bytes > bytes {
            let Some((what, size, append)) = self.waiting.pop_front() else { break };
            self.waiting_bytes -= size;
            let outcome = append.await;
            first = first.and(self.outcome(&what, outcome));
        }
        first
    }

    /// One bad letter is listed; a store that refuses all ends the import.
    fn outcome(&mut self, what: &str, outcome: Result<Arrived>) -> Result<()> {
        match outcome {
            Ok(_) => self.imported.letters += 1,
            Err(error @ (Error::NoMailbox | Error::UidsExhausted)) => {
                self.imported.skipped.push(format!("{what}: {error}"));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Lines end with LF alone: the form of files, not of mail.
fn only_lf(bytes: &[u8]) -> bool {
    memmem::find(bytes, b"\r\n").is_none() && memchr::memchr(b'\n', bytes).is_some()
}

fn modified(metadata: &fs::Metadata) -> Option<i64> {
    let time = metadata.modified().ok()?;
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).ok(),
        // Before 1970: the second it lies in.
        Err(before) => {
            let before = before.duration();
            let seconds = before.as_secs() + u64::from(before.subsec_nanos() > 0);
            i64::try_from(seconds).ok().map(|seconds| -seconds)
        }
    }
}

fn read_file(path: &Path) -> std::io::Result<(Vec<u8>, Option<i64>)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(std::io::Error::new(ErrorKind::InvalidData, "this is no file"));
    }
    if metadata.len() > mbox::LETTER_BYTES as u64 {
        let what = format!("it is larger than {} bytes", mbox::LETTER_BYTES);
        return Err(std::io::Error::new(ErrorKind::InvalidData, what));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    file.take(mbox::LETTER_BYTES as u64).read_to_end(&mut bytes)?;
    Ok((bytes, modified(&metadata)))
}

/// The letters of one Maildir folder, oldest first: by UID where a list of them is there, else by name.
fn maildir_files(folder: &Path, skipped: &mut Vec<String>) -> Vec<(String, PathBuf)> {
    let uids = uid_list(folder);
    let mut files = Vec::new();
    for sub in ["cur", "new"] {
        let entries = match fs::read_dir(folder.join(sub)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                skipped.push(format!("{}: {error}", folder.join(sub).display()));
                continue;
            }
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                files.push((name, entry.path()));
            }
        }
    }
    let number = |name: &str| -> u64 {
        let digits = name.find(|c: char| !c.is_ascii_digit()).unwrap_or(name.len());
        name.get(..digits).and_then(|text| text.parse().ok()).unwrap_or(u64::MAX)
    };
    files.sort_by_cached_key(|(name, _)| {
        let uid = uids.get(maildir::without_info(name)).copied().unwrap_or(u32::MAX);
        (uid, number(name), name.clone())
    });
    files
}

fn uid_list(folder: &Path) -> BTreeMap<String, u32> {
    let text = fs::read_to_string(folder.join("dovecot-uidlist")).unwrap_or_default();
    let pairs = text.lines().skip(1).filter_map(|line| {
        let (head, file) = line.split_once(" :")?;
        let uid = head.split(' ').next()?.parse().ok()?;
        Some((maildir::without_info(file).to_owned(), uid))
    });
    pairs.collect()
}

/// Folders that are Maildirs, with the mailbox each stands for: Maildir++ (`.A.B`) and folders in folders.
fn maildirs(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let is_maildir = |path: &Path| path.join("cur").is_dir() || path.join("new").is_dir();
    let mut found = Vec::new();
    if is_maildir(root) {
        found.push(("INBOX".to_owned(), root.to_owned()));
    }
    let mut open = vec![(String::new(), root.to_owned(), 0)];
    while let Some((above, folder, depth)) = open.pop() {
        let entries = fs::read_dir(&folder).map_err(|e| io_error("could not list", &folder, &e))?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if !is_folder || ["cur", "new", "tmp"].contains(&&*name) || depth >= DEPTH {
                continue;
            }
            let here = match name.strip_prefix('.') {
                Some(_) => maildir::mailbox(&name),
                None => maildir::level(&name),
            };
            let slash = if above.is_empty() { "" } else { "/" };
            let mut mailbox = format!("{above}{slash}{here}");
            if let Ok(whole) = fs::read_to_string(entry.path().join(maildir::NAME)) {
                mailbox = whole;
            }
            if is_maildir(&entry.path()) {
                found.push((mailbox.clone(), entry.path()));
            }
            open.push((mailbox, entry.path(), depth + 1));
        }
    }
    found.sort_by_key(|(name, _)| (name != "INBOX", name.clone()));
    if found.is_empty() { Err(nothing(root, "it has no folder `cur` or `new`")) } else { Ok(found) }
}

fn nothing(path: &Path, reason: &str) -> Error {
    Error::Io {
        what: "there is no mail to import in",
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

/// mbox files with the mailbox each stands for.
fn mboxes(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let metadata = fs::metadata(root).map_err(|e| io_error("could not open", root, &e))?;
    if metadata.is_file() {
        let stem = root.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = if stem.eq_ignore_ascii_case("mbox") { "INBOX".to_owned() } else { stem };
        return Ok(vec![(name, root.to_owned())]);
    }
    let mut found = Vec::new();
    let mut open = vec![(String::new(), root.to_owned(), 0)];
    while let Some((above, folder, depth)) = open.pop() {
        let entries = fs::read_dir(&folder).map_err(|e| io_error("could not list", &folder, &e))?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let slash = if above.is_empty() { "" } else { "/" };
            match entry.file_type() {
                // Thunderbird keeps what is below `Work` in `Work.sbd`.
                Ok(kind) if kind.is_dir() && depth < DEPTH => {
                    let name = name.strip_suffix(".sbd").unwrap_or(&name);
                    open.push((format!("{above}{slash}{name}"), entry.path(), depth + 1));
                }
                Ok(kind) if kind.is_file() && is_mbox(&entry.path()) => {
                    let name = name.strip_suffix(".mbox").unwrap_or(&name);
                    found.push((format!("{above}{slash}{name}"), entry.path()));
                }
                _ => {}
            }
        }
    }
    found.sort();
    if found.is_empty() { Err(nothing(root, "no file begins with \"From \"")) } else { Ok(found) }
}

/// It begins as one, or is empty and named so.
fn is_mbox(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(5).read_to_end(&mut start));
    let named = path.extension().is_some_and(|extension| extension == "mbox");
    read.is_ok() && (start == b"From " || start.is_empty() && named)
}

/// About how many letters there are, for the progress bar.
fn count(path: &Path, form: Form) -> u64 {
    if form == Form::Maildir {
        let files = |sub| fs::read_dir(path.join(sub)).map_or(0, Iterator::count);
        return (files("cur") + files("new")) as u64;
    }
    let Ok(mut file) = File::open(path) else { return 0 };
    // The file's first line has no line end before it.
    let (mut window, mut keep, mut count) = (vec![0; 1 << 20], 1, 0);
    if let Some(first) = window.first_mut() {
        *first = b'\n';
    }
    while let Ok(read) = file.read(window.get_mut(keep..).unwrap_or_default()) {
        if read == 0 {
            break;
        }
        let end = keep + read;
        let (start, needle) = (end.saturating_sub(5), b"\nFrom ");
        count += memmem::find_iter(window.get(..end).unwrap_or_default(), needle).count() as u64;
        window.copy_within(start..end, 0);
        keep = end - start;
    }
    count
}
