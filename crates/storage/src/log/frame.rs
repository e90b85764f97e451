//! One frame: what one change wrote. A 64-byte header, the letter's bytes if any, the ops.
//!
//! The frame's own hash is keyed with a secret of its segment, so that no letter can hold bytes that pass
//! for a frame.

/// The header of a frame, in host form. All numbers on disk are little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// 1 for the first frame of a log; each frame has the next.
    pub(crate) lsn: u64,
    /// The last frame known durable when this one was written: a later frame that names `n` here proves
    /// that frame `n` had been durable, so a bad frame `n` is damage and no torn end.
    pub(crate) synced_lsn: u64,
    /// Seconds since its segment was made, in 24 bits: when it was written. Not smaller than in the frame
    /// before, unless the clock went back between two runs. 0 in frames of the first builds.
    pub(crate) after_s: u32,
    pub(crate) blob_bytes: u32,
    pub(crate) ops_bytes: u32,
    /// First half of the BLAKE3 hash of the letter's bytes.
    pub(crate) blob_hash: [u8; 16],
}

impl Frame {
    pub(crate) const HEADER_BYTES: u64 = 64;
    pub(crate) const MAGIC: [u8; 4] = *b"OPFR";
    const VERSION: u8 = 1;

    /// What fits in the header: 194 days.
    pub(crate) const LAST_AFTER_S: u32 = 0xff_ffff;

    pub(crate) fn total_bytes(&self) -> u64 {
        Self::HEADER_BYTES + u64::from(self.blob_bytes) + u64::from(self.ops_bytes)
    }

    /// The header as it stands on disk, with the hash over itself and the ops.
    pub(crate) fn header(&self, ops: &[u8], key: &[u8; 32]) -> [u8; 64] {
        let mut header = [0; 64];
        header[0..4].copy_from_slice(&Self::MAGIC);
        header[4] = Self::VERSION;
        let [a, b, c, _] = self.after_s.min(Self::LAST_AFTER_S).to_le_bytes();
        header[5..8].copy_from_slice(&[a, b, c]);
        header[8..16].copy_from_slice(&self.lsn.to_le_bytes());
        header[16..24].copy_from_slice(&self.synced_lsn.to_le_bytes());
        header[24..28].copy_from_slice(&self.blob_bytes.to_le_bytes());
        header[28..32].copy_from_slice(&self.ops_bytes.to_le_bytes());
        header[32..48].copy_from_slice(&self.blob_hash);
        let hash = frame_hash(&header[..48], ops, key);
        header[48..64].copy_from_slice(&hash);
        header
    }

    /// Reads a header; `None` when it does not begin with magic and version. The hash is not checked.
    pub(crate) fn parse(header: &[u8; 64]) -> Option<Self> {
        if header[..4] != Self::MAGIC || header[4] != Self::VERSION {
            return None;
        }
        let long = |at: usize| header.get(at..)?.first_chunk().map(|b| u64::from_le_bytes(*b));
        let short = |at: usize| header.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b));
        Some(Self {
            after_s: u32::from_le_bytes([header[5], header[6], header[7], 0]),
            lsn: long(8)?,
            synced_lsn: long(16)?,
            blob_bytes: short(24)?,
            ops_bytes: short(28)?,
            blob_hash: *header.get(32..)?.first_chunk()?,
        })
    }

    /// Whether letter and ops are what was written under this header.
    pub(crate) fn verify(header: &[u8; 64], blob: &[u8], ops: &[u8], key: &[u8; 32]) -> bool {
        let Some(frame) = Self::parse(header) else {
            return false;
        };
        let blob_fits = blob.is_empty() && frame.blob_hash == [0; 16]
            || blob_hash(blob) == frame.blob_hash
            || is_gone(blob, &frame.blob_hash, key);
        blob_fits && frame_hash(&header[..48], ops, key) == header[48..64]
    }
}

fn frame_hash(header: &[u8], ops: &[u8], key: &[u8; 32]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(header).update(ops);
    half(&hasher.finalize())
}

/// First half of the BLAKE3 hash.
pub(crate) fn blob_hash(bytes: &[u8]) -> [u8; 16] {
    half(&blake3::hash(bytes))
}

/// What stands in place of a letter that was given up: a mark only its segment's key can make, then zeros.
/// `None`: the letter is too short to be worth it.
pub(crate) fn gone_letter(bytes: usize, hash: &[u8; 16], key: &[u8; 32]) -> Option<Vec<u8>> {
    let mut letter = vec![0; bytes];
    letter.first_chunk_mut().map(|mark: &mut [u8; 16]| *mark = gone_mark(hash, key))?;
    Some(letter)
}

pub(crate) fn is_gone(letter: &[u8], hash: &[u8; 16], key: &[u8; 32]) -> bool {
    letter.split_first_chunk().is_some_and(|(mark, rest)| {
        rest.iter().all(|byte| *byte == 0) && *mark == gone_mark(hash, key)
    })
}

fn gone_mark(hash: &[u8; 16], key: &[u8; 32]) -> [u8; 16] {
    half(&blake3::Hasher::new_keyed(key).update(b"gone").update(hash).finalize())
}

fn half(hash: &blake3::Hash) -> [u8; 16] {
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_bit_is_found() {
        let (key, blob, ops) = ([9; 32], b"a letter", b"some ops");
        let frame = Frame {
            lsn: 7,
            synced_lsn: 5,
            after_s: 66051,
            blob_bytes: 8,
            ops_bytes: 8,
            blob_hash: blob_hash(blob),
        };
        let header = frame.header(ops, &key);
        assert_eq!(Frame::parse(&header), Some(frame));
        assert!(Frame::verify(&header, blob, ops, &key));
        assert!(!Frame::verify(&header, blob, ops, &[8; 32]), "another segment's key");
        let whole = [&header[..], blob, ops].concat();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let header = bytes.first_chunk::<64>().unwrap();
            assert!(!Frame::verify(header, &bytes[64..72], &bytes[72..], &key), "bit {bit}");
        }
    }
}
