//! `Index::prepend` gives what a parse of the whole would.

use mparser::Index;

const TRACE: &[u8] = b"Return-Path: <a@example.test>\r\nReceived: from a\r\n\tby b; Sun, 22 Nov 2026 18:00:00 +0100\r\n";

#[track_caller]
fn check(prefix: &[u8], letter: &[u8]) -> bool {
    let whole = [prefix, letter].concat();
    let mut index = Index::of(letter);
    let before = index.clone();
    if index.prepend(prefix) {
        assert_eq!(index, Index::of(&whole), "{:?}", String::from_utf8_lossy(letter));
        return true;
    }
    assert_eq!(index, before, "changed and refused");
    false
}

#[test]
fn every_letter() {
    let mut done = 0;
    let letters = crate::corpus::letters();
    for (_, letter) in &letters {
        done += usize::from(check(TRACE, letter));
        check(b"", letter);
    }
    assert!(done * 4 > letters.len() * 3, "only {done} of {}", letters.len());
}

#[test]
fn what_is_refused() {
    let letter = b"From: a@example.test\r\n\r\ntext\r\n";
    assert!(check(b"X-A: b\r\n", letter));
    for prefix in [
        &b"X-A: b"[..],
        b"X-A: b\n",
        b"X-A: b\r\n\r\n",
        b"junk\r\n",
        b" X-A: b\r\n",
        b"Date: today\r\n",
        b"content-type: text/html\r\n",
        b"X-A: \xff\r\n",
        b"X-A: b\r\r\n",
    ] {
        assert!(!check(prefix, letter), "{:?}", String::from_utf8_lossy(prefix));
    }
    for letter in
        [&b""[..], b"\r\nSubject: s\r\n\r\n", b" x: y\r\n\r\n", b"text", b"From a b\nA: b\n\n"]
    {
        assert!(!check(TRACE, letter), "{:?}", String::from_utf8_lossy(letter));
    }
}
