//! One frame: what was written together. A header of 48 bytes, the records, the letter if any.
//!
//! The hash is keyed with a secret of the file, so that no letter can hold bytes that pass for a frame.

pub(crate) const HEADER_BYTES: usize = 48;
const MAGIC: [u8; 4] = *b"OPQF";
const VERSION: u8 = 1;

/// The header in host form. All numbers on disk are little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// 1 for the first frame of a queue; each frame has the next.
    pub(crate) seq: u64,
    /// The last frame known durable when this one was written: a later frame that names `n` proves that frame `n` had
    /// been durable, so a bad frame `n` is damage and no torn end.
    pub(crate) synced: u64,
    pub(crate) records_bytes: u32,
    pub(crate) letter_bytes: u32,
}

impl Frame {
    pub(crate) fn total_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.records_bytes) + u64::from(self.letter_bytes)
    }

    /// The header as it stands on disk.
    pub(crate) fn header(&self, records: &[u8], letter: &[u8], key: &[u8; 32]) -> [u8; 48] {
        let mut header = [0; HEADER_BYTES];
        header[0..4].copy_from_slice(&MAGIC);
        header[4] = VERSION;
        header[8..16].copy_from_slice(&self.seq.to_le_bytes());
        header[16..24].copy_from_slice(&self.synced.to_le_bytes());
        header[24..28].copy_from_slice(&self.records_bytes.to_le_bytes());
        header[28..32].copy_from_slice(&self.letter_bytes.to_le_bytes());
        let check = check(&header, key);
        header[5..8].copy_from_slice(&check);
        let hash = hash(&header[..32], records, letter, key);
        header[32..48].copy_from_slice(&hash);
        header
    }

    /// `None` when it does not begin with magic and version. The hash is not checked.
    pub(crate) fn parse(header: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER_BYTES] = header.first_chunk()?;
        if header[..4] != MAGIC || header[4] != VERSION {
            return None;
        }
        let long = |at: usize| header.get(at..)?.first_chunk().map(|b| u64::from_le_bytes(*b));
        let short = |at: usize| header.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b));
        Some(Self {
            seq: long(8)?,
            synced: long(16)?,
            records_bytes: short(24)?,
            letter_bytes: short(28)?,
        })
    }

    /// The frame at the start of `bytes` with its records and its letter, if it is whole and as it was written.
    pub(crate) fn read<'a>(bytes: &'a [u8], key: &[u8; 32]) -> Option<(Self, &'a [u8], &'a [u8])> {
        let frame = Self::parse(bytes)?;
        let claimed = bytes.first_chunk()?;
        if check(claimed, key) != claimed[5..8] {
            return None;
        }
        let whole = bytes.get(..usize::try_from(frame.total_bytes()).ok()?)?;
        let (header, rest) = whole.split_at_checked(HEADER_BYTES)?;
        let (records, letter) = rest.split_at_checked(frame.records_bytes as usize)?;
        let found = hash(header.get(..32)?, records, letter, key);
        (found == *header.get(32..)?).then_some((frame, records, letter))
    }
}

/// Where a frame may begin in `bytes`, from `from` on.
pub(crate) fn next_magic(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.windows(MAGIC.len()).position(|four| four == MAGIC).map(|at| from + at)
}

/// Of the numbers alone: a letter full of what looks like headers costs no more to look through than any other.
fn check(header: &[u8; HEADER_BYTES], key: &[u8; 32]) -> [u8; 3] {
    let hash = blake3::keyed_hash(key, &header[8..32]);
    let [a, b, c, ..] = *hash.as_bytes();
    [a, b, c]
}

fn hash(header: &[u8], records: &[u8], letter: &[u8], key: &[u8; 32]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(header).update(records).update(letter);
    let mut half = [0; 16];
    half.copy_from_slice(hasher.finalize().as_bytes().first_chunk::<16>().unwrap_or(&[0; 16]));
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_counts() {
        let key = [7; 32];
        let (records, letter) = (b"[]".as_slice(), b"Subject: x\r\n\r\n".as_slice());
        let frame = Frame { seq: 3, synced: 2, records_bytes: 2, letter_bytes: 14 };
        let mut bytes = frame.header(records, letter, &key).to_vec();
        bytes.extend_from_slice(records);
        bytes.extend_from_slice(letter);
        assert_eq!(Frame::read(&bytes, &key), Some((frame, records, letter)));
        assert_eq!(Frame::read(&bytes, &[8; 32]), None);
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1;
            assert_eq!(Frame::read(&wrong, &key), None, "byte {at}");
            assert_eq!(Frame::read(&bytes[..at], &key), None, "cut to {at}");
        }
    }
}
