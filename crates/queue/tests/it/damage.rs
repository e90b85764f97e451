//! Torn ends are cut off; damage is named and nothing is sent.

use crate::world::{START_UNIX_S, letter, options, text};
use queue::{Error, Queue};
use std::path::Path;
use std::sync::Arc;
use types::ManualClock;

fn open(folder: &Path) -> queue::Result<Queue> {
    Queue::open(options(folder), Arc::new(ManualClock::at_unix_s(START_UNIX_S)))
}

/// Five letters, one after the other; the bytes of the file.
async fn five(folder: &Path) -> Vec<u8> {
    let queue = open(folder).unwrap();
    for n in 0..5 {
        let envelope = letter("a@example.test", &["b@else.test"]);
        queue.accept(format!("A{n}"), envelope, text(n)).await.unwrap();
    }
    queue.close().await;
    std::fs::read(folder.join("00000001.queue")).unwrap()
}

#[tokio::test]
async fn a_file_cut_anywhere_has_the_letters_before() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = five(folder.path()).await;
    let mut last = 0;
    for end in 0..=bytes.len() {
        let copy = tempfile::tempdir().unwrap();
        std::fs::write(copy.path().join("00000001.queue"), &bytes[..end]).unwrap();
        let queue = open(copy.path()).unwrap();
        let count = queue.len();
        assert!(count >= last, "cut to {end}");
        last = count;
        if end % 97 == 0 {
            // And it takes letters again.
            let envelope = letter("a@example.test", &["b@else.test"]);
            queue.accept("NEW".to_owned(), envelope, text(9)).await.unwrap();
            queue.close().await;
            drop(queue);
            assert_eq!(open(copy.path()).unwrap().len(), count + 1);
        }
    }
    assert_eq!(last, 5);
}

#[tokio::test]
async fn a_flipped_bit_is_found_by_file_and_byte() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = five(folder.path()).await;
    let (mut refused, mut cut) = (0, 0);
    for at in 0..bytes.len() {
        let copy = tempfile::tempdir().unwrap();
        let mut wrong = bytes.clone();
        wrong[at] ^= 0x10;
        std::fs::write(copy.path().join("00000001.queue"), wrong).unwrap();
        match open(copy.path()) {
            Ok(queue) => {
                // Only the last frame may be taken for a torn one.
                assert_eq!(queue.len(), 4, "byte {at}");
                cut += 1;
            }
            Err(Error::Corrupt(what)) => {
                assert!(what.contains("00000001.queue"), "{what}");
                refused += 1;
            }
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    assert!(refused > cut * 3, "{refused} refused, {cut} cut");
}

#[tokio::test]
async fn a_letter_full_of_frames_is_a_letter() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = five(folder.path()).await;
    let copy = tempfile::tempdir().unwrap();
    let queue = open(copy.path()).unwrap();
    let envelope = letter("a@example.test", &["b@else.test"]);
    queue.accept("EVIL".to_owned(), envelope, bytes.repeat(20).into()).await.unwrap();
    queue.close().await;
    drop(queue);
    let file = copy.path().join("00000001.queue");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    // Torn: nothing in it passes for a frame of this file.
    assert!(open(copy.path()).unwrap().is_empty());
}
