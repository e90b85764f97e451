//! The table of index engines. A new one: its file, its row, and the contract suite runs over it.

use crate::{Error, Index, Result};
use std::sync::Arc;

/// An engine: the scheme of its URL, what it is, how it opens what follows the scheme.
pub struct EngineEntry {
    pub scheme: &'static str,
    pub about: &'static str,
    pub open: fn(&str) -> Result<Arc<dyn Index>>,
}

pub static ENGINES: &[EngineEntry] = &[];

/// Opens `SCHEME:REST`, for instance `sqlite:/var/lib/openpoczta/index.sqlite`.
pub fn open(url: &str) -> Result<Arc<dyn Index>> {
    let (scheme, rest) = url
        .split_once(':')
        .ok_or_else(|| Error::UnknownEngine(url.to_owned()))?;
    let engine = ENGINES
        .iter()
        .find(|e| e.scheme == scheme)
        .ok_or_else(|| Error::UnknownEngine(url.to_owned()))?;
    (engine.open)(rest)
}
