//! Reading: rows from a snapshot of the index, bytes from the segments through the cache.

use crate::letter::Email;
use crate::log::{Segments, blob_hash};
use crate::{Error, Result};
use bytes::Bytes;
use db::{BlobRef, ChangeRow, EmailRow, Index, Location, MailboxRow, MessageRow};
use ocache::{Key, Kind, Object, ObjectCache};
use std::ops::Range;
use std::sync::Arc;
use types::{AccountId, EmailId, ModSeq};

/// A mailbox and its messages at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub mailbox: MailboxRow,
    /// Ascending by UID.
    pub messages: Vec<MessageRow>,
}

/// What happened in an account after a MODSEQ.
#[derive(Debug, Clone)]
pub struct Changes {
    /// Ascending.
    pub changes: Vec<ChangeRow>,
    /// The state after the last of them.
    pub state: ModSeq,
    /// More follow after `state`.
    pub more: bool,
}

/// A range of a letter from this size on is read without the rest, and without the check of the whole.
const RANGE_BYTES: u32 = 1 << 20;

/// The reading half of a store. All of it blocks: callers run it off the async threads.
pub(crate) struct Reader {
    pub(crate) index: Arc<dyn Index>,
    /// `None`: the index keeps the letters too.
    pub(crate) segments: Option<Arc<Segments>>,
    pub(crate) cache: Arc<dyn ObjectCache>,
}

impl Reader {
    /// The emails asked for that exist in this account, in the order asked.
    pub(crate) fn emails(&self, account: AccountId, ids: &[EmailId]) -> Result<Vec<Arc<Email>>> {
        let read = self.index.read()?;
        let mut emails = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(row) = read.email(*id)?.filter(|row| row.account == account) {
                emails.push(Arc::new(self.email(&row)?));
            }
        }
        Ok(emails)
    }

    /// A row with its part table decoded; one in a form of another version is parsed again.
    fn email(&self, row: &EmailRow) -> Result<Email> {
        let index = match mparser::Index::decode(&row.index) {
            Ok(index) => index,
            Err(_) => mparser::Index::of(&self.bytes(row.id, row.blob)?),
        };
        Ok(Email {
            id: row.id,
            thread: row.thread,
            received_unix_s: row.received_unix_s,
            size_bytes: row.blob.size_bytes,
            index: Arc::new(index),
            blob: row.blob,
        })
    }

    /// The letter as stored, checked against its hash.
    pub(crate) fn bytes(&self, email: EmailId, blob: BlobRef) -> Result<Bytes> {
        let key = Key { kind: Kind::Letter, owner: 0, id: email.0 };
        if let Some(bytes) = self.cache.get(key).and_then(Object::into_bytes) {
            return Ok(bytes);
        }
        let bytes = self.stored(blob, 0..blob.size_bytes)?;
        if blob_hash(&bytes) != blob.hash {
            return Err(Error::Corrupt(format!("the bytes of email {email}")));
        }
        let bytes = Bytes::from(bytes);
        self.cache.put(key, bytes.clone().into());
        Ok(bytes)
    }

    pub(crate) fn range(&self, email: &Email, range: Range<u32>) -> Result<Bytes> {
        let end = range.end.min(email.size_bytes);
        let range = range.start.min(end)..end;
        if email.size_bytes >= RANGE_BYTES && range.len() < email.size_bytes as usize / 2 {
            return Ok(self.stored(email.blob, range)?.into());
        }
        let bytes = self.bytes(email.id, email.blob)?;
        let cut = range.start as usize..range.end as usize;
        if cut.end > bytes.len() {
            return Err(Error::Corrupt(format!("the length of email {}", email.id)));
        }
        Ok(bytes.slice(cut))
    }

    fn stored(&self, blob: BlobRef, range: Range<u32>) -> Result<Vec<u8>> {
        let mut bytes = vec![0; range.len()];
        let Location { segment, offset } = blob.location;
        self.read_at(Location { segment, offset: offset + u64::from(range.start) }, &mut bytes)?;
        Ok(bytes)
    }

    /// Fills `bytes` with what is stored from there on.
    pub(crate) fn read_at(&self, from: Location, bytes: &mut [u8]) -> Result<()> {
        let whole = match (&self.segments, self.index.letters()) {
            (Some(segments), _) => {
                let segment = segments.segment(from.segment)?;
                if segment.pack().is_some_and(|pack| pack.is_gone(from.offset)) {
                    return Err(Error::NoMessage);
                }
                segment.read(bytes, from.offset)?
            }
            (None, Some(letters)) => {
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                let found = letters.read(from, 0..length)?.ok_or(Error::NoMessage)?;
                let whole = found.len() == bytes.len();
                if whole {
                    bytes.copy_from_slice(&found);
                }
                whole
            }
            (None, None) => false,
        };
        if whole { Ok(()) } else { Err(damaged(from)) }
    }
}

fn damaged(from: Location) -> Error {
    Error::Corrupt(format!("segment {:x} ends too early", from.segment))
}
