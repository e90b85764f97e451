//! Ends of data that some servers believe in and we do not: nobody hides a second letter in a first one.

use crate::world::World;
use smtp::Kind::{self, Lmtp, Smtp, Submission};

const FORMS: [&str; 9] = [
    "\n.\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r.\r",
    "\r\n.\r",
    "\r.\r\n",
    "\n.\r\r\n",
    "\r\n\0.\r\n",
    "\r\n.\0\r\n",
];

const HIDDEN: &str = "MAIL FROM:<evil@b.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nhidden\r\n";

/// Sends a letter with the form and a hidden transaction behind it; gives back the reply to it.
async fn send(world: &World, kind: Kind, form: &str) -> String {
    let mut client = world.connect(kind);
    client.steps("S: 220 *").await;
    let hello = if kind == Lmtp { "LHLO c" } else { "EHLO c" };
    client.send(format!("{hello}\r\n")).await;
    while client.line().await.starts_with("250-") {}
    if kind == Submission {
        client.steps("C: AUTH PLAIN AGFsaWNlAHNlY3JldA==\nS: 235 *").await;
    }
    client
        .steps(
            "C: MAIL FROM:<alice@example.test>
             S: 250 *
             C: RCPT TO:<alice@example.test>
             S: 250 *
             C: DATA
             S: 354 *",
        )
        .await;
    client.send(format!("From: alice@example.test\r\n\r\nfirst{form}{HIDDEN}.\r\n")).await;
    let reply = client.line().await;
    client.play("C: NOOP\nS: 250 2.0.0 here\nC: QUIT\nS: 221 *").await;
    reply
}

#[tokio::test]
async fn refused_where_strangers_speak() {
    for kind in [Smtp, Submission] {
        for form in FORMS {
            let world = World::new().await;
            let reply = send(&world, kind, form).await;
            assert!(reply.starts_with("550 5.6.0 "), "{form:?}: {reply:?}");
            assert!(world.inbox("alice").await.is_empty(), "{form:?}");
            assert!(world.inbox("bob").await.is_empty(), "{form:?} hid a letter");
        }
    }
}

#[tokio::test]
async fn one_letter_on_lmtp() {
    for form in FORMS {
        let world = World::new().await;
        let reply = send(&world, Lmtp, form).await;
        assert!(reply.starts_with("250 2.1.5 <alice@example.test> "), "{form:?}: {reply:?}");
        assert!(world.inbox("bob").await.is_empty(), "{form:?} hid a letter");
        // A dot after CRLF is taken off, as from every line; all else is stored as it came.
        let text = form.replace("\r\n.", "\r\n");
        let expect = format!("From: alice@example.test\r\n\r\nfirst{text}{HIDDEN}");
        assert_eq!(world.bodies("alice").await, [expect], "{form:?}");
    }
}

#[tokio::test]
async fn bare_ends_in_chunks_too() {
    for (kind, body, letters) in [(Smtp, "", 0), (Smtp, " BODY=BINARYMIME", 1), (Lmtp, "", 1)] {
        let world = World::new().await;
        let mut client = world.connect(kind);
        client.steps("S: 220 *").await;
        client.send(if kind == Lmtp { "LHLO c\r\n" } else { "EHLO c\r\n" }).await;
        while client.line().await.starts_with("250-") {}
        client.send(format!("MAIL FROM:<a@b.test>{body}\r\n")).await;
        client.steps("S: 250 *\nC: RCPT TO:<alice@example.test>\nS: 250 *").await;
        client.send("BDAT 5\r\na\r\nb\nBDAT 2 LAST\r\n\n.").await;
        let last = if letters == 1 { "S: 250 *" } else { "S: 550 5.6.0 *" };
        client.play(&format!("S: 250 *\n{last}\nC: QUIT\nS: 221 *")).await;
        let expect = vec!["a\r\nb\n\n.".to_owned(); letters];
        assert_eq!(world.bodies("alice").await, expect);
    }
}
