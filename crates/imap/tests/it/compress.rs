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

/// RFC 8437 §4.1: it ends behind UNAUTHENTICATE and behind the answer; then all may begin again, also with STARTTLS.
#[tokio::test]
async fn unauthenticate_ends_it() {
    let Client { _server, mut reader, writer } = Client::opened(Opening::Encryptable).await;
    let mut writer = DeflateEncoder::new(writer);
    writer.write_all(b"c UNAUTHENTICATE\r\nd NOOP\r\n").await.unwrap();
    writer.flush().await.unwrap();
    let heard = hear(&mut reader, "d OK").await;
    assert!(heard.starts_with("c BAD Nothing may follow UNAUTHENTICATE"), "{heard}");
    writer.write_all(b"e UNAUTHENTICATE\r\n").await.unwrap();
    writer.flush().await.unwrap();
    assert!(hear(&mut reader, "e OK").await.starts_with("e OK [CAPABILITY "));
    let mut clear = reader.into_inner().into_inner().unsplit(writer.into_inner());
    let said = b"f NOOP\r\ng LOGIN alice@example.test secret\r\nh UNAUTHENTICATE\r\ni NOOP\r\n";
    clear.write_all(said).await.unwrap();
    let heard = hear(&mut clear, "i OK").await;
    assert!(heard.starts_with("f OK Nothing else\r\ng OK [CAPABILITY "), "{heard}");
    clear.write_all(b"j LOGIN alice@example.test secret\r\n").await.unwrap();
    hear(&mut clear, "j OK").await;
    clear.write_all(b"k COMPRESS DEFLATE\r\n").await.unwrap();
    assert_eq!(hear(&mut clear, "k OK").await, "k OK Compressing\r\n");
    let (reader, writer) = tokio::io::split(clear);
    let mut reader = DeflateDecoder::new(BufReader::new(reader));
    let mut writer = DeflateEncoder::new(writer);
    writer.write_all(b"l UNAUTHENTICATE\r\n").await.unwrap();
    writer.flush().await.unwrap();
    hear(&mut reader, "l OK").await;
    let mut clear = reader.into_inner().into_inner().unsplit(writer.into_inner());
    clear.write_all(b"m STARTTLS\r\n").await.unwrap();
    assert_eq!(hear(&mut clear, "m OK").await, "m OK Begin\r\n");
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
