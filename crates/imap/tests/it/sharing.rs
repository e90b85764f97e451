//! Several sessions on one mailbox: each must be told what the others do, in an order that keeps numbers right.

use crate::harness::{Client, PLAIN, Server};
use std::collections::BTreeMap;
use types::{FlagChange, Flags};

#[tokio::test]
async fn numbers_stay_while_a_command_uses_them() {
    let server = Server::start().await;
    server.deliver_letters().await;
    let (mut a, mut b) = (server.select().await, server.select().await);
    b.ok("STORE 2 +FLAGS.SILENT (\\Deleted)").await;
    b.ok("EXPUNGE").await;

    // Message 2 is gone, but its number is not: no EXPUNGE while FETCH, STORE or SEARCH by number.
    let (lines, status) = a.ask("FETCH 1:3 UID").await;
    assert_eq!(lines, ["* 1 FETCH (UID 1)", "* 3 FETCH (UID 3)"]);
    assert!(status.starts_with("NO [EXPUNGEISSUED] "), "{status}");
    let (lines, status) = a.ask("STORE 2:3 +FLAGS ($x)").await;
    assert_eq!(lines, ["* 3 FETCH (FLAGS (\\Flagged \\Seen $x))"]);
    assert!(status.starts_with("NO [EXPUNGEISSUED] "), "{status}");
    assert_eq!(a.ok("SEARCH FLAGGED").await, ["* SEARCH 3"]);
    // A command by UID may tell it.
    let lines = a.ok("UID FETCH 3 FLAGS").await;
    assert_eq!(lines, ["* 3 FETCH (UID 3 FLAGS (\\Flagged \\Seen $x))", "* 2 EXPUNGE"]);
    assert_eq!(a.ok("FETCH 2 UID").await, ["* 2 FETCH (UID 3)"]);
}

#[tokio::test]
async fn silent_hides_only_ones_own_change() {
    let server = Server::start().await;
    server.deliver_letters().await;
    let (mut a, mut b) = (server.select().await, server.select().await);
    b.ok("STORE 1 +FLAGS.SILENT ($b)").await;
    assert_eq!(a.ok("STORE 1 +FLAGS.SILENT ($a)").await, ["* 1 FETCH (UID 1 FLAGS (\\Seen $b))"]);
    assert_eq!(a.ok("NOOP").await, Vec::<String>::new());
    assert_eq!(b.ok("NOOP").await, ["* 1 FETCH (UID 1 FLAGS (\\Seen $a $b))"]);
}

#[tokio::test]
async fn a_mailbox_deleted_by_another_session_becomes_empty() {
    let server = Server::start().await;
    server.deliver_letters().await;
    let (mut a, mut b) = (server.connect(), server.select().await);
    b.ok("CREATE Work").await;
    b.ok("COPY 1:2 Work").await;
    a.line().await;
    a.ok("LOGIN alice secret").await;
    a.ok("SELECT Work").await;
    b.ok("DELETE Work").await;
    assert_eq!(a.ok("NOOP").await, ["* 1 EXPUNGE", "* 1 EXPUNGE"]);
    let (_, status) = a.ask("UID STORE 1:* +FLAGS (\\Seen)").await;
    assert_eq!(status, "NO [NONEXISTENT] There is no such mailbox");
    a.ok("SELECT INBOX").await;
}

#[tokio::test]
async fn many_changes_are_told_in_few_writes() {
    let server = Server::start().await;
    server.deliver(PLAIN, &[], 0).await;
    let (mut a, mut b) = (server.select().await, server.select().await);
    for _ in 0..12 {
        b.ok("COPY 1:* INBOX").await;
    }
    assert_eq!(a.ok("NOOP").await, ["* 4096 EXISTS"]);
    b.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)").await;
    let before = a.writes();
    let lines = a.ok("NOOP").await;
    assert_eq!(lines.len(), 4096);
    assert_eq!(lines[4095], "* 4096 FETCH (UID 4096 FLAGS (\\Deleted))");
    b.ok("STORE 2 -FLAGS.SILENT (\\Deleted)").await;
    assert_eq!(b.ok("EXPUNGE").await.len(), 4095);
    let lines = a.ok("NOOP").await;
    assert_eq!(lines.len(), 4096);
    assert_eq!(&lines[..2], ["* 1 EXPUNGE", "* 2 EXPUNGE"]);
    assert_eq!(lines[4095], "* 1 FETCH (UID 2 FLAGS ())");
    assert!(a.writes() - before < 20, "{} writes", a.writes() - before);
}

/// What a client believes after reading everything it was told.
#[derive(Default)]
struct Belief {
    /// UID and flags by message number; a new message's are not known before they are asked for.
    messages: Vec<(Option<u32>, Option<String>)>,
}

impl Belief {
    fn read(&mut self, lines: &[String]) {
        for line in lines {
            let Some((number, rest)) =
                line.strip_prefix("* ").and_then(|line| line.split_once(' '))
            else {
                continue;
            };
            let Ok(number) = number.parse::<usize>() else { continue };
            if rest == "EXPUNGE" {
                self.messages.remove(number - 1);
            } else if rest == "EXISTS" {
                assert!(number >= self.messages.len(), "EXISTS cannot shrink: {lines:?}");
                self.messages.resize(number, (None, None));
            } else if rest.starts_with("FETCH") {
                let (uid, flags) = &mut self.messages[number - 1];
                if let Some(said) = between(rest, "UID ", &[' ', ')']) {
                    let said = said.parse().unwrap();
                    assert_eq!(*uid.get_or_insert(said), said, "{lines:?}");
                }
                if let Some(said) = between(rest, "FLAGS (", &[')']) {
                    *flags = Some(said.to_owned());
                }
            }
        }
    }
}

fn between<'a>(text: &'a str, before: &str, after: &[char]) -> Option<&'a str> {
    text.split_once(before)?.1.split(after).next()
}

/// Alice, and two more of hers or of bob's, with the inbox open.
async fn three(server: &Server, shared: bool) -> Vec<(Client, Belief)> {
    let mut clients: Vec<(Client, Belief)> = Vec::new();
    for n in 0..3 {
        let mut client = server.connect();
        client.line().await;
        let of_bob = shared && n > 0;
        client.ok(if of_bob { "LOGIN bob secret" } else { "LOGIN alice secret" }).await;
        let mut belief = Belief::default();
        belief.read(&client.ok(&format!("SELECT {}", named("INBOX", of_bob))).await);
        belief.read(&client.ok("FETCH 1:* (UID FLAGS)").await);
        clients.push((client, belief));
        if n == 0 {
            clients[0].0.ok("SETACL INBOX bob lrswite").await;
            clients[0].0.ok("SETACL Archive bob i").await;
        }
    }
    clients
}

/// Three clients do random things to one mailbox. What each believes must in the end be what is there. `shared`: two of
/// them are bob's, who has read what he has read.
async fn play(seed: u64, shared: bool) {
    let server = Server::start().await;
    server.deliver_letters().await;
    let bob = server.put_account("bob@example.test").await;
    let mut random = seed;
    let mut pick = move |most: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % most as u64).unwrap()
    };
    let mut clients = three(&server, shared).await;
    for step in 0..150 {
        let who = pick(3);
        let (client, belief) = &mut clients[who];
        let here = |name| named(name, shared && who > 0);
        let count = belief.messages.len();
        let n = if count == 0 { "1:*".to_owned() } else { (pick(count) + 1).to_string() };
        let command = match pick(12) {
            0 | 1 => format!("COPY 1 {}", here("INBOX")),
            2 => format!("STORE {n} +FLAGS (\\Deleted)"),
            3 => format!("STORE {n} FLAGS (k{step})"),
            4 => format!("UID STORE 1:{} -FLAGS (\\Deleted)", step / 10 + 1),
            5 => "EXPUNGE".to_owned(),
            6 => "UID EXPUNGE 1:*".to_owned(),
            7 => format!("MOVE {n} {}", here("Archive")),
            8 => format!("FETCH {n} (UID FLAGS BODY[TEXT])"),
            9 => "SEARCH SEEN".to_owned(),
            10 => "NOOP".to_owned(),
            _ => format!("APPEND {} (\\Seen) {{1+}}\r\nx", here("INBOX")),
        };
        let (lines, status) = client.ask(&command).await;
        let fits = status.starts_with("OK")
            || status.starts_with("NO [EXPUNGEISSUED]")
            || (count == 0 && status.starts_with("BAD"));
        assert!(fits, "seed {seed} step {step}: {command}: {status}");
        belief.read(&lines);
    }
    for (client, belief) in &mut clients {
        belief.read(&client.ok("NOOP").await);
        let known: Vec<_> = belief.messages.iter().map(|(_, flags)| flags.clone()).collect();
        // What was believed of flags is compared below, so it may not be overwritten here.
        let lines = client.ok("UID FETCH 1:* (UID FLAGS)").await;
        belief.read(&lines);
        for (at, flags) in known.into_iter().enumerate() {
            if flags.is_some() {
                assert_eq!(flags, belief.messages[at].1, "seed {seed}: message {}", at + 1);
            }
        }
    }
    let inbox = server.store.mailbox_by_name(server.alice, "INBOX").await.unwrap();
    let there = server.store.snapshot(server.alice, inbox.id).await.unwrap().messages;
    let seen = server.store.seen_by(server.alice, inbox.id, bob).await.unwrap();
    for (who, (_, belief)) in clients.into_iter().enumerate() {
        let flags = |message: &storage::Message| {
            let mut flags = message.flags.clone();
            if shared && who > 0 {
                flags.set(types::Flag::Seen, seen.contains(message.uid));
            }
            (message.uid.get(), flags.to_string())
        };
        let there: BTreeMap<u32, String> = there.iter().map(flags).collect();
        let believed: BTreeMap<u32, String> = belief
            .messages
            .into_iter()
            .map(|(uid, flags)| (uid.unwrap(), flags.unwrap()))
            .collect();
        assert_eq!(believed, there, "seed {seed}");
    }
}

#[tokio::test]
async fn everybody_believes_what_is_there() {
    for seed in 1..=8_u64 {
        play(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), false).await;
    }
}

#[tokio::test]
async fn everybody_believes_what_is_there_also_of_others_mailboxes() {
    for seed in 1..=8_u64 {
        play(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), true).await;
    }
}

/// As alice calls it, or as another does.
fn named(name: &str, by_others: bool) -> String {
    let above = if by_others { "Other Users/alice@example.test/" } else { "" };
    format!("\"{above}{name}\"")
}

#[tokio::test]
async fn idle_is_told_at_once() {
    let server = Server::start().await;
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut client = server.select().await;
        client.send(b"i IDLE\r\n").await;
        assert_eq!(client.line().await, "+ Waiting for news");
        waiting.push(client);
    }
    let mut times_us = Vec::new();
    for round in 1..=20 {
        server.deliver(PLAIN, &[], 0).await;
        let begin = std::time::Instant::now();
        for client in &mut waiting {
            assert_eq!(client.line().await, format!("* {round} EXISTS"));
        }
        times_us.push(begin.elapsed().as_micros());
    }
    times_us.sort_unstable();
    // All twenty, in the median of twenty rounds; a busy machine gets a lot of room.
    assert!(times_us[10] < 100_000, "{times_us:?}");
    let inbox = server.store.mailbox_by_name(server.alice, "INBOX").await.unwrap();
    let (all, seen) = (types::UidSet::all(), Flags::new(&[types::Flag::Seen]));
    server
        .store
        .store_flags(server.alice, inbox.id, all, FlagChange::Add(seen), None)
        .await
        .unwrap();
    for client in &mut waiting {
        for number in 1..=20 {
            let line = client.line().await;
            assert_eq!(line, format!("* {number} FETCH (UID {number} FLAGS (\\Seen))"));
        }
        client.send(b"DONE\r\n").await;
        assert_eq!(client.line().await, "i OK No longer waiting");
    }
}
