//! The demo writes to itself: one letter over LMTP while an IMAP session waits in IDLE, both over real
//! sockets. What is measured is what a mail program would see.

use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;

/// Nobody waits longer for a demo.
const PATIENCE: Duration = Duration::from_secs(10);

const LETTER: &str = "From: OpenPoczta demo <demo@example.test>\r\n\
    To: alice@example.test\r\n\
    Subject: Welcome! This letter took the whole way\r\n\
    Date: {date}\r\n\
    Message-ID: <first-{stamp}@example.test>\r\n\
    MIME-Version: 1.0\r\n\
    Content-Type: text/plain; charset=us-ascii\r\n\
    \r\n\
    Hello Alice,\r\n\
    \r\n\
    the other letters here were put into the store. This one came over the\r\n\
    network: LMTP, parser, spam check, log, fsync, and a knock on the door of\r\n\
    an IMAP session that was waiting for it.\r\n\
    \r\n\
    How long that took stands in the terminal where you started the demo.\r\n";

/// From the dot that ends the letter to the waiting session's news of it.
pub(crate) async fn send(
    lmtp: SocketAddr,
    imap: SocketAddr,
    user: &str,
    password: &str,
) -> Result<Duration> {
    let way = async {
        let mut waiting = idle(imap, user, password).await?;
        let mut sender = ready_to_send(lmtp, user).await?;
        let now = types::Clock::now_unix_s(&types::SystemClock);
        let date = types::Date::from_unix_s(now).rfc5322();
        let letter = LETTER.replace("{date}", &date).replace("{stamp}", &now.to_string());
        let start = Instant::now();
        sender.tell(&format!("{letter}.")).await?;
        waiting.expect("* ", "EXISTS").await?;
        let took = start.elapsed();
        sender.expect("250", "").await?;
        sender.tell("QUIT").await?;
        waiting.tell("DONE").await?;
        waiting.expect("c ", "OK").await?;
        waiting.tell("d LOGOUT").await?;
        waiting.expect("d ", "OK").await?;
        Ok(took)
    };
    tokio::time::timeout(PATIENCE, way).await.context("no answer for ten seconds")?
}

async fn idle(imap: SocketAddr, user: &str, password: &str) -> Result<Talk> {
    let mut talk = Talk::with(imap).await?;
    talk.expect("* OK", "").await?;
    talk.tell(&format!("a LOGIN {user} {password}")).await?;
    talk.expect("a ", "OK").await?;
    talk.tell("b SELECT INBOX").await?;
    talk.expect("b ", "OK").await?;
    talk.tell("c IDLE").await?;
    talk.expect("+", "").await?;
    Ok(talk)
}

async fn ready_to_send(lmtp: SocketAddr, recipient: &str) -> Result<Talk> {
    let mut talk = Talk::with(lmtp).await?;
    talk.expect("220", "").await?;
    for (line, answer) in [
        ("LHLO demo.example.test", "250 "),
        ("MAIL FROM:<demo@example.test>", "250 "),
        (&format!("RCPT TO:<{recipient}>"), "250 "),
        ("DATA", "354"),
    ] {
        talk.tell(line).await?;
        talk.expect(answer, "").await?;
    }
    Ok(talk)
}

/// A conversation in lines.
struct Talk(BufStream<TcpStream>);

impl Talk {
    async fn with(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufStream::new(stream)))
    }

    async fn tell(&mut self, line: &str) -> Result<()> {
        self.0.write_all(format!("{line}\r\n").as_bytes()).await?;
        Ok(self.0.flush().await?)
    }

    /// Reads up to a line that begins with `start` and holds `word`. Lines of other kinds are passed over,
    /// an answer of the same kind without the word is an error.
    async fn expect(&mut self, start: &str, word: &str) -> Result<()> {
        let mut line = String::new();
        loop {
            line.clear();
            ensure!(self.0.read_line(&mut line).await? > 0, "the connection was closed");
            if line.starts_with(start) && line.contains(word) {
                return Ok(());
            }
            let passed_over = line.starts_with("* ") || line.get(3..4) == Some("-");
            ensure!(passed_over, "expected {start}{word}, got {}", line.trim_end());
        }
    }
}
