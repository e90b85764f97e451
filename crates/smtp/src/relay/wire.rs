//! The connection to another server: commands out in batches, replies in with limits of length and time.

use super::reply::{LINE_BYTES, LINES, Reply, line};
use bytes::{Buf, BytesMut};
use memchr::memchr;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout_at};

/// Of a letter, between two looks at the clock (RFC 5321 §4.5.3.2.5).
const BLOCK_BYTES: usize = 64 * 1024;
/// Room for replies, kept while a connection waits for its next letter.
const READ_BYTES: usize = 2 * 1024;

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Why the conversation cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    Closed,
    TimedOut,
    /// What came is no reply, or far too much of one.
    Garbage,
}

impl Broken {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Closed => "closed the connection",
            Self::TimedOut => "did not answer in time",
            Self::Garbage => "says what is no SMTP",
        }
    }
}

pub(super) struct Wire {
    stream: Box<dyn Stream>,
    input: BytesMut,
    output: Vec<u8>,
    /// Of the whole attempt: a server that drips must not hold it for ever.
    deadline: Instant,
}

impl Wire {
    pub(super) fn new(stream: Box<dyn Stream>, deadline: Instant) -> Self {
        Self { stream, input: BytesMut::new(), output: Vec::new(), deadline }
    }

    /// For the next letter.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Adds a command to the batch. A line end inside it would be a second command: it is left out.
    pub(super) fn say(&mut self, command: &str) {
        self.output.extend(command.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')));
        self.output.extend_from_slice(b"\r\n");
    }

    /// Sends the batch.
    pub(super) async fn flush(&mut self, patience: Duration) -> Result<(), Broken> {
        let output = std::mem::take(&mut self.output);
        self.send(&output, patience).await
    }

    /// Sends a piece of a letter, each block in this time.
    pub(super) async fn send(&mut self, bytes: &[u8], patience: Duration) -> Result<(), Broken> {
        for block in bytes.chunks(BLOCK_BYTES) {
            let until = self.until(patience);
            let sending = async {
                self.stream.write_all(block).await?;
                self.stream.flush().await
            };
            let sent = timeout_at(until, sending).await.map_err(|_| Broken::TimedOut)?;
            sent.map_err(|_| Broken::Closed)?;
        }
        Ok(())
    }

    /// Waits for one reply, with all its lines.
    pub(super) async fn reply(&mut self, patience: Duration) -> Result<Reply, Broken> {
        let until = self.until(patience);
        timeout_at(until, self.read_reply()).await.map_err(|_| Broken::TimedOut)?
    }

    /// One command, one reply.
    pub(super) async fn ask(&mut self, command: &str, patience: Duration) -> Result<Reply, Broken> {
        self.say(command);
        self.flush(patience).await?;
        self.reply(patience).await
    }

    fn until(&self, patience: Duration) -> Instant {
        self.deadline.min(Instant::now() + patience)
    }

    async fn read_reply(&mut self) -> Result<Reply, Broken> {
        let mut reply = Reply { code: 0, lines: Vec::new() };
        for count in 0..LINES {
            let end = self.line_end().await?;
            let bytes = self.input.get(..end).unwrap_or_default();
            let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
            let (code, more, text) = line(bytes).ok_or(Broken::Garbage)?;
            if count > 0 && code != reply.code {
                return Err(Broken::Garbage);
            }
            reply.code = code;
            reply.lines.push(Reply::printable(text));
            self.input.advance(end + 1);
            if !more {
                return Ok(reply);
            }
        }
        Err(Broken::Garbage)
    }

    /// Where the line at the head of the input ends.
    async fn line_end(&mut self) -> Result<usize, Broken> {
        let mut scanned = 0;
        loop {
            if let Some(at) = memchr(b'\n', self.input.get(scanned..).unwrap_or_default()) {
                return Ok(scanned + at);
            }
            scanned = self.input.len();
            if scanned > LINE_BYTES {
                return Err(Broken::Garbage);
            }
            self.input.reserve(READ_BYTES);
            let read = self.stream.read_buf(&mut self.input).await;
            if read.map_err(|_| Broken::Closed)? == 0 {
                return Err(Broken::Closed);
            }
        }
    }

    /// Nothing has come that was not asked for, and the connection stands.
    pub(super) async fn is_quiet(&mut self) -> bool {
        if !self.input.is_empty() {
            return false;
        }
        let mut byte = [0];
        poll_fn(|context| {
            let mut room = ReadBuf::new(&mut byte);
            let read = Pin::new(&mut self.stream).poll_read(context, &mut room);
            Poll::Ready(read.is_pending())
        })
        .await
    }

    /// For the TLS handshake. What came before it did not come from whom the certificate names: RFC 3207 §6.
    pub(super) fn into_stream(self) -> Result<Box<dyn Stream>, Broken> {
        if self.input.is_empty() { Ok(self.stream) } else { Err(Broken::Garbage) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire() -> (Wire, tokio::io::DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(8 << 20);
        (Wire::new(Box::new(ours), Instant::now() + Duration::from_secs(5)), theirs)
    }

    #[tokio::test]
    async fn replies() {
        async fn check(said: &[u8], expect: Result<(u16, &[&str]), Broken>) {
            let (mut wire, mut peer) = wire();
            peer.write_all(said).await.unwrap();
            drop(peer);
            let found = wire.reply(Duration::from_secs(5)).await;
            let expect = expect.map(|(code, lines)| Reply {
                code,
                lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            });
            assert_eq!(found, expect, "{:?}", String::from_utf8_lossy(said));
            assert!(wire.input.capacity() < 64 * 1024);
        }
        check(b"220 hello\r\n", Ok((220, &["hello"]))).await;
        check(b"250-a\r\n250-b\n250\r\n", Ok((250, &["a", "b", ""]))).await;
        check(b"250-a\r\n251 b\r\n", Err(Broken::Garbage)).await;
        check(b"HTTP/1.1 400 Bad Request\r\n", Err(Broken::Garbage)).await;
        check(b"\r\n", Err(Broken::Garbage)).await;
        check(b"220 hal", Err(Broken::Closed)).await;
        check(b"", Err(Broken::Closed)).await;
        check(&b"250-x\r\n".repeat(100_000), Err(Broken::Garbage)).await;
        check(&vec![b'2'; 4 << 20], Err(Broken::Garbage)).await;
        check(&vec![0; 4 << 20], Err(Broken::Garbage)).await;
    }

    #[tokio::test]
    async fn a_server_that_drips_is_left() {
        let (mut wire, mut peer) = wire();
        let dripping = tokio::spawn(async move {
            for _ in 0..100 {
                drop(peer.write_all(b"250-x\r\n").await);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert_eq!(wire.reply(Duration::from_millis(100)).await, Err(Broken::TimedOut));
        dripping.abort();
    }

    #[tokio::test]
    async fn a_server_that_does_not_read_is_left() {
        let (ours, _theirs) = tokio::io::duplex(1000);
        let mut wire = Wire::new(Box::new(ours), Instant::now() + Duration::from_secs(5));
        let sent = wire.send(&[b'x'; 5000], Duration::from_millis(30)).await;
        assert_eq!(sent, Err(Broken::TimedOut));
    }

    #[tokio::test]
    async fn quiet_means_nothing_to_read() {
        let (mut wire, mut peer) = wire();
        assert!(wire.is_quiet().await);
        peer.write_all(b"421 bye\r\n").await.unwrap();
        assert!(!wire.is_quiet().await);
    }

    #[tokio::test]
    async fn one_command_is_one_line() {
        let (mut wire, mut peer) = wire();
        wire.say("MAIL FROM:<a>\r\nRCPT TO:<b>");
        wire.flush(Duration::from_secs(5)).await.unwrap();
        drop(wire);
        let mut seen = String::new();
        peer.read_to_string(&mut seen).await.unwrap();
        assert_eq!(seen, "MAIL FROM:<a>RCPT TO:<b>\r\n");
    }
}
