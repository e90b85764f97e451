//! The daemon of `ClamAV`, over a Unix socket or TCP: the command `INSTREAM` of `man clamd`, one connection for each letter.
//!
//! ```text
//! C: zINSTREAM NUL, then chunks: four bytes of length, the most significant first, and so many bytes; a length of zero ends
//! S: stream: OK NUL
//! S: stream: Eicar-Test-Signature FOUND NUL
//! S: INSTREAM size limit exceeded. ERROR NUL
//! ```

use super::{Found, Trouble, name, quoted};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

/// A chunk; what other programs that speak this protocol take in one go.
const CHUNK_BYTES: usize = 64 * 1024;
/// An answer has the name of a virus, and hardly more.
const ANSWER_BYTES: u64 = 4096;
/// In front of each letter. `ClamAV` takes apart only what begins with a field it knows, and senders choose their first one.
const FIRST_FIELD: &[u8] = b"Return-Path: <>\r\n";

/// `unix:/run/clamav/clamd.ctl`, or `127.0.0.1:3310`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clamd {
    Unix(PathBuf),
    /// A name or an address, and a port.
    Tcp(String),
}

impl FromStr for Clamd {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(()) };
        }
        if is_authority(text) && text.rsplit_once(':').is_some_and(|(_, port)| is_port(port)) {
            Ok(Self::Tcp(text.to_owned()))
        } else {
            Err(())
        }
    }
}

/// A host, perhaps with a port: what may stand before the path of a URL, but for users.
pub(super) fn is_authority(text: &str) -> bool {
    let (host, rest) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((address, rest)) if address.parse::<std::net::Ipv6Addr>().is_ok() => ("v6", rest),
        Some(_) => return false,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let in_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let port_fits = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
    !host.is_empty() && host.bytes().all(in_name) && port_fits
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0)
}

impl fmt::Display for Clamd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(place) => f.write_str(place),
        }
    }
}

impl Clamd {
    pub(super) async fn ask(&self, letter: &[u8]) -> Result<Found, Trouble> {
        match self {
            Self::Unix(path) => {
                talk(UnixStream::connect(path).await.map_err(Trouble::Away)?, letter).await
            }
            Self::Tcp(place) => {
                talk(TcpStream::connect(place).await.map_err(Trouble::Away)?, letter).await
            }
        }
    }
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    letter: &[u8],
) -> Result<Found, Trouble> {
    // It may say no and close before all is sent: then what it says is worth more than that the connection broke.
    let sent = send(&mut stream, letter).await;
    let mut answer = Vec::new();
    let received = stream.take(ANSWER_BYTES).read_to_end(&mut answer).await;
    match (read(&answer), sent.and(received)) {
        (Ok(Some(virus)), _) => Ok(Some(virus)),
        (Ok(None), Ok(_)) => Ok(None),
        (Err(trouble), Ok(_)) => Err(trouble),
        (Err(trouble), Err(_)) if !answer.is_empty() => Err(trouble),
        (_, Err(broken)) => Err(broken.into()),
    }
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, letter: &[u8]) -> std::io::Result<usize> {
    stream.write_all(b"zINSTREAM\0").await?;
    for chunk in std::iter::once(FIRST_FIELD).chain(letter.chunks(CHUNK_BYTES)) {
        stream.write_u32(u32::try_from(chunk.len()).unwrap_or(u32::MAX)).await?;
        stream.write_all(chunk).await?;
    }
    stream.write_u32(0).await?;
    stream.flush().await?;
    Ok(letter.len())
}

/// Without its NUL the answer is not whole: what is cut off might be the rest of a name, or `FOUND`.
fn read(answer: &[u8]) -> Result<Found, Trouble> {
    let wrong = || quoted(answer);
    let (line, _) = answer.split_at(memchr::memchr(0, answer).ok_or_else(wrong)?);
    let line = std::str::from_utf8(line).map_err(|_| wrong())?;
    let (_, said) = line.split_once(": ").ok_or_else(wrong)?;
    match said.strip_suffix(" FOUND") {
        Some(virus) => Ok(Some(name(virus))),
        None if said == "OK" => Ok(None),
        None => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        #[track_caller]
        fn check(text: &str, expect: Option<Clamd>) {
            assert_eq!(text.parse().ok(), expect);
            if let Some(place) = expect {
                assert_eq!(place.to_string(), text);
            }
        }
        let tcp = |text: &str| Some(Clamd::Tcp(text.to_owned()));
        check("unix:/run/clamav/clamd.ctl", Some(Clamd::Unix("/run/clamav/clamd.ctl".into())));
        check("127.0.0.1:3310", tcp("127.0.0.1:3310"));
        check("[::1]:3310", tcp("[::1]:3310"));
        check("clamav.example.test:3310", tcp("clamav.example.test:3310"));
        for wrong in [
            "",
            "unix:run/x",
            "127.0.0.1",
            "a:0",
            "a:70000",
            ":3310",
            "a b:1",
            "::1:3310",
            "[x]:1",
            "[::1]",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn answers() {
        #[track_caller]
        fn check(answer: &str, expect: Result<Option<&str>, &str>) {
            let answer = read(answer.as_bytes()).map_err(|trouble| trouble.to_string());
            assert_eq!(answer.as_ref().map(Option::as_deref).map_err(String::as_str), expect);
        }
        check("stream: OK\0", Ok(None));
        check("stream: Eicar-Test-Signature FOUND\0", Ok(Some("Eicar-Test-Signature")));
        check("stream: Eicar(44d88612:68) FOUND\0more", Ok(Some("Eicar(44d88612:68)")));
        check("stream: O K\0", Err(r#"it answers "stream: O K\0""#));
        check(
            "INSTREAM size limit exceeded. ERROR\0",
            Err(r#"it answers "INSTREAM size limit exceeded. ERROR\0""#),
        );
        check("stream: Eicar FOUND", Err(r#"it answers "stream: Eicar FOUND""#));
        check("stream: OK", Err(r#"it answers "stream: OK""#));
        check("", Err(r#"it answers """#));
        check("\0", Err(r#"it answers "\0""#));
    }
}
