//! As much IMAP as the loads take: a command and its answers, literals among them.

use anyhow::{Context as _, Result, ensure};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// No answer for so long is a server that hangs.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// A FETCH of thousands of rows comes in few reads.
const BUFFER_BYTES: usize = 64 << 10;

pub(crate) struct Imap {
    stream: BufReader<TcpStream>,
    line: Vec<u8>,
    /// Messages of the selected mailbox.
    pub(crate) exists: u64,
}

impl Imap {
    /// Logs in and selects INBOX.
    pub(crate) fn open(address: SocketAddr, user: &str) -> Result<Self> {
        let mut imap = Self::log_in(address, user)?;
        imap.run("SELECT INBOX")?;
        Ok(imap)
    }

    pub(crate) fn log_in(address: SocketAddr, user: &str) -> Result<Self> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("cannot reach {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let stream = BufReader::with_capacity(BUFFER_BYTES, stream);
        let mut imap = Self { stream, line: Vec::new(), exists: 0 };
        imap.read_line()?;
        imap.run(&format!("LOGIN {user} secret"))?;
        Ok(imap)
    }

    /// Sends a command and reads what comes until its end, which must be OK.
    pub(crate) fn run(&mut self, text: &str) -> Result<()> {
        self.send(format!("a {text}\r\n").as_bytes())?;
        self.finish(text)
    }

    /// A command with one literal, which the server asks for.
    pub(crate) fn run_with(&mut self, text: &str, literal: &[u8]) -> Result<()> {
        self.send(format!("a {text} {{{}}}\r\n", literal.len()).as_bytes())?;
        self.wait_for_plus(text)?;
        self.send(&[literal, b"\r\n"].concat())?;
        self.finish(text)
    }

    /// IDLE, and at once its end.
    pub(crate) fn idle(&mut self) -> Result<()> {
        self.send(b"a IDLE\r\n")?;
        self.wait_for_plus("IDLE")?;
        self.send(b"DONE\r\n")?;
        self.finish("IDLE")
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(bytes).context("the server takes nothing")
    }

    fn wait_for_plus(&mut self, text: &str) -> Result<()> {
        loop {
            self.read_line()?;
            if self.line.starts_with(b"+") {
                return Ok(());
            }
            ensure!(self.line.starts_with(b"*"), "{}", self.refusal(text));
        }
    }

    fn finish(&mut self, text: &str) -> Result<()> {
        loop {
            self.read_line()?;
            if self.line.starts_with(b"a ") {
                ensure!(self.line.starts_with(b"a OK"), "{}", self.refusal(text));
                return Ok(());
            }
            if let Some(count) = self.line.strip_suffix(b" EXISTS\r\n") {
                let count = count.strip_prefix(b"* ").unwrap_or_default();
                self.exists = str::from_utf8(count)?.parse().context("EXISTS without a number")?;
            }
            while let Some(bytes) = literal(&self.line) {
                io::copy(&mut (&mut self.stream).take(bytes), &mut io::sink())?;
                self.read_line()?;
            }
        }
    }

    fn refusal(&self, text: &str) -> String {
        let word = text.split(' ').next().unwrap_or_default();
        format!("the answer to {word} is {:?}", String::from_utf8_lossy(&self.line))
    }

    fn read_line(&mut self) -> Result<()> {
        self.line.clear();
        let bytes = self.stream.read_until(b'\n', &mut self.line).context("no answer")?;
        ensure!(bytes > 0, "the server closed the connection");
        Ok(())
    }

    /// How many messages meet the criteria.
    pub(crate) fn search(&mut self, criteria: &str) -> Result<usize> {
        let lines = self.command(&format!("SEARCH {criteria}"))?;
        let found = lines.iter().find_map(|line| line.strip_prefix("* SEARCH"));
        Ok(found.context("no answer to SEARCH")?.split_whitespace().count())
    }

    fn command(&mut self, text: &str) -> Result<Vec<String>> {
        self.stream.get_mut().write_all(format!("a {text}\r\n").as_bytes())?;
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            if let Some(end) = line.strip_prefix("a ") {
                let word = text.split(' ').next().unwrap_or_default();
                ensure!(end.starts_with("OK"), "the answer to {word} is {end:?}");
                return Ok(lines);
            }
            lines.push(line);
        }
    }

    fn line(&mut self) -> Result<String> {
        self.read_line()?;
        Ok(String::from_utf8_lossy(&self.line).trim_end().to_owned())
    }
}

/// `{123}` at the end of a line: so many bytes follow it.
fn literal(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"}\r\n")?;
    let open = line.iter().rposition(|byte| *byte == b'{')?;
    str::from_utf8(line.get(open + 1..)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_search_is_asked_and_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = BufReader::new(stream);
            let mut heard = String::new();
            for answer in [
                "* OK hi\r\n",
                "a OK in\r\n",
                "* 3 EXISTS\r\na OK\r\n",
                "* SEARCH 1 3\r\na OK\r\n",
                "a NO [LIMIT] x\r\n",
            ] {
                stream.get_mut().write_all(answer.as_bytes()).unwrap();
                stream.read_line(&mut heard).unwrap();
            }
            heard
        });
        let mut imap = Imap::open(address, "alice@example.test").unwrap();
        assert_eq!(imap.search("TEXT \"x\"").unwrap(), 2);
        let error = imap.search("ALL").unwrap_err().to_string();
        assert_eq!(error, "the answer to SEARCH is \"NO [LIMIT] x\"");
        assert_eq!(imap.exists, 3);
        drop(imap);
        let expect = "a LOGIN alice@example.test secret\r\na SELECT INBOX\r\na SEARCH TEXT \"x\"\r\na SEARCH ALL\r\n";
        assert_eq!(server.join().unwrap(), expect);
    }

    #[test]
    fn literals() {
        let check = |line: &str, expect: Option<u64>| assert_eq!(literal(line.as_bytes()), expect);
        check("* 1 FETCH (BODY[] {42}\r\n", Some(42));
        check("* 1 FETCH (BODY[] \"{42}\")\r\n", None);
        check("{}\r\n", None);
        check("\r\n", None);
    }
}
