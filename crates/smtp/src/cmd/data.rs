//! DATA (RFC 5321 §4.1.1.4): the letter, up to a line with only a dot.
//!
//! ```text
//! data = "DATA" CRLF
//! ```

use crate::commands::Waiting;
use crate::deliver;
use crate::dots::{self, Body, Dots};
use crate::reply::Reply;
use crate::session::{Chunks, Session, Transaction};
use crate::wire::{BODY_READ_BYTES, End};
use bytes::Buf;
use queue::Body as BodyType;

/// A letter past its limit is read to its end and thrown away, up to so many times the limit.
pub(super) const PATIENCE: u64 = 10;

pub(crate) fn run<'a>(session: &'a mut Session, arg: &'a str) -> Waiting<'a> {
    Box::pin(async move {
        if !arg.is_empty() {
            return Ok(Reply::syntax("DATA takes no argument"));
        }
        match session.mail.take() {
            Some(mail) if mail.body == BodyType::Binary => {
                session.mail = Some(mail);
                // RFC 3030 §3: a binary letter has no lines that a dot could end.
                Ok(Reply::sequence("a binary letter comes with BDAT"))
            }
            Some(mail) if !matches!(mail.chunks, Chunks::None) => {
                session.mail = Some(mail);
                Ok(Reply::sequence("it began with BDAT, go on with BDAT"))
            }
            Some(mail) => read(session, mail).await,
            None => Ok(Reply::sequence("say MAIL first")),
        }
    })
}

async fn read(session: &mut Session, mail: Transaction) -> Result<Reply, End> {
    Reply::new(354, "", "send the letter, end it with a dot alone on a line")
        .write(session.wire.output());
    let limit_bytes = u64::from(session.limits().message_bytes);
    let mut body = Body::new(limit_bytes, mail.size_bytes);
    let mut dots = Dots::default();
    session.begin_letter();
    loop {
        if session.wire.input.is_empty() {
            session.wire.fill(BODY_READ_BYTES).await?;
        }
        let (used, done) = dots.feed(&session.wire.input, &mut body);
        session.wire.input.advance(used);
        if done {
            session.wire.end_letter();
            let odd = dots.has_bare() || dots::has_hidden_end(body.bytes());
            return Ok(deliver::finish(session, mail, body, odd).await);
        }
        if body.size_bytes() > limit_bytes.saturating_mul(PATIENCE) {
            return Ok(deliver::too_large(session).closing());
        }
    }
}
