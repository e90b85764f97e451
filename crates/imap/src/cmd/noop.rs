//! NOOP (RFC 9051 §6.1.2) and CHECK (RFC 3501 §6.4.1): a chance to hear what is new.
//!
//! ```text
//! noop  = "NOOP"
//! check = "CHECK"
//! ```

use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done};
use crate::session::Session;

pub(crate) struct Noop;

impl Verb for Noop {
    const NEEDS_LIST: bool = false;

    fn parse(_: &mut Parser<'_>) -> Parsed<Self> {
        Ok(Self)
    }

    async fn run(self, _: &mut Session) -> Answer {
        // News is told after every command.
        Ok(Done::new("Nothing else"))
    }
}

/// Every change is durable before it is answered, so there is nothing to save: a NOOP.
pub(crate) struct Check;

impl Verb for Check {
    const NEEDS_LIST: bool = false;

    fn parse(_: &mut Parser<'_>) -> Parsed<Self> {
        Ok(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        Noop.run(session).await
    }
}
