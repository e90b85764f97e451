//! An index of our own, built from a log: nobody else sees it, and the log may be damaged or in use.

use super::scan::{Damage, Event, Flow, Found, Segment, State, log_bytes, scan, segment_path};
use super::{Progress, hold, words};
use crate::log::blob_hash;
use crate::{Error, Result};
use bytes::Bytes;
use db::{AccountRow, BlobRef, Index, MailboxRow, Op, Position, Txn};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use types::{AccountId, MailboxId, ModSeq};

/// Logs up to here are indexed in memory, larger ones in a temporary file (`TMPDIR` says where).
const MEMORY_BYTES: u64 = 256 << 20;
/// Frames that are committed together.
const BATCH_FRAMES: u64 = 20_000;

/// An index that goes away when dropped.
pub(crate) struct Private {
    pub(crate) index: Arc<dyn Index>,
    _folder: Option<tempfile::TempDir>,
}

impl Private {
    pub(crate) fn for_log(log: &Path) -> Result<Self> {
        if log_bytes(log)? <= MEMORY_BYTES {
            return Ok(Self { index: db::open("memory:")?, _folder: None });
        }
        let folder = tempfile::Builder::new().prefix("openpoczta-").tempdir();
        let folder = folder.map_err(|e| {
            let (path, reason) = (std::env::temp_dir(), e.to_string());
            Error::Io {
                what: "no temporary folder can be made (TMPDIR says where) in",
                path,
                reason,
            }
        })?;
        let index = db::open(&format!("sqlite:{}", folder.path().join("index").display()))?;
        Ok(Self { index, _folder: Some(folder) })
    }
}

/// Puts frames into an index, some thousands at a time.
pub(crate) struct Applier<'a> {
    index: &'a dyn Index,
    open: Option<Box<dyn Txn + 'a>>,
    last: Option<Position>,
    waiting: u64,
}

impl<'a> Applier<'a> {
    pub(crate) fn new(index: &'a dyn Index) -> Self {
        Self { index, open: None, last: None, waiting: 0 }
    }

    /// `Ok(Some)`: an op did not fit what came before it, and why.
    pub(crate) fn op(&mut self, op: &Op, blob: Option<BlobRef>) -> Result<Option<String>> {
        match db::apply(self.txn()?, op, blob) {
            Ok(()) => Ok(None),
            Err(db::Error::Corrupt(why)) => Ok(Some(why)),
            Err(error) => Err(error.into()),
        }
    }

    fn txn(&mut self) -> Result<&mut (dyn Txn + 'a)> {
        if self.open.is_none() {
            self.open = Some(self.index.begin()?);
        }
        self.open.as_deref_mut().ok_or(Error::Closed)
    }

    pub(crate) fn account(&mut self, id: AccountId) -> Result<Option<AccountRow>> {
        Ok(self.txn()?.account(id)?)
    }

    pub(crate) fn mailbox(
        &mut self,
        account: AccountId,
        id: MailboxId,
    ) -> Result<Option<MailboxRow>> {
        Ok(self.txn()?.mailbox(account, id)?)
    }

    /// Notes that `memory` has and this index has not.
    pub(crate) fn missing_notes(
        &mut self,
        memory: &dyn db::Read,
        account: AccountId,
    ) -> Result<Vec<Op>> {
        let mailboxes = memory.mailboxes(account).unwrap_or_default();
        let places = mailboxes.iter().map(|row| (Some(row.id), row.modseq));
        let mut ops = Vec::new();
        for (mailbox, modseq) in places.chain([(None, ModSeq(0))]) {
            for note in memory.notes(account, mailbox).unwrap_or_default() {
                if self.txn()?.note(account, mailbox, &note.name)?.is_none() {
                    let (name, value) = (note.name, Some(note.value));
                    ops.push(Op::NotePut { account, mailbox, modseq, name, value });
                }
            }
        }
        Ok(ops)
    }

    /// Aliases that `memory` has and this index has not.
    pub(crate) fn missing_aliases(&mut self, memory: &dyn db::Read) -> Result<Vec<Op>> {
        let mut ops = Vec::new();
        for row in memory.aliases().unwrap_or_default() {
            if self.txn()?.alias(&row.key)?.is_empty() {
                ops.push(Op::AliasPut { key: row.key, targets: row.targets });
            }
        }
        Ok(ops)
    }

    /// The ops of a frame are all in.
    pub(crate) fn end_frame(&mut self, after: Position) -> Result<()> {
        (self.last, self.waiting) = (Some(after), self.waiting + 1);
        if self.waiting >= BATCH_FRAMES { self.commit() } else { Ok(()) }
    }

    /// A whole frame; what does not fit is left out and named.
    pub(crate) fn frame(&mut self, found: &Found<'_>, misfits: &mut Vec<String>) -> Result<()> {
        for op in found.ops()? {
            if let Some(why) = self.op(&op, found.blob)? {
                misfits.push(format!("frame {}: {why}", found.frame.lsn));
            }
        }
        self.end_frame(found.after)
    }

    pub(crate) fn commit(&mut self) -> Result<()> {
        self.waiting = 0;
        match (self.open.take(), self.last) {
            (Some(txn), Some(last)) => Ok(txn.commit(last)?),
            _ => Ok(()),
        }
    }
}

/// A store to read from, whatever its state: the log of a data folder or a backup, and a private index.
pub(crate) struct Offline {
    private: Private,
    log: PathBuf,
    /// The segment read last: letters are asked for account by account, and lie together.
    last: Mutex<Option<Arc<Segment>>>,
    /// What could not be read, in words.
    pub(crate) problems: Vec<String>,
}

impl Offline {
    /// Reads the whole log.
    pub(crate) fn open(data: &Path, progress: Progress<'_>) -> Result<Self> {
        let held = hold(data)?;
        let log = data.join("log");
        let private = Private::for_log(&log)?;
        let mut applier = Applier::new(&*private.index);
        let (mut problems, mut misfits) = (Vec::new(), Vec::new());
        scan(&log, 0, progress, &mut |event| {
            match event {
                Event::Frame(found) => applier.frame(&found, &mut misfits)?,
                Event::Damage(Damage { state: Some(State::LetterDamaged), .. })
                | Event::Torn { .. } => {}
                other => problems.extend(words::event(&other).map(|(_, what)| what)),
            }
            Ok(Flow::On)
        })?;
        applier.commit()?;
        drop(applier);
        problems.extend(misfits);
        drop(held);
        Ok(Self { private, log, last: Mutex::default(), problems })
    }

    pub(crate) fn read(&self) -> Result<Box<dyn db::Read + '_>> {
        Ok(self.private.index.read()?)
    }

    /// The bytes of a letter, checked against their hash.
    pub(crate) fn letter(&self, blob: BlobRef) -> Result<Bytes> {
        let segment = self.segment(blob.location.segment)?;
        let mut bytes = vec![0; usize::try_from(blob.size_bytes).unwrap_or(0)];
        let whole = segment.read(&mut bytes, blob.location.offset)?;
        if !whole || blob_hash(&bytes) != blob.hash {
            let (path, at) = (segment.path.display(), blob.location.offset);
            return Err(Error::Corrupt(format!("a letter at byte {at} of {path}")));
        }
        Ok(bytes.into())
    }

    fn segment(&self, id: u64) -> Result<Arc<Segment>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(segment) = last.as_ref().filter(|segment| segment.id == id) {
            return Ok(segment.clone());
        }
        let segment = Segment::find(&self.log, id)?.map(Arc::new);
        let segment = segment.ok_or_else(|| {
            Error::Corrupt(format!("the header of {}", segment_path(&self.log, id).display()))
        })?;
        *last = Some(segment.clone());
        Ok(segment)
    }

    /// One account by its key, or all.
    pub(crate) fn accounts(&self, only: Option<&str>) -> Result<Vec<AccountRow>> {
        let read = self.read()?;
        match only {
            None => Ok(read.accounts()?),
            Some(key) => Ok(vec![read.account_by_key(key)?.ok_or(Error::NoAccount)?]),
        }
    }
}
