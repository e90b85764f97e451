//! AUTHENTICATE (RFC 9051 §6.2.2) with an initial response or without (RFC 4959). The mechanisms are a
//! table of `auth`.
//!
//! ```text
//! authenticate = "AUTHENTICATE" SP auth-type [SP initial-resp] *(CRLF base64)
//! initial-resp = base64 / "="
//! ```

use super::login;
use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Error};
use crate::session::Session;
use auth::{Door, Exchange, Step};

/// Questions of one exchange; no mechanism has more.
const QUESTIONS: usize = 4;

pub(crate) struct Authenticate {
    mechanism: String,
    initial: Option<String>,
}

impl Verb for Authenticate {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let mechanism = p.atom()?.to_owned();
        let initial = if p.more() { Some(p.atom()?.to_owned()) } else { None };
        Ok(Self { mechanism, initial })
    }

    async fn run(self, session: &mut Session) -> Answer {
        let door = Door {
            auth: session.service.auth.clone(),
            peer: session.peer.ip,
            binding: session.opening.binding().copied(),
            default_domain: session.service.config.default_domain.clone(),
        };
        let Some(mut exchange) = Exchange::start(&self.mechanism, door) else {
            return Err(Error::no("CANNOT", "that mechanism is not offered"));
        };
        login::private(session)?;
        let mut step = exchange.next_initial(self.initial.as_deref().map(str::as_bytes)).await;
        for _ in 0..QUESTIONS {
            match step {
                Step::Ask(question) => {
                    step = exchange.next_line(&ask(session, &question).await?).await;
                }
                Step::Password { user, password } => {
                    return login::log_in(session, &user, &password).await;
                }
                Step::Done { user, outcome } => return login::finish(session, &user, outcome),
                Step::Malformed => break,
                Step::Cancelled => return Err(Error::Bad("you cancelled it")),
            }
        }
        Err(Error::Bad("the response is not what the mechanism asks for"))
    }
}

/// Sends a challenge and reads the response, both in base64.
async fn ask(session: &mut Session, question: &[u8]) -> Result<Vec<u8>, Error> {
    session.wire.say(&format!("+ {}", Step::question_base64(question)));
    let (limit, until) = (session.command_bytes(), session.until());
    let Some(line) = session.wire.line(limit, until).await? else {
        session.end("The response could not be read to its end");
        return Err(Error::Bad("the response is too long"));
    };
    Ok(line.to_vec())
}
