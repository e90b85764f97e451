//! Letters made to be slow or big. Time is compared with a letter half as long, so that a busy machine does not
//! matter: four times as much for twice the bytes would be quadratic.

use mparser::{Index, Message, PartKind, limits};
use std::time::{Duration, Instant};

/// A letter made of `n` pieces.
type Bomb = fn(usize) -> Vec<u8>;

const BOMBS: &[(&str, Bomb)] = &[
    ("headers", |n| repeat("", "X: v\r\n", n, "Subject: s\r\n\r\nx")),
    ("one long header", |n| repeat("X: ", "aaaa", n, "\r\nSubject: s\r\n\r\nx")),
    ("folds", |n| repeat("Subject: s", "\r\n x", n, "\r\n\r\nx")),
    ("junk lines", |n| repeat("Subject: s\r\n", "junk\r\n", n, "\r\nx")),
    ("leading blanks", |n| repeat("", "\r\n", n, "Subject: s\r\n\r\nx")),
    ("leading CR", |n| repeat("", "\r", n, "Subject: s\r\n\r\nx")),
    ("addresses", |n| repeat("Subject: s\r\nTo: ", "u <u@e.x>,\r\n ", n, "\r\n\r\nx")),
    ("commas", |n| repeat("Subject: s\r\nTo: ", "a,", n, "\r\n\r\nx")),
    ("comments", |n| repeat("Subject: s\r\nTo: ", "(", n, "\r\n\r\nx")),
    ("closed comments", |n| repeat("Subject: s\r\nTo: ", "(a)", n, "a@b.c\r\n\r\nx")),
    ("quotes", |n| repeat("Subject: s\r\nTo: ", "\"\\", n, "\r\n\r\nx")),
    ("angles", |n| repeat("Subject: s\r\nTo: ", "<", n, "\r\n\r\nx")),
    ("routes", |n| repeat("Subject: s\r\nTo: <", "@a:", n, "\r\n\r\nx")),
    ("groups", |n| repeat("Subject: s\r\nTo: ", "a:;", n, "\r\n\r\nx")),
    ("words in a name", |n| repeat("Subject: s\r\nTo: ", "a ", n, "a@b.c\r\n\r\nx")),
    ("references", |n| repeat("Subject: s\r\nReferences: ", "<a@b>\r\n ", n, "\r\n\r\nx")),
    ("open brackets", |n| repeat("Subject: s\r\nReferences: ", "<a", n, "\r\n\r\nx")),
    ("encoded words", |n| repeat("Subject: ", "=?utf-8?Q?=C4=85?=\r\n ", n, "\r\n\r\nx")),
    ("words without end", |n| repeat("Subject: ", "=?a?q?", n, "\r\n\r\nx")),
    ("words without charset", |n| repeat("Subject: ", "=??q?", n, "?=\r\n\r\nx")),
    ("word starts", |n| repeat("Subject: ", "=?", n, "\r\n\r\nx")),
    ("parameters", |n| repeat("Subject: s\r\nContent-Type: a/b", ";n*0=a", n, "\r\n\r\nx")),
    ("semicolons", |n| repeat("Subject: s\r\nContent-Type: a/b", ";", n, "\r\n\r\nx")),
    ("quotes in parameters", |n| {
        repeat("Subject: s\r\nContent-Type: a/b", ";a=\"", n, "\r\n\r\nx")
    }),
    ("comments in parameters", |n| repeat("Subject: s\r\nContent-Type: a/b", "(", n, "\r\n\r\nx")),
    ("blanks in a parameter", |n| {
        repeat("Subject: s\r\nContent-Type: a/b; n=", "a (", n, "\r\n\r\nx")
    }),
    ("languages", |n| repeat("Subject: s\r\nContent-Language: ", "a,", n, "\r\n\r\nx")),
    ("parts", |n| {
        repeat(
            "Subject: s\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n",
            "--x\r\n\r\n",
            n,
            "",
        )
    }),
    ("depth", |n| {
        numbered("Subject: s\r\n", n, |i| {
            format!("Content-Type: multipart/mixed; boundary=b{i}\r\n\r\n--b{i}\r\n")
        })
    }),
    ("letters in letters", |n| {
        repeat("Subject: s\r\n", "Content-Type: message/rfc822\r\n\r\n", n, "x")
    }),
    ("delimiters of others", |n| {
        let open = numbered("Subject: s\r\n", 64, |i| {
            format!("Content-Type: multipart/mixed; boundary=bbbbbbbb{i}\r\n\r\n--bbbbbbbb{i}\r\n")
        });
        [open, repeat("\r\n", "--bbbbbbbbb\r\n", n, "")].concat()
    }),
    ("html tags", |n| repeat("Subject: s\r\nContent-Type: text/html\r\n\r\n", "<style>", n, "")),
    ("html ends", |n| repeat("Subject: s\r\nContent-Type: text/html\r\n\r\n<style>", "</", n, "")),
    ("html entities", |n| repeat("Subject: s\r\nContent-Type: text/html\r\n\r\n", "&", n, "")),
    ("soft breaks", |n| {
        repeat("Subject: s\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", "= ", n, "")
    }),
    ("uuencode in text", |n| repeat("Subject: s\r\n\r\n", "begin 644 a\r\n", n, "")),
    ("uuencode without end", |n| repeat("Subject: s\r\n\r\nbegin 644 a\r\n", "#AAAA\r\n", n, "")),
    ("files in text", |n| {
        repeat("Subject: s\r\n\r\n", "begin 644 a\n#AAAA\n`\nend\n=ybegin name=b\nc\n", n, "")
    }),
    ("yEnc without end", |n| repeat("Subject: s\r\n\r\n", "=ybegin name=a\r\n", n, "")),
    ("TNEF attachments", |n| {
        let head =
            b"Subject: s\r\nContent-Type: application/ms-tnef\r\n\r\n\x78\x9f\x3e\x22\x00\x00";
        [head, &*b"\x02\x02\x90\x06\x00\x00\x00\x00\x00\x00\x00".repeat(n)].concat()
    }),
    ("TNEF properties", |n| {
        let head =
            b"Subject: s\r\nContent-Type: application/ms-tnef\r\n\r\n\x78\x9f\x3e\x22\x00\x00";
        let one = b"\x02\x02\x90\x06\x00\x00\x00\x00\x00\x00\x00\x02\x05\x90\x06\x00";
        let many = b"\xff\xff\xff\x7f\x03\x10\x00\x00\xff\xff\xff\x7f".to_vec();
        let values = [many, vec![0; 4 * n]].concat();
        let length = u32::try_from(values.len()).unwrap().to_le_bytes();
        [head, &one[..], &length, &values].concat()
    }),
    ("UTF-7", |n| {
        repeat("Subject: s\r\nContent-Type: text/plain; charset=utf-7\r\n\r\n", "+A", n, "")
    }),
    ("HZ", |n| repeat("Subject: s\r\nContent-Type: text/plain; charset=hz\r\n\r\n", "~{~", n, "")),
    ("lines of dashes", |n| {
        repeat(
            "Subject: s\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n",
            "--\r\n",
            n,
            "",
        )
    }),
    ("parameter forms", |n| {
        repeat("Subject: s\r\nContent-Type: a/b", ";n*=a;n=b;n*0=c", n, "\r\n\r\nx")
    }),
    ("uuencode", |n| {
        repeat("Subject: s\r\nContent-Transfer-Encoding: x-uue\r\n\r\n", "begin \r\n", n, "")
    }),
];

fn repeat(head: &str, piece: &str, n: usize, tail: &str) -> Vec<u8> {
    format!("{head}{}{tail}", piece.repeat(n)).into_bytes()
}

fn numbered(head: &str, n: usize, piece: impl Fn(usize) -> String) -> Vec<u8> {
    let pieces: Vec<String> = (0..n).map(piece).collect();
    format!("{head}{}", pieces.concat()).into_bytes()
}

/// The best of three: parse, decode, store.
fn cost(raw: &[u8]) -> Duration {
    let once = || {
        let start = Instant::now();
        let message = Message::parse(raw);
        let index = message.index();
        let work = (
            index.subject(),
            index.thread_ids(),
            index.attachments(),
            message.text(0),
            index.encode(),
            (message.check(), message.ambiguity(), message.all_embedded()),
        );
        std::hint::black_box(work);
        start.elapsed()
    };
    (0..3).map(|_| once()).min().unwrap()
}

#[test]
fn twice_the_bytes_take_about_twice_the_time() {
    for (name, bomb) in BOMBS {
        // Large enough to be timed; quadratic work on it would take minutes.
        let (small, large) = (bomb(50_000), bomb(100_000));
        let ratio = |_| {
            let (small, large) = (cost(&small), cost(&large));
            large.as_secs_f64() / small.as_secs_f64().max(0.000_2)
        };
        // One calm moment of seven is enough to tell two from four.
        let best = (0..7)
            .map(ratio)
            .fold(f64::INFINITY, |best, r| if best < 3.0 { best } else { best.min(r) });
        assert!(best < 3.0, "{name}: {best:.1} times as long for twice the bytes");
    }
}

#[test]
fn bombs_are_sound_and_keep_their_subject() {
    for (name, bomb) in BOMBS {
        let raw = bomb(3_000);
        println!("{name}");
        crate::shown::assert_sound(&raw);
        assert!(Index::of(&raw).envelope.subject.is_some());
    }
}

#[test]
fn limits_are_kept_and_told() {
    #[track_caller]
    fn check(raw: &[u8], defect: &str) -> Index {
        crate::shown::assert_sound(raw);
        let index = Index::of(raw);
        assert!(index.defects.iter().any(|d| d.kind.name() == defect), "{:?}", index.defects);
        index
    }
    let find = |name: &str| BOMBS.iter().find(|(n, _)| *n == name).unwrap().1;
    let raw = find("parts")(20_000);
    assert_eq!(check(&raw, "parts_reached").parts.len(), limits::parts(raw.len()));
    let index = check(&find("parts")(150_000), "parts_reached");
    assert_eq!(index.parts.len(), limits::PARTS);
    let last = index.parts.last().unwrap();
    assert_eq!(last.body.end, index.size, "what is beyond the limit stays in the last part");
    for name in ["depth", "letters in letters"] {
        let index = check(&find(name)(200), "depth_reached");
        assert_eq!(index.parts.len(), limits::DEPTH + 1);
        let opaque = index.parts.last().unwrap();
        assert_eq!((opaque.kind, &*opaque.subtype), (PartKind::Leaf, "octet-stream"));
        assert_eq!(opaque.body.end, index.size);
    }
    let index = check(&find("headers")(20_000), "headers_reached");
    assert_eq!(index.subject(), "s");
    let index = check(&find("addresses")(20_000), "addresses_reached");
    assert_eq!(index.envelope.to.len(), limits::ADDRESSES);
    let index = check(&find("parameters")(5_000), "params_reached");
    assert_eq!(index.parts[0].params.len(), 1);
    let ids = Index::of(&find("references")(5_000)).envelope.references;
    assert_eq!(ids.len(), limits::REFERENCES);
}
