//! TOP (RFC 1939 §7): the header, the empty line after it, and so many lines of the body.

use super::{no_such_letter, retr};
use crate::commands::Waiting;
use crate::maildrop::parse_number;
use crate::reply::Reply;
use crate::session::Session;
use bytes::Bytes;
use memchr::memchr_iter;

pub(crate) fn run<'a>(session: &'a mut Session, arg: &'a [u8]) -> Waiting<'a> {
    Box::pin(async move {
        let Some((number, lines)) = parse(arg) else {
            return Ok(Reply::error("", "the form is TOP number lines"));
        };
        let Some(letter) = retr::find(session, number) else {
            return Ok(no_such_letter());
        };
        match read(&letter, lines).await {
            Ok((bytes, header_bytes)) => {
                Reply::ok("the top of it:").write(session.wire.output());
                session.wire.text(&cut(&bytes, header_bytes, lines)).await?;
                Ok(Reply::said())
            }
            Err(error) => Ok(letter.refuse(&error)),
        }
    })
}

/// ```text
/// top = "TOP" SP msg SP n CRLF
/// ```
fn parse(arg: &[u8]) -> Option<(&[u8], usize)> {
    let mut words = arg.split(|b| *b == b' ').filter(|w| !w.is_empty());
    let (number, lines) = (words.next()?, parse_number(words.next()?)?);
    words.next().is_none().then_some((number, lines))
}

/// The bytes that are needed, and how many of them are the header with its empty line. Without body lines the
/// header alone is read.
async fn read(letter: &retr::Letter, lines: usize) -> storage::Result<(Bytes, usize)> {
    let (email, store) = (letter.email().await?, &letter.store);
    let header_end = email.index.parts.first().map_or(0, |root| root.header.end);
    let bytes = match lines {
        0 => store.range(&email, 0..header_end).await?,
        _ => store.bytes(&email).await?,
    };
    Ok((bytes, header_end as usize))
}

/// The header, an empty line even where the letter has none, and the first lines of the body, which may end with
/// CRLF or with LF alone.
fn cut(bytes: &[u8], header_bytes: usize, lines: usize) -> Vec<u8> {
    let (header, body) = bytes.split_at_checked(header_bytes).unwrap_or((bytes, b""));
    let mut top = header.to_vec();
    let ends_empty = [&b"\n\r\n"[..], b"\n\n"].iter().any(|e| top.ends_with(e));
    if !ends_empty && top != b"\r\n" && top != b"\n" {
        if !top.is_empty() && !top.ends_with(b"\n") {
            top.extend_from_slice(b"\r\n");
        }
        top.extend_from_slice(b"\r\n");
    }
    let end = match lines.checked_sub(1) {
        None => 0,
        Some(last) => memchr_iter(b'\n', body).nth(last).map_or(body.len(), |at| at + 1),
    };
    top.extend_from_slice(body.get(..end).unwrap_or_default());
    top
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        #[track_caller]
        fn check(arg: &str, expect: Option<(&str, usize)>) {
            let expect = expect.map(|(n, lines)| (n.as_bytes(), lines));
            assert_eq!(parse(arg.as_bytes()), expect, "{arg:?}");
        }
        check("1 0", Some(("1", 0)));
        check("1  10 ", Some(("1", 10)));
        check("1", None);
        check("", None);
        check("1 -1", None);
        check("1 2 3", None);
        check("1 99999999999999999999999", None);
    }

    #[test]
    fn tops() {
        #[track_caller]
        fn check(header: &str, body: &str, lines: usize, expect: &str) {
            let letter = format!("{header}{body}");
            let top = cut(letter.as_bytes(), header.len(), lines);
            assert_eq!(String::from_utf8(top).unwrap(), expect);
        }
        check("A: b\r\n\r\n", "1\r\n2\r\n3\r\n", 0, "A: b\r\n\r\n");
        check("A: b\r\n\r\n", "1\r\n2\r\n3\r\n", 2, "A: b\r\n\r\n1\r\n2\r\n");
        check("A: b\r\n\r\n", "1\r\n2", 9, "A: b\r\n\r\n1\r\n2");
        check("A: b\r\n\r\n", "", usize::MAX, "A: b\r\n\r\n");
        check("A: b\n\n", "1\n2\n", 1, "A: b\n\n1\n");
        check("A: b\r\n", "", 1, "A: b\r\n\r\n");
        check("A: b", "", 1, "A: b\r\n\r\n");
        check("\r\n", "1\r\n", 1, "\r\n1\r\n");
        check("", "", 1, "\r\n");
        assert_eq!(cut(b"A: b\r\n", 99, 1), b"A: b\r\n\r\n");
    }
}
