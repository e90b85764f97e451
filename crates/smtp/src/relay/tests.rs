//! The client against scripts: `S:` the server says, `C:` it must hear, `S!` it closes, `S#` it says nothing any more.

use super::resolve::tests::{Row, Table};
use super::session::{Failure, Session, Want};
use super::*;
use bytes::Bytes;
use queue::{Body, Envelope, Notify, Recipient, Return};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

const SOON: Duration = Duration::from_millis(150);

fn patience() -> Patience {
    Patience {
        connect: Duration::from_secs(2),
        handshake: Duration::from_secs(2),
        greeting: SOON,
        command: SOON,
        data: SOON,
        block: SOON,
        end: SOON,
        quit: SOON,
        attempt: Duration::from_secs(20),
    }
}

fn envelope(recipients: &[&str]) -> Envelope {
    Envelope {
        sender: Some("alice@us.test".parse().unwrap()),
        recipients: recipients.iter().map(|to| Recipient::plain(to.parse().unwrap())).collect(),
        body: Body::SevenBit,
        utf8: false,
        require_tls: false,
        ret: None,
        envelope_id: None,
        account: None,
        release_unix_s: None,
    }
}

const PLAIN: &str = "Subject: a\r\n\r\n.b\r\n";

fn attempt(envelope: Envelope, letter: &[u8]) -> Attempt {
    Attempt {
        id: "X1".to_owned(),
        route: Route("far.test".into()),
        recipients: (0..envelope.recipients.len()).collect(),
        envelope: Arc::new(envelope),
        letter: Bytes::copy_from_slice(letter),
        from_before: false,
    }
}

/// Plays the server. Gives back what was said when it should not have been.
async fn play<S: AsyncRead + AsyncWrite + Unpin>(stream: S, script: &str) -> Result<(), String> {
    let mut stream = BufReader::new(stream);
    for step in script.lines().map(str::trim_start).filter(|step| !step.is_empty()) {
        let (who, text) = step.split_at(2);
        let text = text.strip_prefix(' ').unwrap_or(text);
        match who {
            "S:" => {
                let said = stream.write_all(format!("{text}\r\n").as_bytes()).await;
                said.map_err(|error| format!("{step}: {error}"))?;
            }
            "C:" => {
                let mut heard = Vec::new();
                let read = stream.read_until(b'\n', &mut heard).await;
                let heard = String::from_utf8_lossy(&heard).into_owned();
                if read.is_err() || heard != format!("{text}\r\n") {
                    return Err(format!("wanted {text:?}, heard {heard:?}"));
                }
            }
            "S!" => return Ok(()),
            "S#" => {
                drop(stream.read_to_end(&mut Vec::new()).await);
                return Ok(());
            }
            other => unreachable!("{other}"),
        }
    }
    let mut rest = Vec::new();
    drop(stream.read_to_end(&mut rest).await);
    // A goodbye needs no place in every script.
    let rest = String::from_utf8_lossy(&rest).into_owned();
    if rest.is_empty() || rest == "QUIT\r\n" { Ok(()) } else { Err(format!("also heard {rest:?}")) }
}

/// `delivered 2.0.0 ok`, `later 4.2.0 full`, `later! …` when the route is down, `never 5.1.1 no`.
fn shown(outcome: &Outcome) -> String {
    let of = |answer: &Answer| {
        let reports = if answer.reports { " (reports)" } else { "" };
        format!("{} {}{reports}", answer.enhanced, answer.text).trim_end().to_owned()
    };
    match outcome {
        Outcome::Delivered(answer) => format!("delivered {}", of(answer)),
        Outcome::Later { answer, route_down: false } => format!("later {}", of(answer)),
        Outcome::Later { answer, route_down: true } => format!("later! {}", of(answer)),
        Outcome::Never(answer) => format!("never {}", of(answer)),
    }
}

fn want<'a>(patience: &'a Patience, connectors: &'a Connectors) -> Want<'a> {
    Want {
        ours: "us.test",
        host: "mx.far.test",
        level: Level::Opportunistic,
        login: None,
        is_mx: true,
        is_loopback: false,
        patience,
        connectors,
        deadline: Instant::now() + patience.attempt,
    }
}

/// One letter over one connection in memory; recipients without an outcome get what the course makes of it.
async fn run(script: &str, attempt: &Attempt) -> (Vec<String>, Result<(), String>) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let connectors = Connectors::new(RootCertStore::empty()).unwrap();
    let patience = patience();
    let talk = async {
        let mut letter = Letter::new(attempt);
        let mut course = Course::default();
        let want = want(&patience, &connectors);
        match Session::begin(Box::new(ours), &want).await {
            Ok(mut session) => {
                if let Err(stopped) = session.send(&mut letter).await {
                    course.stopped = Some(stopped.answer);
                }
            }
            Err(failure) => course.note(failure),
        }
        let road = Road {
            route: &attempt.route.0,
            smarthost: None,
            require_tls: false,
            deadline: want.deadline,
        };
        letter.into_outcomes(&course.outcome(&road))
    };
    let (outcomes, played) = tokio::join!(talk, play(theirs, script));
    (outcomes.iter().map(shown).collect(), played)
}

async fn check_with(script: &str, attempt: &Attempt, expect: &[&str]) {
    let (found, played) = run(script, attempt).await;
    assert_eq!(played, Ok(()), "{script}");
    assert_eq!(found, expect, "{script}");
}

async fn check(script: &str, expect: &[&str]) {
    let to = ["bob@far.test", "carol@far.test"];
    let envelope = envelope(to.get(..expect.len()).unwrap());
    check_with(script, &attempt(envelope, PLAIN.as_bytes()), expect).await;
}

const HELLO: &str = "S: 220 mx.far.test ESMTP
    C: EHLO us.test
    S: 250 mx.far.test";
const BATCH: &str = "S: 220 mx.far.test ESMTP
    C: EHLO us.test
    S: 250-mx.far.test
    S: 250 PIPELINING
    C: MAIL FROM:<alice@us.test>
    C: RCPT TO:<bob@far.test>
    C: RCPT TO:<carol@far.test>
    C: DATA";
const MAIL: &str = "C: MAIL FROM:<alice@us.test>
    S: 250 ok";
const RCPT: &str = "C: RCPT TO:<bob@far.test>
    S: 250 ok";
const LETTER: &str = "C: DATA
    S: 354 go on
    C: Subject: a
    C: \x20
    C: ..b
    C: .";

/// The letter's empty line cannot stand in a script as nothing.
fn script(parts: &[&str]) -> String {
    parts.join("\n").replace("C: \x20", "C: ")
}

#[tokio::test]
async fn a_letter_goes_out() {
    check(&script(&[HELLO, MAIL, RCPT, LETTER, "S: 250 2.6.0 taken"]), &["delivered 2.6.0 taken"])
        .await;
    check(
        &script(&[
            BATCH,
            "S: 250 ok\nS: 250 ok\nS: 251 ok\nS: 354 go\nC: Subject: a\nC: \x20\nC: ..b\nC: .\nS: 250 ok",
        ]),
        &["delivered 2.0.0 ok", "delivered 2.0.0 ok"],
    )
    .await;
    // HELO for those that know no EHLO.
    let old = "S: 220 old\nC: EHLO us.test\nS: 502 what\nC: HELO us.test\nS: 250 hi";
    check(&script(&[old, MAIL, RCPT, LETTER, "S: 250 ok"]), &["delivered 2.0.0 ok"]).await;
}

#[tokio::test]
async fn refused_at_each_step() {
    for (code, word, enhanced) in [(451, "later", "4"), (554, "never", "5")] {
        let begin = if code == 451 { "later!" } else { "never" };
        let row = |text: &str| format!("{word} {enhanced}.0.0 {text}");
        let first = format!("{begin} {enhanced}.0.0 no");
        check(&format!("S: {code} no"), &[&first]).await;
        let helo = if code == 554 { "\nC: HELO us.test\nS: 554 no" } else { "" };
        check(&format!("S: 220 x\nC: EHLO us.test\nS: {code} no{helo}"), &[&first]).await;
        let no = format!("C: MAIL FROM:<alice@us.test>\nS: {code} no");
        check(&script(&[HELLO, &no]), &[&row("no")]).await;
        let no = format!("C: RCPT TO:<bob@far.test>\nS: {code} no\nC: RSET\nS: 250 ok");
        check(&script(&[HELLO, MAIL, &no]), &[&row("no")]).await;
        let no = format!("C: DATA\nS: {code} no\nC: RSET\nS: 250 ok");
        check(&script(&[HELLO, MAIL, RCPT, &no]), &[&row("no")]).await;
        let no = format!("S: {code} no");
        check(&script(&[HELLO, MAIL, RCPT, LETTER, &no]), &[&row("no")]).await;
    }
}

#[tokio::test]
async fn each_recipient_has_its_own_answer() {
    let data = "C: Subject: a\nC: \x20\nC: ..b\nC: .\nS: 250 ok";
    let rows: [(&str, [&str; 2]); 6] = [
        ("S: 250 ok\nS: 550 who\nS: 250 ok\nS: 354 go", ["never 5.1.1 who", "delivered 2.0.0 ok"]),
        (
            "S: 250 ok\nS: 250 ok\nS: 450 4.2.1 busy\nS: 354 go",
            ["delivered 2.0.0 ok", "later 4.2.1 busy"],
        ),
        (
            "S: 250 ok\nS: 550 who\nS: 450 grey\nS: 503 nobody\nC: RSET\nS: 250 ok",
            ["never 5.1.1 who", "later 4.1.1 grey"],
        ),
        // It wants a letter to nobody: an empty one (RFC 2920 §3.1).
        (
            "S: 250 ok\nS: 550 who\nS: 551 who\nS: 354 go\nC: .\nS: 554 nobody\nC: RSET\nS: 250 ok",
            ["never 5.1.1 who", "never 5.1.6 who"],
        ),
        (
            "S: 550 5.7.1 not you\nS: 503 no\nS: 503 no\nS: 503 no\nC: RSET\nS: 250 ok",
            ["never 5.7.1 not you", "never 5.7.1 not you"],
        ),
        (
            "S: 250 ok\nS: 452 full\nS: 552 full\nS: 503 nobody\nC: RSET\nS: 250 ok",
            ["later 4.5.3 full", "later 4.5.3 full"],
        ),
    ];
    for (answers, expect) in rows {
        let data = if answers.ends_with("354 go") { data } else { "" };
        check(&script(&[BATCH, answers, data]), &expect).await;
    }
}

#[tokio::test]
async fn too_many_recipients_go_in_two_letters() {
    let first = "S: 250 ok\nS: 250 ok\nS: 452 4.5.3 too many\nS: 354 go
        C: Subject: a\nC: \x20\nC: ..b\nC: .\nS: 250 one";
    let second = "C: MAIL FROM:<alice@us.test>\nC: RCPT TO:<carol@far.test>\nC: DATA
        S: 250 ok\nS: 250 ok\nS: 354 go\nC: Subject: a\nC: \x20\nC: ..b\nC: .\nS: 250 two";
    check(&script(&[BATCH, first, second]), &["delivered 2.0.0 one", "delivered 2.0.0 two"]).await;
    // The same where it says so before (RFC 9422).
    let limited = "S: 220 x\nC: EHLO us.test\nS: 250-x\nS: 250 LIMITS MAILMAX=9 RCPTMAX=1 X=0";
    let carol = RCPT.replace("bob", "carol");
    check(
        &script(&[limited, MAIL, RCPT, LETTER, "S: 250 one", MAIL, &carol, LETTER, "S: 250 two"]),
        &["delivered 2.0.0 one", "delivered 2.0.0 two"],
    )
    .await;
}

#[tokio::test]
async fn who_goes_away_is_tried_again() {
    let closed = "later 4.4.2 closed the connection";
    let slow = "later 4.4.2 did not answer in time";
    check("S: 421 4.3.2 busy", &["later! 4.3.2 busy"]).await;
    check("S!", &["later! 4.4.2 closed the connection"]).await;
    check("S#", &["later! 4.4.2 did not answer in time"]).await;
    check("S: 220 x\nC: EHLO us.test\nS: 421 bye", &["later! 4.3.2 bye"]).await;
    check("S: 220 x\nC: EHLO us.test\nS!", &["later! 4.4.2 closed the connection"]).await;
    for (end, expect) in [("S: 421 bye", "later! 4.3.2 bye"), ("S!", closed), ("S#", slow)] {
        check(&script(&[HELLO, "C: MAIL FROM:<alice@us.test>", end]), &[expect]).await;
        check(&script(&[HELLO, MAIL, "C: RCPT TO:<bob@far.test>", end]), &[expect]).await;
        check(&script(&[HELLO, MAIL, RCPT, "C: DATA", end]), &[expect]).await;
    }
    check(&script(&[HELLO, MAIL, RCPT, LETTER, "S: 421 bye"]), &["later! 4.3.2 bye"]).await;
    // Nobody knows whether it was taken.
    let twice = "after the whole letter was sent; it may arrive twice";
    check(&script(&[HELLO, MAIL, RCPT, LETTER, "S!"]), &[&format!("{closed} {twice}")]).await;
    check(&script(&[HELLO, MAIL, RCPT, LETTER, "S#"]), &[&format!("{slow} {twice}")]).await;
    // What was decided stays; the rest may go elsewhere.
    check(
        &script(&[BATCH, "S: 250 ok\nS: 550 who\nS: 421 bye"]),
        &["never 5.1.1 who", "later! 4.3.2 bye"],
    )
    .await;
}

#[tokio::test]
async fn garbage_is_no_smtp() {
    let garbage = "later! 4.4.2 says what is no SMTP";
    check("S: SSH-2.0-OpenSSH_9.2", &[garbage]).await;
    check("S: 220-a\nS: 221 b", &[garbage]).await;
    check("S: 999 x", &[garbage]).await;
    check(&format!("S: 220 {}", "x".repeat(5000)), &[garbage]).await;
    check(&"S: 220-x\n".repeat(200), &[garbage]).await;
    check(
        &script(&[HELLO, "C: MAIL FROM:<alice@us.test>\nS: ok"]),
        &["later 4.4.2 says what is no SMTP"],
    )
    .await;
    // Answers out of place are no promise.
    check(
        &script(&[HELLO, MAIL, RCPT, "C: DATA\nS: 250 ok\nC: RSET\nS: 250 ok"]),
        &["later 4.0.0 ok"],
    )
    .await;
    check(&script(&[HELLO, MAIL, RCPT, LETTER, "S: 354 more"]), &["later 4.0.0 more"]).await;
}

#[tokio::test]
async fn our_own_name_is_a_loop() {
    let says = "never 5.4.6 greets with our own name: mail for this domain would go in circles";
    check("S: 220 US.test ESMTP", &[says]).await;
}

/// After EHLO with these words.
fn offering(words: &str) -> String {
    let lines: Vec<String> = words.split(", ").map(|word| format!("S: 250-{word}")).collect();
    format!("S: 220 x\nC: EHLO us.test\nS: 250-x\n{}\nS: 250 HELP", lines.join("\n"))
}

#[tokio::test]
async fn parameters() {
    let check = async |words: &str, envelope: &Envelope, letter: &str, mail: &str, rcpt: &str| {
        let script = format!(
            "{}\nC: MAIL FROM:{mail}\nS: 250 ok\nC: RCPT TO:{rcpt}\nS: 550 5.1.1 no\nC: RSET\nS: 250 ok",
            offering(words)
        );
        let attempt = attempt(envelope.clone(), letter.as_bytes());
        check_with(&script, &attempt, &["never 5.1.1 no"]).await;
    };
    let plain = envelope(&["bob@far.test"]);
    let (alice, bob) = ("<alice@us.test>", "<bob@far.test>");
    check("X", &plain, PLAIN, alice, bob).await;
    check("SIZE", &plain, PLAIN, "<alice@us.test> SIZE=18", bob).await;
    check("size 1000, DSN", &plain, "a", "<alice@us.test> SIZE=1", bob).await;
    check("8BITMIME", &plain, "A: b\r\n\r\nż\r\n", "<alice@us.test> BODY=8BITMIME", bob).await;
    // It was announced as 8-bit, and is not.
    let eight = Envelope { body: Body::EightBit, ..plain.clone() };
    check("8BITMIME", &eight, PLAIN, alice, bob).await;
    check("X", &eight, PLAIN, alice, bob).await;
    let null = Envelope { sender: None, ..plain.clone() };
    check("X", &null, PLAIN, "<>", bob).await;

    let mut dsn = Envelope {
        ret: Some(Return::Headers),
        envelope_id: Some("a+b=c d".to_owned()),
        ..plain.clone()
    };
    dsn.recipients[0].notify = Notify { success: true, failure: true, delay: false, said: true };
    dsn.recipients[0].original = Some("rfc822;x+2By@far.test".to_owned());
    check("X", &dsn, PLAIN, alice, bob).await;
    check(
        "DSN",
        &dsn,
        PLAIN,
        "<alice@us.test> RET=HDRS ENVID=a+2Bb+3Dc+20d",
        "<bob@far.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x+2By@far.test",
    )
    .await;
    dsn.recipients[0].notify = Notify::NEVER;
    dsn.recipients[0].original = Some("utf-8;ż@far.test".to_owned());
    dsn.envelope_id = None;
    let rcpt = "<bob@far.test> NOTIFY=NEVER ORCPT=utf-8;\\x{17C}@far.test";
    check("DSN", &dsn, PLAIN, "<alice@us.test> RET=HDRS", rcpt).await;
    let rcpt = "<bob@far.test> NOTIFY=NEVER ORCPT=utf-8;ż@far.test";
    check("DSN, SMTPUTF8", &dsn, PLAIN, "<alice@us.test> RET=HDRS", rcpt).await;

    let utf8 = Envelope { utf8: true, ..plain.clone() };
    check("SMTPUTF8", &utf8, PLAIN, alice, bob).await;
    let header = "Subject: ż\r\n\r\n";
    let said = "<alice@us.test> BODY=8BITMIME SMTPUTF8";
    check("SMTPUTF8, 8BITMIME", &utf8, header, said, bob).await;
    // Raw bytes in a header that nobody announced are damage, and travel as such.
    check("SMTPUTF8, 8BITMIME", &plain, header, "<alice@us.test> BODY=8BITMIME", bob).await;
    let foreign = Envelope { sender: Some("żółw@us.test".parse().unwrap()), ..plain.clone() };
    check("SMTPUTF8", &foreign, PLAIN, "<żółw@us.test> SMTPUTF8", bob).await;
    let domain = envelope(&["bob@gęśl.test"]);
    check("X", &domain, PLAIN, alice, "<bob@xn--gl-fna8x.test>").await;
    check("SMTPUTF8", &domain, PLAIN, alice, "<bob@gęśl.test>").await;
    let quoted = envelope(&["\"a b\"@far.test"]);
    check("X", &quoted, PLAIN, alice, "<\"a b\"@far.test>").await;
}

#[tokio::test]
async fn what_a_server_cannot_take() {
    let check = async |words: &str, envelope: Envelope, letter: &[u8], expect: &[&str]| {
        check_with(&offering(words), &attempt(envelope, letter), expect).await;
    };
    let plain = || envelope(&["bob@far.test"]);
    let no = "never 5.6.3 cannot take a letter with 8-bit content (8BITMIME)";
    check("SIZE", plain(), "A: b\r\n\r\nż\r\n".as_bytes(), &[no]).await;
    check("SIZE 17", plain(), PLAIN.as_bytes(), &["never 5.3.4 takes letters of at most 17 bytes"])
        .await;
    let no = "never 5.6.7 cannot take addresses or headers outside ASCII (SMTPUTF8)";
    let utf8 = Envelope { utf8: true, ..plain() };
    check("8BITMIME", utf8, "A: ż\r\n\r\n".as_bytes(), &[no]).await;
    let foreign = Envelope { sender: Some("ż@us.test".parse().unwrap()), ..plain() };
    check("8BITMIME", foreign, b"a", &[no]).await;
    let no = "never 5.6.7 cannot take an address outside ASCII (SMTPUTF8)";
    check("8BITMIME", envelope(&["ż@far.test", "ł@far.test"]), b"a", &[no, no]).await;
    let no = "never 5.6.3 cannot take a letter with binary content (BINARYMIME)";
    let binary = Envelope { body: Body::Binary, ..plain() };
    check("BINARYMIME, 8BITMIME", binary, b"a\r\n\r\n\0\xff\n", &[no]).await;
}

#[tokio::test]
async fn binary_goes_by_bdat() {
    let script = format!(
        "{}\nC: MAIL FROM:<alice@us.test> BODY=BINARYMIME\nC: RCPT TO:<bob@far.test>
        S: 250 ok\nS: 250 ok\nC: BDAT 15 LAST\nC: A: b\nC: \nC: .\nC: \0c\nS: 250 ok",
        offering("CHUNKING, BINARYMIME, PIPELINING")
    );
    let envelope = Envelope { body: Body::Binary, ..envelope(&["bob@far.test"]) };
    check_with(&script, &attempt(envelope, b"A: b\r\n\r\n.\r\n\0c\r\n"), &["delivered 2.0.0 ok"])
        .await;
}

#[tokio::test]
async fn who_asked_for_reports_is_told_who_sends_them() {
    let script = format!(
        "{}\n{MAIL}\nC: RCPT TO:<bob@far.test> NOTIFY=SUCCESS\nS: 250 ok\n{LETTER}\nS: 250 ok",
        offering("DSN")
    );
    let mut envelope = envelope(&["bob@far.test"]);
    envelope.recipients[0].notify =
        Notify { success: true, failure: false, delay: false, said: true };
    let attempt = attempt(envelope, PLAIN.as_bytes());
    let script = script.replace("C: \x20", "C: ");
    check_with(&script, &attempt, &["delivered 2.0.0 ok (reports)"]).await;
    let script = [HELLO, MAIL, RCPT, LETTER, "S: 250 ok"].join("\n").replace("C: \x20", "C: ");
    check_with(&script, &attempt, &["delivered 2.0.0 ok"]).await;
}

#[tokio::test]
async fn injected_before_tls() {
    let script = "S: 220 x\nC: EHLO us.test\nS: 250-x\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nS: 250 injected";
    let (found, _) = run(script, &attempt(envelope(&["bob@far.test"]), b"a")).await;
    // Where the second line has not come yet, the handshake meets it instead.
    let found = found.first().unwrap();
    assert!(found == "later! 4.4.2 says what is no SMTP" || found.contains("4.7.5 TLS"), "{found}");
    // STARTTLS refused: on in clear.
    let refused =
        "S: 220 x\nC: EHLO us.test\nS: 250-x\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 not now";
    check(&script_of(refused), &["delivered 2.0.0 ok"]).await;
}

fn script_of(begin: &str) -> String {
    script(&[begin, MAIL, RCPT, LETTER, "S: 250 ok"])
}

#[tokio::test]
async fn logins() {
    let login = Login { user: "u".to_owned(), password: "p".to_owned() };
    assert!(!format!("{login:?}").contains("\"p\""));
    let check = async |script: &str, is_loopback: bool, expect: Result<(), &str>| {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let connectors = Connectors::new(RootCertStore::empty()).unwrap();
        let patience = patience();
        let want =
            Want { login: Some(&login), is_mx: false, is_loopback, ..want(&patience, &connectors) };
        let begin = async {
            let begun = Session::begin(Box::new(ours), &want).await;
            begun.map(|_| ()).map_err(|Failure { answer, kind }| {
                assert_eq!(kind, Kind::Down);
                format!("{} {}", answer.enhanced, answer.text)
            })
        };
        let (found, played) = tokio::join!(begin, play(theirs, script));
        assert_eq!(played, Ok(()));
        assert_eq!(found, expect.map_err(str::to_owned));
    };
    let plain = format!("{}\nC: AUTH PLAIN AHUAcA==", offering("AUTH LOGIN PLAIN X"));
    check(&format!("{plain}\nS: 235 ok"), true, Ok(())).await;
    check(&format!("{plain}\nS: 535 no"), true, Err("5.7.8 no")).await;
    let by_steps =
        format!("{}\nC: AUTH LOGIN\nS: 334 x\nC: dQ==\nS: 334 y\nC: cA==", offering("AUTH LOGIN"));
    check(&format!("{by_steps}\nS: 235 ok"), true, Ok(())).await;
    check(&offering("AUTH CRAM-MD5"), true, Err("4.7.11 offers neither AUTH PLAIN nor AUTH LOGIN"))
        .await;
    let clear =
        "4.7.11 gets no password: the connection is not protected by TLS with a good certificate";
    check(&offering("AUTH PLAIN"), false, Err(clear)).await;
}

/// A server on a socket that plays one script for each connection, in their order; then nobody is there.
async fn server(
    address: &str,
    scripts: Vec<String>,
) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind(address).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        let mut problems = Vec::new();
        for script in scripts {
            let (stream, _) = listener.accept().await.unwrap();
            problems.extend(play(stream, &script).await.err());
        }
        problems
    });
    (port, serving)
}

fn relay(port: u16, rows: &[(&'static str, Row)]) -> Arc<Relay> {
    let config = Config {
        hostname: "us.test".to_owned(),
        port,
        idle: Duration::from_millis(300),
        letters_per_connection: 2,
        patience: patience(),
        ..Config::default()
    };
    Relay::new(config, Box::new(Table::of(rows))).unwrap()
}

async fn send(relay: &Relay, envelope: Envelope) -> Vec<String> {
    let route = relay.route(&envelope.recipients[0].address);
    let attempt = Attempt { route, ..attempt(envelope, PLAIN.as_bytes()) };
    relay.attempt(attempt).await.iter().map(shown).collect()
}

const TWO: &[(&str, Row)] = &[
    ("far.test", Row::Mx(1, "a.far.test")),
    ("far.test", Row::Mx(2, "b.far.test")),
    ("a.far.test", Row::Ip("127.0.0.1")),
    ("b.far.test", Row::Ip("127.0.0.1")),
];

/// Both hosts are the same server, which hears from us once for each.
async fn check_hosts(first: &str, second: &str, expect: &[&str]) {
    let scripts = [first, second].into_iter().filter(|s| !s.is_empty()).map(str::to_owned);
    let (port, serving) = server("127.0.0.1:0", scripts.collect()).await;
    let to = ["bob@far.test", "carol@far.test"];
    let found = send(&relay(port, TWO), envelope(to.get(..expect.len()).unwrap())).await;
    assert_eq!(found, expect, "{first}\n--\n{second}");
    assert_eq!(serving.await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn the_next_host() {
    let good = script(&[HELLO, MAIL, RCPT, LETTER, "S: 250 ok"]);
    for first in ["S!", "S#", "S: 421 busy", "S: 450 later", "S: 554 go away", "S: SSH-2.0-x"] {
        check_hosts(first, &good, &["delivered 2.0.0 ok"]).await;
    }
    for end in ["S: 421 bye", "S!"] {
        let at_mail = script(&[HELLO, "C: MAIL FROM:<alice@us.test>", end]);
        let at_rcpt = script(&[HELLO, MAIL, "C: RCPT TO:<bob@far.test>", end]);
        for first in [at_mail, at_rcpt] {
            check_hosts(&first, &good, &["delivered 2.0.0 ok"]).await;
        }
    }
    // Only as long as nobody can have taken it.
    let lost = script(&[HELLO, MAIL, RCPT, LETTER, "S!"]);
    let twice =
        "later 4.4.2 closed the connection after the whole letter was sent; it may arrive twice";
    check_hosts(&lost, "", &[twice]).await;
    // An answer is an answer.
    let no =
        script(&[HELLO, MAIL, "C: RCPT TO:<bob@far.test>\nS: 450 4.2.0 grey\nC: RSET\nS: 250 ok"]);
    check_hosts(&no, "", &["later 4.2.0 grey"]).await;
    // The first said no to bob and went away: only carol is asked for again.
    let first = script(&[BATCH, "S: 250 ok\nS: 550 5.1.1 who\nS: 421 bye"]);
    let second = script(&[HELLO, MAIL, &RCPT.replace("bob", "carol"), LETTER, "S: 250 ok"]);
    check_hosts(&first, &second, &["never 5.1.1 who", "delivered 2.0.0 ok"]).await;
    // No and no is no; no and not now is not now.
    check_hosts("S: 554 no", "S: 521 no", &["never 5.1.10 no"]).await;
    check_hosts("S: 554 no", "S: 421 no", &["later! 4.3.2 no"]).await;
}

#[tokio::test]
async fn nobody_is_there() {
    let (port, serving) = server("127.0.0.1:0", vec![]).await;
    serving.await.unwrap();
    let found = send(&relay(port, TWO), envelope(&["bob@far.test"])).await;
    let found = found.first().unwrap();
    assert!(found.starts_with("later! 4.4.1 127.0.0.1:") && found.contains("refused"), "{found}");
    let rows = [
        (
            ("lost.test", Row::Mx(1, "nowhere.test")),
            "never 5.4.4 has mail sent to it, but does not exist",
        ),
        (("x.test", Row::Broken), "later! 4.4.3 the DNS does not say where x.test is: SERVFAIL"),
    ];
    for (row, expect) in rows {
        let to = format!("bob@{}", row.0);
        assert_eq!(send(&relay(port, &[row]), envelope(&[&to])).await, [expect]);
    }
}

#[tokio::test]
async fn connections_are_kept_a_moment() {
    let letter = script(&[MAIL, RCPT, LETTER, "S: 250 ok"]);
    // Two letters and goodbye, as configured; then one that is left alone, and closed.
    let scripts = vec![
        [HELLO, &letter, &letter, "C: QUIT\nS: 221 bye"].join("\n"),
        [HELLO, &letter, "C: QUIT\nS: 221 bye"].join("\n"),
        // This one goes away while it waits: the next letter finds out in time.
        [HELLO, &letter, "S!"].join("\n"),
        [HELLO, &letter].join("\n"),
    ];
    let (port, serving) = server("127.0.0.1:0", scripts).await;
    let relay = relay(port, TWO);
    for pause_ms in [0, 0, 500, 100, 0] {
        assert_eq!(send(&relay, envelope(&["bob@far.test"])).await, ["delivered 2.0.0 ok"]);
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
    drop(relay);
    assert_eq!(serving.await.unwrap(), Vec::<String>::new());
}

/// A certificate for `a.far.test` by nobody in particular, and its key.
fn certificate(folder: &std::path::Path) -> rustls::ServerConfig {
    use rustls::pki_types::pem::PemObject;
    let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem \
         -out cert.pem -days 30 -subj /CN=far -addext subjectAltName=DNS:a.far.test \
         -addext basicConstraints=critical,CA:FALSE";
    let done = std::process::Command::new("openssl")
        .args(arguments.split_ascii_whitespace())
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let cert = rustls::pki_types::CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .unwrap()
}

/// What one connection does: a script in clear, a handshake, a script inside it.
type Stage = (String, Option<String>);

async fn tls_server(
    config: rustls::ServerConfig,
    stages: Vec<Stage>,
) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let serving = tokio::spawn(async move {
        let mut problems = Vec::new();
        for (clear, inside) in stages {
            let (mut stream, _) = listener.accept().await.unwrap();
            let Some(inside) = inside else {
                problems.extend(play(stream, &clear).await.err());
                continue;
            };
            // The script in clear ends where the handshake begins: nothing may be read ahead.
            for step in clear.lines().map(str::trim_start).filter(|step| !step.is_empty()) {
                if let Some(text) = step.strip_prefix("S: ") {
                    stream.write_all(format!("{text}\r\n").as_bytes()).await.unwrap();
                } else {
                    let mut heard = vec![0; step.len() - 3 + 2];
                    stream.read_exact(&mut heard).await.unwrap();
                    assert_eq!(String::from_utf8(heard).unwrap().trim_end(), &step[3..]);
                }
            }
            match acceptor.accept(stream).await {
                Ok(stream) => problems.extend(play(stream, &inside).await.err()),
                Err(error) => problems.push(error.to_string()),
            }
        }
        problems
    });
    (port, serving)
}

async fn check_tls(
    stages: &[(&str, Option<&str>)],
    require_tls: bool,
    trusted: bool,
    expect: &str,
) {
    use rustls::pki_types::pem::PemObject;
    let folder = tempfile::tempdir().unwrap();
    let config = certificate(folder.path());
    let mut roots = RootCertStore::empty();
    if trusted {
        let file = folder.path().join("cert.pem");
        roots.add(rustls::pki_types::CertificateDer::from_pem_file(file).unwrap()).unwrap();
    }
    let owned = |(clear, inside): &(&str, Option<&str>)| -> Stage {
        ((*clear).to_owned(), inside.map(str::to_owned))
    };
    let (port, serving) = tls_server(config, stages.iter().map(owned).collect()).await;
    let wait = Duration::from_secs(5);
    let config = Config {
        hostname: "us.test".to_owned(),
        port,
        roots,
        idle: SOON,
        patience: Patience { greeting: wait, command: wait, ..patience() },
        ..Config::default()
    };
    let rows = [("far.test", Row::Mx(1, "a.far.test")), ("a.far.test", Row::Ip("127.0.0.1"))];
    let relay = Relay::new(config, Box::new(Table::of(&rows))).unwrap();
    let envelope = Envelope { require_tls, ..envelope(&["bob@far.test"]) };
    let found = send(&relay, envelope).await;
    assert!(found[0].starts_with(expect), "{expect}: {found:?}");
    drop(relay);
    let problems = serving.await.unwrap();
    // Whoever is not trusted hears so in the handshake.
    assert!(problems.is_empty() || found[0].contains("5.7.5"), "{expect}: {problems:?}");
}

#[tokio::test]
async fn tls_where_it_can_be_had() {
    let offer = "S: 220 x\nC: EHLO us.test\nS: 250-x\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go";
    let begin = "C: EHLO us.test\nS: 250-x\nS: 250 REQUIRETLS";
    let plain = script(&[HELLO, MAIL, RCPT, LETTER, "S: 250 ok"]);
    let inside = script(&[begin, MAIL, RCPT, LETTER, "S: 250 ok"]);
    let guarded = inside.replace("us.test>", "us.test> REQUIRETLS");
    let broken = format!("{offer}\nS!");
    let (taken, no_tls) = ("delivered 2.0.0 ok", "never 5.7.5 TLS could not be begun");
    // Nobody vouches for the certificate, and nobody asks.
    check_tls(&[(offer, Some(&inside))], false, false, taken).await;
    // The handshake fails: in clear, on a connection of its own.
    check_tls(&[(&broken, None), (&plain, None)], false, false, taken).await;
    // What must not travel in clear (RFC 8689).
    check_tls(&[(offer, Some(&guarded))], true, true, taken).await;
    let no_promise = "never 5.7.30 does not promise";
    check_tls(&[(offer, Some("C: EHLO us.test\nS: 250 x"))], true, true, no_promise).await;
    check_tls(&[(offer, Some(""))], true, false, no_tls).await;
    check_tls(&[(&broken, None)], true, true, no_tls).await;
    check_tls(&[(HELLO, None)], true, true, "never 5.7.10 offers no TLS").await;
}
