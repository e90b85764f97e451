//! AUTHORIZATION: who may open which inbox, and how often.

use crate::world::{LOGIN, World};
use types::Peer;

const CAPABILITIES: &str = "C: CAPA
    S: +OK *
    S: AUTH-RESP-CODE
    S: EXPIRE NEVER
    S: IMPLEMENTATION OpenPoczta
    S: PIPELINING
    S: RESP-CODES
    S: SASL LOGIN PLAIN SCRAM-SHA-256
    S: TOP
    S: UIDL
    S: USER
    S: UTF8 USER
    S: .";

#[tokio::test]
async fn capabilities_and_states() {
    let mut world = World::new(&[]).await;
    let before = format!(
        "S: +OK mail.example.test OpenPoczta POP3
         {CAPABILITIES}
         C: STAT
         S: -ERR *
         C: RETR 1
         S: -ERR *
         C: NOOP
         S: -ERR *
         C: PASS secret
         S: -ERR *
         C: USER
         S: -ERR *
         C: APOP alice x
         S: -ERR *
         C: 
         S: -ERR *
         C: user Alice@Example.TEST
         S: +OK *
         C: pass secret
         S: +OK 0 letters, 0 bytes
         {CAPABILITIES}
         C: USER bob
         S: -ERR *
         C: AUTH PLAIN
         S: -ERR *
         C: NOOP
         S: +OK *
         C: QUIT
         S: +OK *"
    );
    world.connect().play(&before).await;
    world.connect().play("S: +OK *\nC: QUIT\nS: +OK *").await;
}

#[tokio::test]
async fn passwords_keep_their_blanks() {
    let mut world = World::new(&[]).await;
    let secret = auth::hash_password(b" with  blanks ").unwrap();
    world.store.put_account("carol@example.test", &secret).await.unwrap();
    world
        .connect()
        .play(
            "S: +OK *
             C: USER carol
             S: +OK *
             C: PASS with  blanks
             S: -ERR [AUTH] *
             C: USER carol
             S: +OK *
             C: PASS  with  blanks 
             S: +OK *
             C: QUIT
             S: +OK *",
        )
        .await;
}

#[tokio::test]
async fn sasl() {
    let mut world = World::new(&[]).await;
    for login in [
        "C: AUTH PLAIN AGFsaWNlAHNlY3JldA==\nS: +OK *",
        "C: AUTH plain\nS: + \nC: AGFsaWNlAHNlY3JldA==\nS: +OK *",
        "C: AUTH LOGIN\nS: + VXNlcm5hbWU6\nC: YWxpY2U=\nS: + UGFzc3dvcmQ6\nC: c2VjcmV0\nS: +OK *",
        "C: AUTH PLAIN\nS: + \nC: *\nS: -ERR *",
        "C: AUTH PLAIN !\nS: -ERR *",
        "C: AUTH PLAIN =\nS: -ERR *",
        "C: AUTH CRAM-MD5\nS: -ERR *",
        "C: AUTH\nS: -ERR *",
    ] {
        world.connect().play(&format!("S: +OK *\n{login}\nC: QUIT\nS: +OK *")).await;
    }
}

/// A token may be long; a command may not.
#[tokio::test]
async fn long_answers_in_an_exchange() {
    let mut world = World::new(&[]).await;
    let long = "A".repeat(12_000);
    world
        .connect()
        .play(&format!(
            "S: +OK *
             C: AUTH PLAIN {long}
             S: -ERR this has no meaning *
             C: AUTH PLAIN
             S: + 
             C: {long}
             S: -ERR this has no meaning *
             C: USER {long}
             S: -ERR the line is too long
             C: AUTH PLAIN
             S: + 
             C: {long}{long}
             S: -ERR the line is too long
             C: QUIT
             S: +OK *"
        ))
        .await;
}

#[tokio::test]
async fn utf8() {
    let mut world = World::new(&["Subject: żółw\r\n\r\nx\r\n"]).await;
    let secret = auth::hash_password("hasło".as_bytes()).unwrap();
    world.store.put_account("żółw@example.test", &secret).await.unwrap();
    world
        .connect()
        .play(
            "S: +OK *
             C: UTF8 x
             S: -ERR *
             C: UTF8
             S: +OK *
             C: USER żółw@example.test
             S: +OK *
             C: PASS hasło
             S: +OK 0 letters, 0 bytes
             C: UTF8
             S: -ERR *
             C: QUIT
             S: +OK *",
        )
        .await;
    world.talk("C: TOP 1 0\nS: +OK *\nS: Subject: żółw\nS: \nS: .\nC: QUIT\nS: +OK *").await;
}

#[tokio::test]
async fn wrong_passwords_are_answered_alike_and_end_it() {
    let mut world = World::new(&[]).await;
    world
        .connect()
        .play(
            "S: +OK *
             C: USER alice
             S: +OK *
             C: PASS wrong
             S: -ERR [AUTH] wrong user name or password
             C: USER ghost
             S: +OK *
             C: PASS wrong
             S: -ERR [AUTH] wrong user name or password
             C: AUTH PLAIN AGdob3N0AHdyb25n
             S: -ERR [AUTH] wrong user name or password",
        )
        .await;
    let mut delayed = false;
    for _ in 0..10 {
        let mut client = world.connect();
        client.steps("S: +OK *\nC: USER alice\nS: +OK *\nC: PASS wrong").await;
        let line = client.line().await;
        delayed |= line.starts_with("-ERR [LOGIN-DELAY] ");
        assert!(delayed || line.starts_with("-ERR [AUTH] "), "{line}");
    }
    assert!(delayed, "guessing slows down");
}

#[tokio::test]
async fn no_password_where_others_listen() {
    let mut world = World::new(&[]).await;
    let stranger = Peer { ip: "192.0.2.7".parse().unwrap(), private: false };
    world
        .connect_from(stranger)
        .play(
            "S: +OK *
             C: CAPA
             S: +OK *
             S: AUTH-RESP-CODE
             S: EXPIRE NEVER
             S: IMPLEMENTATION OpenPoczta
             S: PIPELINING
             S: RESP-CODES
             S: TOP
             S: UIDL
             S: UTF8 USER
             S: .
             C: USER alice
             S: -ERR *encrypted*
             C: PASS secret
             S: -ERR *
             C: AUTH PLAIN AGFsaWNlAHNlY3JldA==
             S: -ERR *encrypted*
             C: QUIT
             S: +OK *",
        )
        .await;
}

#[tokio::test]
async fn one_session_for_each_inbox() {
    let mut world = World::new(&[]).await;
    let mut first = world.connect();
    first.steps(LOGIN).await;
    world
        .connect()
        .play(
            "S: +OK *
             C: USER alice
             S: +OK *
             C: PASS secret
             S: -ERR [IN-USE] *
             C: USER bob
             S: +OK *
             C: PASS secret
             S: +OK *
             C: QUIT
             S: +OK *",
        )
        .await;
    first.play("C: QUIT\nS: +OK *").await;
    let mut dropped = world.connect();
    dropped.steps(LOGIN).await;
    assert_eq!(dropped.rest().await, "", "a session that breaks off lets go too");
    world.talk("C: QUIT\nS: +OK *").await;
}

#[tokio::test]
async fn silence_shutdown_garbage() {
    let mut world = World::new(&["a\r\n"]).await;
    world.limits.login_timeout_ms = 200;
    world.connect().play("S: +OK *\nS: -ERR *too long*").await;
    let mut stopped = world.connect();
    stopped.steps(LOGIN).await;
    stopped.steps("C: DELE 1\nS: +OK *").await;
    stopped.stop.send(true).unwrap();
    stopped.play("S: -ERR [SYS/TEMP] *").await;
    assert_eq!(world.uids().await, [1], "only QUIT deletes");
    let mut garbage = world.connect();
    garbage.steps("S: +OK *").await;
    garbage.send("x".repeat(100_000) + "\r\nQUIT\r\n").await;
    garbage.play("S: -ERR *\nS: +OK *").await;
    let mut flood = world.connect();
    flood.steps("S: +OK *").await;
    flood.send("x".repeat(2 << 20)).await;
    flood.play("S: -ERR *").await;
    let mut guess = world.connect();
    guess.steps("S: +OK *").await;
    guess.send("X\r\n".repeat(200)).await;
    for _ in 0..99 {
        guess.steps("S: -ERR there is no such command here").await;
    }
    guess.play("S: -ERR too many errors, closing").await;
}
