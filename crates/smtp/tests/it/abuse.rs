//! Strangers who mean no good: odd addresses, relays, floods.

use crate::world::World;
use smtp::Kind::{self, Lmtp, Smtp};

async fn check_recipients(kind: Kind, rows: &[(&str, &str)]) {
    let world = World::new().await;
    let mut client = world.connect(kind);
    client.steps("S: 220 *").await;
    client.send(if kind == Lmtp { "LHLO c\r\n" } else { "EHLO c\r\n" }).await;
    while client.line().await.starts_with("250-") {}
    client.steps("C: MAIL FROM:<a@b.test> SMTPUTF8\nS: 250 *").await;
    for (recipient, expect) in rows {
        client.send(format!("RCPT TO:{recipient}\r\n")).await;
        let reply = client.line().await;
        assert!(reply.starts_with(expect), "{recipient:?}: {reply:?}");
    }
    client.play("C: DATA\nS: 503 5.5.1 *\nC: QUIT\nS: 221 *").await;
    for name in ["alice", "bob"] {
        assert!(world.inbox(name).await.is_empty());
    }
}

#[tokio::test]
async fn hostile_recipients() {
    let long_local = format!("<{}@example.test>", "a".repeat(65));
    let long_domain = format!("<alice@{}test>", "abcdefghi.".repeat(30));
    let rows = [
        ("<|/bin/sh@example.test>", "550 5.1.1"),
        ("<|\"/bin/sh -c id\"@example.test>", "553 5.1.3"),
        ("<\"|/bin/sh -c id\"@example.test>", "550 5.1.1"),
        ("<`id`@example.test>", "550 5.1.1"),
        ("<$(id)@example.test>", "553 5.1.3"),
        ("<$IFS@example.test>", "550 5.1.1"),
        ("<../../etc/passwd@example.test>", "553 5.1.3"),
        ("<\"../alice\"@example.test>", "550 5.1.1"),
        ("<%n%n%s@example.test>", "550 5.1.1"),
        ("<'; DROP TABLE accounts; --@example.test>", "553 5.1.3"),
        ("<\"' OR 1=1 --\"@example.test>", "550 5.1.1"),
        ("<alice'--@example.test>", "550 5.1.1"),
        (&long_local, "553 5.1.3"),
        (&long_domain, "553 5.1.3"),
        ("<>", "501 5.1.3"),
        ("< >", "553 5.1.3"),
        ("<@>", "553 5.1.3"),
        ("<alice@>", "553 5.1.3"),
        ("<@example.test>", "553 5.1.3"),
        ("alice@example.test", "501 5.5.4"),
        ("<alice@example.test", "501 5.5.4"),
        ("<alice\0@example.test>", "501 5.5.2"),
        ("<alice\r@example.test>", "501 5.5.2"),
        ("<alice@example.test> X=1", "555 5.5.4"),
        ("<alice\u{202e}@example.test>", "550 5.1.1"),
        ("<\u{430}lice@example.test>", "550 5.1.1"),
    ];
    for kind in [Smtp, Lmtp] {
        check_recipients(kind, &rows).await;
    }
}

#[tokio::test]
async fn no_relay() {
    let rows = [
        ("<victim@other.test>", "554 5.7.1"),
        ("<victim%other.test@example.test>", "550 5.1.1"),
        ("<victim@other.test@example.test>", "553 5.1.3"),
        ("<@example.test:victim@other.test>", "554 5.7.1"),
        ("<@example.test,@b.test:victim@other.test>", "554 5.7.1"),
        ("<other.test!victim>", "553 5.1.3"),
        ("<other.test!victim@example.test>", "550 5.1.1"),
        ("<\"victim@other.test\"@example.test>", "550 5.1.1"),
        ("<\"victim@other.test\">", "553 5.1.3"),
        ("<victim@[127.0.0.1]>", "554 5.7.1"),
        ("<victim@[192.0.2.1]>", "554 5.7.1"),
        ("<alice@sub.example.test>", "554 5.7.1"),
        ("<alice@example.test.>", "553 5.1.3"),
        ("<alice@notexample.test>", "554 5.7.1"),
    ];
    for kind in [Smtp, Lmtp] {
        check_recipients(kind, &rows).await;
    }
}

#[tokio::test]
async fn three_thousand_recipients() {
    let mut world = World::new().await;
    world.limits.recipients = 1000;
    let mut client = world.connect(Smtp);
    client.steps("S: 220 *\nC: HELO c\nS: 250 *\nC: MAIL FROM:<a@b.test>\nS: 250 *").await;
    let rcpt = |n| format!("RCPT TO:<alice+{n}@example.test>\r\n");
    client.send((0..3000).map(rcpt).collect::<Vec<_>>().concat()).await;
    for n in 0..3000 {
        let line = client.line().await;
        let expect = match n {
            0..1000 => "250 2.1.5 ",
            1000..2000 => "452 4.5.3 ",
            2000 => "421 4.5.3 ",
            _ => "",
        };
        assert!(line.starts_with(expect), "{n}: {line:?}");
        assert_eq!(line.is_empty(), n > 2000, "{n}: {line:?}");
    }
}

#[tokio::test]
async fn a_thousand_recipients_are_one_letter() {
    let mut world = World::new().await;
    world.limits.recipients = 3;
    let mut client = world.connect(Lmtp);
    client.steps("S: 220 *\nC: LHLO c").await;
    while client.line().await.starts_with("250-") {}
    client
        .play(
            "C: MAIL FROM:<a@b.test>
             S: 250 *
             C: RCPT TO:<alice@example.test>
             S: 250 *
             C: RCPT TO:<bob@example.test>
             S: 250 *
             C: RCPT TO:<bob+1@example.test>
             S: 250 *
             C: RCPT TO:<bob+2@example.test>
             S: 452 4.5.3 *
             C: DATA
             S: 354 *
             C: x
             C: .
             S: 250 *
             S: 250 *
             S: 250 *
             C: QUIT
             S: 221 *",
        )
        .await;
    assert_eq!(world.bodies("bob").await, ["x\r\n"]);
}

#[tokio::test]
async fn guessing_recipients_ends_the_session() {
    let world = World::new().await;
    let mut client = world.connect(Smtp);
    client.steps("S: 220 *\nC: HELO c\nS: 250 *\nC: MAIL FROM:<>\nS: 250 *").await;
    for n in 0..99 {
        client.send(format!("RCPT TO:<guess{n}@example.test>\r\n")).await;
        assert!(client.line().await.starts_with("550 5.1.1 "));
    }
    client.play("C: RCPT TO:<guess@example.test>\nS: 421 4.7.0 *").await;
}

#[tokio::test]
async fn garbage() {
    let world = World::new().await;
    let mut client = world.connect(Smtp);
    client.steps("S: 220 *").await;
    client.send("x".repeat(100_000) + "\r\nNOOP\r\n").await;
    client.steps("S: 500 5.5.2 *\nS: 250 *").await;
    client.send("x".repeat(2 << 20)).await;
    client.play("S: 500 5.5.2 *").await;
    let mut tls = world.connect(Smtp);
    tls.steps("S: 220 *").await;
    tls.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n").await;
    tls.play("S: 500 5.5.2 *").await;
}

#[tokio::test]
async fn odd_letters_are_letters() {
    let world = World::new().await;
    let huge_header = format!("X-Long: {}\r\n\r\nbody\r\n", "a ".repeat(3 << 20));
    let long_line = format!("Subject: x\r\n\r\n{}\r\n", "b".repeat(8 << 20));
    for letter in
        [&huge_header, &long_line, "", "\r\n", "no header\r\n", " folded first\r\n", "a\0b\r\n"]
    {
        let mut client = world.connect(Smtp);
        client
            .steps(
                "S: 220 *\nC: HELO c\nS: 250 *\nC: MAIL FROM:<>\nS: 250 *
                 C: RCPT TO:<alice@example.test>\nS: 250 *\nC: DATA\nS: 354 *",
            )
            .await;
        client.send(format!("{letter}.\r\n")).await;
        client.play("S: 250 *\nC: QUIT\nS: 221 *").await;
        let letters = world.inbox("alice").await;
        let (trace, stored) =
            letters.last().unwrap().split_at(letters.last().unwrap().len() - letter.len());
        assert!(stored == letter, "{} of {} bytes", stored.len(), letter.len());
        let last_field = if letter.starts_with(' ') { "\nX-Defect: " } else { "\nX-Spam-Status: " };
        assert!(trace.contains(last_field) && trace.ends_with("\r\n"), "{trace}");
    }
}

#[tokio::test]
async fn an_end_in_the_middle_stores_nothing() {
    let world = World::new().await;
    for cut in ["Subject: x\r\n", "x\r\n.", "x\r\n.\r", "x\r\n..\r\n"] {
        let mut client = world.connect(Smtp);
        client
            .steps(
                "S: 220 *\nC: HELO c\nS: 250 *\nC: MAIL FROM:<>\nS: 250 *
                 C: RCPT TO:<alice@example.test>\nS: 250 *\nC: DATA\nS: 354 *",
            )
            .await;
        client.send(cut).await;
        assert_eq!(client.rest().await, "", "{cut:?}");
    }
    assert!(world.inbox("alice").await.is_empty());
}

const PIECES: [&[u8]; 34] = [
    b"EHLO c",
    b"LHLO c",
    b"HELO",
    b"MAIL FROM:<a@b.test>",
    b"MAIL FROM:<",
    b"RCPT TO:<alice@example.test>",
    b"RCPT TO:<\"",
    b"DATA",
    b"BDAT 5",
    b"BDAT 99999999999999999999",
    b"BDAT 3 LAST",
    b"RSET",
    b"QUIT",
    b"STARTTLS",
    b"AUTH PLAIN AGFsaWNlAHNlY3JldA==",
    b"AUTH LOGIN",
    b"XCLIENT ADDR=IPV6:",
    b"XFORWARD HELO=+",
    b"NOTIFY=NEVER,SUCCESS",
    b"ORCPT=;+",
    b" ENVID=+4",
    b"HOLDUNTIL=2026-11-22T18:00:00\xc5\xbc",
    b" SIZE=-",
    b" BODY=BINARYMIME",
    b" SMTPUTF8",
    b"\r\n",
    b"\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b".\r\n",
    b"\0",
    b"\xff\xfe",
    b" ",
];

/// Commands put together at random from good and bad pieces: whatever is said, the session ends by itself, every reply is
/// a reply, and the store is sound. The seed of a failing one is in the message.
#[tokio::test]
async fn whatever_is_said() {
    let mut world = World::new().await;
    world.has_queue = true;
    world.xclient_from = vec!["0.0.0.0/0".parse().unwrap()];
    world.limits.message_bytes = 1000;
    world.limits.idle_timeout_ms = 2000;
    let mut seen = std::collections::BTreeSet::new();
    for seed in 1..=1000_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut next = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        let kind = [Smtp, Lmtp, Kind::Submission][next(3)];
        let mut said = Vec::new();
        for _ in 0..next(60) {
            said.extend_from_slice(PIECES[next(PIECES.len())]);
            if next(4) > 0 {
                said.extend_from_slice(b"\r\n");
            }
        }
        let mut client = world.connect(kind);
        client.send(&said).await;
        let heard = client.rest().await;
        for line in heard.lines() {
            let code = line.get(..3).and_then(|code| code.parse::<u16>().ok());
            let is_reply = code.is_some_and(|c| (200..600).contains(&c));
            assert!(is_reply, "seed {seed}: {said:?}: {line:?}");
            seen.insert(code.unwrap());
        }
    }
    // It went beyond the first line.
    for code in [220, 221, 235, 250, 334, 354, 500, 501, 502, 503, 530, 550, 553] {
        assert!(seen.contains(&code), "{code} is not among {seen:?}");
    }
}
