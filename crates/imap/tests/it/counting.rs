//! What Prometheus reads of us.

use crate::harness::Server;
use prometheus_client::{encoding::text::encode, registry::Registry};

#[tokio::test]
async fn counters() {
    let server = Server::start().await;
    let mut registry = Registry::default();
    server.service.register(&mut registry);
    let mut client = server.select().await;
    client.ask("LOGIN again secret").await;
    client.ask("XYZZY").await;
    let mut stranger = server.connect();
    stranger.line().await;
    stranger.ask("LOGIN alice wrong").await;
    client.send(b"a IDLE\r\n").await;
    client.line().await;
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    for line in [
        "imap_commands_total{verb=\"LOGIN\"} 3",
        "imap_commands_total{verb=\"SELECT\"} 1",
        "imap_commands_total{verb=\"unknown\"} 1",
        "imap_logins_total{outcome=\"ok\"} 1",
        "imap_logins_total{outcome=\"refused\"} 1",
        "imap_connections 2",
        "imap_idle 1",
    ] {
        assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
    }
    let moved = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name));
        line.and_then(|l| l.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    assert!(moved("imap_received_bytes_total") > 100 && moved("imap_sent_bytes_total") > 500);
}
