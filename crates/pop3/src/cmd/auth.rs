//! AUTH (RFC 5034 §4): login by a SASL mechanism.
//!
//! ```text
//! auth = "AUTH" SP sasl-mech [SP initial-response] *(CRLF [base64]) [CRLF cancel-response] CRLF
//! ```

use crate::commands::Waiting;
use crate::reply::Reply;
use crate::session::Session;
use crate::wire::{End, Line};
use auth::{Door, Exchange, Step};

/// Lines a client may need in one exchange; ours need two.
const LINES: usize = 8;

pub(crate) fn run<'a>(session: &'a mut Session, arg: &'a [u8]) -> Waiting<'a> {
    Box::pin(async move {
        match begin(session, arg).await {
            Ok((exchange, step)) => converse(session, exchange, step).await,
            Err(reply) => Ok(reply),
        }
    })
}

async fn begin(session: &mut Session, arg: &[u8]) -> Result<(Exchange, Step), Reply> {
    let mut words = arg.split(|b| *b == b' ').filter(|w| !w.is_empty());
    let (name, initial) = (words.next().unwrap_or_default(), words.next());
    let name = std::str::from_utf8(name).unwrap_or_default();
    let door = Door {
        auth: session.service.auth.clone(),
        peer: session.peer.ip,
        binding: None,
        default_domain: session.service.config.default_domain.clone(),
    };
    let Some(mut exchange) = Exchange::start(name, door) else {
        return Err(Reply::error("", "there is no such mechanism here"));
    };
    session.check_private()?;
    let step = exchange.next_initial(initial).await;
    Ok((exchange, step))
}

async fn converse(
    session: &mut Session,
    mut exchange: Exchange,
    mut step: Step,
) -> Result<Reply, End> {
    let mut line = Vec::new();
    for _ in 0..LINES {
        match step {
            Step::Ask(question) => {
                let text = format!("+ {}\r\n", Step::question_base64(&question));
                session.wire.output().extend_from_slice(text.as_bytes());
            }
            Step::Password { user, password } => return Ok(session.log_in(&user, &password).await),
            Step::Done { outcome, .. } => return Ok(session.finish_login(outcome).await),
            Step::Malformed => break,
            Step::Cancelled => return Ok(Reply::error("", "cancelled")),
        }
        step = match session.wire.auth_line(&mut line).await? {
            Line::Whole => exchange.next_line(&line).await,
            Line::TooLong => return Ok(Reply::error("", "the line is too long")),
        };
    }
    Ok(Reply::error("", "this has no meaning in that mechanism"))
}
