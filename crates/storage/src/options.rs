//! What a store needs to know to open.

use std::path::PathBuf;

#[derive(Debug, Clone)]
pub struct Options {
    /// The data folder; made when it is not there.
    pub folder: PathBuf,
    /// The index: `sqlite:` in the data folder, or `memory:`, rebuilt from the log at each open.
    pub index: String,
    /// Where a segment is sealed and the next begins.
    pub segment_bytes: u64,
    /// With less room than this on the disk new letters are refused, so that deletes still work.
    pub reserve_bytes: u64,
    /// Closed segments are compressed in the background, and letters that nobody has any more are given up.
    /// Packs are read in any case. docs/adr/0006-packing.md says why and what it costs.
    pub pack: bool,
    /// Letters and part tables kept in memory.
    pub cache_bytes: u64,
}

impl Options {
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            index: "sqlite:".to_owned(),
            segment_bytes: 64 << 20,
            reserve_bytes: 32 << 20,
            pack: true,
            cache_bytes: 64 << 20,
        }
    }
}
