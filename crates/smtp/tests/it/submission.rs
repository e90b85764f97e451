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
        S: 554 5.7.1 *yet*
        C: RCPT TO:<ghost@example.test>
        S: 550 5.1.1 *
        C: RCPT TO:<bob@example.test>
        S: 250 *
        C: DATA
        S: 354 *
        C: Subject: hello
        C: 
        C: Bob
        C: .
        S: 250 2.0.0 *
        C: QUIT
        S: 221 *";
    world.talk(Submission, &format!("{EHLO}{script}")).await;
    assert_eq!(world.bodies("bob").await, ["Subject: hello\r\n\r\nBob\r\n"]);
    assert!(world.inbox("bob").await[0].contains(" with ESMTPA id "));
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
    let long = "A".repeat(5000);
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
         S: 500 5.5.6 *
         C: AUTH PLAIN {long}
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
    for kind in [smtp::Kind::Smtp, smtp::Kind::Lmtp] {
        let hello = if kind == smtp::Kind::Lmtp { "LHLO" } else { "EHLO" };
        let mut client = world.connect(kind);
        client.steps(&format!("S: 220 *\nC: {hello} c")).await;
        loop {
            let line = client.line().await;
            assert!(!line.contains("DSN") && !line.contains("FUTURE"), "{line}");
            if line.starts_with("250 ") {
                break;
            }
        }
        client
            .play(
                "C: MAIL FROM:<> RET=FULL
                 S: 555 5.5.4 *
                 C: MAIL FROM:<> HOLDFOR=5
                 S: 555 5.5.4 *
                 C: MAIL FROM:<> REQUIRETLS
                 S: 530 5.7.10 *
                 C: MAIL FROM:<>
                 S: 250 *
                 C: RCPT TO:<alice@example.test> NOTIFY=SUCCESS
                 S: 555 5.5.4 *
                 C: QUIT
                 S: 221 *",
            )
            .await;
    }
}
