//! The object cache: objects by key, bounded by bytes. A miss is never an error, and losing all of it
//! loses nothing. An object never changes under its key, or says itself which moment it is of, so nothing is ever
//! invalidated: what is too old is not asked for any more, or brought forward by whoever asks.
//!
//! ```
//! use ocache::{Key, Kind, Object};
//! let cache = ocache::open("memory:1048576").unwrap();
//! let key = Key { kind: Kind::Letter, owner: 0, id: 7 };
//! cache.put(key, Object::from(bytes::Bytes::from_static(b"Subject: hello\r\n")));
//! assert!(cache.get(key).is_some());
//! assert_eq!(cache.figures(Kind::Letter).hits, 1);
//! ```

mod memory;

use bytes::Bytes;
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// What kind of object an id names. Each is counted by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The bytes of a letter, by email id.
    Letter,
    /// The decoded row of an email, by email id.
    Row,
    /// The messages of a mailbox, by account and mailbox.
    View,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Letter, Self::Row, Self::View];

    /// As metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Letter => "letters",
            Self::Row => "rows",
            Self::View => "views",
        }
    }
}

/// Where an object is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    pub kind: Kind,
    /// What the id is unique in; 0 where it is unique by itself.
    pub owner: u64,
    pub id: u64,
}

/// What is kept. Cloning is cheap: all clones are the same object.
#[derive(Clone)]
pub enum Object {
    Bytes(Bytes),
    /// A value of this process, and the memory it takes.
    Decoded {
        value: Arc<dyn Any + Send + Sync>,
        size_bytes: usize,
    },
}

impl Object {
    pub fn decoded<T: Any + Send + Sync>(value: Arc<T>, size_bytes: usize) -> Self {
        Self::Decoded { value, size_bytes }
    }

    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Decoded { size_bytes, .. } => *size_bytes,
        }
    }

    /// `None`: it is a value.
    pub fn into_bytes(self) -> Option<Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Decoded { .. } => None,
        }
    }

    /// `None`: it is bytes, or a value of another type.
    pub fn into_value<T: Any + Send + Sync>(self) -> Option<Arc<T>> {
        match self {
            Self::Bytes(_) => None,
            Self::Decoded { value, .. } => value.downcast().ok(),
        }
    }
}

impl From<Bytes> for Object {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object of {} bytes", self.size_bytes())
    }
}

/// Hits and misses since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    pub hits: u64,
    pub misses: u64,
}

pub trait ObjectCache: Send + Sync {
    fn get(&self, key: Key) -> Option<Object>;

    /// May keep it, or not.
    fn put(&self, key: Key, object: Object);

    fn figures(&self, kind: Kind) -> Figures;

    /// Held now, of all kinds.
    fn size_bytes(&self) -> u64;
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
