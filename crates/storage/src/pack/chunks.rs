//! Compressing and unpacking one chunk.

use super::table::{Chunk, Codec};
use std::io;
use std::sync::{Mutex, PoisonError};
use zstd::bulk::{Compressor, Decompressor};

/// The only level measured so far (ADR 6).
const LEVEL: i32 = 3;

pub(crate) fn short_hash(bytes: &[u8]) -> [u8; 8] {
    blake3::hash(bytes).as_bytes().first_chunk().copied().unwrap_or_default()
}

/// Turns bytes into what is stored of them.
pub(crate) struct Squeezer {
    plain: Compressor<'static>,
    dictionary: Option<Compressor<'static>>,
}

impl Squeezer {
    pub(crate) fn new(dictionary: Option<&[u8]>) -> io::Result<Self> {
        let set = |mut compressor: Compressor<'static>| {
            compressor.include_dictid(false)?;
            compressor.include_contentsize(false)?;
            compressor.include_checksum(false)?;
            Ok::<_, io::Error>(compressor)
        };
        let dictionary =
            dictionary.map(|bytes| Compressor::with_dictionary(LEVEL, bytes).and_then(set));
        Ok(Self { plain: set(Compressor::new(LEVEL)?)?, dictionary: dictionary.transpose()? })
    }

    /// The shortest form; `small` asks for the dictionary.
    pub(crate) fn squeeze(&mut self, raw: &[u8], small: bool) -> io::Result<(Codec, Vec<u8>)> {
        let (codec, packed) = match &mut self.dictionary {
            Some(with) if small => (Codec::ZstdDictionary, with.compress(raw)?),
            _ => (Codec::Zstd, self.plain.compress(raw)?),
        };
        Ok(if packed.len() < raw.len() { (codec, packed) } else { (Codec::Raw, raw.to_vec()) })
    }
}

/// Turns back what is stored.
pub(crate) struct Unpacker {
    dictionary: Option<Vec<u8>>,
    /// One that has the dictionary loaded, for whoever comes first.
    ready: Mutex<Option<Decompressor<'static>>>,
}

impl Unpacker {
    pub(crate) fn new(dictionary: Option<Vec<u8>>) -> Self {
        Self { dictionary, ready: Mutex::default() }
    }

    /// `None`: the bytes are not what was stored.
    pub(crate) fn unpack(&self, chunk: &Chunk, stored: Vec<u8>) -> Option<Vec<u8>> {
        if short_hash(&stored) != chunk.hash {
            return None;
        }
        let length = chunk.raw_bytes as usize;
        let raw = match chunk.codec {
            Codec::Raw => stored,
            Codec::Zstd => zstd::bulk::decompress(&stored, length).ok()?,
            Codec::ZstdDictionary => {
                let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).take();
                let mut unpacker = match ready {
                    Some(unpacker) => unpacker,
                    None => Decompressor::with_dictionary(self.dictionary.as_ref()?).ok()?,
                };
                let raw = unpacker.decompress(&stored, length).ok()?;
                *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = Some(unpacker);
                raw
            }
        };
        (raw.len() == length).then_some(raw)
    }
}
