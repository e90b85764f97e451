//! The connection: lines in, replies out in batches, time limits, the call to stop.
//!
//! Replies wait in a buffer until the input is drained, so that a pipelining client (RFC 2920) gets all its answers
//! in one write. Nothing is read while replies are waiting.

use bytes::{Buf, BytesMut};
use memchr::memchr;
use std::any::Any;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use types::Limits;

/// RFC 5321 §4.5.3.2.7: a server waits at least five minutes for the next command.
const COMMAND_TIMEOUT: Duration = Duration::from_mins(5);
/// Too long lines thrown away in one session before it is closed.
const GARBAGE_BYTES: usize = 1024 * 1024;
/// RFC 4954 §4: a line of AUTH may be as long as this, whatever the limit of commands is.
const AUTH_BYTES: usize = 12_288;
/// RFC 5321 §4.5.3.2.5: a sender may stop for so long in a letter; before that nobody is slow.
pub(crate) const GRACE: Duration = Duration::from_mins(3);
/// Replies kept back for one write; a client that pipelines more gets them in several.
const OUTPUT_BYTES: usize = 16 * 1024;
/// Room for one read of commands, kept while a session idles.
const COMMAND_READ_BYTES: usize = 4 * 1024;
/// Room for one read of a letter; given back afterwards.
pub(crate) const BODY_READ_BYTES: usize = 64 * 1024;
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
    /// A letter came too slowly.
    Slow,
    /// The session took too long.
    Overtime,
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
    /// Read and not yet used.
    pub(crate) input: BytesMut,
    output: Vec<u8>,
    shutdown: watch::Receiver<bool>,
    read_timeout: Duration,
    write_timeout: Duration,
    line_bytes: usize,
    garbage_bytes: usize,
    session_deadline: Option<Instant>,
    pace: Option<Pace>,
}

/// How fast a letter has to come.
struct Pace {
    began: Instant,
    grace: Duration,
    slowest_bytes_per_s: u32,
    bytes: u64,
}

impl Pace {
    /// When more must have come.
    fn deadline(&self) -> Instant {
        let slowest = u64::from(self.slowest_bytes_per_s.max(1));
        let earned = Duration::from_millis(self.bytes.saturating_mul(1000) / slowest);
        let patience = self.grace.saturating_add(earned);
        // So far away that it does not matter: letters have a limit.
        self.began.checked_add(patience).unwrap_or(self.began + Duration::from_hours(24))
    }
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
            read_timeout: COMMAND_TIMEOUT.min(Duration::from_millis(limits.idle_timeout_ms)),
            write_timeout: Duration::from_millis(limits.write_timeout_ms),
            line_bytes: usize::try_from(limits.line_bytes).unwrap_or(usize::MAX),
            garbage_bytes: 0,
            session_deadline: None,
            pace: None,
        }
    }

    /// The session ends after this time, whatever happens.
    pub(crate) fn end_after(&mut self, time: Duration) {
        self.session_deadline = Instant::now().checked_add(time);
    }

    /// A letter begins: after the grace it has to come at this pace.
    pub(crate) fn begin_letter(&mut self, grace: Duration, slowest_bytes_per_s: u32) {
        let began = Instant::now();
        self.pace = Some(Pace { began, grace, slowest_bytes_per_s, bytes: 0 });
    }

    pub(crate) fn end_letter(&mut self) {
        self.pace = None;
    }

    /// Reads the next command into `line`, without its end. Commands may end with LF alone, as people type them;
    /// in DATA only CRLF counts.
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
            self.fill(COMMAND_READ_BYTES).await?;
        }
    }

    async fn skip_line(&mut self) -> Result<(), End> {
        loop {
            self.fill(COMMAND_READ_BYTES).await?;
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
    pub(crate) async fn fill(&mut self, room_bytes: usize) -> Result<(), End> {
        self.flush().await?;
        if self.input.is_empty() && self.input.capacity() > room_bytes {
            self.input = BytesMut::new();
        }
        self.input.reserve(room_bytes);
        let (deadline, too_late) = self.deadline();
        let read = timeout_at(deadline, self.stream.read_buf(&mut self.input));
        tokio::select! {
            biased;
            () = stopped(&mut self.shutdown) => Err(End::Shutdown),
            read = read => match read {
                Ok(Ok(bytes @ 1..)) => {
                    if let Some(pace) = &mut self.pace {
                        pace.bytes += bytes as u64;
                    }
                    Ok(())
                }
                Ok(Ok(0) | Err(_)) => Err(End::Closed),
                Err(_) => Err(too_late),
            },
        }
    }

    /// The time limit that comes first, and what it means. Bytes that are there already do not hide that it is over.
    fn deadline(&self) -> (Instant, End) {
        let mut first = (Instant::now() + self.read_timeout, End::Idle);
        let others = [
            self.pace.as_ref().map(|pace| (pace.deadline(), End::Slow)),
            self.session_deadline.map(|deadline| (deadline, End::Overtime)),
        ];
        for (deadline, end) in others.into_iter().flatten() {
            if deadline < first.0 {
                first = (deadline, end);
            }
        }
        first
    }

    /// Waits before the greeting. `true`: somebody spoke before it.
    pub(crate) async fn wait_for_silence(&mut self, time: Duration) -> Result<bool, End> {
        let before = std::mem::replace(&mut self.read_timeout, time);
        let waited = self.fill(COMMAND_READ_BYTES).await;
        self.read_timeout = before;
        match waited {
            Ok(()) => Ok(true),
            Err(End::Idle) => Ok(false),
            Err(end) => Err(end),
        }
    }

    /// Where replies are written; they go out when the input is drained.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Sends what is waiting if it is much: somebody asks without listening.
    pub(crate) async fn relieve(&mut self) -> Result<(), End> {
        if self.output.len() < OUTPUT_BYTES {
            return Ok(());
        }
        self.flush().await
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
        self.output.shrink_to(COMMAND_READ_BYTES);
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
        check(b"", &[]).await;
        check(b"NOOP\r\nQUIT\n", &[Ok("NOOP"), Ok("QUIT")]).await;
        check(b"\r\n\n", &[Ok(""), Ok("")]).await;
        check(b"a\rb\r\r\n", &[Ok("a\rb\r")]).await;
        check(b"0123456789\r\nx\r\n", &[Ok("0123456789"), Ok("x")]).await;
        check(b"01234567890\r\nx\r\n", &[Err("too long"), Ok("x")]).await;
        check(b"no end", &[]).await;
        let long = [&vec![b'x'; 100_000], &b"\nx\n"[..]].concat();
        check(&long, &[Err("too long"), Ok("x")]).await;
    }

    #[tokio::test]
    async fn a_megabyte_of_garbage_ends_it_with_flat_memory() {
        let (mut wire, mut peer, _stop) = wire(&Limits::default());
        peer.write_all(&vec![b'x'; 2 << 20]).await.unwrap();
        assert_eq!(wire.line(&mut Vec::new()).await, Err(End::Garbage));
        assert!(wire.input.capacity() < 64 * 1024);
    }

    #[tokio::test]
    async fn many_long_lines_end_it_too() {
        let (mut wire, mut peer, _stop) = wire(&Limits::default());
        let long = [&[b'x'; 5000][..], b"\r\n"].concat();
        peer.write_all(&long.repeat(300)).await.unwrap();
        let mut lines = 0;
        let end = loop {
            match wire.line(&mut Vec::new()).await {
                Ok(line) => assert_eq!(line, Line::TooLong),
                Err(end) => break end,
            }
            lines += 1;
        };
        assert_eq!(end, End::Garbage);
        assert!((200..=210).contains(&lines), "{lines}");
    }

    #[tokio::test]
    async fn silence_and_shutdown() {
        let limits = Limits { idle_timeout_ms: 20, ..Limits::default() };
        let (mut idle, _peer, _stop) = wire(&limits);
        assert_eq!(idle.line(&mut Vec::new()).await, Err(End::Idle));
        let (mut stopping, _peer, stop) = wire(&Limits::default());
        stop.send(true).unwrap();
        assert_eq!(stopping.line(&mut Vec::new()).await, Err(End::Shutdown));
    }

    #[tokio::test]
    async fn replies_go_out_when_the_input_is_drained() {
        let (mut wire, mut peer, _stop) = wire(&Limits::default());
        peer.write_all(b"a\r\nb\r\n").await.unwrap();
        let mut line = Vec::new();
        let mut seen = [0; 64];
        for word in ["one", "two"] {
            wire.line(&mut line).await.unwrap();
            wire.output().extend_from_slice(word.as_bytes());
            let early = timeout(Duration::from_millis(5), peer.read(&mut seen)).await;
            assert!(early.is_err(), "nothing goes out while lines are waiting");
        }
        peer.write_all(b"c\r\n").await.unwrap();
        wire.line(&mut line).await.unwrap();
        let n = peer.read(&mut seen).await.unwrap();
        assert_eq!(&seen[..n], b"onetwo");
    }

    #[tokio::test]
    async fn a_peer_that_does_not_listen_is_dropped() {
        let limits = Limits { write_timeout_ms: 20, ..Limits::default() };
        let (ours, _theirs) = tokio::io::duplex(1024);
        let (_stop, shutdown) = watch::channel(false);
        let mut wire = Wire::new(Box::new(ours), &limits, shutdown);
        wire.output().extend_from_slice(&vec![b'x'; 20_000]);
        assert_eq!(wire.relieve().await, Err(End::Closed));
    }

    #[tokio::test]
    async fn a_letter_has_to_come_at_some_pace() {
        // Grace for 50 ms, then 1,000 bytes a second: 5 bytes every 20 ms are too few, 50 are enough.
        for (bytes, expect) in [(5, Err(End::Slow)), (50, Ok(()))] {
            let (mut wire, mut peer, _stop) = wire(&Limits::default());
            let feeding = tokio::spawn(async move {
                for _ in 0..15 {
                    drop(peer.write_all(&vec![b'x'; bytes]).await);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                peer
            });
            wire.begin_letter(Duration::from_millis(50), 1000);
            let mut found = Ok(());
            for _ in 0..10 {
                found = found.and(wire.fill(BODY_READ_BYTES).await);
            }
            assert_eq!(found, expect);
            wire.end_letter();
            drop(feeding.await);
        }
    }

    #[tokio::test]
    async fn lines_of_auth_may_be_longer() {
        let limits = Limits { line_bytes: 10, ..Limits::default() };
        let (mut wire, mut peer, _stop) = wire(&limits);
        let long = "A".repeat(AUTH_BYTES - 5);
        peer.write_all(format!("auth {long}\r\nAUTH {long}x\r\nNOOP 67890x\r\n").as_bytes())
            .await
            .unwrap();
        let mut line = Vec::new();
        assert_eq!(wire.line(&mut line).await, Ok(Line::Whole));
        assert_eq!(wire.line(&mut line).await, Ok(Line::TooLong));
        assert_eq!(wire.line(&mut line).await, Ok(Line::TooLong));
        peer.write_all(format!("{long}\r\n").as_bytes()).await.unwrap();
        assert_eq!(wire.auth_line(&mut line).await, Ok(Line::Whole));
    }
}
