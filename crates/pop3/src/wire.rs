//! The connection: lines in, replies and letters out, time limits, the call to stop.
//!
//! Replies wait in a buffer until the input is drained, so that a pipelining client (RFC 2449 §6.6) gets all its
//! answers in one write. Nothing is read while replies are waiting.

use bytes::{Buf, BytesMut};
use memchr::{memchr, memmem};
use std::any::Any;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;
use types::Limits;

/// RFC 1939 §3: an autologout timer is at least ten minutes.
const COMMAND_TIMEOUT: Duration = Duration::from_mins(10);
/// What a client says in a SASL exchange may be so long (RFC 4954 §4 has the number; RFC 5034 §4 none of its own).
const AUTH_BYTES: usize = 12_288;
/// Too long lines thrown away in one session before it is closed.
const GARBAGE_BYTES: usize = 1024 * 1024;
/// What is kept back for one write.
const OUTPUT_BYTES: usize = 64 * 1024;
/// Room for one read, kept while a session idles.
const READ_BYTES: usize = 1024;
/// At the end, how long and how much is read so that the last reply is not lost to a reset.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;

/// `Any`: after STARTTLS it goes back to whom it belongs.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Any {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// Why the conversation cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The peer is gone, or does not read what we say.
    Closed,
    /// Nothing came for too long.
    Idle,
    /// We were asked to stop.
    Shutdown,
    /// Too much that cannot be a command.
    Garbage,
}

/// What [`Wire::line`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    Whole,
    /// It was thrown away.
    TooLong,
}

pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    input: BytesMut,
    output: Vec<u8>,
    shutdown: watch::Receiver<bool>,
    read_timeout: Duration,
    idle_timeout: Duration,
    write_timeout: Duration,
    line_bytes: usize,
    garbage_bytes: usize,
}

impl Wire {
    pub(crate) fn new(
        stream: Box<dyn Stream>,
        limits: &Limits,
        shutdown: watch::Receiver<bool>,
    ) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: Vec::new(),
            shutdown,
            read_timeout: Duration::from_millis(limits.login_timeout_ms),
            idle_timeout: COMMAND_TIMEOUT.min(Duration::from_millis(limits.idle_timeout_ms)),
            write_timeout: Duration::from_millis(limits.write_timeout_ms),
            line_bytes: usize::try_from(limits.line_bytes).unwrap_or(usize::MAX),
            garbage_bytes: 0,
        }
    }

    /// After login silence may last longer.
    pub(crate) fn trust(&mut self) {
        self.read_timeout = self.idle_timeout;
    }

    /// Reads the next command into `line`, without its end: CRLF, or LF alone as people type it.
    pub(crate) async fn line(&mut self, line: &mut Vec<u8>) -> Result<Line, End> {
        self.read_line(line, Self::longest).await
    }

    /// The same of what follows AUTH.
    pub(crate) async fn auth_line(&mut self, line: &mut Vec<u8>) -> Result<Line, End> {
        self.read_line(line, |wire| wire.line_bytes.max(AUTH_BYTES)).await
    }

    /// How long the command at the head of the input may be.
    fn longest(&self) -> usize {
        let head = self.input.get(..5).unwrap_or_default();
        if head.eq_ignore_ascii_case(b"AUTH ") {
            return self.line_bytes.max(AUTH_BYTES);
        }
        self.line_bytes
    }

    async fn read_line(
        &mut self,
        line: &mut Vec<u8>,
        longest: fn(&Self) -> usize,
    ) -> Result<Line, End> {
        line.clear();
        let mut scanned = 0;
        loop {
            let fresh = self.input.get(scanned..).unwrap_or_default();
            if let Some(at) = memchr(b'\n', fresh) {
                let end = scanned + at;
                let text = self.input.get(..end).unwrap_or_default();
                let text = text.strip_suffix(b"\r").unwrap_or(text);
                let fits = text.len() <= longest(self);
                if fits {
                    line.extend_from_slice(text);
                }
                self.input.advance(end + 1);
                if !fits {
                    self.throw_away(end)?;
                }
                return Ok(if fits { Line::Whole } else { Line::TooLong });
            }
            scanned = self.input.len();
            if scanned > longest(self) + 1 {
                self.input.clear();
                self.throw_away(scanned)?;
                self.skip_line().await?;
                return Ok(Line::TooLong);
            }
            self.fill().await?;
        }
    }

    async fn skip_line(&mut self) -> Result<(), End> {
        loop {
            self.fill().await?;
            let end = memchr(b'\n', &self.input).map(|at| at + 1);
            let used = end.unwrap_or(self.input.len());
            self.input.advance(used);
            self.throw_away(used)?;
            if end.is_some() {
                return Ok(());
            }
        }
    }

    fn throw_away(&mut self, bytes: usize) -> Result<(), End> {
        self.garbage_bytes += bytes;
        if self.garbage_bytes > GARBAGE_BYTES {
            return Err(End::Garbage);
        }
        Ok(())
    }

    /// Sends what is waiting, then reads until there is something new in `input`.
    async fn fill(&mut self) -> Result<(), End> {
        self.flush().await?;
        self.input.reserve(READ_BYTES);
        let read = timeout(self.read_timeout, self.stream.read_buf(&mut self.input));
        tokio::select! {
            biased;
            () = stopped(&mut self.shutdown) => Err(End::Shutdown),
            read = read => match read {
                Ok(Ok(1..)) => Ok(()),
                Ok(Ok(0) | Err(_)) => Err(End::Closed),
                Err(_) => Err(End::Idle),
            },
        }
    }

    /// Where replies are written; they go out when the input is drained.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Sends what is waiting if it is much.
    pub(crate) async fn relieve(&mut self) -> Result<(), End> {
        if self.output.len() < OUTPUT_BYTES {
            return Ok(());
        }
        self.flush().await
    }

    /// A text of several lines and the dot that ends it (RFC 1939 §3). A dot is doubled at the start and after
    /// CRLF, and only there: a client that takes it off there gets the very bytes we have, whatever bare LF is
    /// in them. A text that does not end with CRLF gets one, so that the last dot stands on its own line.
    pub(crate) async fn text(&mut self, text: &[u8]) -> Result<(), End> {
        let mut first = true;
        for piece in between_dots(text) {
            if !std::mem::take(&mut first) {
                self.output.push(b'.');
            }
            for slice in piece.chunks(OUTPUT_BYTES) {
                self.output.extend_from_slice(slice);
                self.relieve().await?;
            }
        }
        if !text.is_empty() && !text.ends_with(b"\r\n") {
            self.output.extend_from_slice(b"\r\n");
        }
        self.output.extend_from_slice(b".\r\n");
        self.relieve().await
    }

    async fn flush(&mut self) -> Result<(), End> {
        if self.output.is_empty() {
            return Ok(());
        }
        let write = async {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await
        };
        let written = timeout(self.write_timeout, write).await;
        self.output.clear();
        self.output.shrink_to(READ_BYTES);
        match written {
            Ok(Ok(())) => Ok(()),
            _ => Err(End::Closed),
        }
    }

    /// The stream itself, once all is sent. What was read ahead is dropped: it came before the encryption, from
    /// whoever (RFC 3207 §4.2, RFC 2595 §4).
    pub(crate) async fn into_stream(mut self) -> Result<Box<dyn Any>, End> {
        self.flush().await?;
        Ok(self.stream)
    }

    /// Sends the last words and closes. What the peer still sends is ignored.
    pub(crate) async fn close(mut self) {
        if self.flush().await.is_err() {
            return;
        }
        let goodbye = async {
            self.stream.shutdown().await?;
            let mut ignored = [0; 1024];
            let mut rest = LINGER_BYTES;
            while rest > 0 {
                match self.stream.read(&mut ignored).await? {
                    0 => break,
                    n => rest = rest.saturating_sub(n),
                }
            }
            Ok::<(), std::io::Error>(())
        };
        let in_peace = timeout(LINGER, goodbye).await;
        tracing::trace!(?in_peace, "closed");
    }
}

/// The pieces of a text such that putting a dot between each two of them doubles every dot at the start of a line.
fn between_dots(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let leading = text.first().filter(|b| **b == b'.').map(|_| 0);
    let after_lines = memmem::find_iter(text, b"\r\n.").map(|at| at + 2);
    let mut from = 0;
    let dots = leading.into_iter().chain(after_lines).map(Some);
    dots.chain(std::iter::once(None)).map(move |dot| {
        let end = dot.unwrap_or(text.len());
        let piece = text.get(from..end).unwrap_or_default();
        from = end;
        piece
    })
}

/// Ends when `shutdown` turns true; never when its sender is gone.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    if shutdown.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::DuplexStream;

    fn wire(limits: &Limits) -> (Wire, DuplexStream, watch::Sender<bool>) {
        let (ours, theirs) = tokio::io::duplex(4 << 20);
        let (stop, shutdown) = watch::channel(false);
        (Wire::new(Box::new(ours), limits, shutdown), theirs, stop)
    }

    async fn sent(text: &[u8]) -> Vec<u8> {
        let (mut wire, mut peer, _stop) = wire(&Limits::default());
        let read = tokio::spawn(async move {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).await.unwrap();
            all
        });
        wire.text(text).await.unwrap();
        wire.flush().await.unwrap();
        drop(wire);
        read.await.unwrap()
    }

    /// What a client does that takes a dot off at the start of each CRLF line.
    fn undo(sent: &[u8]) -> Vec<u8> {
        let body = sent.strip_suffix(b".\r\n").unwrap();
        let mut text = Vec::new();
        for (n, line) in String::from_utf8_lossy(body).split("\r\n").enumerate() {
            if n > 0 {
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(line.strip_prefix('.').unwrap_or(line).as_bytes());
        }
        text
    }

    #[tokio::test]
    async fn dots() {
        async fn check(text: &str, expect: &str) {
            let sent = sent(text.as_bytes()).await;
            assert_eq!(String::from_utf8_lossy(&sent), expect, "{text:?}");
            let mut whole = text.as_bytes().to_vec();
            if !text.is_empty() && !text.ends_with("\r\n") {
                whole.extend_from_slice(b"\r\n");
            }
            assert_eq!(undo(&sent), whole, "{text:?}");
        }
        check("", ".\r\n").await;
        check("a\r\n", "a\r\n.\r\n").await;
        check("a", "a\r\n.\r\n").await;
        check("a\n", "a\n\r\n.\r\n").await;
        check("a\r", "a\r\r\n.\r\n").await;
        check(".", "..\r\n.\r\n").await;
        check(".\r\n.\r\n..\r\n", "..\r\n..\r\n...\r\n.\r\n").await;
        check("a\r\n.b\r\n\r\n.\r\nc.\r\n", "a\r\n..b\r\n\r\n..\r\nc.\r\n.\r\n").await;
        check("a\n.\nb\r.\rc\r\n", "a\n.\nb\r.\rc\r\n.\r\n").await;
        check("a\r\r\n.b\r\n", "a\r\r\n..b\r\n.\r\n").await;
        let long = "0123456789\r\n.".repeat(20_000);
        check(&long, &format!("{}\r\n.\r\n", long.replace("\r\n.", "\r\n.."))).await;
    }

    #[tokio::test]
    async fn lines() {
        async fn check(sent: &[u8], expect: &[Result<&str, &str>]) {
            let limits = Limits { line_bytes: 10, ..Limits::default() };
            let (mut wire, mut peer, _stop) = wire(&limits);
            peer.write_all(sent).await.unwrap();
            drop(peer);
            let (mut line, mut found) = (Vec::new(), Vec::new());
            let end = loop {
                match wire.line(&mut line).await {
                    Ok(Line::Whole) => found.push(Ok(String::from_utf8_lossy(&line).into_owned())),
                    Ok(Line::TooLong) => found.push(Err("too long".to_owned())),
                    Err(end) => break end,
                }
            };
            assert_eq!(end, End::Closed);
            let expect: Vec<_> =
                expect.iter().map(|l| l.map(str::to_owned).map_err(str::to_owned)).collect();
            assert_eq!(found, expect, "{:?}", String::from_utf8_lossy(sent));
        }
        check(b"NOOP\r\nQUIT\n\r\n", &[Ok("NOOP"), Ok("QUIT"), Ok("")]).await;
        check(b"0123456789\r\nx\r\n", &[Ok("0123456789"), Ok("x")]).await;
        check(b"01234567890\r\nx\r\n", &[Err("too long"), Ok("x")]).await;
        let long = [&vec![b'x'; 100_000], &b"\nx\n"[..]].concat();
        check(&long, &[Err("too long"), Ok("x")]).await;
    }

    #[tokio::test]
    async fn how_it_ends() {
        let quick = Limits { login_timeout_ms: 20, write_timeout_ms: 20, ..Limits::default() };
        let (mut idle, _peer, _stop) = wire(&quick);
        assert_eq!(idle.line(&mut Vec::new()).await, Err(End::Idle));
        let (mut stopping, _peer, stop) = wire(&Limits::default());
        stop.send(true).unwrap();
        assert_eq!(stopping.line(&mut Vec::new()).await, Err(End::Shutdown));
        let (mut garbage, mut peer, _stop) = wire(&Limits::default());
        peer.write_all(&vec![b'x'; 2 << 20]).await.unwrap();
        assert_eq!(garbage.line(&mut Vec::new()).await, Err(End::Garbage));
        let (ours, _deaf) = tokio::io::duplex(1024);
        let mut unheard = Wire::new(Box::new(ours), &quick, watch::channel(false).1);
        assert_eq!(unheard.text(&vec![b'x'; 200_000]).await, Err(End::Closed));
    }
}
