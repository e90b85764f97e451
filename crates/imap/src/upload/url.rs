//! URLs of messages and their parts (RFC 5092), as CATENATE names them (RFC 4469 §3): those of this server, relative
//! to it or to the selected mailbox.
//!
//! ```text
//! "/" enc-mailbox [";UIDVALIDITY=" nz-number] "/;UID=" nz-number ["/;SECTION=" enc-section] ["/;PARTIAL=" range]
//! ";UID=" nz-number ["/;SECTION=" enc-section] ["/;PARTIAL=" range]          ; of the selected mailbox
//! range = number ["." nz-number]
//! ```

use crate::fetch::{self, Piece, Section, Wanted};
use crate::parse::Parser;
use crate::reply::Error;
use crate::session::Session;
use crate::sharing::Rights;
use bytes::Bytes;
use types::{ErrorClass, Uid, UidSet, UidValidity};

#[derive(Debug, Clone, PartialEq, Eq)]
struct Url {
    /// `None`: the selected one.
    mailbox: Option<String>,
    uid_validity: Option<UidValidity>,
    uid: Uid,
    section: Section,
}

/// The bytes that a URL names, no more than there is room for.
pub(super) async fn read(
    session: &mut Session,
    text: &str,
    room_bytes: usize,
) -> Result<Bytes, Error> {
    let bad = || Error::BadUrl(text.to_owned());
    let url = Url::parse(text).ok_or_else(bad)?;
    let (account, mailbox) = if let Some(name) = &url.mailbox {
        let named = session.named(name, Rights::READ).await.map_err(|error| match error {
            // What may not be read is not there.
            Error::No { .. } => bad(),
            other if other.class() == ErrorClass::NotFound => bad(),
            other => other,
        })?;
        (named.account, named.mailbox)
    } else {
        let (account, mailbox) = session.here().map_err(|_| bad())?;
        (account, session.store().mailbox(account, mailbox).await?)
    };
    if url.uid_validity.is_some_and(|validity| validity != mailbox.uid_validity) {
        return Err(bad());
    }
    let store = session.store();
    let found = store.list(account, mailbox.id, &UidSet::one(url.uid)).await?;
    let (_, email) = found.first().ok_or_else(bad)?;
    let (wanted, sections) = (Wanted::of(email, &[&url.section]), [&url.section]);
    if wanted.bytes > room_bytes as u64 {
        return Err(Error::no("TOOBIG", super::TOO_LARGE));
    }
    let mut read = fetch::read(&store, &[wanted], &sections).await?;
    let pieces = read.pop().unwrap_or_else(|| Ok(Vec::new()))?;
    match pieces.into_iter().next() {
        Some(Piece::Bytes(bytes)) => Ok(bytes),
        _ => Err(bad()),
    }
}

impl Url {
    fn parse(text: &str) -> Option<Self> {
        let (mailbox, mut rest) = match text.strip_prefix('/') {
            Some(path) => {
                let (name, rest) = path.split_at(path.find(';')?);
                // The last `/` before the UID is no part of the name.
                let name = if key(rest, "UID").is_some() { name.strip_suffix('/')? } else { name };
                (Some(decode(name).filter(|name| !name.is_empty())?), rest)
            }
            None => (None, text),
        };
        let mut uid_validity = None;
        if let Some((value, after)) = key(rest, "UIDVALIDITY").filter(|_| mailbox.is_some()) {
            uid_validity = Some(UidValidity(number(value).filter(|n| *n > 0)?));
            rest = after;
        }
        let (value, mut rest) = key(rest, "UID")?;
        let uid = Uid::new(number(value)?)?;
        let (mut section, mut partial) = (String::new(), String::new());
        if let Some((value, after)) = key(rest, "SECTION") {
            (section, rest) = (decode(value)?, after);
        }
        if let Some((value, after)) = key(rest, "PARTIAL") {
            let (first, length) = value.split_once('.').unwrap_or((value, "4294967295"));
            partial = format!("<{}.{}>", number(first)?, number(length)?);
            rest = after;
        }
        if !rest.is_empty() {
            return None;
        }
        let section = format!("BODY.PEEK[{section}]{partial}");
        let mut p = Parser::new(section.as_bytes());
        let section = Section::parse(&mut p).ok().flatten().filter(|_| p.at_end())?;
        Some(Self { mailbox, uid_validity, uid, section })
    }
}

/// The value of `;KEY=` at the front, with or without a slash before it, up to the next one; and what follows.
fn key<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let text = text.strip_prefix('/').unwrap_or(text).strip_prefix(';')?;
    let front = text.get(..name.len()).filter(|front| front.eq_ignore_ascii_case(name))?;
    let value = text.get(front.len()..)?.strip_prefix('=')?;
    let (value, rest) = value.split_at(value.find(';').unwrap_or(value.len()));
    match value.strip_suffix('/') {
        Some(value) if !rest.is_empty() => Some((value, rest)),
        _ => Some((value, rest)),
    }
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Undoes `%41` (RFC 5092 §8).
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [char::from(rest.next()?), char::from(rest.next()?)];
        let [high, low] = digits.map(|digit| digit.to_digit(16).and_then(|n| u8::try_from(n).ok()));
        bytes.push(high? << 4 | low?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        #[track_caller]
        fn check(text: &str, expect: Option<&str>) {
            let found = Url::parse(text).map(|url| {
                let validity = url.uid_validity.map_or(0, |validity| validity.0);
                let mailbox = url.mailbox.unwrap_or_else(|| "-".to_owned());
                format!("{mailbox} {validity} {} {}", url.uid, url.section.label)
            });
            assert_eq!(found.as_deref(), expect, "{text}");
        }
        check("/INBOX;UIDVALIDITY=3/;UID=20/;SECTION=1.2", Some("INBOX 3 20 BODY[1.2]"));
        check("/Drafts;uidvalidity=3/;uid=20/;section=HEADER", Some("Drafts 3 20 BODY[HEADER]"));
        check("/a/b%20%c4%85/;UID=1", Some("a/b ą 0 1 BODY[]"));
        check("/a/;UID=1/;PARTIAL=5.10", Some("a 0 1 BODY[]<5>"));
        check("/a/;UID=1/;SECTION=TEXT/;PARTIAL=5", Some("a 0 1 BODY[TEXT]<5>"));
        check("/a/;UID=1;section=1.5.9", Some("a 0 1 BODY[1.5.9]"));
        check(
            "/a/;UID=1/;SECTION=HEADER.FIELDS%20(%22Subject%22)",
            Some("a 0 1 BODY[HEADER.FIELDS (Subject)]"),
        );
        check(";UID=7", Some("- 0 7 BODY[]"));
        check(";UID=7/;SECTION=1.MIME", Some("- 0 7 BODY[1.MIME]"));
        check("/;UID=7", None);
        check("/a;UID=7", None);
        check("/a", None);
        check("/a;UIDVALIDITY=3", None);
        check("/a;UIDVALIDITY=0/;UID=1", None);
        check("/a/;UID=0", None);
        check("/a/;UID=+1", None);
        check("/a/;UID=1/;SECTION=0", None);
        check("/a/;UID=1/;SECTION=1]<0.1", None);
        check("/a/;UID=1/;SECTION=1%5D<0.1>", None);
        check("/a/;UID=1/;PARTIAL=1.0", None);
        check("/a/;UID=1/;URLAUTH=anonymous", None);
        check("/a/;UID=1/x", None);
        check("/a%2/;UID=1", None);
        check("/a%ff/;UID=1", None);
        check("imap://other.example.test/a/;UID=1", None);
        check("", None);
    }
}
