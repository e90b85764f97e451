//! A cache in this process, weighted by bytes, that one long scan does not sweep out.

use crate::{Figures, Key, ObjectCache};
use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What an entry costs beside its bytes, about.
const ENTRY_BYTES: u64 = 96;
/// An object larger than this part of the cache would push out too much.
const LARGEST_PART: u64 = 16;

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Bytes> for ByBytes {
    fn weight(&self, _key: &Key, object: &Bytes) -> u64 {
        ENTRY_BYTES + object.len() as u64
    }
}

struct Memory {
    cache: Cache<Key, Bytes, ByBytes>,
    bound_bytes: u64,
    hits: AtomicU64,
    misses: AtomicU64,
}

pub(crate) fn open(rest: &str) -> Option<Arc<dyn ObjectCache>> {
    let bound_bytes: u64 = rest.parse().ok()?;
    let entries = usize::try_from(bound_bytes / 8192).ok()?.max(16);
    let cache = Cache::with_weighter(entries, bound_bytes, ByBytes);
    let (hits, misses) = (AtomicU64::new(0), AtomicU64::new(0));
    Some(Arc::new(Memory { cache, bound_bytes, hits, misses }))
}

impl ObjectCache for Memory {
    fn get(&self, key: Key) -> Option<Bytes> {
        let found = self.cache.get(&key);
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    fn put(&self, key: Key, object: Bytes) {
        if object.len() as u64 <= self.bound_bytes / LARGEST_PART {
            self.cache.insert(key, object);
        }
    }

    fn figures(&self) -> Figures {
        Figures {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            bytes: self.cache.weight(),
        }
    }
}
