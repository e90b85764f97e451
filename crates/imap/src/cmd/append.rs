//! APPEND (RFC 9051 §6.3.12).
//!
//! ```text
//! append  = "APPEND" SP mailbox [SP flag-list] [SP date-time] SP append-data
//! append-data = literal / literal8 / "UTF8" SP "(" literal8 ")"      ; RFC 6855 §4
//! literal8 = "~" literal       ; any bytes, NUL too (RFC 3516 §4.4)
//! ```
//! The command comes up to the announcement of the message; its bytes are read here, once it is known that
//! they are wanted: a letter that is too large, or for a mailbox that is not there, is refused before `+`.

use crate::commands::Verb;
use crate::parse::{LiteralHeader, Parsed, Parser};
use crate::reply::{Answer, Done, Error, try_create};
use crate::session::Session;
use crate::sharing;
use bytes::Bytes;
use storage::Letter;
use types::{Flags, UidSet};

/// Larger letters are parsed beside the runtime's threads: a megabyte takes about a millisecond.
const PARSE_ASIDE_BYTES: usize = 1024 * 1024;
/// Of a refused letter that is on its way already, this many times the limit is read and forgotten; a
/// larger one ends the connection.
const FORGOTTEN_TIMES: u32 = 2;

pub(crate) struct Append {
    mailbox: String,
    flags: Flags,
    received_unix_s: Option<i64>,
    literal: LiteralHeader,
    /// The header of the message is in UTF-8, and a parenthesis follows it.
    utf8: bool,
}

impl Verb for Append {
    const STREAMS: bool = true;

    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let mailbox = p.mailbox()?;
        p.sp()?;
        let mut flags = Flags::default();
        if p.peek() == Some(b'(') {
            flags = p.flag_list()?;
            p.sp()?;
        }
        let mut received_unix_s = None;
        if p.peek() == Some(b'"') {
            received_unix_s = Some(p.date_time()?.to_unix_s());
            p.sp()?;
        }
        let utf8 = p.word("UTF8");
        if utf8 {
            p.sp()?;
            p.need(b'(', "an opening parenthesis")?;
            p.skip_spaces();
        }
        // Any bytes are taken in every form.
        p.take(b'~');
        Ok(Self { mailbox, flags, received_unix_s, literal: p.literal_header()?, utf8 })
    }

    async fn run(self, session: &mut Session) -> Answer {
        let account = session.account()?;
        let store = session.store();
        let size = self.literal.size_bytes;
        let wanted = match size {
            _ if self.utf8 && !session.utf8() => Err(Error::Bad("ENABLE UTF8=ACCEPT first")),
            0 => Err(Error::no("CANNOT", "the message is empty")),
            size if size > session.service.config.limits.message_bytes => {
                Err(Error::no("TOOBIG", "the message is larger than this server takes"))
            }
            _ => session.target(&self.mailbox).await,
        };
        let to = match wanted {
            Ok(to) => to,
            Err(error) => {
                forget(session, self.literal, self.utf8).await?;
                return Err(error);
            }
        };
        if self.literal.waits {
            session.wire.say("+ Send the message");
        }
        let patience = session.patience();
        let bytes = session.wire.literal(size, patience).await?;
        end_of_command(session, self.utf8).await?;
        let letter = parse(bytes).await;
        let ((flags, is_seen), received) = (to.marks(&self.flags), self.received_unix_s);
        let arrived = store.append(to.account, to.mailbox.id, letter, flags, received).await;
        let arrived = arrived.map_err(try_create)?;
        if is_seen {
            sharing::mark_seen(&store, account, &to, UidSet::one(arrived.uid)).await?;
        }
        let code = format!("APPENDUID {} {}", arrived.uid_validity, arrived.uid);
        Ok(Done::with(code, "Message stored"))
    }
}

/// Gets rid of a letter that is not wanted. One that waits for `+` never comes.
async fn forget(session: &mut Session, literal: LiteralHeader, utf8: bool) -> Result<(), Error> {
    if literal.waits {
        return Ok(());
    }
    let most = session.service.config.limits.message_bytes.saturating_mul(FORGOTTEN_TIMES);
    if literal.size_bytes > most {
        session.end("The message is too large");
        return Ok(());
    }
    let patience = session.patience();
    session.wire.discard(literal.size_bytes, patience).await?;
    end_of_command(session, utf8).await
}

/// The line end after the message. Another literal there is MULTIAPPEND, which we do not offer.
async fn end_of_command(session: &mut Session, utf8: bool) -> Result<(), Error> {
    let (limit, until) = (session.command_bytes(), session.until());
    let end: &[u8] = if utf8 { b")" } else { b"" };
    match session.wire.line(limit, until).await? {
        Some(rest) if rest.trim_ascii() == end => Ok(()),
        Some(_) if utf8 => Err(Error::Bad("a parenthesis ends a message in UTF-8")),
        Some(rest) => {
            let literal = LiteralHeader::at_end_of(&rest);
            if literal.is_some_and(|literal| literal.is_ok_and(|l| !l.waits)) {
                session.end("One message at a time");
            }
            Err(Error::Bad("one message at a time"))
        }
        None => {
            session.end("The command could not be read to its end");
            Err(Error::Bad("the command is too long"))
        }
    }
}

pub(super) async fn parse(bytes: Bytes) -> Letter {
    if bytes.len() < PARSE_ASIDE_BYTES {
        return Letter::parse(bytes);
    }
    let aside = bytes.clone();
    let parsed = tokio::task::spawn_blocking(move || Letter::parse(aside)).await;
    parsed.unwrap_or_else(|_| Letter::parse(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::whole;

    #[test]
    fn forms() {
        #[track_caller]
        fn check(text: &str, expect: Option<(&str, Option<i64>, u32)>) {
            let found = whole(text.as_bytes(), Append::parse).ok();
            let found =
                found.map(|a| (a.flags.to_string(), a.received_unix_s, a.literal.size_bytes));
            assert_eq!(found.as_ref().map(|(f, r, s)| (f.as_str(), *r, *s)), expect, "{text}");
        }
        check(" x {10}\r\n", Some(("", None, 10)));
        check(" x ~{10}\r\n", Some(("", None, 10)));
        check(" x (\\Seen) ~{10+}\r\n", Some(("\\Seen", None, 10)));
        check(" ~{1}\r\nx ~{2}\r\n", None);
        check(" x UTF8 (~{10}\r\n", Some(("", None, 10)));
        check(" x (\\Seen) utf8 ( ~{10+}\r\n", Some(("\\Seen", None, 10)));
        check(" x UTF8 ~{10}\r\n", None);
        check(" x UTF8 (\"text\")", None);
        check(" x (\\Seen) {10+}\r\n", Some(("\\Seen", None, 10)));
        check(
            " x  (\\Seen)  \" 1-Jan-1970 00:00:05 +0000\"  {1}\r\n",
            Some(("\\Seen", Some(5), 1)),
        );
        check(" x \"01-Jan-1970 00:00:05 +0000\" {1}\r\n", Some(("", Some(5), 1)));
        check(" {1}\r\nx {4294967295}\r\n", Some(("", None, u32::MAX)));
        check(" {1}\r\n", None);
        check(" x \"text\"", None);
        check(" x", None);
        check(" x (\\Recent) {1}\r\n", None);
        check(" x {4294967296}\r\n", None);
    }
}
