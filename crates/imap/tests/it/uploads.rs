//! How much one APPEND may bring.

use crate::harness::{Client, Server};

/// Sends a whole APPEND without waiting, and gives back the answer without its tag.
async fn append(client: &mut Client, tag: &str, rest: &str) -> String {
    client.send(format!("{tag} APPEND INBOX {rest}\r\n").as_bytes()).await;
    loop {
        let line = client.line().await;
        if let Some(answer) = line.strip_prefix(tag) {
            return answer.trim_start().to_owned();
        }
        assert!(line.starts_with("* "), "{line}");
    }
}

async fn messages(client: &mut Client) -> u32 {
    client.send(b"s STATUS INBOX (MESSAGES)\r\n").await;
    let mut found = 0;
    loop {
        let line = client.line().await;
        if let Some((_, count)) = line.split_once("(MESSAGES ") {
            found = count.trim_end_matches(')').parse().unwrap();
        }
        if line.starts_with("s OK") {
            return found;
        }
    }
}

#[tokio::test]
async fn so_many_letters_and_no_more() {
    let server = Server::start().await;
    let mut client = server.select().await;
    let letters = |count| vec!["{1+}\r\na"; count].join(" ");
    let answer = append(&mut client, "a1", &letters(1_001)).await;
    assert!(answer.starts_with("NO [LIMIT]"), "{answer}");
    assert_eq!(messages(&mut client).await, 0);
    let answer = append(&mut client, "a2", &letters(1_000)).await;
    assert!(answer.starts_with("OK [APPENDUID ") && answer.contains(" 1:1000]"), "{answer}");
    assert_eq!(messages(&mut client).await, 1_000);
}

#[tokio::test]
async fn so_many_pieces_and_no_more() {
    let server = Server::start().await;
    let mut client = server.select().await;
    for (tag, text, count, expect) in [
        ("a1", "TEXT {1+}\r\na", 101, "NO [LIMIT]"),
        ("a2", "TEXT {1+}\r\na", 100, "OK [APPENDUID "),
        ("a3", "URL \"/INBOX/;UID=1\"", 101, "NO [LIMIT]"),
        ("a4", "URL \"/INBOX/;UID=1\"", 100, "OK [APPENDUID "),
    ] {
        let pieces = vec![text; count].join(" ");
        let answer = append(&mut client, tag, &format!("CATENATE ({pieces})")).await;
        assert!(answer.starts_with(expect), "{tag}: {answer}");
    }
    assert_eq!(messages(&mut client).await, 2);
    client.send(b"f FETCH 2 (RFC822.SIZE)\r\n").await;
    assert_eq!(client.line().await, "* 2 FETCH (RFC822.SIZE 10000)");
}

/// What is larger than the limit is refused before it comes; what comes all the same is read away up to a point.
#[tokio::test]
async fn too_much_ends_the_connection() {
    let server = Server::start().await;
    let mut client = server.select().await;
    client.send(b"a1 APPEND INBOX {1+}\r\na {104857601+}\r\n").await;
    let rest = client.rest().await;
    assert!(rest.contains("a1 NO [TOOBIG]") && rest.contains("* BYE"), "{rest}");
    let mut client = server.select().await;
    assert_eq!(messages(&mut client).await, 0);
    client.send(b"a2 APPEND INBOX CATENATE (TEXT {1+}\r\na URL {99999999+}\r\n").await;
    let rest = client.rest().await;
    assert!(rest.contains("a2 BAD") && rest.contains("* BYE"), "{rest}");
}
