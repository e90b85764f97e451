//! The object cache: bytes by key, bounded by bytes. A miss is never an error, and losing all of it
//! loses nothing. Keys carry what makes an object immutable, so nothing is ever invalidated.
//!
//! ```
//! use ocache::{Key, Kind};
//! let cache = ocache::open("memory:1048576").unwrap();
//! let key = Key { kind: Kind::Letter, id: 7, version: 0 };
//! cache.put(key, bytes::Bytes::from_static(b"Subject: hello\r\n"));
//! assert!(cache.get(key).is_some());
//! ```

mod memory;

use bytes::Bytes;
use std::sync::Arc;

/// What kind of object an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The bytes of a letter, by email id.
    Letter,
}

/// An object that never changes: new content has a new id or version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    pub kind: Kind,
    pub id: u64,
    pub version: u64,
}

/// Hits and misses since the start, bytes held now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    pub hits: u64,
    pub misses: u64,
    pub bytes: u64,
}

pub trait ObjectCache: Send + Sync {
    fn get(&self, key: Key) -> Option<Bytes>;

    /// May keep it, or not.
    fn put(&self, key: Key, object: Bytes);

    fn figures(&self) -> Figures;
}

/// An engine: the scheme of its URL, what it is, how it opens what follows the scheme.
pub struct EngineEntry {
    pub scheme: &'static str,
    pub about: &'static str,
    pub open: fn(&str) -> Option<Arc<dyn ObjectCache>>,
}

pub static ENGINES: &[EngineEntry] = &[EngineEntry {
    scheme: "memory",
    about: "in this process; what follows is the bound in bytes",
    open: memory::open,
}];

/// Opens `SCHEME:REST`; `None` when no engine knows the URL.
pub fn open(url: &str) -> Option<Arc<dyn ObjectCache>> {
    let (scheme, rest) = url.split_once(':')?;
    (ENGINES.iter().find(|e| e.scheme == scheme)?.open)(rest)
}
