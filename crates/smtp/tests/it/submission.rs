//! Submission (RFC 6409): our own users, after AUTH (RFC 4954).

use crate::world::{STRANGER, World};
use smtp::Kind::Submission;

const EHLO: &str = "S: 220 *
    C: EHLO c
    S: 250-mx.example.test
    S: 250-8BITMIME
    S: 250-AUTH LOGIN PLAIN SCRAM-SHA-256
    S: 250-BINARYMIME
    S: 250-CHUNKING
    S: 250-ENHANCEDSTATUSCODES
    S: 250-LIMITS *
    S: 250-PIPELINING
    S: 250-SIZE *
    S: 250 SMTPUTF8";

#[tokio::test]
async fn only_after_login_and_only_as_oneself() {
    let world = World::new().await;
    let script = r"
        C: MAIL FROM:<alice@example.test>
        S: 530 5.7.0 *
        C: RCPT TO:<bob@example.test>
        S: 503 5.5.1 *
        C: AUTH PLAIN AGFsaWNlQGV4YW1wbGUudGVzdABzZWNyZXQ=
        S: 235 2.7.0 *
        C: AUTH PLAIN AGFsaWNlQGV4YW1wbGUudGVzdABzZWNyZXQ=
        S: 503 5.5.1 *
        C: MAIL FROM:<bob@example.test>
        S: 553 5.7.1 *
        C: MAIL FROM:<alice+shop@example.test>
        S: 250 *
        C: RCPT TO:<friend@elsewhere.test>
        S: 554 5.7.1 *no mail to other domains*
        C: RCPT TO:<ghost@example.test>
        S: 550 5.1.1 *
        C: RCPT TO:<bob@example.test>
        S: 250 *
        C: DATA
        S: 354 *
        C: From: alice+shop@example.test
        C: Subject: hello
        C: Bcc: carol@example.test
        C: 
        C: Bob
        C: .
        S: 250 2.0.0 * delivered
        C: QUIT
        S: 221 *";
    world.talk(Submission, &format!("{EHLO}{script}")).await;
    let letters = world.inbox("bob").await;
    let letter = letters[0].replace("\r\n", "\n");
    let start = "Return-Path: <alice+shop@example.test>\nX-Spam-Status: ";
    assert!(letter.starts_with(start), "{letter}");
    assert_eq!(
        letter
            .matches("\nReceived: from c ([127.0.0.1])\n\tby mx.example.test with ESMTPA id ")
            .count(),
        1
    );
    assert_eq!(letter.matches("\nReceived:").count(), 1);
    assert!(letter.contains("\nDate: Sun, 22 Nov 2026 18:00:00 +0000\nMessage-ID: <"), "{letter}");
    assert!(
        letter.ends_with("\nFrom: alice+shop@example.test\nSubject: hello\n\nBob\n"),
        "{letter}"
    );
}

/// The author is the sender's own (RFC 6409 §6.1).
#[tokio::test]
async fn whose_letter_it_is() {
    let world = World::new().await;
    world.store.put_alias("sales@example.test", &["alice@example.test".to_owned()]).await.unwrap();
    world.store.put_alias("info@example.test", &["bob@example.test".to_owned()]).await.unwrap();
    let login = format!("{EHLO}\nC: AUTH PLAIN AGFsaWNlAHNlY3JldA==\nS: 235 *");
    for (header, reply) in [
        ("From: alice@example.test", "250 2.0.0 *"),
        ("From: Sales <sales@example.test>", "250 2.0.0 *"),
        ("From: info@example.test", "550 5.7.1 info@example.test is not yours*alias"),
        (
            "From: bob@example.test",
            "550 5.7.1 bob@example.test is not yours*you are alice@example.test*",
        ),
        ("From: friend@elsewhere.test", "550 5.7.1 *"),
        ("Subject: nobody", "550 5.6.0 *does not say who wrote it*"),
        (
            "From: alice@example.test\nC: From: bob@example.test",
            "550 5.6.0 the letter has more than one From*",
        ),
        ("From: alice@example.test, bob@example.test", "550 5.6.0 *Sender*"),
        (
            "From: bob@example.test, sales@example.test\nC: Sender: alice@example.test",
            "250 2.0.0 *",
        ),
        ("no field\nC: From: alice@example.test", "550 5.6.0 *line*"),
    ] {
        let script = format!(
            "{login}\nC: MAIL FROM:<sales@example.test>\nS: 250 *\nC: RCPT TO:<bob@example.test>\nS: 250 *\n\
             C: DATA\nS: 354 *\nC: {header}\nC: \nC: x\nC: .\nS: {reply}\nC: QUIT\nS: 221 *"
        );
        world.talk(Submission, &script).await;
    }
    let script = format!(
        "{login}\nC: MAIL FROM:<info@example.test>\nS: 553 5.7.1 info@example.test is not yours*\n\
         C: MAIL FROM:<nobody@example.test>\nS: 553 5.7.1 *\nC: MAIL FROM:<alice@elsewhere.test>\nS: 553 5.7.1 *\n\
         C: MAIL FROM:<>\nS: 250 *\nC: QUIT\nS: 221 *"
    );
    world.talk(Submission, &script).await;
    assert_eq!(world.inbox("bob").await.len(), 3);
}

#[tokio::test]
async fn mechanisms() {
    let world = World::new().await;
    for login in [
        "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: YWxpY2U=\nS: 334 UGFzc3dvcmQ6\nC: c2VjcmV0",
        "C: auth login YWxpY2U=\nS: 334 UGFzc3dvcmQ6\nC: c2VjcmV0",
        "C: AUTH PLAIN\nS: 334 \nC: AGFsaWNlAHNlY3JldA==",
    ] {
        world.talk(Submission, &format!("{EHLO}\n{login}\nS: 235 *\nC: QUIT\nS: 221 *")).await;
    }
}

#[tokio::test]
async fn what_is_no_login() {
    let world = World::new().await;
    // RFC 4954 §4: 12,288 octets in a line of AUTH, whatever the limit of others is.
    let (long, fits) = ("A".repeat(12_288), "A".repeat(12_288 - "AUTH PLAIN ".len()));
    let other = "A".repeat(4096);
    let script = format!(
        "C: AUTH
         S: 501 *
         C: AUTH CRAM-MD5
         S: 504 5.5.4 *
         C: AUTH PLAIN =
         S: 501 *
         C: AUTH PLAIN !!!
         S: 501 *
         C: AUTH PLAIN a b
         S: 501 *
         C: AUTH LOGIN
         S: 334 *
         C: *
         S: 501 5.7.0 *
         C: AUTH PLAIN
         S: 334 *
         C: {long}
         S: 501 *
         C: AUTH PLAIN {fits}
         S: 501 *
         C: AUTH PLAIN
         S: 334 *
         C: {long}x
         S: 500 5.5.6 *
         C: auth PLAIN {fits}x
         S: 500 5.5.2 *
         C: NOOP {other}
         S: 500 5.5.2 *
         C: QUIT
         S: 221 *"
    );
    world.talk(Submission, &format!("{EHLO}\n{script}")).await;
}

#[tokio::test]
async fn wrong_passwords_are_answered_alike_and_end_it() {
    let world = World::new().await;
    let script = r"
        C: AUTH PLAIN AGFsaWNlQGV4YW1wbGUudGVzdAB3cm9uZw==
        S: 535 5.7.8 wrong user name or password
        C: AUTH PLAIN AGdob3N0QGV4YW1wbGUudGVzdAB3cm9uZw==
        S: 535 5.7.8 wrong user name or password
        C: AUTH PLAIN AGFsaWNlQGV4YW1wbGUudGVzdAB3cm9uZw==
        S: 535 5.7.8 wrong user name or password";
    world.talk(Submission, &format!("{EHLO}{script}")).await;
    let mut throttled = 0;
    for _ in 0..10 {
        let mut client = world.connect(Submission);
        client.steps(EHLO).await;
        client.send("AUTH PLAIN AGFsaWNlQGV4YW1wbGUudGVzdAB3cm9uZw==\r\n").await;
        let line = client.line().await;
        throttled += u32::from(line.starts_with("454 4.7.0 "));
        assert!(throttled > 0 || line.starts_with("535 5.7.8 "), "{line}");
    }
    assert!(throttled > 0, "guessing slows down");
}

#[tokio::test]
async fn no_password_where_others_listen() {
    let world = World::new().await;
    let mut client = world.connect_from(Submission, STRANGER);
    client.steps("S: 220 *\nC: EHLO c").await;
    loop {
        let line = client.line().await;
        assert!(!line.contains("AUTH"), "{line}");
        if line.starts_with("250 ") {
            break;
        }
    }
    client
        .play(
            "C: AUTH PLAIN AGFsaWNlQGV4YW1wbGUudGVzdABzZWNyZXQ=
             S: 538 5.7.11 *
             C: AUTH LOGIN
             S: 538 5.7.11 *
             C: MAIL FROM:<alice@example.test>
             S: 530 5.7.0 *
             C: QUIT
             S: 221 *",
        )
        .await;
}

/// Reports and waiting are offered where there is a queue, and only to our own users.
#[tokio::test]
async fn reports_and_letters_that_wait() {
    let mut world = World::new().await;
    world.has_queue = true;
    let script = r"S: 220 *
        C: EHLO c
        S: 250-mx.example.test
        S: 250-8BITMIME
        S: 250-AUTH *
        S: 250-BINARYMIME
        S: 250-CHUNKING
        S: 250-DSN
        S: 250-ENHANCEDSTATUSCODES
        S: 250-FUTURERELEASE 5184000 2027-01-21T18:00:00Z
        S: 250-LIMITS *
        S: 250-PIPELINING
        S: 250-SIZE *
        S: 250 SMTPUTF8
        C: AUTH PLAIN AGFsaWNlQGV4YW1wbGUudGVzdABzZWNyZXQ=
        S: 235 2.7.0 *
        C: MAIL FROM:<alice@example.test> RET=HDRS ENVID=QQ314159 HOLDUNTIL=2026-11-22T18:00:00Z
        S: 250 *
        C: RCPT TO:<bob@example.test> NOTIFY=NEVER ORCPT=rfc822;Bob@example.test
        S: 250 *
        C: RCPT TO:<bob@example.test> NOTIFY=NEVER,DELAY
        S: 501 5.5.4 *
        C: RCPT TO:<bob@example.test> ORCPT=rfc822;a+0D+0AX-Evil:
        S: 501 5.5.4 *
        C: RSET
        S: 250 *
        C: MAIL FROM:<alice@example.test> HOLDFOR=5184001
        S: 501 5.5.4 *
        C: MAIL FROM:<alice@example.test> HOLDFOR=1 HOLDUNTIL=2026-11-22T18:00:00Z
        S: 501 5.5.4 *
        C: MAIL FROM:<alice@example.test> HOLDUNTIL=2026-11-22T17:00:00Z
        S: 501 5.5.4 *
        C: MAIL FROM:<alice@example.test> REQUIRETLS
        S: 530 5.7.10 *
        C: QUIT
        S: 221 *";
    world.talk(Submission, script).await;
}

#[tokio::test]
async fn reports_elsewhere() {
    let mut world = World::new().await;
    world.has_queue = true;
    for kind in [smtp::Kind::Smtp, smtp::Kind::Lmtp] {
        // LMTP has a server in front, which may ask for reports; letters wait where they are written.
        let (hello, reports) = match kind {
            smtp::Kind::Lmtp => ("LHLO", true),
            _ => ("EHLO", false),
        };
        let mut client = world.connect(kind);
        client.steps(&format!("S: 220 *\nC: {hello} c")).await;
        loop {
            let line = client.line().await;
            assert!((reports || !line.contains("DSN")) && !line.contains("FUTURE"), "{line}");
            if line.starts_with("250 ") {
                break;
            }
        }
        let reply = if reports { "250" } else { "555 5.5.4" };
        client
            .play(&format!(
                "C: MAIL FROM:<> RET=FULL
                 S: {reply} *
                 C: RSET
                 S: 250 *
                 C: MAIL FROM:<> HOLDFOR=5
                 S: 555 5.5.4 *
                 C: MAIL FROM:<> REQUIRETLS
                 S: 530 5.7.10 *
                 C: MAIL FROM:<>
                 S: 250 *
                 C: RCPT TO:<alice@example.test> NOTIFY=SUCCESS
                 S: {reply} *
                 C: QUIT
                 S: 221 *"
            ))
            .await;
    }
}
