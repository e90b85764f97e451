//! FETCH of much, and of odd letters: every byte as it was stored, in few writes.

use crate::harness::{Client, MIXED, NESTED, PLAIN, Server};
use std::sync::atomic::Ordering;
use std::time::Duration;
use storage::{Letter, Target};
use tokio::io::{AsyncBufReadExt, AsyncReadExt};

/// The bytes of the one literal in the answer to `command`.
async fn literal(client: &mut Client, command: &str) -> Vec<u8> {
    client.send(format!("t {command}\r\n").as_bytes()).await;
    let line = client.line().await;
    let size = line.rsplit_once('{').and_then(|(_, size)| size.strip_suffix('}'));
    let mut bytes = vec![0; size.unwrap_or_else(|| panic!("{command}: {line}")).parse().unwrap()];
    client.stream.read_exact(&mut bytes).await.unwrap();
    let (_, status) = client.answer("t").await;
    assert!(status.starts_with("OK"), "{status}");
    bytes
}

async fn deliver(server: &Server, letter: &[u8]) {
    let letter = Letter::parse(letter.to_vec().into());
    let arrived = server.store.deliver(letter, vec![Target::inbox(server.alice)]).await.unwrap();
    assert!(arrived[0].is_ok());
}

/// RFC 9051 §5.5: what a client sends in one packet is answered in order, each command on what those before it did.
#[tokio::test]
async fn all_in_one_packet() {
    let server = Server::start().await;
    server.deliver_letters().await;
    let mut client = server.connect();
    let said = b"a LOGIN alice@example.test secret\r\nb SELECT INBOX\r\nc FETCH 2 (UID FLAGS)\r\n\
        d STORE 2 +FLAGS.SILENT (\\Deleted)\r\ne EXPUNGE\r\nf FETCH 2 UID\r\ng LOGOUT\r\n";
    client.send(said).await;
    let heard = client.rest().await;
    let lines: Vec<&str> = heard.lines().collect();
    let expect = [
        "a OK ",
        "b OK ",
        "* 2 FETCH (UID 2 FLAGS ())",
        "c OK ",
        "d OK ",
        "* 2 EXPUNGE",
        "e OK ",
        "* 2 FETCH (UID 3)",
        "f OK ",
        "* BYE ",
        "g OK ",
    ];
    let places = expect.map(|line| lines.iter().position(|said| said.starts_with(line)));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} {heard}");
}

#[tokio::test]
async fn ten_thousand_rows_take_few_writes() {
    let server = Server::start().await;
    server.deliver_letters().await;
    let mut client = server.select().await;
    for _ in 0..12 {
        client.ok("COPY 1:* INBOX").await;
    }
    client.ok("UID MOVE 10001:* Trash").await;
    // So that the first MODSEQ asked for does not say the state of the mailbox first.
    client.ok("ENABLE CONDSTORE").await;
    let small = ["FLAGS", "UID", "(UID FLAGS INTERNALDATE RFC822.SIZE MODSEQ EMAILID)"];
    let large = ["ENVELOPE", "BODYSTRUCTURE", "FULL", "BODY.PEEK[HEADER.FIELDS (From Subject)]"];
    for items in small.into_iter().chain(large) {
        let before = client.writes();
        let lines = client.ok(&format!("FETCH 1:* {items}")).await;
        assert!(lines.len() >= 10_000 && lines[0].starts_with("* 1 FETCH ("));
        let writes = client.writes() - before;
        assert!(writes < 200, "{items}: {writes} writes");
    }
    let found = client.ok("UID SEARCH SEEN").await;
    assert_eq!(found[0].split(' ').count(), 2 + 6_667);
}

#[tokio::test]
async fn letters_come_back_byte_for_byte() {
    let server = Server::start().await;
    let large: Vec<u8> = b"Subject: large\r\n\r\n"
        .iter()
        .copied()
        .chain((0..3_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]))
        .collect();
    let letters: Vec<&[u8]> = vec![
        MIXED.as_bytes(),
        NESTED.as_bytes(),
        &large,
        b"no header at all",
        b"Subject: lines\n\nwith LF\nonly\n",
        b"Subject: \xff\xfe 8-bit\r\n\r\n\x00\x01\x80\xff)\r\nt OK not the end\r\n",
        b"\r\n",
        b"From: x",
    ];
    for letter in &letters {
        deliver(&server, letter).await;
    }
    let mut client = server.select().await;
    for (letter, number) in letters.iter().zip(1..) {
        let whole = literal(&mut client, &format!("FETCH {number} BODY.PEEK[]")).await;
        assert!(whole == *letter, "letter {number}");
        let header = literal(&mut client, &format!("FETCH {number} RFC822.HEADER")).await;
        let text = literal(&mut client, &format!("FETCH {number} BODY.PEEK[TEXT]")).await;
        assert!([header, text].concat() == *letter, "letter {number} in two");
        let mut pieces = Vec::new();
        let step = letter.len() / 3 + 1;
        for first in (0..letter.len()).step_by(step) {
            let command = format!("FETCH {number} BODY.PEEK[]<{first}.{step}>");
            pieces.extend(literal(&mut client, &command).await);
        }
        assert!(pieces == *letter, "letter {number} in pieces");
    }
}

#[tokio::test]
async fn sections_are_parts_of_the_letter() {
    let server = Server::start().await;
    server.deliver_letters().await;
    let mut client = server.select().await;
    let inner = NESTED.split_once("message/rfc822\r\n\r\n").unwrap().1;
    let inner = inner.split_once("\r\n--out--").unwrap().0;
    let (inner_header, inner_text) = inner.split_once("\r\n\r\n").unwrap();
    for (command, expect) in [
        ("2 BODY.PEEK[2]", "JVBERi0xLjQK"),
        (
            "2 BODY.PEEK[1.MIME]",
            "Content-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: quoted-printable\r\n\r\n",
        ),
        ("3 BODY.PEEK[1.MIME]", "\r\n"),
        ("3 BODY.PEEK[2]", inner),
        ("3 BODY.PEEK[2.HEADER]", &format!("{inner_header}\r\n\r\n")),
        ("3 BODY.PEEK[2.TEXT]", inner_text),
        ("3 BODY.PEEK[2.MIME]", "Content-Type: message/rfc822\r\n\r\n"),
        ("3 BODY.PEEK[2.HEADER.FIELDS (From)]", "From: dan@example.test\r\n\r\n"),
        ("3 BODY.PEEK[2.2]", "<p>html plans</p>"),
        ("3 BODY.PEEK[2.2]<3.4>", "html"),
    ] {
        let found = literal(&mut client, &format!("FETCH {command}")).await;
        assert_eq!(String::from_utf8(found).unwrap(), expect, "{command}");
    }
    for missing in ["3", "1.1", "2.3", "1.HEADER", "0.1", "2.1.1"] {
        let (lines, status) = client.ask(&format!("FETCH 3 BODY.PEEK[{missing}]")).await;
        if missing == "0.1" {
            assert!(status.starts_with("BAD"));
        } else {
            assert_eq!(lines, [format!("* 3 FETCH (BODY[{missing}] NIL)")]);
        }
    }
}

#[tokio::test]
async fn huge_structures_are_told_soon() {
    let server = Server::start().await;
    let level = |depth: u32| {
        format!("Content-Type: multipart/mixed; boundary=b{depth}\r\n\r\n--b{depth}\r\n")
    };
    let nested: String = (0..5_000).map(level).collect();
    let flat = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n{}--b--\r\n",
        "--b\r\n\r\nx\r\n".repeat(100_000)
    );
    deliver(&server, nested.as_bytes()).await;
    deliver(&server, flat.as_bytes()).await;
    let mut client = server.select().await;
    let begin = std::time::Instant::now();
    let lines = client.ok("FETCH 1:2 (ENVELOPE BODYSTRUCTURE)").await;
    assert_eq!(lines.len(), 2);
    let open = |line: &str| line.bytes().filter(|b| *b == b'(').count();
    assert!((60..200).contains(&open(&lines[0])), "{}", open(&lines[0]));
    assert!((9_000..11_000).contains(&open(&lines[1])), "{}", open(&lines[1]));
    assert!(begin.elapsed().as_secs() < 1, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn one_damaged_letter_does_not_hide_the_others() {
    let server = Server::start().await;
    for text in ["first", "second", "third"] {
        deliver(&server, format!("Subject: x\r\n\r\nthe {text} text\r\n").as_bytes()).await;
    }
    server.folder.is_damaged.store(true, Ordering::Relaxed);
    for entry in std::fs::read_dir(server.folder.place.path().join("log")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(10).position(|window| window == b"the second") {
            bytes[at] ^= 1;
            std::fs::write(path, bytes).unwrap();
        }
    }
    let mut client = server.select().await;
    let (lines, status) = client.ask("FETCH 1:3 (UID BODY.PEEK[TEXT])").await;
    let told = "* 1 FETCH (UID 1 BODY[TEXT] {16}|the first text|)|* 3 FETCH (UID 3 BODY[TEXT] {16}|the third text|)";
    assert_eq!(lines.join("|"), told);
    assert!(status.starts_with("NO [CORRUPTION] Stored bytes are damaged"), "{status}");
    assert_eq!(client.ok("FETCH 2 RFC822.SIZE").await, ["* 2 FETCH (RFC822.SIZE 31)"]);
}

/// RFC 9585: the clock runs away while the store is at work.
#[tokio::test]
async fn a_long_copy_says_that_it_goes_on() {
    let server = Server::start().await;
    let mut client = server.select().await;
    server.deliver(PLAIN, &[], 0).await;
    client.ok("NOOP").await;
    for _ in 0..12 {
        client.ok("COPY 1:* INBOX").await;
    }
    for (command, answer) in
        [("COPY 1:* Sent", "t OK [COPYUID "), ("MOVE 1:* Trash", "* OK [COPYUID ")]
    {
        client.send(format!("t {command}\r\n").as_bytes()).await;
        tokio::time::pause();
        let mut signs = 0;
        let said = loop {
            // The store needs milliseconds, this does not.
            tokio::time::advance(Duration::from_secs(11)).await;
            tokio::select! {
                biased;
                there = client.stream.fill_buf() => assert!(!there.unwrap().is_empty()),
                () = tokio::task::yield_now() => continue,
            }
            let line = client.line().await;
            if !line.starts_with("* OK [INPROGRESS (\"t\" NIL NIL)] ") {
                break line;
            }
            signs += 1;
        };
        tokio::time::resume();
        assert!(said.starts_with(answer) && signs > 0, "{said:.100} after {signs} signs");
    }
}
