//! The limits of strangers, and that they do not hinder anybody else.

use crate::world::{Client, STRANGER, World};
use smtp::Guard;
use smtp::Kind::{Lmtp, Smtp, Submission};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use types::Peer;

const QUIT: &str = "S: 220 *\nC: QUIT\nS: 221 *";

async fn world(guard: Guard) -> World {
    let mut world = World::new().await;
    world.guard = guard;
    world
}

#[tokio::test]
async fn too_many_at_once() {
    let world = world(Guard { address_sessions: 2, ..Guard::OFF }).await;
    let service = world.service(Smtp);
    let connect = |peer| Client::new(service.clone(), peer);
    let (mut first, mut second) = (connect(STRANGER), connect(STRANGER));
    first.steps("S: 220 *").await;
    second.steps("S: 220 *").await;
    connect(STRANGER).play("S: 421 4.7.0 too many connections from your network*").await;
    connect(Peer::LOCAL).play(QUIT).await;
    first.play("C: QUIT\nS: 221 *").await;
    connect(STRANGER).play(QUIT).await;
    second.play("C: QUIT\nS: 221 *").await;
}

#[tokio::test]
async fn too_many_in_a_minute() {
    let mut world = world(Guard { address_rate: 2, ..Guard::OFF }).await;
    world.xclient_from = vec!["10.0.0.5".parse().unwrap()];
    let service = world.service(Smtp);
    let connect = |peer| Client::new(service.clone(), peer);
    for _ in 0..2 {
        connect(STRANGER).play(QUIT).await;
    }
    connect(STRANGER).play("S: 421 4.7.0 *in a minute*").await;
    let front = Peer::plain("10.0.0.5".parse().unwrap());
    for _ in 0..5 {
        connect(Peer::LOCAL).play(QUIT).await;
        connect(front).play(QUIT).await;
    }
    // A front does not hide them.
    connect(front).play("S: 220 *\nC: XCLIENT ADDR=192.0.2.7\nS: 421 4.7.0 *").await;
    connect(front).play("S: 220 *\nC: XCLIENT ADDR=192.0.2.8\nS: 220 *\nC: QUIT\nS: 221 *").await;
}

#[tokio::test]
async fn too_many_letters() {
    let world = world(Guard { address_letters: 2, ..Guard::OFF }).await;
    let letters = "S: 220 *\nC: HELO c\nS: 250 *\nC: MAIL FROM:<>\nS: 250 *\nC: RSET\nS: 250 *
        C: MAIL FROM:<>\nS: 250 *\nC: RSET\nS: 250 *\nC: MAIL FROM:<>\nS: ";
    let bye = "\nC: QUIT\nS: 221 *";
    world.talk(Smtp, &format!("{letters}451 4.7.0 too many letters *{bye}")).await;
    world.connect_from(Smtp, Peer::LOCAL).play(&format!("{letters}250 *{bye}")).await;
}

#[tokio::test]
async fn only_where_anybody_may_come() {
    let world = world(Guard { address_sessions: 1, greeting_delay_ms: 60_000, ..Guard::OFF }).await;
    for kind in [Lmtp, Submission] {
        let service = world.service(kind);
        let mut held = Client::new(service.clone(), STRANGER);
        held.steps("S: 220 *").await;
        Client::new(service, STRANGER).play(QUIT).await;
    }
    world.connect_from(Smtp, Peer::LOCAL).play(QUIT).await;
}

#[tokio::test]
async fn who_speaks_before_the_greeting() {
    let world = world(Guard { greeting_delay_ms: 150, ..Guard::OFF }).await;
    let mut early = world.connect(Smtp);
    early.send("EHLO spam.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\nx\r\n.\r\n").await;
    early.play("S: 554 5.5.1 *").await;
    let mut patient = world.connect(Smtp);
    assert!(timeout(Duration::from_millis(50), patient.line()).await.is_err(), "it waits");
    patient.play("S: 220 *\nC: HELO c\nS: 250 *\nC: QUIT\nS: 221 *").await;
    assert!(world.inbox("alice").await.is_empty());
}

#[tokio::test]
async fn guessing() {
    let mut world = world(Guard { unknown_recipients: 3, ..Guard::OFF }).await;
    world.xclient_from = vec!["10.0.0.5".parse().unwrap()];
    let begin = "S: 220 *\nC: HELO c\nS: 250 *\nC: MAIL FROM:<>\nS: 250 *\n";
    let ghost = "C: RCPT TO:<ghost@example.test>\nS: 550 5.1.1 *\n";
    let known = "C: RCPT TO:<alice@example.test>\nS: 250 *\n";
    let end = "C: RCPT TO:<ghost@example.test>\nS: 421 4.7.0 too many unknown *";
    world.talk(Smtp, &format!("{begin}{ghost}{ghost}{end}")).await;
    // A letter with three old addresses among many is no guess.
    let (knowns, ghosts) = (known.repeat(4), ghost.repeat(4));
    world.talk(Smtp, &format!("{begin}{knowns}{ghosts}{end}")).await;
    for near in [Peer::LOCAL, Peer::plain("10.0.0.5".parse().unwrap())] {
        let client = world.connect_from(Smtp, near);
        client.play(&format!("{begin}{}C: QUIT\nS: 221 *", ghost.repeat(9))).await;
    }
}

#[tokio::test]
async fn a_session_has_its_end() {
    let world = world(Guard { session_timeout_ms: 300, ..Guard::OFF }).await;
    let mut client = world.connect(Smtp);
    client.steps("S: 220 *").await;
    let mut heard = String::new();
    for _ in 0..40 {
        client.send("NOOP\r\n").await;
        sleep(Duration::from_millis(20)).await;
        heard = client.line().await;
        if !heard.starts_with("250") {
            break;
        }
    }
    assert!(heard.starts_with("421 4.4.2 the session took too long"), "{heard:?}");
    // In a letter too.
    let mut client = world.connect(Smtp);
    client
        .steps(
            "S: 220 *\nC: HELO c\nS: 250 *\nC: MAIL FROM:<>\nS: 250 *
             C: RCPT TO:<alice@example.test>\nS: 250 *\nC: DATA\nS: 354 *",
        )
        .await;
    for _ in 0..40 {
        client.send("x\r\n").await;
        sleep(Duration::from_millis(10)).await;
    }
    assert!(client.line().await.starts_with("421 4.4.2 the session took too long"));
    assert!(world.inbox("alice").await.is_empty());
}
