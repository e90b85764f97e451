//! A program of the operator that is asked over HTTP: the letter is the body of a POST, the answer is JSON.
//!
//! ```text
//! POST /scan HTTP/1.0
//! Content-Type: message/rfc822
//!
//! HTTP/1.0 200 OK
//!
//! {"virus": "Eicar-Test"}
//! ```
//! `null` in place of the name: it found nothing. Other members are for later versions and passed over. Everything else, and
//! every status but 200, is no answer. The request has the version 1.0: nobody answers in chunks.

use super::clamd::is_authority;
use super::{Found, Trouble, name, quoted};
use serde_json::Value;
use std::fmt;
use std::io;
use std::str::FromStr;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer with its header.
const ANSWER_BYTES: usize = 64 * 1024;
/// Fields of its header; frameworks send ten or so.
const FIELDS: usize = 100;
/// Of the address in the configuration.
const URL_BYTES: usize = 1024;

/// `http://127.0.0.1:8080/scan`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// A name or an address, perhaps a port.
    host: String,
    path: String,
}

impl FromStr for Hook {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let rest = text.strip_prefix("http://").ok_or(())?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let in_path = |b: u8| b.is_ascii_graphic() && !matches!(b, b'#' | b'"' | b'\\');
        if text.len() > URL_BYTES || !is_authority(host) || !path.bytes().all(in_path) {
            return Err(());
        }
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self { host: host.to_owned(), path: path.to_owned() })
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.host, self.path)
    }
}

impl Hook {
    pub(super) async fn ask(&self, letter: &[u8]) -> Result<Found, Trouble> {
        let has_port = self.host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let place = if has_port { self.host.clone() } else { format!("{}:80", self.host) };
        let mut stream = TcpStream::connect(place).await.map_err(Trouble::Away)?;
        // It may say no and close before all is sent: then what it says is worth more than that the connection broke.
        let sent = self.send(&mut stream, letter).await;
        match (receive(&mut stream).await, sent) {
            (Ok(None) | Err(Trouble::Broken(_)), Err(broken)) => Err(broken.into()),
            (answer, _) => answer,
        }
    }

    async fn send<W: AsyncWrite + Unpin>(&self, to: &mut W, letter: &[u8]) -> io::Result<()> {
        let head = format!(
            "POST {} HTTP/1.0\r\nHost: {}\r\nUser-Agent: openpoczta/{}\r\nConnection: close\r\n\
             Accept: application/json\r\nContent-Type: message/rfc822\r\nContent-Length: {}\r\n\r\n",
            self.path,
            self.host,
            env!("CARGO_PKG_VERSION"),
            letter.len()
        );
        to.write_all(head.as_bytes()).await?;
        to.write_all(letter).await?;
        to.flush().await
    }
}

async fn receive<R: AsyncRead + Unpin>(mut from: R) -> Result<Found, Trouble> {
    let mut answer = Vec::new();
    let mut whole = None;
    // Up to its length where it says one: some keep the connection open.
    while whole.is_none_or(|whole| answer.len() < whole) {
        if answer.len() >= ANSWER_BYTES {
            return Err(Trouble::Answer(format!("more than {ANSWER_BYTES} bytes")));
        }
        let before = answer.len();
        if from.read_buf(&mut answer).await? == 0 {
            break;
        }
        let seen = before.saturating_sub(3);
        if answer.get(seen..).is_some_and(|new| memchr::memmem::find(new, b"\r\n\r\n").is_some()) {
            whole = whole.or(head(&answer)?.1);
        }
    }
    let (body, whole) = head(&answer)?;
    if body == 0 || whole.is_some_and(|whole| answer.len() < whole) {
        return Err(Trouble::Broken(io::ErrorKind::UnexpectedEof.into()));
    }
    read(answer.get(body..whole.unwrap_or(answer.len())).unwrap_or_default())
}

/// Where the body begins (0: not there yet), and where it ends if the header says so.
fn head(answer: &[u8]) -> Result<(usize, Option<usize>), Trouble> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let start = match response.parse(answer).map_err(|_| quoted(answer))? {
        httparse::Status::Complete(start) => start,
        httparse::Status::Partial => return Ok((0, None)),
    };
    if response.code != Some(200) {
        return Err(quoted(answer));
    }
    let mut length = None;
    for field in response.headers.iter() {
        if field.name.eq_ignore_ascii_case("content-length") {
            let value = std::str::from_utf8(field.value).ok().and_then(|v| v.trim().parse().ok());
            let value: usize = value.ok_or_else(|| quoted(field.value))?;
            length = Some(start.saturating_add(value));
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(quoted(field.value));
        }
    }
    Ok((start, length))
}

fn read(body: &[u8]) -> Result<Found, Trouble> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| quoted(body))?;
    match answer.get("virus") {
        Some(Value::Null) => Ok(None),
        Some(Value::String(virus)) if !virus.trim().is_empty() => Ok(Some(name(virus))),
        _ => Err(quoted(body)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        #[track_caller]
        fn check(text: &str, expect: Option<&str>) {
            let hook = text.parse::<Hook>().ok().map(|hook| hook.to_string());
            assert_eq!(hook.as_deref(), expect);
        }
        check("http://127.0.0.1:8080/scan?a=b", Some("http://127.0.0.1:8080/scan?a=b"));
        check("http://[::1]:8080/", Some("http://[::1]:8080/"));
        check("http://[::1]", Some("http://[::1]/"));
        check("http://scanner.example.test", Some("http://scanner.example.test/"));
        for wrong in [
            "",
            "https://a.test/",
            "http://",
            "http:///x",
            "http://user@a.test/",
            "http://a.test:0/",
            "http://a.test/a b",
            "http://a.test/\r\nX: y",
            "http://a.test?x",
        ] {
            check(wrong, None);
        }
        check(&format!("http://a.test/{}", "x".repeat(URL_BYTES)), None);
    }

    #[tokio::test]
    async fn answers() {
        async fn check(answer: &str, expect: Result<Option<&str>, &str>) {
            let answer = receive(answer.as_bytes()).await.map_err(|trouble| trouble.to_string());
            let answer = answer.as_ref().map(Option::as_deref).map_err(String::as_str);
            match (answer, expect) {
                (Err(trouble), Err(part)) => assert!(trouble.contains(part), "{trouble}"),
                _ => assert_eq!(answer, expect),
            }
        }
        let ok = "HTTP/1.1 200 OK\r\n";
        check(&format!("{ok}\r\n{{\"virus\": null}}"), Ok(None)).await;
        check(&format!("{ok}\r\n{{\"virus\": \"A b\", \"x\": [1]}}\n"), Ok(Some("A?b"))).await;
        check(&format!("{ok}content-LENGTH: 15 \r\n\r\n{{\"virus\": null}}junk"), Ok(None)).await;
        check("HTTP/1.0 200\n\n{\"virus\":\"V\"}", Ok(Some("V"))).await;
        check(&format!("{ok}Content-Length: 16\r\n\r\n{{\"virus\": null}}"), Err("broke")).await;
        check(&format!("{ok}Content-Length: x\r\n\r\n{{\"virus\": null}}"), Err("\"x\"")).await;
        check(&format!("{ok}Content-Length: 99999999999\r\n\r\n"), Err("broke")).await;
        check(&format!("{ok}Content-Length\r\n\r\n"), Err("answers")).await;
        check(&format!("{ok}Transfer-Encoding: chunked\r\n\r\n"), Err("chunked")).await;
        check(&format!("{ok}{}\r\n{{}}", "A: b\r\n".repeat(FIELDS)), Err("answers")).await;
        check(&format!("{ok}\r\n{{\"virus\": null}}{}", " ".repeat(70_000)), Err("more than"))
            .await;
        check(&format!("{ok}A: {}", "b".repeat(70_000)), Err("more than")).await;
        check("HTTP/1.1 500 Oh\r\n\r\n{\"virus\": null}", Err("500")).await;
        check("SSH-2.0-x 200 \r\n", Err("SSH")).await;
        check("", Err("broke")).await;
        for none in
            ["", "{}", "null", "[]", "{\"virus\": 1}", "{\"virus\": \" \"}", "{\"virus\": null"]
        {
            check(&format!("{ok}\r\n{none}"), Err("answers")).await;
        }
        let deep = "[".repeat(60_000);
        check(&format!("{ok}\r\n{deep}"), Err("answers")).await;
    }
}
