//! A letter on its way in, and an email as it is stored.

use bytes::Bytes;
use mparser::Index;
use std::sync::Arc;
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
}
