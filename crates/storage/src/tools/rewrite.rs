//! Writes a segment anew: under another name first, with its own name when it is whole and synced.

use super::export::sync_folder;
use super::scan::{HEADER_BYTES, Header, io_error, segment_path};
use crate::log::{Frame, blob_hash, gone_letter};
use crate::{Error, Result};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

pub(super) struct Rewrite {
    out: BufWriter<File>,
    part: PathBuf,
    path: PathBuf,
    key: [u8; 32],
    made_unix_s: i64,
    next_lsn: u64,
    length: u64,
}

impl Rewrite {
    /// Begins segment `id` with a header that is its own already.
    pub(super) fn begin(log: &Path, id: u64, header: &Header) -> Result<Self> {
        let path = segment_path(log, id);
        let part = path.with_extension("part");
        let out = File::create(&part).map_err(|e| io_error("could not make", &part, &e))?;
        let (key, next_lsn) = (header.key, header.first_lsn);
        let out = BufWriter::with_capacity(1 << 20, out);
        let made_unix_s = header.created_unix_ms.div_euclid(1000);
        let mut new = Self { out, part, path, key, made_unix_s, next_lsn, length: HEADER_BYTES };
        new.write(&header.bytes)?;
        Ok(new)
    }

    /// Begins segment `id` with a header and a key of its own.
    pub(super) fn begin_new(
        log: &Path,
        id: u64,
        first_lsn: u64,
        created_unix_ms: i64,
    ) -> Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|e| Error::Io {
            what: "the kernel gave no random bytes for",
            path: segment_path(log, id),
            reason: e.to_string(),
        })?;
        let mut header = Header { first_lsn, created_unix_ms, key, bytes: [0; 128] };
        header.write(id);
        Self::begin(log, id, &header)
    }

    pub(super) fn next_lsn(&self) -> u64 {
        self.next_lsn
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// How old the segment is at that time.
    pub(super) fn age_s(&self, unix_s: i64) -> i64 {
        unix_s - self.made_unix_s
    }

    /// A frame as it was, key and all.
    pub(super) fn raw(&mut self, lsn: u64, bytes: &[u8]) -> Result<()> {
        self.next_lsn = lsn + 1;
        self.length += bytes.len() as u64;
        self.write(bytes)
    }

    /// A frame made now: it gets the next LSN. `unix_s`: the time it shall have.
    pub(super) fn frame(&mut self, letter: Option<&[u8]>, ops: &[u8], unix_s: i64) -> Result<()> {
        self.put(letter, letter.map_or([0; 16], blob_hash), ops, unix_s)
    }

    /// The same with a letter of that size and hash that was given up: its mark is made with the key of this
    /// segment.
    pub(super) fn frame_of_gone(
        &mut self,
        bytes: usize,
        hash: [u8; 16],
        ops: &[u8],
        unix_s: i64,
    ) -> Result<()> {
        let letter = gone_letter(bytes, &hash, &self.key);
        let letter = letter.ok_or_else(|| Error::Corrupt("a letter given up".to_owned()))?;
        self.put(Some(&letter), hash, ops, unix_s)
    }

    fn put(
        &mut self,
        letter: Option<&[u8]>,
        blob_hash: [u8; 16],
        ops: &[u8],
        unix_s: i64,
    ) -> Result<()> {
        let small = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let frame = Frame {
            lsn: self.next_lsn,
            synced_lsn: self.next_lsn.saturating_sub(1),
            after_s: u32::try_from(unix_s - self.made_unix_s).unwrap_or(0).min(Frame::LAST_AFTER_S),
            blob_bytes: letter.map_or(0, small),
            ops_bytes: small(ops),
            blob_hash,
        };
        self.write(&frame.header(ops, &self.key))?;
        self.write(letter.unwrap_or_default())?;
        self.write(ops)?;
        self.length += frame.total_bytes();
        self.next_lsn += 1;
        Ok(())
    }

    /// Durable under its name when this returns.
    pub(super) fn finish(self) -> Result<()> {
        let failed = |e: std::io::Error| io_error("could not write", &self.part, &e);
        let file = self.out.into_inner().map_err(|e| failed(e.into_error()))?;
        file.sync_all().map_err(failed)?;
        std::fs::rename(&self.part, &self.path)
            .map_err(|e| io_error("could not rename", &self.part, &e))?;
        sync_folder(self.path.parent().unwrap_or(&self.path))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|e| io_error("could not write", &self.part, &e))
    }
}
