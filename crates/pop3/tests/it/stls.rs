//! STLS as this crate sees it: the stream goes back, and what comes in clear behind the command is forgotten.

use crate::world::World;
use pop3::Opening;
use std::net::IpAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;
use types::Peer;

const FAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

/// What is said before the handshake and after it; what the server answers in each half.
async fn check(clear: &str, encrypted: &str, expect: [&str; 2]) {
    let service = World::new(&[]).await.service();
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

const GREETING: &str = "+OK mail.example.test OpenPoczta POP3\r\n";
const NO_PASSWORD: &str = "-ERR a password may only travel on an encrypted connection\r\n";
const HEAD: &str = "+OK what is here:\r\nAUTH-RESP-CODE\r\nEXPIRE NEVER\r\nIMPLEMENTATION OpenPoczta\r\n\
    PIPELINING\r\nRESP-CODES\r\n";

#[tokio::test]
async fn what_was_sent_in_clear_is_forgotten() {
    let before = format!("{GREETING}{NO_PASSWORD}+OK begin\r\n");
    let clear = "USER alice\r\nSTLS\r\nUSER injected\r\nCAPA\r\nUSER inj";
    let after = "+OK now the password\r\n+OK goodbye\r\n";
    check(clear, "USER bob\r\nQUIT\r\n", [&before, after]).await;
}

#[tokio::test]
async fn capabilities_are_told_anew() {
    let before = format!("{GREETING}{HEAD}STLS\r\nTOP\r\nUIDL\r\nUTF8 USER\r\n.\r\n+OK begin\r\n");
    let after = format!(
        "{HEAD}SASL LOGIN PLAIN SCRAM-SHA-256\r\nTOP\r\nUIDL\r\nUSER\r\nUTF8 USER\r\n.\r\n\
         -ERR the connection is encrypted already\r\n+OK goodbye\r\n"
    );
    check("CAPA\r\nSTLS\r\n", "CAPA\r\nSTLS\r\nQUIT\r\n", [&before, &after]).await;
}
