//! IDLE (RFC 9051 §6.3.13): news the moment it is durable. The store wakes us; nothing is polled.
//!
//! ```text
//! idle = "IDLE" CRLF "DONE"
//! ```

use crate::commands::Verb;
use crate::metrics::Counted;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done, Error};
use crate::session::Session;
use crate::sharing::NO_PERMISSION;

/// More than `DONE` and some spaces is not what ends IDLE.
const LINE_BYTES: usize = 64;

pub(crate) struct Idle;

impl Verb for Idle {
    const NEEDS_LIST: bool = false;

    fn parse(_: &mut Parser<'_>) -> Parsed<Self> {
        Ok(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        let _idle = Counted::new(&session.service.metrics.idle);
        let until = session.until();
        session.wire.say("+ Waiting for news");
        loop {
            session.tell(true).await?;
            if session.is_ending() {
                return Err(NO_PERMISSION);
            }
            session.wire.flush().await?;
            let (wire, news) = session.hear();
            tokio::select! {
                line = wire.line(LINE_BYTES, until) => return ended(session, line?.as_deref()),
                () = news => {}
            }
        }
    }
}

fn ended(session: &mut Session, line: Option<&[u8]>) -> Answer {
    match line {
        Some(line) if line.trim_ascii_end().eq_ignore_ascii_case(b"DONE") => {
            Ok(Done::new("No longer waiting"))
        }
        Some(_) => Err(Error::Bad("IDLE is ended by DONE alone")),
        None => {
            session.end("IDLE is ended by DONE alone");
            Err(Error::Bad("the line is too long"))
        }
    }
}
