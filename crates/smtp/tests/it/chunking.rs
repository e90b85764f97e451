//! BDAT (RFC 3030), and what strangers do to it.

use crate::world::World;
use smtp::Kind::{Lmtp, Smtp};

const BEGIN: &str = "S: 220 *
    C: HELO c
    S: 250 *
    C: MAIL FROM:<a@b.test>
    S: 250 *
    C: RCPT TO:<alice@example.test>
    S: 250 *";

async fn check(script: &str, expect: &[&str]) {
    let mut world = World::new().await;
    world.limits.message_bytes = 1000;
    world.talk(Smtp, &format!("{BEGIN}\n{script}")).await;
    assert_eq!(world.bodies("alice").await, expect, "{script}");
}

#[tokio::test]
async fn chunks_make_a_letter() {
    check(
        r"C| BDAT 6\r\nA: b\r\nBDAT 8 LAST\r\n\r\n.\r\nQUIQUIT\r\n
          S: 250 2.0.0 6 bytes
          S: 250 2.0.0 * delivered
          S: 221 *",
        &["A: b\r\n\r\n.\r\nQUI"],
    )
    .await;
    check(
        r"C| BDAT 0\r\nBDAT 3\r\na\r\nBDAT 0 LAST\r\nQUIT\r\n
          S: 250 2.0.0 0 bytes
          S: 250 2.0.0 3 bytes
          S: 250 2.0.0 * delivered
          S: 221 *",
        &["a\r\n"],
    )
    .await;
}

#[tokio::test]
async fn data_and_chunks_do_not_mix() {
    check(
        r"C| BDAT 1\r\nx
          S: 250 *
          C: DATA
          S: 503 5.5.1 *
          C| BDAT 1 LAST\r\ny
          S: 250 *
          C: MAIL FROM:<a@b.test> BODY=BINARYMIME
          S: 250 *
          C: RCPT TO:<alice@example.test>
          S: 250 *
          C: DATA
          S: 503 5.5.1 *
          C| BDAT 3 LAST\r\n\0\n\r
          S: 250 *
          C: QUIT
          S: 221 *",
        &["xy", "\0\n\r"],
    )
    .await;
}

#[tokio::test]
async fn bytes_are_never_commands() {
    check(
        r"C: RSET
          S: 250 *
          C| BDAT 6\r\nQUIT\r\n
          S: 503 5.5.1 *
          C| BDAT 6 LAST\r\nNOOP\r\nMAIL FROM:<a@b.test>\r\n
          S: 503 5.5.1 *
          S: 250 2.1.0 *
          C| BDAT 6 LAST\r\nQUIT\r\n
          S: 503 5.5.1 *
          C: QUIT
          S: 221 *",
        &[],
    )
    .await;
}

#[tokio::test]
async fn sizes_that_are_none() {
    for size in ["", "-1", "x", "99999999999999999999", "1 2", "0x10"] {
        check(&format!("C| BDAT {size}\\r\\nQUIT\\r\\n\nS: 501 5.5.4 *"), &[]).await;
    }
    check(
        r"C| BDAT 18446744073709551615\r\nQUIT\r\n
            S: 552 5.3.4 *",
        &[],
    )
    .await;
}

#[tokio::test]
async fn a_chunk_too_many_spoils_the_letter() {
    let mut world = World::new().await;
    world.limits.message_bytes = 1000;
    for last in ["", " LAST"] {
        let mut client = world.connect(Smtp);
        client.steps(BEGIN).await;
        client.send(format!("BDAT 900\r\n{0}BDAT 900{last}\r\n{0}", "x".repeat(900))).await;
        client.steps("S: 250 *\nS: 552 5.3.4 *").await;
        client.steps("C| BDAT 6 LAST\\r\\nQUIT\\r\\n\nS: 503 5.5.1 *").await;
        client.play("C: RSET\nS: 250 *\nC: QUIT\nS: 221 *").await;
    }
    assert!(world.inbox("alice").await.is_empty());
}

#[tokio::test]
async fn lmtp_answers_the_last_chunk_for_each_recipient() {
    let world = World::new().await;
    let mut client = world.connect(Lmtp);
    client.steps("S: 220 *\nC: LHLO c").await;
    while client.line().await.starts_with("250-") {}
    client
        .play(
            r"C| MAIL FROM:<a@b.test>\r\nRCPT TO:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\nBDAT 3\r\na\r\nBDAT 3 LAST\r\nb\r\n
              S: 250 2.1.0 *
              S: 250 2.1.5 *
              S: 250 2.1.5 *
              S: 250 2.0.0 *
              S: 250 2.1.5 <alice@example.test> *
              S: 250 2.1.5 <bob@example.test> *
              C: QUIT
              S: 221 *",
        )
        .await;
    assert_eq!(world.bodies("bob").await, ["a\r\nb\r\n"]);
}
