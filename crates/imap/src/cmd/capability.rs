//! CAPABILITY (RFC 9051 §6.1.1).
//!
//! ```text
//! capability = "CAPABILITY"
//! ```

use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done};
use crate::session::Session;

pub(crate) struct Capability;

impl Verb for Capability {
    fn parse(_: &mut Parser<'_>) -> Parsed<Self> {
        Ok(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        let line = format!("* {}", session.capabilities());
        session.wire.say(&line);
        Ok(Done::new("That is what this server can do"))
    }
}
