//! The connection: commands in, answers out. Knows line ends and literals, not what a command means.
//!
//! In: bytes are taken as they arrive; a buffer grows only by what has really come, and no further than the
//! limit its caller names. Out: answers are gathered in one buffer, which leaves when it holds
//! [`OUTPUT_BYTES`] or when we would wait for the client, whichever is first; so a hundred pipelined
//! commands, or a FETCH of ten thousand rows, cost a few writes.

use crate::parse::LiteralHeader;
use async_compression::Level;
use async_compression::tokio::bufread::DeflateDecoder;
use async_compression::tokio::write::DeflateEncoder;
use bytes::{BufMut, Bytes, BytesMut};
use prometheus_client::metrics::counter::Counter;
use std::any::Any;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::io::{BufReader, Join, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::Instant;

/// Answers gathered before they are sent. Larger gains nothing: the kernel's socket buffer is of this size.
const OUTPUT_BYTES: usize = 64 * 1024;
/// A literal of this size is written from where it lies, not copied into the buffer first.
const DIRECT_BYTES: usize = 32 * 1024;
/// Literals of one command, which is looked at again for each. Clients send one or two.
const LITERALS: usize = 100;
/// Room for a command when a connection wakes up: thousands of them sleep, so it is small.
const INPUT_BYTES: usize = 1024;
/// Room to read when more is on the way than fitted.
const INPUT_MORE_BYTES: usize = 16 * 1024;
/// Compressed bytes read at a time.
const COMPRESSED_BYTES: usize = 4 * 1024;

/// Both directions of a stream after COMPRESS.
type Compressed = Join<
    DeflateDecoder<BufReader<ReadHalf<Box<dyn Stream>>>>,
    DeflateEncoder<WriteHalf<Box<dyn Stream>>>,
>;

/// `Any`: after STARTTLS it goes back to whom it belongs.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Any {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// Why a connection ends without LOGOUT.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    #[error("the client closed the connection")]
    Closed,
    #[error("the connection failed: {0}")]
    Failed(#[from] io::Error),
    #[error("nothing was heard for too long")]
    Silent,
    #[error("our answer was left unread for too long")]
    Unread,
    #[error("the server is going down")]
    Shutdown,
}

/// What arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A whole command, without the line end, its literals inside.
    Command(BytesMut),
    /// The command in [`Wire::pending`] announces a literal: [`Wire::accept`] it, or take the command away.
    Literal(LiteralHeader),
    /// The literal's size is no number we know. The bytes so far.
    BadLiteral(BytesMut),
    /// A line that ended with LF alone. Smuggled commands look like this; no client sends it.
    BareLineFeed(BytesMut),
    /// More than the limit without an end. The first bytes of it.
    TooLong(BytesMut),
}

pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    compressed: bool,
    input: BytesMut,
    /// Bytes at the front of `input` that are known to belong to one command.
    framed: usize,
    /// Bytes after them that have been searched for a line end.
    searched: usize,
    /// In the command so far.
    literals: usize,
    output: Vec<u8>,
    write_timeout: Duration,
    shutdown: watch::Receiver<bool>,
    received: Counter,
    sent: Counter,
}

impl Wire {
    pub(crate) fn new(
        stream: Box<dyn Stream>,
        write_timeout: Duration,
        shutdown: watch::Receiver<bool>,
        (received, sent): (Counter, Counter),
    ) -> Self {
        Self {
            stream,
            compressed: false,
            input: BytesMut::new(),
            framed: 0,
            searched: 0,
            literals: 0,
            output: Vec::new(),
            write_timeout,
            shutdown,
            received,
            sent,
        }
    }

    // --- in

    /// The next command, or the point in it where somebody must decide about a literal. Sends what is
    /// waiting before it waits itself. Cancel-safe when the output is empty.
    pub(crate) async fn frame(&mut self, limit: usize, until: Instant) -> Result<Frame, Stop> {
        loop {
            if let Some(frame) = self.framed(limit) {
                return Ok(frame);
            }
            self.flush().await?;
            self.read(until).await?;
        }
    }

    /// Looks at what is there already.
    fn framed(&mut self, limit: usize) -> Option<Frame> {
        let from = self.framed + self.searched;
        let unsearched = self.input.get(from..).unwrap_or_default();
        let Some(found) = unsearched.iter().position(|b| *b == b'\n') else {
            self.searched += unsearched.len();
            return (self.input.len() > limit).then(|| Frame::TooLong(self.take_all()));
        };
        let end = from + found + 1;
        if end > limit {
            return Some(Frame::TooLong(self.take_all()));
        }
        let line = self.input.get(self.framed..end - 1).unwrap_or_default();
        let Some(line) = line.strip_suffix(b"\r") else {
            let mut command = self.take(end);
            command.truncate(end - 1);
            return Some(Frame::BareLineFeed(command));
        };
        match LiteralHeader::at_end_of(line) {
            Some(Ok(header)) => {
                self.framed = end;
                self.searched = 0;
                Some(Frame::Literal(header))
            }
            literal => {
                let mut command = self.take(end);
                command.truncate(end - 2);
                let bad = literal.is_some();
                Some(if bad { Frame::BadLiteral(command) } else { Frame::Command(command) })
            }
        }
    }

    /// The command so far, up to and with the announcement of a literal.
    pub(crate) fn pending(&self) -> &[u8] {
        self.input.get(..self.framed).unwrap_or_default()
    }

    /// Takes away the command so far.
    pub(crate) fn take_pending(&mut self) -> BytesMut {
        self.take(self.framed)
    }

    fn take(&mut self, length: usize) -> BytesMut {
        self.framed = 0;
        self.searched = 0;
        self.literals = 0;
        self.input.split_to(length.min(self.input.len()))
    }

    fn take_all(&mut self) -> BytesMut {
        self.take(self.input.len())
    }

    /// Takes the announced literal into the command, when command and literal stay within the limit.
    pub(crate) fn accept(&mut self, header: LiteralHeader, limit: usize) -> bool {
        let size = usize::try_from(header.size_bytes).unwrap_or(usize::MAX);
        match self.framed.checked_add(size) {
            Some(end) if end <= limit && self.literals < LITERALS => self.framed = end,
            _ => return false,
        }
        self.literals += 1;
        if header.waits {
            self.output.extend_from_slice(b"+ OK\r\n");
        }
        true
    }

    /// One line without its end, of a dialogue inside a command (AUTHENTICATE, IDLE).
    /// Cancel-safe when the output is empty. `None`: longer than the limit.
    pub(crate) async fn line(
        &mut self,
        limit: usize,
        until: Instant,
    ) -> Result<Option<BytesMut>, Stop> {
        loop {
            let unsearched = self.input.get(self.searched..).unwrap_or_default();
            if let Some(found) = unsearched.iter().position(|b| *b == b'\n') {
                let end = self.searched + found + 1;
                let mut line = self.take(end);
                let length = line.strip_suffix(b"\r\n").map_or(end - 1, <[u8]>::len);
                line.truncate(length);
                return Ok((length <= limit).then_some(line));
            }
            self.searched += unsearched.len();
            if self.input.len() > limit {
                return Ok(None);
            }
            self.flush().await?;
            self.read(until).await?;
        }
    }

    /// The bytes of a literal. The caller has compared the size with a limit; still, memory is taken only
    /// as bytes arrive, and each of them may take until `patience` after the last.
    pub(crate) async fn literal(
        &mut self,
        size_bytes: u32,
        patience: Duration,
    ) -> Result<Bytes, Stop> {
        self.flush().await?;
        let size = usize::try_from(size_bytes).unwrap_or(usize::MAX);
        let mut bytes = self.take(size);
        while bytes.len() < size {
            let left = size - bytes.len();
            if bytes.capacity() == bytes.len() {
                bytes.reserve(left.min(bytes.len().max(INPUT_MORE_BYTES)));
            }
            let mut room = (&mut bytes).limit(left);
            let read = self.stream.read_buf(&mut room);
            let count = listen(read, &mut self.shutdown, Instant::now() + patience).await?;
            self.received.inc_by(count as u64);
        }
        Ok(bytes.freeze())
    }

    /// Reads a literal and forgets it, without keeping it.
    pub(crate) async fn discard(
        &mut self,
        size_bytes: u32,
        patience: Duration,
    ) -> Result<(), Stop> {
        let mut left = usize::try_from(size_bytes).unwrap_or(usize::MAX);
        loop {
            left -= self.take(left).len();
            if left == 0 {
                return Ok(());
            }
            self.flush().await?;
            self.read(Instant::now() + patience).await?;
        }
    }

    /// Reads what has arrived into `input`; waits for it. Cancel-safe.
    async fn read(&mut self, until: Instant) -> Result<(), Stop> {
        // A sleeping connection keeps no large buffer.
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        if self.output.is_empty() && self.output.capacity() > INPUT_BYTES {
            self.output = Vec::new();
        }
        if self.input.capacity() - self.input.len() < INPUT_BYTES {
            let more = if self.input.is_empty() { INPUT_BYTES } else { INPUT_MORE_BYTES };
            self.input.reserve(more);
        }
        let read = self.stream.read_buf(&mut self.input);
        let count = listen(read, &mut self.shutdown, until).await?;
        self.received.inc_by(count as u64);
        Ok(())
    }

    // --- out

    /// Where answers are gathered. After a lot of them call [`Wire::relieve`].
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Adds text and a line end.
    pub(crate) fn say(&mut self, line: &str) {
        self.output.extend_from_slice(line.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    /// Sends what is gathered if it is much.
    pub(crate) async fn relieve(&mut self) -> Result<(), Stop> {
        if self.output.len() >= OUTPUT_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Adds a lot of bytes, without copying them when they are many.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        if bytes.len() < DIRECT_BYTES {
            self.output.extend_from_slice(bytes);
            return self.relieve().await;
        }
        self.flush().await?;
        send(&mut *self.stream, bytes, self.write_timeout).await?;
        self.sent.inc_by(bytes.len() as u64);
        Ok(())
    }

    /// Sends what is gathered. Not cancel-safe: what was sent in part would be sent again.
    pub(crate) async fn flush(&mut self) -> Result<(), Stop> {
        if self.output.is_empty() {
            return Ok(());
        }
        send(&mut *self.stream, &self.output, self.write_timeout).await?;
        let flush = tokio::time::timeout(self.write_timeout, self.stream.flush());
        flush.await.map_err(|_| Stop::Unread)??;
        self.sent.inc_by(self.output.len() as u64);
        self.output.clear();
        Ok(())
    }

    /// The stream itself, once all is sent. What was read ahead is dropped: it came before the encryption, from
    /// whoever (RFC 9051 §6.2.1).
    pub(crate) async fn into_stream(mut self) -> Result<Box<dyn Any>, Stop> {
        self.flush().await?;
        Ok(self.stream)
    }

    /// Whether something has come behind the command that is being answered.
    pub(crate) fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.compressed
    }

    /// From now on both directions are DEFLATE (RFC 4978), which takes about 160 KB of memory. What comes is unpacked
    /// no further than there is room in `input`, so all limits hold as they do without.
    pub(crate) async fn compress(&mut self) -> Result<(), Stop> {
        self.flush().await?;
        let stream = std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()));
        let (reader, writer) = tokio::io::split(stream);
        let reader = DeflateDecoder::new(BufReader::with_capacity(COMPRESSED_BYTES, reader));
        let writer = DeflateEncoder::with_quality(writer, Level::Fastest);
        self.stream = Box::new(tokio::io::join(reader, writer));
        self.compressed = true;
        Ok(())
    }

    /// Ends that again (RFC 8437 §4.1). What came behind the last compressed byte was sent in clear.
    pub(crate) async fn decompress(&mut self) -> Result<(), Stop> {
        self.flush().await?;
        let stream = std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()));
        let stream: Box<dyn Any> = stream;
        // It is what `compress` has made: anything else would be a mistake of ours, and ends the connection.
        let compressed = stream.downcast::<Compressed>().map_err(|_| Stop::Closed)?;
        let (reader, writer) = compressed.into_inner();
        let reader = reader.into_inner();
        self.input.extend_from_slice(reader.buffer());
        self.stream = reader.into_inner().unsplit(writer.into_inner());
        self.compressed = false;
        Ok(())
    }

    /// Says the last words, as far as the peer listens.
    pub(crate) async fn close(mut self) {
        if self.flush().await.is_ok() {
            let shutdown = tokio::time::timeout(self.write_timeout, self.stream.shutdown());
            // The peer may be gone already; there is nobody left to tell.
            drop(shutdown.await);
        }
    }
}

/// Every write must get on within the time, however slow the peer is as a whole.
async fn send(stream: &mut dyn Stream, mut bytes: &[u8], timeout: Duration) -> Result<(), Stop> {
    while !bytes.is_empty() {
        let write = tokio::time::timeout(timeout, stream.write(bytes));
        let count = write.await.map_err(|_| Stop::Unread)??;
        if count == 0 {
            return Err(Stop::Closed);
        }
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(())
}

/// Waits for a read, the end of time, or the end of the server.
async fn listen(
    read: impl Future<Output = io::Result<usize>>,
    shutdown: &mut watch::Receiver<bool>,
    until: Instant,
) -> Result<usize, Stop> {
    let going_down = async {
        if shutdown.wait_for(|down| *down).await.is_err() {
            // Whoever could have told us is gone; that is no reason to hang up.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = going_down => Err(Stop::Shutdown),
        count = read => match count? {
            0 => Err(Stop::Closed),
            count => Ok(count),
        },
        () = tokio::time::sleep_until(until) => Err(Stop::Silent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::DuplexStream;

    fn pipe() -> (Wire, DuplexStream, watch::Sender<bool>) {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (sender, shutdown) = watch::channel(false);
        let counters = (Counter::default(), Counter::default());
        let wire = Wire::new(Box::new(ours), Duration::from_secs(1), shutdown, counters);
        (wire, theirs, sender)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(200)
    }

    /// Sends `text` in pieces of every size; all of them must give the same frames.
    async fn check(text: &[u8], limit: usize, expect: &[&str]) {
        for piece in [1, 2, 3, 7, text.len().max(1)] {
            let (mut wire, mut theirs, _down) = pipe();
            let text = text.to_vec();
            let sender = tokio::spawn(async move {
                for piece in text.chunks(piece) {
                    theirs.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
            });
            let mut frames = Vec::new();
            loop {
                let frame = match wire.frame(limit, soon()).await {
                    Ok(Frame::Command(c)) => format!("command {}", c.escape_ascii()),
                    Ok(Frame::Literal(h)) if wire.accept(h, limit) => continue,
                    Ok(Frame::Literal(h)) => {
                        format!("refused {} {}", wire.take_pending().escape_ascii(), h.size_bytes)
                    }
                    Ok(Frame::BadLiteral(c)) => format!("bad {}", c.escape_ascii()),
                    Ok(Frame::BareLineFeed(c)) => format!("bare {}", c.escape_ascii()),
                    Ok(Frame::TooLong(_)) => "long".to_owned(),
                    Err(_) => break,
                };
                let long = frame == "long";
                frames.push(frame);
                if long {
                    break;
                }
            }
            assert_eq!(frames, expect, "in pieces of {piece}");
            sender.abort();
        }
    }

    #[tokio::test]
    async fn frames() {
        check(b"", 100, &[]).await;
        check(b"a NOOP\r\nb NOOP\r\nc", 100, &["command a NOOP", "command b NOOP"]).await;
        check(b"\r\n", 100, &["command "]).await;
        check(b"a NOOP\n", 100, &["bare a NOOP"]).await;
        check(
            b"a L {3}\r\nx\r\n {1+}\r\ny\r\n",
            100,
            &["command a L {3}\\r\\nx\\r\\n {1+}\\r\\ny"],
        )
        .await;
        check(b"a L {0}\r\n\r\n", 100, &["command a L {0}\\r\\n"]).await;
        check(b"a L {1}x\r\n", 100, &["command a L {1}x"]).await;
        check(b"a L {4294967295}\r\n", 100, &["refused a L {4294967295}\\r\\n 4294967295"]).await;
        check(b"a L {4294967296}\r\n", 100, &["bad a L {4294967296}"]).await;
        check(b"12345678\r\n", 10, &["command 12345678"]).await;
        check(b"123456789\r\n", 10, &["long"]).await;
        check(b"a {5}\r\n12345", 10, &["refused a {5}\\r\\n 5"]).await;
    }

    #[tokio::test]
    async fn a_literal_takes_memory_as_it_comes() {
        let (mut wire, mut theirs, _down) = pipe();
        theirs.write_all(b"abc").await.unwrap();
        let literal = wire.literal(u32::MAX, Duration::from_millis(50)).await;
        assert!(matches!(literal, Err(Stop::Silent)));
        let (mut wire, mut theirs, _down) = pipe();
        theirs.write_all(b"abcdef").await.unwrap();
        assert_eq!(wire.literal(4, Duration::from_secs(1)).await.unwrap(), "abcd");
        theirs.write_all(b"\r\n").await.unwrap();
        assert_eq!(wire.line(10, soon()).await.unwrap().unwrap(), "ef");
    }

    #[tokio::test]
    async fn it_ends() {
        let (mut wire, theirs, down) = pipe();
        assert!(matches!(wire.frame(10, soon()).await, Err(Stop::Silent)));
        down.send(true).unwrap();
        assert!(matches!(wire.frame(10, soon()).await, Err(Stop::Shutdown)));
        let (mut wire, ..) = pipe();
        assert!(matches!(wire.frame(10, soon()).await, Err(Stop::Closed)));
        drop(theirs);
    }

    #[tokio::test]
    async fn an_unread_answer_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(64);
        let (_sender, shutdown) = watch::channel(false);
        let counters = (Counter::default(), Counter::default());
        let mut wire = Wire::new(Box::new(ours), Duration::from_millis(50), shutdown, counters);
        wire.say(&"x".repeat(100));
        assert!(matches!(wire.flush().await, Err(Stop::Unread)));
    }
}
