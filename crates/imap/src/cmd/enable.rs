//! ENABLE (RFC 9051 §6.3.1, RFC 5161): extensions that change answers are off until asked for.
//!
//! ```text
//! enable = "ENABLE" 1*(SP capability)
//! ```

use crate::commands::Verb;
use crate::parse::{Parsed, Parser, limits};
use crate::reply::{Answer, Done};
use crate::session::Session;

pub(crate) struct Enable;

impl Verb for Enable {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        for _ in 0..limits::OPTIONS {
            p.atom()?;
            if !p.more() {
                return Ok(Self);
            }
        }
        p.wanted("fewer capabilities")
    }

    async fn run(self, session: &mut Session) -> Answer {
        // None of what we can needs enabling yet; unknown names are ignored (RFC 5161 §3.1).
        session.wire.say("* ENABLED");
        Ok(Done::new("Nothing was enabled"))
    }
}
