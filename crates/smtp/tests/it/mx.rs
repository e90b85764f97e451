//! SMTP as RFC 5321 has it.

use crate::world::{World, without_trace};
use smtp::Kind::Smtp;
use types::SpecialUse;

#[tokio::test]
async fn a_letter_arrives() {
    let world = World::new().await;
    world
        .talk(
            Smtp,
            r"S: 220 mx.example.test ESMTP OpenPoczta
              C: EHLO client.example.test
              S: 250-mx.example.test
              S: 250-8BITMIME
              S: 250-BINARYMIME
              S: 250-CHUNKING
              S: 250-ENHANCEDSTATUSCODES
              S: 250-LIMITS RCPTMAX=1000
              S: 250-PIPELINING
              S: 250-SIZE 52428800
              S: 250 SMTPUTF8
              C: MAIL FROM:<Smith@bar.test> SIZE=100 BODY=8BITMIME
              S: 250 2.1.0 *
              C: RCPT TO:<alice+lists@example.test>
              S: 250 2.1.5 *
              C: DATA
              S: 354 *
              C: From: Smith@bar.test
              C: Date: Sun, 22 Nov 2026 18:00:00 +0000
              C: Subject: dots
              C: 
              C: ..
              C: .. two
              C: .\xc5\xbc
              C: .
              S: 250 2.0.0 *
              C: QUIT
              S: 221 2.0.0 *",
        )
        .await;
    let letters = world.inbox("alice").await;
    assert_eq!(letters.len(), 1);
    let trace = &letters[0];
    assert!(trace.starts_with("Return-Path: <Smith@bar.test>\r\nReceived: from client.example.test ([192.0.2.7])\r\n\tby mx.example.test with ESMTP id "), "{trace}");
    assert!(trace.contains("\r\n\tfor <alice+lists@example.test>;\r\n\tSun, 22 Nov 2026 18:00:00 +0000\r\nX-Spam-Status: "), "{trace}");
    assert_eq!(
        without_trace(trace),
        "From: Smith@bar.test\r\nDate: Sun, 22 Nov 2026 18:00:00 +0000\r\nSubject: dots\r\n\r\n.\r\n. two\r\nż\r\n"
    );
    assert!(world.inbox("bob").await.is_empty());
}

#[tokio::test]
async fn helo_and_several_letters_in_one_session() {
    let world = World::new().await;
    world
        .talk(
            Smtp,
            r"S: 220 *
              C: HELO old
              S: 250 mx.example.test
              C: MAIL FROM:<>
              S: 250 *
              C: RCPT TO:<alice@example.test>
              S: 250 *
              C: RCPT TO:<BOB@Example.Test>
              S: 250 *
              C: RCPT TO:<alice+again@example.test>
              S: 250 *
              C: DATA
              S: 354 *
              C: Subject: one
              C: 
              C: .
              S: 250 *
              C: mail from: <x@y.test>
              S: 250 *
              C: rcpt to:<bob@example.test>
              S: 250 *
              C: data
              S: 354 *
              C: .
              S: 250 *
              C: quit
              S: 221 *",
        )
        .await;
    assert_eq!(world.bodies("alice").await, ["Subject: one\r\n\r\n"], "one copy for two addresses");
    assert_eq!(world.bodies("bob").await, ["Subject: one\r\n\r\n", ""]);
    let letter = &world.inbox("alice").await[0];
    assert!(letter.starts_with("Return-Path: <>\r\nReceived: from old ([192.0.2.7])\r\n\tby mx.example.test with SMTP id "), "{letter}");
    assert!(!letter.contains("\tfor <"), "nobody learns about the others");
}

#[tokio::test]
async fn everything_in_one_write_is_answered_in_order() {
    let world = World::new().await;
    world
        .talk(
            Smtp,
            r"S: 220 *
              C| EHLO c\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<ghost@example.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n
              S: 250-*
              S: 250-*
              S: 250-*
              S: 250-*
              S: 250-*
              S: 250-*
              S: 250-*
              S: 250-*
              S: 250 *
              S: 250 2.1.0 *
              S: 550 5.1.1 *
              S: 250 2.1.5 *
              S: 354 *
              C| x\r\n.\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<alice@example.test>\r\nRSET\r\nNOOP\r\nQUIT\r\nMAIL FROM:<late@b.test>\r\n
              S: 250 2.0.0 *
              S: 250 2.1.0 *
              S: 250 2.1.5 *
              S: 250 2.0.0 *
              S: 250 2.0.0 *
              S: 221 *",
        )
        .await;
    assert_eq!(world.bodies("alice").await, ["x\r\n"]);
}

#[tokio::test]
async fn order_and_syntax() {
    let world = World::new().await;
    world
        .talk(
            Smtp,
            r"S: 220 *
              C: MAIL FROM:<a@b.test>
              S: 503 5.5.1 *
              C: DATA
              S: 503 5.5.1 *
              C: EHLO
              S: 501 *
              C: EHLO c
              S: 250-*
              S: 250-*
              S: 250-*
              S: 250-*
              S: 250-*
              S: 250-*
              S: 250-*
              S: 250-*
              S: 250 *
              C: RCPT TO:<alice@example.test>
              S: 503 5.5.1 *
              C: MAIL FROM:<a@b.test>
              S: 250 *
              C: MAIL FROM:<a@b.test>
              S: 503 5.5.1 *
              C: DATA
              S: 503 5.5.1 *
              C: RCPT TO:<ghost@example.test>
              S: 550 5.1.1 *
              C: DATA
              S: 503 5.5.1 *
              C: RCPT TO:<alice@example.test>
              S: 250 *
              C: DATA now
              S: 501 *
              C: HELO again
              S: 250 *
              C: DATA
              S: 503 5.5.1 *
              C: QUIT
              S: 221 *",
        )
        .await;
}

#[tokio::test]
async fn the_small_verbs_and_those_not_offered() {
    let world = World::new().await;
    world
        .talk(
            Smtp,
            r"S: 220 *
              C: HELO c
              S: 250 *
              C: RSET x
              S: 501 *
              C: RSET
              S: 250 *
              C: VRFY alice
              S: 252 2.5.2 *
              C: VRFY
              S: 501 *
              C: EXPN staff
              S: 502 5.5.1 *
              C: STARTTLS
              S: 502 5.5.1 *
              C: AUTH PLAIN
              S: 502 5.5.1 *
              C: LHLO x
              S: 500 5.5.1 *
              C: 
              S: 500 5.5.1 *
              C: GET / HTTP/1.1
              S: 500 5.5.1 *
              C: NOOP x
              S: 250 *
              C: HELP
              S: 214 2.0.0 BDAT DATA EHLO HELO HELP MAIL NOOP QUIT RCPT RSET VRFY
              C: NO\0OP
              S: 501 5.5.2 *
              C: NOOP \xff
              S: 500 5.5.2 *
              C: QUIT
              S: 221 *",
        )
        .await;
}

#[tokio::test]
async fn letters_outside_ascii() {
    let world = World::new().await;
    world
        .talk(
            Smtp,
            r"S: 220 *
              C: HELO c
              S: 250 *
              C: MAIL FROM:<\xc5\xbc\xc3\xb3\xc5\x82w@b.test>
              S: 553 5.6.7 *
              C: MAIL FROM:<\xc5\xbc\xc3\xb3\xc5\x82w@b.test> SMTPUTF8
              S: 250 *
              C: RCPT TO:<kaczka@g\xc4\x99\xc5\x9b.test>
              S: 550 5.1.1 *
              C: RCPT TO:<alice@example.test>
              S: 250 *
              C: RSET
              S: 250 *
              C: MAIL FROM:<a@b.test>
              S: 250 *
              C: RCPT TO:<kaczka@g\xc4\x99\xc5\x9b.test>
              S: 553 5.6.7 *
              C: QUIT
              S: 221 *",
        )
        .await;
}

#[tokio::test]
async fn postmaster_needs_no_domain() {
    let world = World::new().await;
    world.store.put_account("postmaster@example.test", "").await.unwrap();
    world
        .talk(
            Smtp,
            r"S: 220 *
              C: HELO c
              S: 250 *
              C: MAIL FROM:<>
              S: 250 *
              C: RCPT TO:<PostMaster>
              S: 250 2.1.5 *
              C: RCPT TO:<other>
              S: 553 5.1.3 *
              C: QUIT
              S: 221 *",
        )
        .await;
}

#[tokio::test]
async fn sizes() {
    let mut world = World::new().await;
    world.limits.message_bytes = 1000;
    world
        .talk(
            Smtp,
            r"S: 220 *
              C: HELO c
              S: 250 *
              C: MAIL FROM:<a@b.test> SIZE=1001
              S: 552 5.3.4 *
              C: MAIL FROM:<a@b.test> SIZE=18446744073709551616
              S: 552 5.3.4 *
              C: MAIL FROM:<a@b.test> SIZE=x
              S: 501 *
              C: QUIT
              S: 221 *",
        )
        .await;
    let to_data = r"
        S: 220 *
        C: HELO c
        S: 250 *
        C: MAIL FROM:<a@b.test> SIZE=5
        S: 250 *
        C: RCPT TO:<alice@example.test>
        S: 250 *
        C: DATA
        S: 354 *";
    for (lines, expect) in
        [(124, "S: 250 2.0.0 *"), (125, "S: 250 2.0.0 *"), (126, "S: 552 5.3.4 *")]
    {
        let mut client = world.connect(Smtp);
        client.steps(to_data).await;
        client.send("123456\r\n".repeat(lines) + ".\r\n").await;
        client.steps(&format!("{expect}\nC: NOOP\nS: 250 *\nC: QUIT\nS: 221 *")).await;
    }
    assert_eq!(world.inbox("alice").await.len(), 2);
    let mut client = world.connect(Smtp);
    client.steps(to_data).await;
    client.send("123456\r\n".repeat(2000)).await;
    client.play("S: 552 5.3.4 *").await;
}

#[tokio::test]
async fn silence_and_shutdown() {
    let mut world = World::new().await;
    world.limits.idle_timeout_ms = 50;
    world.connect(Smtp).play("S: 220 *\nC: HELO c\nS: 250 *\nS: 421 4.4.2 *").await;
    world.limits.idle_timeout_ms = 60_000;
    let mut client = world.connect(Smtp);
    client.steps("S: 220 *\nC: HELO c\nS: 250 *").await;
    client.stop.send(true).unwrap();
    client.play("S: 421 4.3.2 *").await;
}

#[tokio::test]
async fn junk_goes_to_junk_and_the_worst_is_refused() {
    let world = World::choosy().await;
    let script = |subject: &str, reply: &str| {
        format!(
            "S: 220 *\nC: HELO c\nS: 250 *\nC: MAIL FROM:<a@b.test>\nS: 250 *\n\
             C: RCPT TO:<alice@example.test>\nS: 250 *\nC: DATA\nS: 354 *\n\
             C: From: a@b.test\nC: Date: Sun, 22 Nov 2026 18:00:00 +0000\n\
             C: Message-ID: <1@b.test>\nC: Subject: x\nC: \nC: {subject}\nC: .\n\
             S: {reply}\nC: QUIT\nS: 221 *"
        )
    };
    world.talk(Smtp, &script(mda::TEST_STRING, "550 5.7.1 *")).await;
    assert!(world.inbox("alice").await.is_empty());
    assert!(world.letters("alice", SpecialUse::Junk).await.is_empty());
    world.talk(Smtp, &script(mda::JUNK_STRING, "250 2.0.0 *")).await;
    assert!(world.inbox("alice").await.is_empty());
    let junk = world.letters("alice", SpecialUse::Junk).await;
    assert_eq!(junk.len(), 1);
    assert!(junk[0].contains("\r\nX-Spam-Status: Yes, "), "{}", junk[0]);
}
