//! The stored form of an index: what a letter gives returns; any bytes are refused, or sound and the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mparser::Index;

fuzz_target!(|raw: &[u8]| {
    let index = Index::of(raw);
    let stored = index.encode();
    assert_eq!(Index::decode(&stored).as_ref(), Ok(&index));
    // The stored form of this letter with one byte changed, and the bytes themselves.
    if let [place, change, ..] = raw {
        let mut damaged = stored.clone();
        let at = usize::from(*place) * damaged.len() / 256;
        if let Some(byte) = damaged.get_mut(at) {
            *byte ^= change;
        }
        check(&damaged);
    }
    check(raw);
    // A field in front of the letter: the index either knows what the new one is, or says that it does not.
    let field = b"Received: by mx.example.test\r\n";
    let mut moved = index;
    if moved.prepend(field) {
        assert_eq!(moved, Index::of(&[&field[..], raw].concat()));
    }
});

fn check(bytes: &[u8]) {
    if let Ok(index) = Index::decode(bytes) {
        assert_eq!(Index::decode(&index.encode()), Ok(index.clone()));
        drop((index.subject(), index.attachments(), index.thread_ids(), index.section(&[1, 2])));
    }
}
