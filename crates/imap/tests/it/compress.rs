//! COMPRESS (RFC 4978) with a client that compresses by the same library.

use crate::harness::Server;
use async_compression::tokio::bufread::DeflateDecoder;
use async_compression::tokio::write::{DeflateEncoder, ZlibEncoder};
use imap::Opening;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf};
use tokio::time::timeout;
use types::Peer;

const PATIENCE: Duration = Duration::from_secs(10);

/// After UNAUTHENTICATE STARTTLS may be said again, but the stream below is not ours to give back.
#[tokio::test]
async fn no_tls_inside() {
    let mut client = Client::opened(Opening::Encryptable).await;
    let mut writer = DeflateEncoder::new(client.writer);
    writer.write_all(b"c UNAUTHENTICATE\r\nd STARTTLS\r\ne NOOP\r\n").await.unwrap();
    writer.flush().await.unwrap();
    let heard = hear(&mut client.reader, "e OK").await;
    assert!(heard.contains("\r\nd BAD TLS begins before COMPRESS"), "{heard}");
}

struct Client {
    _server: Server,
    reader: DeflateDecoder<BufReader<ReadHalf<DuplexStream>>>,
    writer: WriteHalf<DuplexStream>,
}

impl Client {
    async fn new() -> Self {
        Self::opened(Opening::Greeting).await
    }

    /// Logged in, and COMPRESS said.
    async fn opened(opening: Opening) -> Self {
        let server = Server::start().await;
        let (mut ours, theirs) = tokio::io::duplex(1 << 20);
        let peer = Peer { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), private: true };
        let session =
            server.service.clone().run_with(theirs, peer, opening, server.stop.subscribe());
        tokio::spawn(session);
        ours.write_all(b"a LOGIN alice@example.test secret\r\n").await.unwrap();
        assert!(clear(&mut ours, "a OK").await.contains("COMPRESS=DEFLATE"));
        ours.write_all(b"b COMPRESS DEFLATE\r\n").await.unwrap();
        assert_eq!(clear(&mut ours, "b OK").await, "b OK Compressing\r\n");
        let (reader, writer) = tokio::io::split(ours);
        Self { _server: server, reader: DeflateDecoder::new(BufReader::new(reader)), writer }
    }

    async fn hear(&mut self, until: &str) -> String {
        hear(&mut self.reader, until).await
    }
}

/// What comes until a line begins so and ends; all there is when the connection ends before.
async fn hear(stream: &mut (impl AsyncReadExt + Unpin), until: &str) -> String {
    let mut heard = Vec::new();
    let line = format!("\r\n{until}");
    loop {
        let count = timeout(PATIENCE, stream.read_buf(&mut heard)).await.unwrap().unwrap_or(0);
        let mut text = format!("\r\n{}", String::from_utf8_lossy(&heard));
        if count == 0 || text.contains(&line) && text.ends_with("\r\n") {
            return text.split_off(2);
        }
    }
}

async fn clear(stream: &mut DuplexStream, until: &str) -> String {
    hear(stream, until).await
}

#[tokio::test]
async fn all_goes_on_compressed() {
    let Client { _server, mut reader, writer } = Client::new().await;
    let mut writer = DeflateEncoder::new(writer);
    writer.write_all(b"c NOOP\r\nd COMPRESS DEFLATE\r\n").await.unwrap();
    writer.flush().await.unwrap();
    let expect = "c OK Nothing else\r\n\
        d NO [COMPRESSIONACTIVE] The connection is compressed already\r\n";
    assert_eq!(hear(&mut reader, "d NO").await, expect);
    let letter = "Subject: x\r\n\r\n".to_owned() + &"poczta ".repeat(50_000);
    let append = format!("e APPEND INBOX {{{}+}}\r\n{letter}\r\n", letter.len());
    writer.write_all(append.as_bytes()).await.unwrap();
    writer.write_all(b"f SELECT INBOX\r\ng FETCH 1 BODY.PEEK[]\r\nh LOGOUT\r\n").await.unwrap();
    writer.flush().await.unwrap();
    let heard = hear(&mut reader, "h OK").await;
    assert!(heard.contains(&letter) && heard.contains("\r\n* BYE "), "{heard:.300}");
}

#[tokio::test]
async fn nothing_may_come_before_the_answer() {
    let server = Server::start().await;
    let (mut ours, theirs) = tokio::io::duplex(1 << 20);
    let peer = Peer { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), private: true };
    let session =
        server.service.clone().run_with(theirs, peer, Opening::Greeting, server.stop.subscribe());
    tokio::spawn(session);
    let said = b"a LOGIN alice@example.test secret\r\nb COMPRESS DEFLATE\r\nc NOOP\r\n";
    ours.write_all(said).await.unwrap();
    let heard = clear(&mut ours, "c OK").await;
    assert!(
        heard.contains("\r\nb BAD Nothing may follow COMPRESS before its answer\r\n"),
        "{heard}"
    );
}

/// A megabyte that is a gigabyte: limits are those of what is unpacked, and hold as they come.
#[tokio::test]
async fn a_bomb_is_a_line_that_is_too_long() {
    let mut client = Client::new().await;
    let mut bomb = DeflateEncoder::new(Vec::new());
    for _ in 0..256 {
        bomb.write_all(&vec![b'x'; 1 << 20]).await.unwrap();
    }
    bomb.flush().await.unwrap();
    client.writer.write_all(&bomb.into_inner()).await.unwrap();
    let heard = client.hear("* BYE").await;
    assert!(heard.contains("The command is too long"), "{heard}");
}

#[tokio::test]
async fn what_is_not_deflate_ends_the_connection() {
    let mut zlib = ZlibEncoder::new(Vec::new());
    zlib.write_all(b"c NOOP\r\n").await.unwrap();
    zlib.shutdown().await.unwrap();
    for bytes in [zlib.into_inner(), vec![0xff; 1000], b"c NOOP\r\nd NOOP\r\n".to_vec()] {
        let mut client = Client::new().await;
        client.writer.write_all(&bytes).await.unwrap();
        client.writer.shutdown().await.unwrap();
        let heard = client.hear("c OK").await;
        assert!(!heard.contains("OK"), "{heard}");
    }
}
