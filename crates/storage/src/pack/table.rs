//! What lies where in a pack: its header, table and trailer.

use crate::log::blob_hash;
use std::path::Path;

pub(crate) const HEADER_BYTES: u64 = 64;
pub(crate) const TRAILER_BYTES: u64 = 64;
/// A table may not unpack to more: 64 MiB of letters of 64 bytes stay below.
const TABLE_BYTES: usize = 256 << 20;
const VERSION: u32 = 1;

/// How a chunk is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Raw,
    Zstd,
    /// With the dictionary of the pack.
    ZstdDictionary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) codec: Codec,
    /// Where it begins in the file.
    pub(crate) offset: u64,
    pub(crate) stored_bytes: u32,
    pub(crate) raw_bytes: u32,
    /// First bytes of the BLAKE3 hash of what is stored.
    pub(crate) hash: [u8; 8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    Chunk(u32),
    /// A body in a file of its own: its hash and length.
    Part([u8; 32], u32),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Letter {
    /// Where it begins in the segment.
    pub(crate) start: u64,
    pub(crate) bytes: u32,
    /// Bytes of all letters before it.
    pub(crate) before: u64,
    /// Its bytes were given up.
    pub(crate) gone: bool,
    pub(crate) pieces: Vec<Piece>,
    /// Ids of the emails it is.
    pub(crate) emails: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Table {
    /// Length of the segment.
    pub(crate) raw_bytes: u64,
    pub(crate) has_dictionary: bool,
    pub(crate) chunks: Vec<Chunk>,
    /// Chunks from here on hold what is not letters.
    pub(crate) first_rest: u32,
    /// Ascending by place.
    pub(crate) letters: Vec<Letter>,
}

/// The fields of the 64 bytes a pack begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) segment: u64,
    pub(crate) generation: u32,
    pub(crate) raw_bytes: u64,
}

/// The fields of the 64 bytes a pack ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) table_offset: u64,
    pub(crate) stored_bytes: u32,
    pub(crate) raw_bytes: u32,
    pub(crate) table_hash: [u8; 16],
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[0..4].copy_from_slice(b"OPPK");
        bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.segment.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.generation.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.raw_bytes.to_le_bytes());
        let hash = blob_hash(&bytes[..48]);
        bytes[48..64].copy_from_slice(&hash);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; 64]) -> Option<Self> {
        let header = Self {
            segment: u64::from_le_bytes(*bytes.get(8..)?.first_chunk()?),
            generation: u32::from_le_bytes(*bytes.get(16..)?.first_chunk()?),
            raw_bytes: u64::from_le_bytes(*bytes.get(24..)?.first_chunk()?),
        };
        (header.encode() == *bytes).then_some(header)
    }

    /// Whether it is that of the pack or body of this name.
    pub(crate) fn fits(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // A pack has its name only when it is whole.
        let name = name.strip_suffix(".tmp").unwrap_or(name);
        super::pack_name(name).is_none_or(|name| name == (self.segment, self.generation))
    }
}

impl Trailer {
    pub(crate) fn encode(&self, header: &[u8; 64]) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[0..4].copy_from_slice(b"OPPE");
        bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.table_offset.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.stored_bytes.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.raw_bytes.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.table_hash);
        let hash = blob_hash(&[&header[..], &bytes[..48]].concat());
        bytes[48..64].copy_from_slice(&hash);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; 64], header: &[u8; 64]) -> Option<Self> {
        Self::parse(bytes).filter(|trailer| trailer.encode(header) == *bytes)
    }

    /// Its fields, whether or not its hash fits.
    pub(crate) fn parse(bytes: &[u8; 64]) -> Option<Self> {
        let trailer = Self {
            table_offset: u64::from_le_bytes(*bytes.get(8..)?.first_chunk()?),
            stored_bytes: u32::from_le_bytes(*bytes.get(16..)?.first_chunk()?),
            raw_bytes: u32::from_le_bytes(*bytes.get(20..)?.first_chunk()?),
            table_hash: *bytes.get(24..)?.first_chunk()?,
        };
        (trailer.raw_bytes as usize <= TABLE_BYTES).then_some(trailer)
    }

    /// Whether the table it names ends where it begins itself.
    pub(crate) fn ends_at(&self, offset: u64) -> bool {
        self.table_offset.checked_add(self.stored_bytes.into()) == Some(offset)
    }
}

impl Table {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        number(&mut out, u64::from(self.has_dictionary));
        number(&mut out, self.chunks.len() as u64);
        number(&mut out, self.first_rest.into());
        for chunk in &self.chunks {
            out.push(match chunk.codec {
                Codec::Raw => 0,
                Codec::Zstd => 1,
                Codec::ZstdDictionary => 2,
            });
            number(&mut out, chunk.stored_bytes.into());
            number(&mut out, chunk.raw_bytes.into());
            out.extend_from_slice(&chunk.hash);
        }
        number(&mut out, self.letters.len() as u64);
        let mut end = 0;
        for letter in &self.letters {
            number(&mut out, letter.start - end);
            number(&mut out, letter.bytes.into());
            end = letter.start + u64::from(letter.bytes);
            out.push(u8::from(letter.gone));
            number(&mut out, letter.emails.len() as u64);
            letter.emails.iter().for_each(|id| number(&mut out, *id));
            number(&mut out, letter.pieces.len() as u64);
            for piece in &letter.pieces {
                match piece {
                    Piece::Chunk(at) => number(&mut out, u64::from(*at) + 1),
                    Piece::Part(hash, bytes) => {
                        number(&mut out, 0);
                        out.extend_from_slice(hash);
                        number(&mut out, (*bytes).into());
                    }
                }
            }
        }
        out
    }

    /// `None`: not a table whose parts fit together. `raw_bytes`: the length of the segment, as the header says.
    pub(crate) fn decode(bytes: &[u8], raw_bytes: Option<u64>, table_offset: u64) -> Option<Self> {
        let mut input = Input(bytes);
        let has_dictionary = input.number()? == 1;
        let chunk_count = input.count(11)?;
        let first_rest = u32::try_from(input.number()?).ok()?;
        let mut offset = HEADER_BYTES;
        let mut chunks = Vec::with_capacity(chunk_count);
        for _ in 0..chunk_count {
            let codec = match input.byte()? {
                0 => Codec::Raw,
                1 => Codec::Zstd,
                2 if has_dictionary => Codec::ZstdDictionary,
                _ => return None,
            };
            let stored_bytes = u32::try_from(input.number()?).ok()?;
            let raw_bytes = u32::try_from(input.number()?).ok()?;
            let hash = *input.take(8)?.first_chunk()?;
            if raw_bytes as usize > super::CHUNK_BYTES {
                return None;
            }
            chunks.push(Chunk { codec, offset, stored_bytes, raw_bytes, hash });
            offset += u64::from(stored_bytes);
        }
        let letter_count = input.count(5)?;
        let mut letters = Vec::with_capacity(letter_count);
        let (mut end, mut before) = (0_u64, 0_u64);
        for _ in 0..letter_count {
            let start = end.checked_add(input.number()?)?;
            let letter = letter(&mut input, start, before, &chunks)?;
            end = start.checked_add(letter.bytes.into())?;
            before += u64::from(letter.bytes);
            letters.push(letter);
        }
        let rest: u64 =
            chunks.get(first_rest as usize..)?.iter().map(|c| u64::from(c.raw_bytes)).sum();
        let sum = before.checked_add(rest)?;
        let raw_bytes = raw_bytes.unwrap_or(sum);
        let fits =
            input.0.is_empty() && offset == table_offset && end <= raw_bytes && sum == raw_bytes;
        fits.then_some(Self { raw_bytes, has_dictionary, chunks, first_rest, letters })
    }
}

fn letter(input: &mut Input<'_>, start: u64, before: u64, chunks: &[Chunk]) -> Option<Letter> {
    let bytes = u32::try_from(input.number()?).ok()?;
    let gone = input.byte()? == 1;
    let email_count = input.count(1)?;
    let emails = (0..email_count).map(|_| input.number()).collect::<Option<_>>()?;
    let piece_count = input.count(1)?;
    let mut pieces = Vec::with_capacity(piece_count);
    let mut total = 0_u64;
    for _ in 0..piece_count {
        match input.number()? {
            0 => {
                let hash = *input.take(32)?.first_chunk()?;
                let bytes = u32::try_from(input.number()?).ok()?;
                total += u64::from(bytes);
                pieces.push(Piece::Part(hash, bytes));
            }
            at => {
                let at = u32::try_from(at - 1).ok()?;
                total += u64::from(chunks.get(at as usize)?.raw_bytes);
                pieces.push(Piece::Chunk(at));
            }
        }
    }
    (total == u64::from(bytes)).then_some(Letter { start, bytes, before, gone, pieces, emails })
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// A count of things of at least `least` bytes each: never more than can follow.
    fn count(&mut self, least: usize) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= self.0.len() / least).then_some(count)
    }
}
