//! AUTH (RFC 4954 §4): who sends. Only on submission, and only where a password may travel.
//!
//! ```text
//! auth-command = "AUTH" SP sasl-mech [SP initial-response] *(CRLF [base64]) [CRLF cancel-response] CRLF
//! ```

use crate::commands::Waiting;
use crate::reply::Reply;
use crate::session::Session;
use crate::wire::{End, Line};
use auth::{Door, Exchange, Identity, Step};

/// Wrong passwords in one session; the throttle in `auth` counts across sessions.
const FAILED_LOGINS: u32 = 3;
/// Lines a client may need in one exchange; ours need two.
const LINES: usize = 8;

pub(crate) fn run<'a>(session: &'a mut Session, arg: &'a str) -> Waiting<'a> {
    Box::pin(async move {
        match begin(session, arg).await {
            Ok((exchange, step)) => converse(session, exchange, step).await,
            Err(reply) => Ok(reply),
        }
    })
}

async fn begin(session: &mut Session, arg: &str) -> Result<(Exchange, Step), Reply> {
    if session.identity.is_some() || session.mail.is_some() {
        return Err(Reply::sequence("not now: you are logged in, or a letter is under way"));
    }
    let mut words = arg.split_ascii_whitespace();
    let (name, initial) = (words.next().unwrap_or_default(), words.next());
    if name.is_empty() || words.next().is_some() {
        return Err(Reply::syntax("AUTH takes a mechanism and at most one response"));
    }
    let service = &session.service;
    let door = Door {
        auth: service.auth.clone(),
        peer: session.peer.ip,
        binding: None,
        default_domain: Some(service.mda.full_address("").split_off(1)),
    };
    let Some(mut exchange) = Exchange::start(name, door) else {
        return Err(Reply::new(504, "5.5.4", "there is no such mechanism here"));
    };
    if !session.peer.private {
        let text = "a password may only travel on an encrypted connection";
        return Err(Reply::new(538, "5.7.11", text));
    }
    let step = exchange.next_initial(initial.map(str::as_bytes)).await;
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
                let text = Step::question_base64(&question);
                Reply::new(334, "", text).write(session.wire.output());
            }
            Step::Password { user, password } => return Ok(check(session, &user, &password).await),
            Step::Done { outcome, .. } => return Ok(finish(session, outcome)),
            Step::Malformed => break,
            Step::Cancelled => return Ok(Reply::new(501, "5.7.0", "cancelled")),
        }
        step = match session.wire.auth_line(&mut line).await? {
            Line::Whole => exchange.next_line(&line).await,
            // RFC 4954 §4
            Line::TooLong => return Ok(Reply::new(500, "5.5.6", "the line is too long")),
        };
    }
    Ok(Reply::new(501, "5.5.2", "this has no meaning in that mechanism"))
}

async fn check(session: &mut Session, user: &str, password: &[u8]) -> Reply {
    let user = session.service.mda.full_address(user);
    let outcome = session.service.auth.login(&user, password, session.peer.ip).await;
    finish(session, outcome)
}

fn finish(session: &mut Session, outcome: Result<Identity, auth::Error>) -> Reply {
    match outcome {
        Ok(identity) => {
            session.identity = Some(identity);
            Reply::new(235, "2.7.0", "welcome")
        }
        Err(error) => {
            session.failed_logins += 1;
            let reply = Reply::of_login(&error);
            if session.failed_logins < FAILED_LOGINS {
                return reply;
            }
            reply.closing()
        }
    }
}
