//! What strangers try, and what they get: a clear answer, soon, in bounded memory, and never a panic.

use crate::harness::{Client, PLAIN, Server};
use std::time::{Duration, Instant};
use types::{Limits, Peer};

async fn greeted(server: &Server) -> Client {
    let mut client = server.connect();
    assert!(client.line().await.starts_with("* OK [CAPABILITY IMAP4rev1 IMAP4rev2 "));
    client
}

/// Sends bytes before login; all that is answered, until the server hangs up or nothing more comes.
async fn stranger(server: &Server, bytes: &[u8], expect: &[&str]) {
    let mut client = greeted(server).await;
    client.send(bytes).await;
    for expect in expect {
        let line = client.line().await;
        assert!(line.starts_with(expect), "expected {expect}, got {line}");
    }
    client.silence().await;
}

#[tokio::test]
async fn before_login() {
    let server = Server::start().await;
    let too_big = "a NO [TOOBIG] The literal is too large for this command";
    let unreadable = "* BYE The command could not be read to its end";
    // Waiting for a `+` that never comes, the connection may go on.
    let both = [too_big, "b OK"];
    stranger(&server, b"a LOGIN {4294967295}\r\nb NOOP\r\n", &both).await;
    stranger(&server, b"a LOGIN {9000}\r\nb NOOP\r\n", &both).await;
    stranger(&server, b"a LOGIN {4294967296}\r\n", &["a BAD", unreadable, "(closed)"]).await;
    stranger(&server, b"a LOGIN {99999999999999999999+}\r\n", &["a BAD", unreadable]).await;
    let gone = [too_big, "* BYE The literal is too large", "(closed)"];
    stranger(&server, b"a LOGIN {9000+}\r\nb NOOP\r\n", &gone).await;
    stranger(&server, b"a LOGIN {4294967295+}\r\nb NOOP\r\n", &gone).await;
    stranger(&server, b"a LOGIN {1}x\r\nb NOOP\r\n", &["a BAD", "b OK"]).await;
    stranger(&server, b"a APPEND INBOX {10}\r\n", &["a BAD Log in first"]).await;
    stranger(&server, b"a LOGIN {3-}\r\n", &["a BAD"]).await;
    // A megabyte without an end, and with one.
    let line = vec![b'x'; 1 << 20];
    stranger(&server, &line, &["* BAD The command is too long", unreadable, "(closed)"]).await;
    let line = [b"a LOGIN ".as_slice(), &line, b"\r\n"].concat();
    stranger(&server, &line, &["a BAD The command is too long", unreadable, "(closed)"]).await;
    // SASL
    let initial = format!("a AUTHENTICATE PLAIN {}\r\n", "A".repeat(60_000));
    stranger(&server, initial.as_bytes(), &["a BAD", unreadable, "(closed)"]).await;
    let response = format!("a AUTHENTICATE PLAIN\r\n{}\r\n", "A".repeat(60_000));
    stranger(&server, response.as_bytes(), &["+ ", "a BAD", "* BYE", "(closed)"]).await;
    stranger(&server, b"a AUTHENTICATE PLAIN AAAA\r\n", &["a BAD"]).await;
    stranger(&server, b"a AUTHENTICATE PLAIN\r\n\0\0\0\r\n", &["+ ", "a BAD"]).await;
    // A line end that is none: one command, refused, never two.
    stranger(&server, b"a NOOP\nb LOGOUT\n", &["a BAD A line must", "b BAD A line must"]).await;
    stranger(&server, b"a LOGIN \"x\0y\" z\r\n", &["a BAD"]).await;
    stranger(&server, b"a LOGIN x\ry z\r\n", &["a BAD"]).await;
    stranger(&server, b"\0\0\0\0\r\n", &["* BAD"]).await;
    stranger(&server, b"a SELECT INBOX\r\n", &["a BAD Log in first"]).await;
}

#[tokio::test]
async fn somebody_who_speaks_another_language_is_sent_away() {
    let server = Server::start().await;
    let mut client = greeted(&server).await;
    let request = "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\nB: c\r\nC: d\r\nD: e\r\nE: f\r\nF: g\r\n\
                   G: h\r\n\r\na NOOP\r\n";
    client.send(request.as_bytes()).await;
    let rest = client.rest().await;
    assert_eq!(rest.matches(" BAD ").count(), 10, "{rest}");
    assert!(rest.ends_with("* BYE Too many commands that make no sense\r\n"), "{rest}");
}

#[tokio::test]
async fn no_password_without_encryption() {
    let server = Server::start().await;
    let mut client = server.connect_as(Peer { ip: "192.0.2.1".parse().unwrap(), private: false });
    let greeting = client.line().await;
    assert!(greeting.contains(" LOGINDISABLED") && !greeting.contains("AUTH="), "{greeting}");
    for command in ["LOGIN alice secret", "AUTHENTICATE PLAIN", "AUTHENTICATE PLAIN AAAA"] {
        let (_, status) = client.ask(command).await;
        assert!(status.starts_with("NO [PRIVACYREQUIRED] "), "{command}: {status}");
    }
}

#[tokio::test]
async fn guessing_passwords_takes_longer_and_longer() {
    let server = Server::start().await;
    for _ in 0..20 {
        let mut client = greeted(&server).await;
        for _ in 0..3 {
            let (_, status) = client.ask("LOGIN alice wrong").await;
            if status.starts_with("NO [UNAVAILABLE] Too many wrong passwords; try again in ") {
                return;
            }
            assert_eq!(status, "NO [AUTHENTICATIONFAILED] Wrong user name or password");
        }
        assert_eq!(client.line().await, "* BYE Too many wrong passwords");
    }
    panic!("60 wrong passwords at full speed");
}

#[tokio::test]
async fn deep_and_long_commands() {
    let server = Server::start().await;
    server.deliver(PLAIN, &[], 0).await;
    let mut client = server.select().await;
    for command in [
        format!("SEARCH {}", "(".repeat(60_000)),
        format!("SEARCH {}ALL", "NOT ".repeat(15_000)),
        format!("SEARCH {}{}", "OR ".repeat(8_000), "ALL ".repeat(8_001)),
        format!("SEARCH {}", "ALL ".repeat(15_000)),
        format!("FETCH 1 BODY[{}1]", "1.".repeat(20_000)),
        format!("FETCH {}1 UID", "1,".repeat(20_000)),
        format!("UID SEARCH UID {}1", "1,".repeat(20_000)),
        format!("FETCH 1 ({})", "BODY[] ".repeat(9_000)),
        format!("STORE 1 FLAGS ({})", "x ".repeat(20_000)),
        "FETCH 4294967296 UID".to_owned(),
        "FETCH -1 UID".to_owned(),
        "UID FETCH 0 UID".to_owned(),
        "LIST \"\" {1}x".to_owned(),
        "FETCH 1 BODY[]<9223372036854775808.1>".to_owned(),
        "SEARCH LARGER 99999999999999999999".to_owned(),
    ] {
        let begin = Instant::now();
        let (lines, status) = client.ask(&command).await;
        let head = &command[..command.len().min(40)];
        assert!(lines.is_empty() && status.starts_with("BAD "), "{head}: {status}");
        assert!(begin.elapsed() < Duration::from_secs(1), "{head}");
        client.ok("NOOP").await;
    }
    client.send(format!("a SEARCH {}\r\n", "x".repeat(100_000)).as_bytes()).await;
    assert_eq!(client.line().await, "a BAD The command is too long");
    assert!(client.rest().await.starts_with("* BYE "));
}

#[tokio::test]
async fn mailbox_names() {
    let server = Server::start().await;
    let mut client = server.select().await;
    let long = "x".repeat(5_000);
    let deep = vec!["x"; 500].join("/");
    for name in ["..", "../x", "a/../b", ".", "/etc", "/", "//", "a//b", "\"\"", &long, &deep] {
        let (_, status) = client.ask(&format!("CREATE {name}")).await;
        let head = &name[..name.len().min(20)];
        assert!(status.starts_with("NO [CANNOT] "), "{head}: {status}");
        for verb in ["SELECT", "DELETE", "SUBSCRIBE"] {
            let (_, status) = client.ask(&format!("{verb} {name}")).await;
            assert!(status.starts_with("NO [NONEXISTENT] "), "{verb} {head}: {status}");
        }
    }
    let bad_utf7 = [
        "&AXw",
        "a&",
        "&AC8-",
        "&AEE-",
        "&AAA-",
        "&2D0-",
        "&3Oc-",
        "&AXx-",
        "&AXw-&APM-",
        "&AXw=-",
    ];
    for name in bad_utf7 {
        for command in [format!("CREATE {name}"), format!("LIST \"\" {name}*")] {
            let (_, status) = client.ask(&command).await;
            assert!(status.starts_with("BAD Expected a mailbox name"), "{command}: {status}");
        }
    }
    let bad_bytes: [&[u8]; 5] =
        [b"\"a\0b\"", b"{3+}\r\na\0b", b"\"\xC0\xAF\"", b"\"\xED\xA0\x80\"", b"\"a\tb\""];
    for name in bad_bytes {
        client.send(&[b"t CREATE ", name, b"\r\n"].concat()).await;
        let (_, status) = client.answer("t").await;
        assert!(status.starts_with("BAD "), "{}: {status}", name.escape_ascii());
    }
    // Odd, but a name.
    for name in ["~root", "\"$(id)\"", "\"`x`; rm -rf\"", "\"%n\\\\\"", "\"' OR 1=1 --\""] {
        client.ok(&format!("CREATE {name}")).await;
        client.ok(&format!("SELECT {name}")).await;
    }
}

#[tokio::test]
async fn patterns_with_many_stars() {
    let server = Server::start().await;
    let mut client = server.select().await;
    let name = vec!["a".repeat(240); 4].join("/");
    client.ok(&format!("CREATE {name}")).await;
    for pattern in [
        format!("{}b", "*a".repeat(120)),
        format!("{}b", "%a".repeat(120)),
        format!("{}b", "*%a".repeat(80)),
        "*".repeat(250),
    ] {
        let begin = Instant::now();
        client.ok(&format!("LIST \"\" \"{pattern}\"")).await;
        assert!(begin.elapsed() < Duration::from_secs(1), "{pattern}");
    }
    let (_, status) = client.ask(&format!("LIST \"\" \"{}b\"", "*a".repeat(20_000))).await;
    assert_eq!(status, "NO [LIMIT] The pattern is too long for one with wildcards");
}

/// A stranger's bytes while news are awaited end the wait like any command.
#[tokio::test]
async fn garbage_while_notify_listens() {
    let server = Server::start().await;
    let mut client = server.select().await;
    client.ok("NOTIFY SET (selected (MessageNew MessageExpunge)) (personal (MailboxName))").await;
    client.send(b"a NO").await;
    server.deliver(PLAIN, &[], 0).await;
    assert_eq!(client.line().await, "* 1 EXISTS", "in the middle of a command");
    client.send(b"OP\r\n").await;
    assert_eq!(client.line().await, "a OK Nothing else");
    client.send(b"b APPEND INBOX {3}\r\n").await;
    assert!(client.line().await.starts_with("+ "));
    client.send(b"abc\r\n\0\0\r\n").await;
    assert_eq!(client.line().await, "* 2 EXISTS");
    assert!(client.line().await.starts_with("b OK "));
    assert!(client.line().await.starts_with("* BAD "));
    client.send(&vec![b'x'; 1 << 20]).await;
    assert!(client.line().await.starts_with("* BAD The command is too long"));
    assert!(client.rest().await.starts_with("* BYE "));
}

#[tokio::test]
async fn garbage_in_idle() {
    let server = Server::start().await;
    let mut client = server.select().await;
    client.send(b"a IDLE\r\n").await;
    assert_eq!(client.line().await, "+ Waiting for news");
    client.send(&[b'x'; 1000]).await;
    assert_eq!(client.line().await, "a BAD The line is too long");
    assert_eq!(client.line().await, "* BYE IDLE is ended by DONE alone");
    assert_eq!(client.line().await, "(closed)");
}

#[tokio::test]
async fn letters_that_are_too_large() {
    let limits = Limits { message_bytes: 1000, ..Limits::default() };
    let server = Server::with(limits).await;
    let mut client = server.select().await;
    let (_, status) = client.ask("APPEND INBOX {1001}").await;
    assert!(status.starts_with("NO [TOOBIG] "), "{status}");
    // Already on its way: read, forgotten, refused; the next command is found.
    let (_, status) = client.ask(&format!("APPEND INBOX {{1001+}}\r\n{}", "x".repeat(1001))).await;
    assert!(status.starts_with("NO [TOOBIG] "), "{status}");
    let lines = client.ok(&format!("APPEND INBOX {{1000+}}\r\n{}", "x".repeat(1000))).await;
    assert_eq!(lines, ["* 1 EXISTS"]);
    let (_, status) = client.ask("APPEND INBOX {4294967295+}").await;
    assert!(status.starts_with("NO [TOOBIG] "), "{status}");
    assert_eq!(client.line().await, "* BYE The message is too large");
    assert_eq!(client.line().await, "(closed)");
}

#[tokio::test]
async fn who_says_nothing_is_sent_away() {
    let limits = Limits { login_timeout_ms: 300, idle_timeout_ms: 300, ..Limits::default() };
    let server = Server::with(limits).await;
    let mut silent = greeted(&server).await;
    assert_eq!(silent.line().await, "* BYE Nothing was heard for too long");
    // A byte now and then buys no time before login.
    let mut slow = greeted(&server).await;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(400) {
        slow.send(b"x").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(slow.line().await, "* BYE Nothing was heard for too long");
    let mut idle = server.select().await;
    idle.send(b"a IDLE\r\n").await;
    assert_eq!(idle.line().await, "+ Waiting for news");
    assert_eq!(idle.line().await, "* BYE Nothing was heard for too long");
}

#[tokio::test]
async fn a_slow_reader_is_given_up_and_slows_nobody() {
    let limits = Limits { write_timeout_ms: 500, ..Limits::default() };
    let server = Server::with(limits).await;
    server.deliver(&format!("Subject: x\r\n\r\n{}", "x".repeat(2_000_000)), &[], 0).await;
    let mut slow = server.select().await;
    slow.send(b"a FETCH 1 BODY[]\r\nb NOOP\r\n").await;
    let begin = Instant::now();
    let mut other = server.select().await;
    other.ok("STORE 1 +FLAGS (\\Flagged)").await;
    assert!(begin.elapsed() < Duration::from_millis(500), "{:?}", begin.elapsed());
    tokio::time::sleep(Duration::from_millis(800)).await;
    let rest = slow.rest().await;
    assert!(rest.len() < 1_000_000 && !rest.contains("b OK"), "{}", rest.len());
}

#[tokio::test]
async fn many_sleep_and_one_is_served() {
    let server = Server::start().await;
    let mut sleeping = Vec::new();
    for _ in 0..200 {
        let mut client = server.select().await;
        client.send(b"a IDLE\r\n").await;
        sleeping.push(client);
    }
    let mut half = Vec::new();
    for _ in 0..100 {
        let mut client = greeted(&server).await;
        client.send(b"a LOGIN {10}\r\nabc").await;
        half.push(client);
    }
    let begin = Instant::now();
    let mut client = server.select().await;
    client.ok("NOOP").await;
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn the_server_goes_down() {
    let server = Server::start().await;
    let mut idle = server.select().await;
    idle.send(b"a IDLE\r\n").await;
    idle.line().await;
    let mut quiet = server.select().await;
    let mut stranger = greeted(&server).await;
    server.stop.send(true).unwrap();
    for client in [&mut idle, &mut quiet, &mut stranger] {
        let words = "* BYE The server is going down, come back in a minute";
        assert_eq!(client.line().await, words);
        assert_eq!(client.line().await, "(closed)");
    }
}

/// What would go over the quota is refused with the code that says so (RFC 9208 §4.3).
#[tokio::test]
async fn over_quota() {
    let server = Server::start().await;
    server.deliver_letters().await;
    let held = server.store.account(server.alice).await.unwrap().used;
    server.store.set_quota(server.alice, held).await.unwrap();
    let mut client = server.select().await;
    let (_, copied) = client.ask("COPY 1 Archive").await;
    assert!(copied.starts_with("NO [OVERQUOTA] The account would hold more"), "{copied}");
    client.send(b"a1 APPEND Archive {3}\r\n").await;
    assert!(client.line().await.starts_with('+'));
    client.send(b"abc\r\n").await;
    let (_, appended) = client.answer("a1").await;
    assert!(appended.starts_with("NO [OVERQUOTA]"), "{appended}");
    // Room is made by deleting, and a move needs none.
    client.ok("MOVE 1 Trash").await;
    client.ok("STORE 1 +FLAGS (\\Deleted)").await;
    client.ok("EXPUNGE").await;
    client.ok("COPY 1 Archive").await;
}
