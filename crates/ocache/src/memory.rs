//! A cache in this process, weighted by bytes, that one long scan does not sweep out.

use crate::{Figures, Key, Kind, Object, ObjectCache};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What an entry costs beside its object, about.
const ENTRY_BYTES: u64 = 96;
/// An object larger than this part of the cache would push out too much.
const LARGEST_PART: u64 = 16;
/// Each has its own lock and its own part of the bound. More of them, and the largest object would not fit in one.
const SHARDS: usize = 8;
/// What an object has about, on the average of letters and rows; only a hint.
const USUAL_BYTES: u64 = 4096;

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Object> for ByBytes {
    fn weight(&self, _key: &Key, object: &Object) -> u64 {
        ENTRY_BYTES + object.size_bytes() as u64
    }
}

struct Memory {
    cache: Cache<Key, Object, ByBytes>,
    bound_bytes: u64,
    /// In the order of [`Kind::ALL`].
    counters: [Counters; Kind::ALL.len()],
}

#[derive(Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
}

pub(crate) fn open(rest: &str) -> Option<Arc<dyn ObjectCache>> {
    let bound_bytes: u64 = rest.parse().ok()?;
    let entries = usize::try_from(bound_bytes / USUAL_BYTES).ok()?.max(16);
    let mut options = OptionsBuilder::new();
    options.shards(SHARDS).estimated_items_capacity(entries).weight_capacity(bound_bytes);
    let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
    let cache = Cache::with_options(options.build().ok()?, ByBytes, hasher, lifecycle);
    Some(Arc::new(Memory { cache, bound_bytes, counters: Default::default() }))
}

impl Memory {
    fn counters(&self, kind: Kind) -> &Counters {
        let [letters, rows, views] = &self.counters;
        match kind {
            Kind::Letter => letters,
            Kind::Row => rows,
            Kind::View => views,
        }
    }
}

impl ObjectCache for Memory {
    fn get(&self, key: Key) -> Option<Object> {
        let found = self.cache.get(&key);
        let Counters { hits, misses } = self.counters(key.kind);
        let counter = if found.is_some() { hits } else { misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    fn put(&self, key: Key, object: Object) {
        if ENTRY_BYTES + object.size_bytes() as u64 <= self.bound_bytes / LARGEST_PART {
            self.cache.insert(key, object);
        }
    }

    fn figures(&self, kind: Kind) -> Figures {
        let Counters { hits, misses } = self.counters(kind);
        Figures { hits: hits.load(Ordering::Relaxed), misses: misses.load(Ordering::Relaxed) }
    }

    fn size_bytes(&self) -> u64 {
        self.cache.weight()
    }
}
