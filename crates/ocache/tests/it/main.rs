//! The contract: what every cache engine must do.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use bytes::Bytes;
use ocache::{ENGINES, Figures, Key, Kind, Object, ObjectCache};
use std::sync::Arc;

const BOUND_BYTES: u64 = 1 << 20;

fn on_every_engine(test: impl Fn(&dyn ObjectCache)) {
    for engine in ENGINES {
        test(&*ocache::open(&format!("{}:{BOUND_BYTES}", engine.scheme)).unwrap());
    }
}

fn key(id: u64) -> Key {
    Key { kind: Kind::Letter, owner: 0, id }
}

fn letter(size_bytes: usize) -> Object {
    Bytes::from(vec![b'x'; size_bytes]).into()
}

#[test]
fn what_is_put_is_found_under_its_key_alone() {
    on_every_engine(|cache| {
        let rows = Key { kind: Kind::Row, ..key(1) };
        cache.put(key(1), Bytes::from_static(b"one").into());
        assert_eq!(cache.get(key(1)).unwrap().into_bytes().as_deref(), Some(&b"one"[..]));
        assert!(cache.get(Key { owner: 1, ..key(1) }).is_none());
        assert!(cache.get(key(2)).is_none());
        assert!(cache.get(rows).is_none());
        assert_eq!(cache.figures(Kind::Letter), Figures { hits: 1, misses: 2 });
        assert_eq!(cache.figures(Kind::Row), Figures { hits: 0, misses: 1 });
        assert_eq!(cache.figures(Kind::View), Figures::default());
    });
}

#[test]
fn the_newest_object_under_a_key_is_the_one() {
    on_every_engine(|cache| {
        cache.put(key(1), letter(10));
        cache.put(key(1), letter(20));
        assert_eq!(cache.get(key(1)).unwrap().size_bytes(), 20);
    });
}

#[test]
fn values_are_shared_and_keep_their_type() {
    on_every_engine(|cache| {
        let value = Arc::new(vec![1_u64, 2]);
        cache.put(key(1), Object::decoded(value.clone(), 16));
        // One that keeps its objects elsewhere may not take it.
        let Some(found) = cache.get(key(1)) else { return };
        assert!(found.clone().into_bytes().is_none());
        assert!(found.clone().into_value::<String>().is_none());
        assert!(Arc::ptr_eq(&found.into_value().unwrap(), &value));
    });
}

#[test]
fn it_never_grows_past_its_bound() {
    on_every_engine(|cache| {
        for id in 0..2000 {
            let size_bytes = if id % 3 == 0 { 50_000 } else { 5_000 };
            let object = match id % 2 {
                0 => letter(size_bytes),
                _ => Object::decoded(Arc::new(id), size_bytes),
            };
            cache.put(key(id), object);
            assert!(cache.size_bytes() <= BOUND_BYTES);
        }
        assert!(cache.size_bytes() > BOUND_BYTES / 2);
        cache.put(key(5000), letter(500_000));
        assert!(cache.get(key(5000)).is_none(), "one object may not push out the rest");
    });
}

/// A newer object under the same key counts once.
#[test]
fn replacing_does_not_count_twice() {
    on_every_engine(|cache| {
        for round in 0..1000 {
            cache.put(key(round % 4), letter(50_000 + usize::try_from(round).unwrap()));
        }
        assert!(cache.size_bytes() <= 4 * 60_000);
    });
}

#[test]
fn unknown_engines_open_nothing() {
    assert!(ENGINES.is_sorted_by(|a, b| a.scheme < b.scheme));
    for bad in ["", "memory", "memory:x", "disk:1"] {
        assert!(ocache::open(bad).is_none(), "{bad}");
    }
}
