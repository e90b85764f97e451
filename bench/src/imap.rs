//! As much IMAP as a search takes: LOGIN, SELECT, SEARCH.

use anyhow::{Context as _, Result, ensure};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// No answer for so long is a server that hangs.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

pub(crate) struct Imap {
    stream: BufReader<TcpStream>,
}

impl Imap {
    /// Logs in and selects INBOX.
    pub(crate) fn open(address: SocketAddr, user: &str) -> Result<Self> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("cannot reach {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut imap = Self { stream: BufReader::new(stream) };
        imap.line()?;
        imap.command(&format!("LOGIN {user} secret"))?;
        imap.command("SELECT INBOX")?;
        Ok(imap)
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
        let mut line = String::new();
        let bytes = self.stream.read_line(&mut line).context("no answer")?;
        ensure!(bytes > 0, "the server closed the connection");
        Ok(line.trim_end().to_owned())
    }
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
        drop(imap);
        let expect = "a LOGIN alice@example.test secret\r\na SELECT INBOX\r\na SEARCH TEXT \"x\"\r\na SEARCH ALL\r\n";
        assert_eq!(server.join().unwrap(), expect);
    }
}
