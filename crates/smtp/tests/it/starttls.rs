//! STARTTLS as this crate sees it: the stream goes back, and what comes in clear behind the command is forgotten.

use crate::world::World;
use smtp::{Kind, Opening};
use std::net::IpAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;
use types::Peer;

const FAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

/// What is said before the handshake and after it; what the server answers in each half.
async fn check(kind: Kind, clear: &str, encrypted: &str, expect: [&str; 2]) {
    let service = World::new().await.service(kind);
    let (mut ours, theirs) = tokio::io::duplex(1 << 20);
    let (_stop, shutdown) = watch::channel(false);
    ours.write_all(clear.as_bytes()).await.unwrap();
    let session =
        service.clone().run_with(theirs, Peer::plain(FAR), Opening::Encryptable, shutdown.clone());
    let back = timeout(Duration::from_secs(10), session).await.unwrap();
    let theirs = back.expect("the stream comes back");
    let mut heard = vec![0; 1 << 16];
    let count = ours.read(&mut heard).await.unwrap();
    heard.truncate(count);
    assert_eq!(String::from_utf8_lossy(&heard), expect[0]);

    ours.write_all(encrypted.as_bytes()).await.unwrap();
    let peer = Peer { ip: FAR, private: true };
    let session = tokio::spawn(service.run_with(theirs, peer, Opening::Encrypted, shutdown));
    ours.shutdown().await.unwrap();
    let mut heard = String::new();
    timeout(Duration::from_secs(10), ours.read_to_string(&mut heard)).await.unwrap().unwrap();
    assert!(session.await.unwrap().is_none());
    assert_eq!(heard, expect[1]);
}

const BEFORE: &str = "220 mx.example.test ESMTP OpenPoczta\r\n250-mx.example.test\r\n250-8BITMIME\r\n\
    250-BINARYMIME\r\n250-CHUNKING\r\n250-ENHANCEDSTATUSCODES\r\n250-LIMITS RCPTMAX=1000\r\n\
    250-PIPELINING\r\n250-SIZE 52428800\r\n250-SMTPUTF8\r\n250 STARTTLS\r\n220 2.0.0 begin\r\n";
const QUIT: &str = "221 2.0.0 goodbye\r\n";

#[tokio::test]
async fn what_was_sent_in_clear_is_forgotten() {
    let clear = "EHLO a\r\nSTARTTLS\r\nMAIL FROM:<injected@example.test>\r\nNOOP\r\nEHLO inj";
    let after = format!("503 5.5.1 say EHLO first\r\n{QUIT}");
    check(Kind::Submission, clear, "MAIL FROM:<>\r\nQUIT\r\n", [BEFORE, &after]).await;
    check(Kind::Smtp, clear, "MAIL FROM:<>\r\nQUIT\r\n", [BEFORE, &after]).await;
}

#[tokio::test]
async fn extensions_are_told_anew() {
    let after = format!(
        "{}250-PIPELINING\r\n250-REQUIRETLS\r\n250-SIZE 52428800\r\n250 SMTPUTF8\r\n\
         503 5.5.1 the connection is encrypted already\r\n{QUIT}",
        "250-mx.example.test\r\n250-8BITMIME\r\n250-AUTH LOGIN PLAIN SCRAM-SHA-256\r\n250-BINARYMIME\r\n\
         250-CHUNKING\r\n250-ENHANCEDSTATUSCODES\r\n250-LIMITS RCPTMAX=1000\r\n"
    );
    let clear = "EHLO a\r\nSTARTTLS\r\n";
    check(Kind::Submission, clear, "EHLO a\r\nSTARTTLS\r\nQUIT\r\n", [BEFORE, &after]).await;
}

#[tokio::test]
async fn never_in_clear_again_is_promised_inside_tls() {
    let clear = "EHLO a\r\nSTARTTLS\r\n";
    let encrypted = "HELO a\r\nMAIL FROM:<> REQUIRETLS\r\nQUIT\r\n";
    let after = format!("250 mx.example.test\r\n250 2.1.0 sender ok\r\n{QUIT}");
    check(Kind::Smtp, clear, encrypted, [BEFORE, &after]).await;
}
