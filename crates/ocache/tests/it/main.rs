//! The contract: what every cache engine must do.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use bytes::Bytes;
use ocache::{ENGINES, Key, Kind, ObjectCache};

const BOUND_BYTES: u64 = 1 << 20;

fn on_every_engine(test: impl Fn(&dyn ObjectCache)) {
    for engine in ENGINES {
        test(&*ocache::open(&format!("{}:{BOUND_BYTES}", engine.scheme)).unwrap());
    }
}

fn key(id: u64, version: u64) -> Key {
    Key { kind: Kind::Letter, id, version }
}

#[test]
fn what_is_put_is_found_under_its_key_alone() {
    on_every_engine(|cache| {
        cache.put(key(1, 1), Bytes::from_static(b"one"));
        assert_eq!(cache.get(key(1, 1)).as_deref(), Some(&b"one"[..]));
        assert_eq!(cache.get(key(1, 2)), None);
        assert_eq!(cache.get(key(2, 1)), None);
        let figures = cache.figures();
        assert_eq!((figures.hits, figures.misses), (1, 2));
    });
}

#[test]
fn it_never_grows_past_its_bound() {
    on_every_engine(|cache| {
        for id in 0..2000 {
            cache.put(key(id, 0), Bytes::from(vec![b'x'; 10_000]));
            assert!(cache.figures().bytes <= BOUND_BYTES);
        }
        cache.put(key(5000, 0), Bytes::from(vec![b'x'; 500_000]));
        assert!(cache.get(key(5000, 0)).is_none(), "one object may not push out the rest");
    });
}

#[test]
fn unknown_engines_open_nothing() {
    assert!(ENGINES.is_sorted_by(|a, b| a.scheme < b.scheme));
    for bad in ["", "memory", "memory:x", "disk:1"] {
        assert!(ocache::open(bad).is_none(), "{bad}");
    }
}
