//! Conversations in `testdata/imap`, one file for each command.
//!
//! ```text
//! # a comment
//! ! letters            three letters are in INBOX
//! ! login              a client connects and logs in; `! select` also selects INBOX
//! ! bob                bob has an account, and is logged in as the second client
//! ! jmap https://...   a JMAP server has the same mail; stands before everything else
//! ! quota 4096 10      the account may hold so many bytes and messages; 0: no limit
//! ! login 2            the same for a second client
//! C: a1 NOOP           the client sends a line
//! S: a1 OK ...         the server says a line; `...` stands for anything
//! C2: and S2:          the second client
//! S: (closed)          the server hangs up
//! ```

use crate::harness::{Client, Server};
use std::path::PathBuf;
use types::Limits;

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/imap")
}

async fn play(name: &str) {
    let text = std::fs::read_to_string(folder().join(format!("{name}.txt"))).unwrap();
    let jmap_session_url = text.lines().find_map(|line| line.strip_prefix("! jmap "));
    let server = Server::with_jmap(Limits::default(), jmap_session_url).await;
    let mut clients: [Option<Client>; 2] = [None, None];
    for (number, line) in text.lines().enumerate() {
        let at = format!("{name}.txt line {}", number + 1);
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        let client = &mut clients[usize::from(mark.contains('2'))];
        match mark.trim_end_matches(':').trim_end_matches('2') {
            "" | "#" => {}
            "!" => prepare(&server, &mut clients, rest).await,
            "C" => {
                let client = client.get_or_insert_with(|| server.connect());
                client.send(format!("{rest}\r\n").as_bytes()).await;
            }
            "S" => {
                let client = client.get_or_insert_with(|| server.connect());
                let said = client.line().await;
                assert!(matches(rest, &said), "{at}\n expected {rest}\n but got  {said}");
            }
            other => panic!("{at}: what is {other:?}?"),
        }
    }
    for client in clients.iter_mut().flatten() {
        client.silence().await;
    }
}

async fn prepare(server: &Server, clients: &mut [Option<Client>; 2], what: &str) {
    let (what, who) = what.split_once(' ').unwrap_or((what, "1"));
    match what {
        "letters" => server.deliver_letters().await,
        "login" | "select" => {
            let mut client = server.connect();
            client.line().await;
            client.ok("LOGIN alice@example.test secret").await;
            if what == "select" {
                client.ok("SELECT INBOX").await;
            }
            clients[usize::from(who == "2")] = Some(client);
        }
        "bob" => {
            server.put_account("bob@example.test").await;
            let mut client = server.connect();
            client.line().await;
            client.ok("LOGIN bob@example.test secret").await;
            clients[1] = Some(client);
        }
        "quota" => {
            let (size_bytes, messages) = who.split_once(' ').unwrap();
            let (size_bytes, messages) = (size_bytes.parse().unwrap(), messages.parse().unwrap());
            let limit = storage::Amount { size_bytes, messages };
            server.store.set_quota(server.alice, limit).await.unwrap();
        }
        // `play` began with it.
        "jmap" => {}
        other => panic!("cannot prepare {other:?}"),
    }
}

/// `...` in the pattern stands for any text, also for none.
fn matches(pattern: &str, line: &str) -> bool {
    let Some((first, pattern)) = pattern.split_once("...") else { return pattern == line };
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let (middle, last) = pattern.rsplit_once("...").unwrap_or(("", pattern));
    for piece in middle.split("...") {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

macro_rules! transcripts {
    ($($name:ident)*) => {
        const TRANSCRIPTS: &[&str] = &[$(stringify!($name)),*];
        $(
            #[tokio::test]
            async fn $name() {
                play(stringify!($name).trim_start_matches("r#")).await;
            }
        )*
    };
}

transcripts! {
    append
    authenticate
    binary
    cancelupdate
    capability
    catenate
    check
    clients
    close
    compress
    copy
    create
    delete
    deleteacl
    enable
    esearch
    examine
    expunge
    fetch
    getacl
    getjmapaccess
    getmetadata
    getquota
    getquotaroot
    id
    idle
    imap4rev2
    jmapaccess
    list
    listrights
    login
    logout
    lsub
    manners
    r#move
    multiappend
    myrights
    namespace
    noop
    notify
    partial
    rename
    replace
    resync_condstore
    resync_qresync
    savedate
    search
    searchres
    select
    setacl
    setmetadata
    sharing
    sharing_changes
    sharing_limits
    sort
    starttls
    status
    store
    subscribe
    thread
    uidonly
    unauthenticate
    unselect
    unsubscribe
    utf8
}

#[test]
fn every_file_is_played_and_every_command_is_in_one() {
    let mut files = Vec::new();
    let mut said = String::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        files.push(path.file_stem().unwrap().to_string_lossy().into_owned());
        said.push_str(&std::fs::read_to_string(path).unwrap());
    }
    files.sort();
    let played: Vec<_> = TRANSCRIPTS.iter().map(|name| name.trim_start_matches("r#")).collect();
    assert_eq!(files, played);
    for row in imap::COMMANDS {
        let sent = |line: &str| {
            let command = line.strip_prefix("C: ").and_then(|line| line.split_once(' '));
            command.is_some_and(|(_, rest)| {
                let rest = rest.strip_prefix(row.name);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            })
        };
        assert!(said.lines().any(sent), "no transcript has {}", row.name);
    }
}
