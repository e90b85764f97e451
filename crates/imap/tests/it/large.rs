//! A mailbox so large that SELECT tells its counters alone: the list is read later, as it was when it was selected.

use crate::harness::{Client, PLAIN, Server};
use storage::Letter;
use tokio::task::JoinSet;
use types::{Flag, FlagChange, Flags, MailboxId, Uid, UidSet};

const LETTERS: u32 = 2_100;
const INBOX: MailboxId = MailboxId(1);

/// Nobody has looked at the mailbox yet. The first letter is read, the others are not.
async fn server() -> Server {
    let server = Server::start().await;
    server.deliver(PLAIN, &[Flag::Seen], 0).await;
    let mut tasks = JoinSet::new();
    for _ in 1..LETTERS {
        let (store, alice) = (server.store.clone(), server.alice);
        let letter = Letter::parse(PLAIN.to_owned().into());
        tasks.spawn(async move {
            store.append(alice, INBOX, letter, Flags::default(), None).await.unwrap();
        });
    }
    tasks.join_all().await;
    server
}

async fn select(server: &Server) -> Client {
    let mut client = server.connect();
    client.line().await;
    client.ok("LOGIN alice@example.test secret").await;
    let lines = client.ok("SELECT INBOX").await;
    assert!(lines.contains(&format!("* {LETTERS} EXISTS")), "{lines:?}");
    let uid_next = format!("* OK [UIDNEXT {}] The next UID", LETTERS + 1);
    assert!(lines.contains(&uid_next), "{lines:?}");
    // The number of the first letter not read is known only to who has read the mailbox.
    assert!(!lines.iter().any(|line| line.contains("[UNSEEN ")), "it was read: {lines:?}");
    client
}

fn uids(uid: u32) -> UidSet {
    Uid::new(uid).into_iter().collect()
}

#[tokio::test]
async fn the_list_is_read_as_it_was_selected() {
    let server = server().await;
    let (store, alice) = (&server.store, server.alice);
    let mut client = select(&server).await;
    store.remove(alice, INBOX, uids(5)).await.unwrap();
    store.remove(alice, INBOX, uids(LETTERS)).await.unwrap();
    server.deliver(PLAIN, &[], 0).await;
    let mut work = Flags::default();
    assert!(work.insert_name("$work"));
    let keyword = FlagChange::Add(work);
    store.store_flags(alice, INBOX, uids(7), keyword, None).await.unwrap();

    let (lines, status) = client.ask("FETCH 4:6,* UID").await;
    assert!(lines[0].starts_with("* FLAGS (") && lines[0].ends_with(" $work)"), "{lines:?}");
    assert!(lines[1].starts_with("* OK [PERMANENTFLAGS ("), "{lines:?}");
    let rows = ["* 4 FETCH (UID 4)", "* 6 FETCH (UID 6)"];
    assert_eq!(lines[2..4], rows);
    assert_eq!(
        lines[4..],
        [format!("* {} EXISTS", LETTERS + 1), "* 7 FETCH (UID 7 FLAGS ($work))".to_owned()]
    );
    assert!(status.starts_with("NO [EXPUNGEISSUED] "), "{status}");
    let gone = ["* 5 EXPUNGE".to_owned(), format!("* {} EXPUNGE", LETTERS - 1)];
    assert_eq!(client.ok("NOOP").await, gone);
    let last = format!("* {} FETCH (UID {})", LETTERS - 1, LETTERS + 1);
    assert_eq!(client.ok("FETCH * UID").await, [last]);
}

#[tokio::test]
async fn waiting_at_once_tells_what_comes() {
    let server = server().await;
    let mut client = select(&server).await;
    client.send(b"i IDLE\r\n").await;
    assert!(client.line().await.starts_with('+'));
    server.deliver(PLAIN, &[], 0).await;
    assert_eq!(client.line().await, format!("* {} EXISTS", LETTERS + 1));
    server.store.remove(server.alice, INBOX, uids(2)).await.unwrap();
    assert_eq!(client.line().await, "* 2 EXPUNGE");
    client.send(b"DONE\r\n").await;
    assert!(client.answer("i").await.1.starts_with("OK"));
    // Who comes later sees the same, and shares the list.
    let mut other = server.select().await;
    let last = [format!("* {LETTERS} FETCH (UID {})", LETTERS + 1)];
    assert_eq!(client.ok("FETCH * UID").await, last);
    assert_eq!(other.ok("FETCH * UID").await, last);
}

#[tokio::test]
async fn leaving_it_unread_is_fine() {
    let server = server().await;
    let mut client = select(&server).await;
    assert_eq!(client.ok("NOOP").await, Vec::<String>::new());
    client.ok("CLOSE").await;
    let mut client = select(&server).await;
    client.ok("EXAMINE Sent").await;
    assert_eq!(client.ok("SEARCH ALL").await, ["* SEARCH"]);
}
