//! STARTTLS as this crate sees it: the stream goes back, and what comes in clear behind the command is forgotten.

use crate::harness::Server;
use imap::Opening;
use std::net::IpAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use types::Peer;

const FAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

/// What is said before the handshake and after it; what the server answers in each half.
async fn check(clear: &str, encrypted: &str, expect: [&str; 2]) {
    let server = Server::start().await;
    let service = server.service.clone();
    let (mut ours, theirs) = tokio::io::duplex(1 << 20);
    ours.write_all(clear.as_bytes()).await.unwrap();
    let peer = Peer::plain(FAR);
    let session =
        service.clone().run_with(theirs, peer, Opening::Encryptable, server.stop.subscribe());
    let back = timeout(Duration::from_secs(10), session).await.unwrap();
    let theirs = back.expect("the stream comes back");
    let mut heard = vec![0; 1 << 16];
    let count = ours.read(&mut heard).await.unwrap();
    heard.truncate(count);
    assert_eq!(String::from_utf8_lossy(&heard), expect[0]);

    ours.write_all(encrypted.as_bytes()).await.unwrap();
    let peer = Peer { ip: FAR, private: true };
    let session = service.run_with(theirs, peer, Opening::Encrypted(None), server.stop.subscribe());
    let session = tokio::spawn(session);
    ours.shutdown().await.unwrap();
    let mut heard = String::new();
    timeout(Duration::from_secs(10), ours.read_to_string(&mut heard)).await.unwrap().unwrap();
    assert!(session.await.unwrap().is_none());
    assert_eq!(heard, expect[1]);
}

const GREETING: &str = "* OK [CAPABILITY IMAP4rev1 IMAP4rev2 ENABLE ID IDLE LITERAL+ LOGINDISABLED SASL-IR STARTTLS] \
    mail.example.test ready\r\n";
const BYE: &str = "* BYE Until next time\r\n";

#[tokio::test]
async fn what_was_sent_in_clear_is_forgotten() {
    let clear =
        "a LOGIN alice secret\r\nb STARTTLS\r\nc NOOP\r\nd CAPABILITY\r\ne LOGIN {5}\r\nali";
    let before = format!(
        "{GREETING}a NO [PRIVACYREQUIRED] No password is taken without encryption; use TLS\r\n\
         b OK Begin\r\n"
    );
    let after = format!("f OK Nothing else\r\n{BYE}g OK Logged out\r\n");
    check(clear, "f NOOP\r\ng LOGOUT\r\n", [&before, &after]).await;
}

#[tokio::test]
async fn capabilities_are_told_anew() {
    let before = format!("{GREETING}a OK Begin\r\n");
    let after = format!(
        "* CAPABILITY IMAP4rev1 IMAP4rev2 AUTH=LOGIN AUTH=PLAIN AUTH=SCRAM-SHA-256 ENABLE ID IDLE LITERAL+ SASL-IR\r\n\
         b OK That is what this server can do\r\n\
         c BAD The connection is encrypted already\r\n{BYE}d OK Logged out\r\n"
    );
    let encrypted = "b CAPABILITY\r\nc STARTTLS\r\nd LOGOUT\r\n";
    check("a STARTTLS\r\n", encrypted, [&before, &after]).await;
}
