//! NOTIFY where a transcript would be too long: many mailboxes, many messages, mailboxes of others.

use crate::harness::{Client, PLAIN, Server};
use tokio::task::JoinSet;

const MANY: usize = 2_000;

async fn make_mailboxes(server: &Server, names: impl Iterator<Item = String>) {
    let mut making = JoinSet::new();
    for name in names {
        let (store, alice) = (server.store.clone(), server.alice);
        making.spawn(async move { store.create_mailbox(alice, &name, None).await.unwrap() });
    }
    making.join_all().await;
}

async fn next(client: &mut Client, expect: &str) {
    assert_eq!(client.line().await, expect);
}

#[tokio::test]
async fn too_many_mailboxes() {
    let server = Server::start().await;
    let there = server.store.mailboxes(server.alice).await.unwrap().len();
    make_mailboxes(&server, (there..MANY).map(|n| format!("m{n}"))).await;
    let mut client = server.select().await;
    client.ok("NOTIFY SET (personal (MailboxName))").await;
    make_mailboxes(&server, ["one more".to_owned()].into_iter()).await;
    let overflow = "* OK [NOTIFICATIONOVERFLOW] Too much has changed, send NOTIFY SET again";
    next(&mut client, overflow).await;
    // As after NOTIFY NONE, and nothing grows.
    server.deliver(PLAIN, &[], 0).await;
    assert_eq!(client.ok("NOOP").await, Vec::<String>::new());
    let (_, status) = client.ask("NOTIFY SET (personal (MailboxName))").await;
    assert!(status.starts_with("NO [NOTIFICATIONOVERFLOW] "), "{status}");
}

#[tokio::test]
async fn many_mailboxes_at_once() {
    let server = Server::start().await;
    let mut client = server.select().await;
    client.ok("NOTIFY SET (subtree a (MailboxName MessageNew MessageExpunge))").await;
    let mut other = server.select().await;
    other.ok("CREATE a").await;
    let made = "* LIST (\\Subscribed \\HasNoChildren) \"/\" a";
    next(&mut client, made).await;
    let names = (0..100).map(|n| format!("a/{n:03}"));
    make_mailboxes(&server, names.clone()).await;
    let mut told = Vec::new();
    while told.len() < 100 {
        let line = client.line().await;
        if !line.ends_with("\"/\" a") {
            told.push(line);
        }
    }
    told.sort();
    let expect = |n| format!("* LIST (\\Subscribed \\HasNoChildren) \"/\" {n}");
    assert_eq!(told, names.clone().map(expect).collect::<Vec<_>>());
    client.ok("NOOP").await;
    // All of them follow the one above, and only that is told.
    other.ok("RENAME a b").await;
    next(&mut client, "* LIST (\\Subscribed \\HasChildren) \"/\" b (\"OLDNAME\" (a))").await;
    other.ok("RENAME b a").await;
    next(&mut client, "* LIST (\\Subscribed \\HasChildren) \"/\" a (\"OLDNAME\" (b))").await;
    // More than are asked for one by one.
    server.deliver(PLAIN, &[], 0).await;
    other.ok("NOOP").await;
    for name in names {
        other.send(format!("t COPY 1 {name}\r\n").as_bytes()).await;
    }
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 100 {
        let line = client.line().await;
        assert!(line.starts_with("* STATUS a/") && line.contains("(MESSAGES 1 "), "{line}");
        seen.insert(line);
    }
    client.silence().await;
}

#[tokio::test]
async fn many_messages_at_once() {
    let server = Server::start().await;
    let (mut client, mut other) = (server.select().await, server.select().await);
    server.deliver(PLAIN, &[], 0).await;
    other.ok("NOOP").await;
    for _ in 0..10 {
        other.ok("COPY 1:* INBOX").await;
    }
    let set = "NOTIFY SET (selected (MessageNew (UID ENVELOPE) MessageExpunge))";
    assert_eq!(client.ok(set).await, ["* 1024 EXISTS"], "before it there was nothing to fetch");
    other.ok("COPY 1:* INBOX").await;
    next(&mut client, "* 2048 EXISTS").await;
    let before = client.writes();
    for n in 1025..=2048 {
        let line = client.line().await;
        assert!(line.starts_with(&format!("* {n} FETCH (UID {n} ENVELOPE (")), "{line}");
    }
    assert!(client.writes() - before < 100);
    other.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)").await;
    other.ok("EXPUNGE").await;
    for _ in 0..2048 {
        next(&mut client, "* 1 EXPUNGE").await;
    }
    client.silence().await;
}

#[tokio::test]
async fn the_mailbox_of_somebody_else_and_ones_own() {
    let server = Server::start().await;
    server.deliver_letters().await;
    let mut alice = server.select().await;
    server.put_account("bob@example.test").await;
    alice.ok("SETACL INBOX bob@example.test lrsi").await;
    let mut bob = server.connect();
    bob.line().await;
    bob.ok("LOGIN bob@example.test secret").await;
    bob.ok("SELECT \"Other Users/alice@example.test/INBOX\"").await;
    bob.ok("NOTIFY SET (selected (MessageNew (UID) MessageExpunge)) (personal (MessageNew MessageExpunge))").await;
    let mut second = server.connect();
    second.line().await;
    second.ok("LOGIN bob@example.test secret").await;
    for idles in [false, true] {
        if idles {
            bob.send(b"i IDLE\r\n").await;
            next(&mut bob, "+ Waiting for news").await;
        }
        alice.ok("COPY 1 INBOX").await;
        let n = 4 + u32::from(idles);
        next(&mut bob, &format!("* {n} EXISTS")).await;
        next(&mut bob, &format!("* {n} FETCH (UID {n})")).await;
        second.ok(&format!("APPEND INBOX {{{}+}}\r\n{PLAIN}", PLAIN.len())).await;
        let line = bob.line().await;
        let messages = 1 + u32::from(idles);
        assert!(line.starts_with(&format!("* STATUS INBOX (MESSAGES {messages} ")), "{line}");
    }
    bob.send(b"DONE\r\n").await;
    next(&mut bob, "i OK No longer waiting").await;
    // The right to read is taken away while nothing is said.
    alice.ok("DELETEACL INBOX bob@example.test").await;
    let said = bob.rest().await;
    assert!(said.starts_with("* BYE "), "{said}");
}

#[tokio::test]
async fn own_flags_do_not_gather() {
    let server = Server::start().await;
    server.deliver_letters().await;
    let (mut client, mut other) = (server.select().await, server.select().await);
    client.ok("NOTIFY NONE").await;
    other.ok("STORE 1 +FLAGS.SILENT ($theirs)").await;
    for n in 0..550 {
        client.ok(&format!("STORE 1 +FLAGS.SILENT ($k{})", n % 2)).await;
        client.ok("STORE 1 -FLAGS.SILENT ($k0 $k1)").await;
    }
    let told = client.ok("NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))").await;
    assert_eq!(told, ["* 1 FETCH (UID 1 FLAGS (\\Seen $theirs))"]);
}
