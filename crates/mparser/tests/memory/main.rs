//! Reading a letter holds at most 8 times its size and 1 MB, however it is made. A binary of its own, since the allocator
//! that counts serves a whole process; one test, since threads would count each other.

use mparser::{Index, Message, View};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Each way of reading, on each letter.
#[test]
fn eight_times_the_letter() {
    let mixed = "Content-Type: multipart/mixed; boundary=x\n\n";
    let digest = "Content-Type: multipart/digest; boundary=x\n\n";
    let described = "--x\nContent-Type: a/b; c=d\nContent-Id: <e>\nContent-Description: f\n\
                     Content-Disposition: g; filename=h\nContent-Location: i\n\n";
    check("bare parts", &format!("{mixed}{}", "--x\n".repeat(15_000)));
    check("many more bare parts", &format!("{mixed}{}", "--x\n".repeat(300_000)));
    check("letters in a digest", &format!("{digest}{}", "--x\n\n".repeat(15_000)));
    check("long digest", &format!("{digest}{}", "--x\n\nTo: a\n\n".repeat(100_000)));
    check("described parts", &format!("{mixed}{}", described.repeat(12_000)));
    check("parts in parts", &"Content-Type: multipart/mixed; boundary=x\n\n--x\n".repeat(5_000));
    check("letters in letters", &"Content-Type: message/rfc822\n\n".repeat(5_000));
    check("parameters", &format!("Content-Type: a/b{}\n\n", "; c=d".repeat(100_000)));
    let part = format!("--x\nContent-Type: a/b{}\n\n", ";c=d".repeat(100));
    check("parts with parameters", &format!("{mixed}{}", part.repeat(1_000)));
    let part = format!("--x\nContent-Language: {}\n\n", "a,".repeat(100));
    check("parts with languages", &format!("{mixed}{}", part.repeat(1_000)));
    for address in ["a,", "a@b,", "a:;", "=?,", "\"\"<a@b>,"] {
        for times in [1_000, 10_000, 20_000, 200_000] {
            check(address, &format!("To: {}\n\n", address.repeat(times)));
        }
    }
    for id in ["<a>", "a@b "] {
        check(id, &format!("References: {}\n\n", id.repeat(1_000_000)));
    }
    check("fields", &"To:\n".repeat(300_000));
    check("blanks", &format!("Subject: {}\n\n", "\n ".repeat(300_000)));
    check("words", &format!("Subject: {}\n\n", "=?utf-8?q?=41?= ".repeat(60_000)));
    check("defects", &format!("{}\n", "\0\r\n".repeat(300_000)));
}

/// A way of reading, by name.
type Way = (&'static str, fn(&[u8]));

#[track_caller]
fn check(name: &str, raw: &str) {
    let raw = raw.as_bytes();
    let most = 8 * raw.len() + 1_000_000;
    let ways: [Way; 4] = [
        ("View", |raw| drop((View::parse(raw).subject(), View::parse(raw).to()))),
        ("Index::of", |raw| drop(Index::of(raw))),
        ("check", |raw| drop(Message::parse(raw).check())),
        ("stored", |raw| {
            let stored = Index::of(raw).encode();
            MEMORY.reset_peak_usage();
            drop(Index::decode(&stored));
        }),
    ];
    for (way, read) in ways {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        read(raw);
        let bytes = MEMORY.peak_usage() - before;
        assert!(bytes <= most, "{name}, {way}: {bytes} for {}, at most {most}", raw.len());
    }
}
