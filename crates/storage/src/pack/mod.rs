//! Closed segments, compressed: a pack stands in for its segment and gives back the same bytes at the same
//! offsets, so the index, replay and every tool read it as they read a segment.
//!
//! Knows segments and frames, and of the ops only which letter is whose. `docs/format/pack.md` describes the
//! bytes.

mod chunks;
mod file;
mod packer;
mod table;
mod write;

pub(crate) use file::{Fault, Pack};
pub use packer::Packed;
pub(crate) use packer::Packer;
pub(crate) use table::Header as PackHeader;
pub(crate) use table::Piece;

use std::path::{Path, PathBuf};

/// A letter is compressed in pieces of this size: what a read of one byte has to unpack.
pub(crate) const CHUNK_BYTES: usize = 128 << 10;
/// Bodies of parts from this size on are kept once, however many letters have them.
pub(crate) const SHARED_BYTES: u32 = 64 << 10;

/// Name of a pack of segment `id`.
pub(crate) fn pack_path(log: &Path, id: u64, generation: u32) -> PathBuf {
    log.join(format!("{id:016x}.{generation:08x}.pack"))
}

/// Segment and generation a file name says, if it is that of a pack.
pub(crate) fn pack_name(name: &str) -> Option<(u64, u32)> {
    let (id, generation) = name.strip_suffix(".pack")?.split_once('.')?;
    if id.len() != 16 || generation.len() != 8 {
        return None;
    }
    Some((u64::from_str_radix(id, 16).ok()?, u32::from_str_radix(generation, 16).ok()?))
}

/// Generations of the packs of segment `id`, newest first.
pub(crate) fn pack_names(log: &Path, id: u64) -> std::io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(log)? {
        let name = entry?.file_name();
        let name = name.to_str().and_then(pack_name).filter(|(segment, _)| *segment == id);
        found.extend(name.map(|(_, generation)| generation));
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}

/// Where bodies that several letters may have are kept.
pub(crate) fn parts_folder(log: &Path) -> PathBuf {
    log.join("parts")
}

pub(crate) fn part_path(parts: &Path, hash: &[u8; 32]) -> PathBuf {
    parts.join(format!("{}.part", blake3::Hash::from_bytes(*hash).to_hex()))
}
