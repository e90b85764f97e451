//! What a server in front may say: XCLIENT for whom it speaks, XFORWARD where a letter came from.

use crate::world::{STRANGER, World};
use smtp::Kind::{Lmtp, Smtp, Submission};
use std::net::IpAddr;
use types::Peer;

const FRONT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 5));

async fn world() -> World {
    let mut world = World::new().await;
    world.xclient_from = vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.1".parse().unwrap()];
    world
}

#[tokio::test]
async fn another_client() {
    let world = world().await;
    let client = world.connect_from(Smtp, Peer::plain(FRONT));
    client
        .play(
            r"S: 220 *
              C: EHLO proxy.test
              S: 250-mx.example.test
              S: 250-8BITMIME
              S: 250-BINARYMIME
              S: 250-CHUNKING
              S: 250-ENHANCEDSTATUSCODES
              S: 250-LIMITS RCPTMAX=1000
              S: 250-PIPELINING
              S: 250-SIZE 52428800
              S: 250-SMTPUTF8
              S: 250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN
              S: 250 XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE
              C: XCLIENT NAME=spike.test ADDR=IPV6:2001:db8::7 PORT=4000
              S: 220 mx.example.test ESMTP *
              C: MAIL FROM:<a@b.test>
              S: 503 5.5.1 *
              C: EHLO spike.test
              S: 250-mx.example.test
              S: 250-8BITMIME
              S: 250-BINARYMIME
              S: 250-CHUNKING
              S: 250-ENHANCEDSTATUSCODES
              S: 250-LIMITS RCPTMAX=1000
              S: 250-PIPELINING
              S: 250-SIZE 52428800
              S: 250-SMTPUTF8
              S: 250-XCLIENT *
              S: 250 XFORWARD *
              C: MAIL FROM:<a@b.test>
              S: 250 *
              C: RCPT TO:<alice@example.test>
              S: 250 *
              C: DATA
              S: 354 *
              C: .
              S: 250 *
              C: XCLIENT ADDR=192.0.2.9 HELO=old.test PROTO=SMTP NAME=[TEMPUNAVAIL]
              S: 220 *
              C: MAIL FROM:<a@b.test>
              S: 250 *
              C: RCPT TO:<alice@example.test>
              S: 250 *
              C: DATA
              S: 354 *
              C: .
              S: 250 *
              C: QUIT
              S: 221 *",
        )
        .await;
    let letters = world.inbox("alice").await;
    assert!(
        letters[0].contains(
            "Received: from spike.test ([IPv6:2001:db8::7])\r\n\tby mx.example.test with ESMTP "
        ),
        "{}",
        letters[0]
    );
    assert!(
        letters[1]
            .contains("Received: from old.test ([192.0.2.9])\r\n\tby mx.example.test with SMTP "),
        "{}",
        letters[1]
    );
}

#[tokio::test]
async fn a_login_in_front() {
    let world = world().await;
    for (login, reply) in [
        ("alice@example.test", "S: 220 *\nC: EHLO c"),
        ("bob", "S: 220 *\nC: EHLO c"),
        ("ghost@example.test", "S: 535 5.7.8 *\nC: QUIT\nS: 221 *"),
        ("[UNAVAILABLE]", "S: 220 *\nC: EHLO c"),
    ] {
        let mut client = world.connect_from(Submission, Peer::plain(FRONT));
        client.steps(&format!("S: 220 *\nC: XCLIENT ADDR=192.0.2.7 LOGIN={login}")).await;
        if reply.contains("QUIT") {
            client.play(reply).await;
            continue;
        }
        client.steps(reply).await;
        while client.line().await.starts_with("250-") {}
        let own = format!("C: MAIL FROM:<{}@example.test>", login.split('@').next().unwrap());
        match login {
            "[UNAVAILABLE]" => client.steps("C: MAIL FROM:<bob@example.test>\nS: 530 *").await,
            _ => client.steps(&format!("{own}\nS: 250 *\nC: RSET\nS: 250 *")).await,
        }
        client.play("C: QUIT\nS: 221 *").await;
    }
}

/// Who logged in was the client before, and a password of the next one may have been heard on its way.
#[tokio::test]
async fn another_client_has_not_logged_in() {
    let world = world().await;
    let mut client = world.connect_from(Submission, Peer::LOCAL);
    client.steps("S: 220 *\nC: EHLO c").await;
    while client.line().await.starts_with("250-") {}
    client
        .play(
            r"C: AUTH PLAIN AGFsaWNlAHNlY3JldA==
              S: 235 *
              C: XCLIENT ADDR=192.0.2.7 HELO=c PROTO=ESMTP
              S: 220 *
              C: MAIL FROM:<alice@example.test>
              S: 530 5.7.0 *
              C: AUTH PLAIN AGFsaWNlAHNlY3JldA==
              S: 538 5.7.11 *
              C: XCLIENT LOGIN=alice HELO=c
              S: 220 *
              C: MAIL FROM:<alice@example.test>
              S: 250 *
              C: RSET
              S: 250 *
              C: XCLIENT ADDR=[UNAVAILABLE] HELO=c
              S: 220 *
              C: MAIL FROM:<alice@example.test>
              S: 530 5.7.0 *
              C: QUIT
              S: 221 *",
        )
        .await;
}

#[tokio::test]
async fn strangers_may_not_say_it() {
    let world = world().await;
    world
        .talk(
            Smtp,
            r"S: 220 *
              C: HELO c
              S: 250 *
              C: HELP
              S: 214 2.0.0 BDAT DATA EHLO HELO HELP MAIL NOOP QUIT RCPT RSET VRFY
              C: XCLIENT ADDR=127.0.0.1
              S: 550 5.7.0 *
              C: XFORWARD ADDR=127.0.0.1
              S: 550 5.7.0 *
              C: QUIT
              S: 221 *",
        )
        .await;
    // Nor whom a front speaks for, once it has handed over: the front is asked, not the client.
    let client = world.connect_from(Smtp, Peer::plain(FRONT));
    client
        .play(
            r"S: 220 *
              C: XCLIENT ADDR=192.0.2.7
              S: 220 *
              C: XCLIENT ADDR=192.0.2.8
              S: 220 *
              C: QUIT
              S: 221 *",
        )
        .await;
    let client = world.connect_from(Smtp, STRANGER);
    client.play("S: 220 *\nC: XCLIENT\nS: 550 5.7.0 *\nC: QUIT\nS: 221 *").await;
}

/// Who may name a client to the log cannot log in as anybody.
#[tokio::test]
async fn less_trust() {
    let mut world = World::new().await;
    world.fronts = vec!["10.0.0.5".parse().unwrap()];
    let mut client = world.connect_from(Smtp, Peer::plain(FRONT));
    client.steps("S: 220 *\nC: EHLO c").await;
    let mut line = client.line().await;
    while line.starts_with("250-") {
        assert!(!line.contains("XCLIENT"), "{line}");
        line = client.line().await;
    }
    assert!(line.starts_with("250 XFORWARD "), "{line}");
    client
        .play(
            "C: XFORWARD ADDR=192.0.2.7
             S: 250 *
             C: XCLIENT ADDR=192.0.2.7
             S: 550 5.7.0 *
             C: HELP
             S: 214 2.0.0 * VRFY XFORWARD
             C: QUIT
             S: 221 *",
        )
        .await;
    let client = world.connect_from(Submission, Peer::plain(FRONT));
    client.play("S: 220 *\nC: XCLIENT LOGIN=alice\nS: 550 5.7.0 *\nC: QUIT\nS: 221 *").await;
}

#[tokio::test]
async fn what_makes_no_sense() {
    let world = world().await;
    let client = world.connect_from(Smtp, Peer::plain(FRONT));
    client
        .play(
            r"S: 220 *
              C: XCLIENT
              S: 501 5.5.4 *
              C: XCLIENT COLOUR=red
              S: 501 5.5.4 *
              C: XCLIENT ADDR=spike.test
              S: 501 5.5.4 *
              C: XCLIENT PROTO=HTTP
              S: 501 5.5.4 *
              C: XCLIENT HELO=a+20b
              S: 501 5.5.4 *
              C: XFORWARD HELO
              S: 501 5.5.4 *
              C: HELO c
              S: 250 *
              C: MAIL FROM:<a@b.test>
              S: 250 *
              C: XCLIENT ADDR=192.0.2.9
              S: 503 5.5.1 *
              C: QUIT
              S: 221 *",
        )
        .await;
}

/// As Postfix sends it over LMTP: the letter is judged by where it came from, and says who brought it to us.
#[tokio::test]
async fn where_a_letter_came_from() {
    let world = world().await;
    let mut client = world.connect(Lmtp);
    client.steps("S: 220 *\nC: LHLO front.test").await;
    while client.line().await.starts_with("250-") {}
    client
        .play(
            r"C: XFORWARD NAME=spike.test ADDR=192.0.2.44 PORT=4000 PROTO=ESMTP
              S: 250 2.0.0 *
              C: XFORWARD HELO=example.test IDENT=3CF6B2AAE8 SOURCE=REMOTE
              S: 250 2.0.0 *
              C: MAIL FROM:<a@b.test>
              S: 250 *
              C: XFORWARD ADDR=192.0.2.45
              S: 503 5.5.1 *
              C: RCPT TO:<alice@example.test>
              S: 250 *
              C: DATA
              S: 354 *
              C: .
              S: 250 *
              C: MAIL FROM:<a@b.test>
              S: 250 *
              C: RCPT TO:<alice@example.test>
              S: 250 *
              C: DATA
              S: 354 *
              C: .
              S: 250 *
              C: XFORWARD ADDR=[UNAVAILABLE] NAME=[UNAVAILABLE]
              S: 250 *
              C: QUIT
              S: 221 *",
        )
        .await;
    let letters = world.inbox("alice").await;
    for letter in &letters {
        assert!(letter.contains("Received: from front.test ([127.0.0.1])"), "{letter}");
    }
    // Somebody far away with the name of our domain: a rule of antispam. It holds for one letter.
    let lied = letters.iter().map(|l| l.contains("HELO_IS_RECIPIENT")).collect::<Vec<_>>();
    assert_eq!(lied, [true, false], "{}", letters[0]);
}
