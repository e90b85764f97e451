//! BDAT (RFC 3030 §2): the letter in chunks of known size.
//!
//! ```text
//! bdat-cmd   = "BDAT" SP chunk-size [ SP end-marker ] CR LF
//! chunk-size = 1*DIGIT
//! end-marker = "LAST"
//! ```

use super::data::PATIENCE;
use crate::commands::Waiting;
use crate::deliver;
use crate::dots::{self, Body};
use crate::reply::Reply;
use crate::session::{Chunks, Session, Transaction};
use crate::wire::{BODY_READ_BYTES, End};
use bytes::Buf;
use queue::Body as BodyType;

pub(crate) fn run<'a>(session: &'a mut Session, arg: &'a str) -> Waiting<'a> {
    Box::pin(async move {
        // What follows cannot be told from commands, so this is the end.
        let Some((size_bytes, last)) = parse(arg) else {
            return Ok(Reply::syntax("the form is BDAT size [LAST]").closing());
        };
        if size_bytes > u64::from(session.limits().message_bytes).saturating_mul(PATIENCE) {
            return Ok(deliver::too_large(session).closing());
        }
        match session.mail.take() {
            Some(mail) if !mail.recipients.is_empty() => {
                chunk(session, mail, size_bytes, last).await
            }
            mail => {
                session.mail = mail;
                // The bytes come in any case; they must not be read as commands.
                read(session, size_bytes, &mut Body::new(0, None)).await?;
                Ok(Reply::sequence("there is no valid recipient"))
            }
        }
    })
}

async fn chunk(
    session: &mut Session,
    mut mail: Transaction,
    size_bytes: u64,
    last: bool,
) -> Result<Reply, End> {
    let limit_bytes = u64::from(session.limits().message_bytes);
    let mut body = match std::mem::replace(&mut mail.chunks, Chunks::Failed) {
        Chunks::None => Body::new(limit_bytes, mail.size_bytes),
        Chunks::Some(body) => body,
        Chunks::Failed => {
            session.mail = Some(mail);
            read(session, size_bytes, &mut Body::new(0, None)).await?;
            return Ok(Reply::sequence("a chunk failed; RSET and begin again"));
        }
    };
    read(session, size_bytes, &mut body).await?;
    if last {
        let text = body.bytes();
        let odd =
            mail.body != BodyType::Binary && (dots::has_bare(text) || dots::has_hidden_end(text));
        return Ok(deliver::finish(session, mail, body, odd).await);
    }
    if body.is_over() {
        session.mail = Some(mail);
        return Ok(deliver::too_large(session));
    }
    mail.chunks = Chunks::Some(body);
    session.mail = Some(mail);
    Ok(Reply::new(250, "2.0.0", format!("{size_bytes} bytes")))
}

/// Exactly so many bytes.
async fn read(session: &mut Session, size_bytes: u64, body: &mut Body) -> Result<(), End> {
    let mut rest = size_bytes;
    session.begin_letter();
    while rest > 0 {
        if session.wire.input.is_empty() {
            session.wire.fill(BODY_READ_BYTES).await?;
        }
        let input = &mut session.wire.input;
        let used = usize::try_from(rest).map_or(input.len(), |rest| rest.min(input.len()));
        body.push(input.get(..used).unwrap_or_default());
        input.advance(used);
        rest -= used as u64;
    }
    session.wire.end_letter();
    Ok(())
}

fn parse(arg: &str) -> Option<(u64, bool)> {
    let (size, last) = match arg.split_once(' ') {
        None => (arg, false),
        Some((size, word)) if word.trim_start().eq_ignore_ascii_case("LAST") => (size, true),
        Some(_) => return None,
    };
    let digits = !size.is_empty() && size.bytes().all(|b| b.is_ascii_digit());
    Some((size.parse().ok().filter(|_| digits)?, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        #[track_caller]
        fn check(arg: &str, expect: Option<(u64, bool)>) {
            assert_eq!(parse(arg), expect, "{arg:?}");
        }
        check("0", Some((0, false)));
        check("0 LAST", Some((0, true)));
        check("86 last", Some((86, true)));
        check("18446744073709551615", Some((u64::MAX, false)));
        check("18446744073709551616", None);
        check("-1", None);
        check("+1", None);
        check("", None);
        check("LAST", None);
        check("1 FIRST", None);
        check("1LAST", None);
        check("1 2 LAST", None);
    }
}
