//! LOGOUT (RFC 9051 §6.1.3).
//!
//! ```text
//! logout = "LOGOUT"
//! ```

use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done};
use crate::session::Session;

pub(crate) struct Logout;

impl Verb for Logout {
    const NEEDS_LIST: bool = false;

    fn parse(_: &mut Parser<'_>) -> Parsed<Self> {
        Ok(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        session.selected = None;
        session.wire.say("* BYE Until next time");
        session.end("");
        Ok(Done::new("Logged out"))
    }
}
