//! Netstrings: `12:hello world!,` (cr.yp.to/proto/netstrings.txt), as socketmap has them.
//!
//! ```text
//! netstring = 1*DIGIT ":" *OCTET ","
//! ```

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What Postfix sends at most (its manual names 100,000 for replies); addresses are far shorter.
pub(crate) const MOST_BYTES: usize = 10_000;
const MOST_DIGITS: usize = 5;

/// `Ok(None)`: the other side has closed before a next one.
pub(crate) async fn read<R: AsyncRead + Unpin>(from: &mut R) -> io::Result<Option<Vec<u8>>> {
    let wrong = |why| io::Error::new(io::ErrorKind::InvalidData, why);
    let mut length = 0usize;
    for digits in 0.. {
        let byte = match from.read_u8().await {
            Ok(byte) => byte,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && digits == 0 => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        match byte {
            b'0'..=b'9' if digits < MOST_DIGITS => {
                length = length * 10 + usize::from(byte - b'0');
            }
            b':' if digits > 0 => break,
            _ => return Err(wrong("no netstring")),
        }
    }
    if length > MOST_BYTES {
        return Err(wrong("the netstring is too long"));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).await?;
    match from.read_u8().await? {
        b',' => Ok(Some(bytes)),
        _ => Err(wrong("the netstring does not end where it should")),
    }
}

pub(crate) async fn write<W: AsyncWrite + Unpin>(to: &mut W, text: &str) -> io::Result<()> {
    to.write_all(format!("{}:{text},", text.len()).as_bytes()).await?;
    to.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn framing() {
        async fn check(sent: &[u8], expect: Result<Option<&[u8]>, ()>) {
            let mut from = sent;
            let found = read(&mut from).await.map_err(drop);
            assert_eq!(found, expect.map(|b| b.map(<[u8]>::to_vec)), "{sent:?}");
        }
        check(b"5:hello,", Ok(Some(b"hello"))).await;
        check(b"0:,", Ok(Some(b""))).await;
        check(b"3:a,b,", Ok(Some(b"a,b"))).await;
        check(b"", Ok(None)).await;
        check(b":,", Err(())).await;
        check(b"5:hell,", Err(())).await;
        check(b"5:hello!", Err(())).await;
        check(b"5:hel", Err(())).await;
        check(b"-1:,", Err(())).await;
        check(b"99999:x", Err(())).await;
        check(b"4294967296:x", Err(())).await;
        check(b"GET / HTTP/1.1\r\n", Err(())).await;
        let mut out = Vec::new();
        write(&mut out, "OK x").await.unwrap();
        assert_eq!(out, b"4:OK x,");
    }
}
