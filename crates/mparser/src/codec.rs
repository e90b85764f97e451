//! The stored form of an index.
use crate::Index;

/// Why bytes are no index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexError {
    /// Written by another version: parse the letter again.
    Version,
    /// Cut off, changed, or never an index.
    Damaged,
}

impl std::fmt::Display for IndexError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Version => "the index of the letter was written by another version",
            Self::Damaged => "the index of the letter is damaged",
        })
    }
}

impl std::error::Error for IndexError {}

pub(crate) fn encode(index: &Index) -> Vec<u8> {
    let _ = index;
    Vec::new()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Index, IndexError> {
    let _ = bytes;
    Err(IndexError::Version)
}
