//! The table of index engines. A new one: its file, its row, and the contract suite runs over it.

mod memory;
mod sqlite;

use crate::{Error, Index, Result};
use std::sync::Arc;

/// An engine: the scheme of its URL, what it is, how it opens what follows the scheme.
pub struct EngineEntry {
    pub scheme: &'static str,
    pub about: &'static str,
    pub open: fn(&str) -> Result<Arc<dyn Index>>,
}

pub static ENGINES: &[EngineEntry] = &[
    EngineEntry {
        scheme: "memory",
        about: "in memory, rebuilt from the log at each open; for tests and small trials",
        open: memory::open,
    },
    EngineEntry {
        scheme: "sqlite",
        about: "one SQLite file with a write-ahead log; the default",
        open: sqlite::open,
    },
];

/// Opens `SCHEME:REST`, for instance `sqlite:/var/lib/openpoczta/index.sqlite`.
pub fn open(url: &str) -> Result<Arc<dyn Index>> {
    let unknown = || Error::UnknownEngine(url.to_owned());
    let (scheme, rest) = url.split_once(':').ok_or_else(unknown)?;
    let engine = ENGINES.iter().find(|e| e.scheme == scheme).ok_or_else(unknown)?;
    (engine.open)(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_unknown_engines_are_named() {
        assert!(ENGINES.is_sorted_by(|a, b| a.scheme < b.scheme));
        for bad in ["", "sqlite", "fjall:x"] {
            assert!(matches!(open(bad), Err(Error::UnknownEngine(url)) if url == bad));
        }
    }
}
