//! A letter on its way in, and an email as it is stored.

use bytes::Bytes;
use mparser::Index;
use std::any::Any;
use std::sync::{Arc, OnceLock};
use types::{EmailId, ThreadId};

/// Bytes of a letter with the result of its one parse.
#[derive(Debug, Clone)]
pub struct Letter {
    pub bytes: Bytes,
    pub index: Arc<Index>,
}

impl Letter {
    /// Parses the bytes; every byte string is a letter.
    pub fn parse(bytes: Bytes) -> Self {
        let index = Arc::new(Index::of(&bytes));
        Self { bytes, index }
    }

    /// Puts whole header lines in front of a letter that is parsed already.
    pub fn with_trace(trace: &[u8], body: &[u8], mut index: Index) -> Self {
        let mut bytes = Vec::with_capacity(trace.len() + body.len());
        bytes.extend_from_slice(trace);
        bytes.extend_from_slice(body);
        if !index.prepend(trace) {
            return Self::parse(bytes.into());
        }
        Self { bytes: bytes.into(), index: Arc::new(index) }
    }
}

/// A stored email without its bytes; [`crate::Store::bytes`] fetches them.
#[derive(Debug, Clone)]
pub struct Email {
    pub id: EmailId,
    pub thread: ThreadId,
    pub received_unix_s: i64,
    pub size_bytes: u32,
    /// Envelope and part table from the parse at delivery.
    pub index: Arc<Index>,
    pub(crate) blob: db::BlobRef,
    pub(crate) noted: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl Email {
    /// What `make` gives, kept as long as the email is in the cache: something small that a protocol asks for again and
    /// again, such as what it sorts by. One type can be kept; for another `make` works each time.
    pub fn noted<T: Send + Sync + 'static>(&self, make: impl Fn(&Self) -> T) -> Arc<T> {
        let noted = self.noted.get_or_init(|| Arc::new(make(self)));
        noted.clone().downcast().unwrap_or_else(|_| Arc::new(make(self)))
    }
}
