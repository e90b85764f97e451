//! PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): a proxy in front says, before the first byte of
//! the protocol and of TLS, for whom it speaks. Only from the networks of `proxy.from`, and from those always: whoever
//! may say it could otherwise leave it out.
//!
//! ```text
//! v1 = "PROXY" SP ( "TCP4" / "TCP6" ) SP source SP destination SP port SP port CRLF / "PROXY UNKNOWN" *CHAR CRLF
//! v2 = %x0D.0A.0D.0A.00.0D.0A.51.55.49.54.0A version-command family-protocol length addresses *tlv
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// A line of version 1 with its CRLF, says its text.
const V1_BYTES: usize = 107;
/// What fits in the smallest segment every host takes; version 2 promises to stay under it.
const V2_BYTES: usize = 536;
/// The header comes with the first segment; this covers its loss.
const PATIENCE: Duration = Duration::from_secs(5);
/// How both begin can be told apart after so many bytes, and neither is shorter.
const HEAD_BYTES: usize = 12;
const V2_HEAD: &[u8; HEAD_BYTES] = b"\r\n\r\n\0\r\nQUIT\n";
/// A type in version 2: what TLS the client has with the proxy.
const TLV_SSL: u8 = 0x20;
/// In it: there is TLS.
const CLIENT_SSL: u8 = 0x01;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// The proxy speaks for itself, as when it looks whether we are alive; or it does not know for whom.
    Itself,
    /// `encrypted`: between the client and the proxy.
    Client { address: SocketAddr, encrypted: bool },
}

/// Reads the header, and not a byte more. `None`: it is none, or it does not come.
pub(crate) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Said> {
    timeout(PATIENCE, header(stream)).await.ok()?
}

async fn header<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Said> {
    let mut head = [0; HEAD_BYTES];
    stream.read_exact(&mut head).await.ok()?;
    if &head == V2_HEAD {
        let mut rest = [0; 4];
        stream.read_exact(&mut rest).await.ok()?;
        let [version_command, family, high, low] = rest;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > V2_BYTES - HEAD_BYTES - rest.len() {
            return None;
        }
        let mut block = vec![0; length];
        stream.read_exact(&mut block).await.ok()?;
        return v2(version_command, family, &block);
    }
    if !head.starts_with(b"PROXY ") {
        return None;
    }
    let mut line = head.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == V1_BYTES {
            return None;
        }
        line.push(stream.read_u8().await.ok()?);
    }
    v1(std::str::from_utf8(&line).ok()?)
}

fn v1(line: &str) -> Option<Said> {
    let line = line.strip_suffix("\r\n")?;
    let words = line.strip_prefix("PROXY ")?;
    if words == "UNKNOWN" || words.starts_with("UNKNOWN ") {
        return Some(Said::Itself);
    }
    let words: Vec<&str> = words.split(' ').collect();
    let [family, source, destination, from, to] = words.as_slice() else { return None };
    let ip = |text: &str| match *family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    ip(destination)?;
    port(to)?;
    let address = SocketAddr::new(ip(source)?, port(from)?);
    Some(Said::Client { address, encrypted: false })
}

/// Decimal, without zeros in front.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

fn v2(version_command: u8, family: u8, block: &[u8]) -> Option<Said> {
    match version_command {
        0x20 => return Some(Said::Itself),
        0x21 => {}
        _ => return None,
    }
    let (address, rest) = match family {
        // TCP over IPv4, over IPv6: source, destination, source port, destination port.
        0x11 => {
            let (all, rest) = block.split_first_chunk::<12>()?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *all;
            let port = u16::from_be_bytes([high, low]);
            (SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port), rest)
        }
        0x21 => {
            let (source, rest) = block.split_first_chunk::<16>()?;
            let (_, rest) = rest.split_first_chunk::<16>()?;
            let ([high, low, _, _], rest) = rest.split_first_chunk::<4>()?;
            let port = u16::from_be_bytes([*high, *low]);
            (SocketAddr::new(Ipv6Addr::from(*source).into(), port), rest)
        }
        // Nothing said, UDP, Unix sockets: valid, and no address of ours.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => return Some(Said::Itself),
        _ => return None,
    };
    Some(Said::Client { address, encrypted: encrypted(rest)? })
}

/// Looks through type, length, value; `None`: one does not fit. At most 520 bytes, each looked at once.
fn encrypted(mut rest: &[u8]) -> Option<bool> {
    let mut found = false;
    while let Some(([kind, high, low], more)) = rest.split_first_chunk::<3>() {
        let (value, more) =
            more.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
        found |= *kind == TLV_SSL && value.first().is_some_and(|bits| bits & CLIENT_SSL != 0);
        rest = more;
    }
    rest.is_empty().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of the input, in pieces of every size, and what is left for the protocol.
    async fn check(input: &[u8], expect: Option<Said>, left: &[u8]) {
        for piece in [1, 7, input.len().max(1)] {
            let mut stream = tokio_test(input, piece);
            let said = read(&mut stream).await;
            assert_eq!(said, expect, "{:?}", String::from_utf8_lossy(input));
            if expect.is_some() {
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).await.unwrap();
                assert_eq!(rest, left);
            }
        }
    }

    /// A stream that gives its bytes in pieces and then ends.
    fn tokio_test(input: &[u8], piece: usize) -> impl AsyncRead + Unpin {
        let (mut ours, theirs) = tokio::io::duplex(piece);
        let input = input.to_vec();
        tokio::spawn(async move {
            drop(tokio::io::AsyncWriteExt::write_all(&mut ours, &input).await);
        });
        theirs
    }

    #[expect(clippy::unnecessary_wraps, reason = "it stands where an Option is expected")]
    fn client(address: &str, encrypted: bool) -> Option<Said> {
        Some(Said::Client { address: address.parse().unwrap(), encrypted })
    }

    #[tokio::test]
    async fn lines() {
        let said = client("192.0.2.7:4000", false);
        check(b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 25\r\nEHLO x\r\n", said, b"EHLO x\r\n").await;
        let said = client("[2001:db8::7]:4000", false);
        check(b"PROXY TCP6 2001:db8::7 ::1 4000 25\r\n\x16\x03", said, b"\x16\x03").await;
        check(b"PROXY UNKNOWN\r\nx", Some(Said::Itself), b"x").await;
        check(b"PROXY UNKNOWN a b c\r\n", Some(Said::Itself), b"").await;
        let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
        assert_eq!(longest.len(), V1_BYTES);
        check(longest.as_bytes(), Some(Said::Itself), b"").await;
    }

    #[tokio::test]
    async fn no_lines() {
        for bad in [
            "EHLO client.example.test\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.1 4000 25\n\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.1 4000\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.1 4000 25 1\r\n",
            "PROXY TCP4 192.0.2.7  192.0.2.1 4000 25\r\n",
            "PROXY TCP4 2001:db8::7 ::1 4000 25\r\n",
            "PROXY TCP6 192.0.2.7 192.0.2.1 4000 25\r\n",
            "PROXY TCP4 192.0.2.07 192.0.2.1 4000 25\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.1 04000 25\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.1 65536 25\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.1 +400 25\r\n",
            "PROXY UDP4 192.0.2.7 192.0.2.1 4000 25\r\n",
            "PROXY UNKNOWNS\r\n",
            "proxy TCP4 192.0.2.7 192.0.2.1 4000 25\r\n",
            "PROXY TCP4 192.0.2.7 192.",
            "",
        ] {
            check(bad.as_bytes(), None, b"").await;
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(92));
        check(long.as_bytes(), None, b"").await;
        check(&[b'P'; 5000], None, b"").await;
    }

    fn binary(version_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [&V2_HEAD[..], &[version_command, family], &length, block].concat()
    }

    const V4: &[u8] = &[192, 0, 2, 7, 192, 0, 2, 1, 0x0f, 0xa0, 0, 25];

    #[tokio::test]
    async fn blocks() {
        let ok = |block: &[u8]| [binary(0x21, 0x11, block), b"EHLO".to_vec()].concat();
        check(&ok(V4), client("192.0.2.7:4000", false), b"EHLO").await;
        let noop = [V4, &[4, 0, 2, 9, 9]].concat();
        check(&ok(&noop), client("192.0.2.7:4000", false), b"EHLO").await;
        let tls = [V4, &[4, 0, 0, 0x20, 0, 5, 1, 0, 0, 0, 0]].concat();
        check(&ok(&tls), client("192.0.2.7:4000", true), b"EHLO").await;
        let no_tls = [V4, &[0x20, 0, 5, 6, 0, 0, 0, 0]].concat();
        check(&ok(&no_tls), client("192.0.2.7:4000", false), b"EHLO").await;
        let full = [V4, &[4, 1, 0xf9], &[0; 505][..]].concat();
        assert_eq!(binary(0x21, 0x11, &full).len(), V2_BYTES);
        check(&ok(&full), client("192.0.2.7:4000", false), b"EHLO").await;
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0, 80, 0, 25]].concat();
        check(&binary(0x21, 0x21, &v6), client("[2001:db8::7]:80", false), b"").await;
        for (version_command, family, block) in [
            (0x20, 0x00, &[][..]),
            (0x20, 0x11, V4),
            (0x20, 0xff, b"anything"),
            (0x21, 0x00, b""),
            (0x21, 0x31, &[0; 216]),
            (0x21, 0x12, V4),
        ] {
            check(&binary(version_command, family, block), Some(Said::Itself), b"").await;
        }
    }

    #[tokio::test]
    async fn no_blocks() {
        for (version_command, family, block) in [
            (0x22, 0x11, V4),
            (0x31, 0x11, V4),
            (0x01, 0x11, V4),
            (0x21, 0x41, V4),
            (0x21, 0x13, V4),
            (0x21, 0x11, &V4[..11]),
            (0x21, 0x21, V4),
            (0x21, 0x11, &[0; 521]),
            (0x21, 0x11, &[V4, &[4, 0, 9, 1]].concat()),
            (0x21, 0x11, &[V4, &[4, 0]].concat()),
        ] {
            check(&binary(version_command, family, block), None, b"").await;
        }
        check(&binary(0x21, 0x11, V4)[..20], None, b"").await;
        let huge = [&V2_HEAD[..], &[0x21, 0x11, 0xff, 0xff], &[0; 700]].concat();
        check(&huge, None, b"").await;
    }

    #[tokio::test]
    async fn silence_is_no_header() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let waiting = timeout(Duration::from_millis(50), read(&mut theirs)).await;
        assert!(waiting.is_err(), "it waits some seconds");
        drop(ours);
        assert_eq!(read(&mut theirs).await, None);
    }
}
