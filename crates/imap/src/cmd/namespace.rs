//! NAMESPACE (RFC 9051 §6.3.10): one's own mailboxes without a prefix, those of others below
//! `Other Users/` and their owner's address; levels divided by `/`.
//!
//! ```text
//! namespace = "NAMESPACE"
//! ```

use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done};
use crate::session::Session;
use crate::sharing::OTHERS;

pub(crate) struct Namespace;

impl Verb for Namespace {
    fn parse(_: &mut Parser<'_>) -> Parsed<Self> {
        Ok(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        session.wire.say(&format!("* NAMESPACE ((\"\" \"/\")) ((\"{OTHERS}/\" \"/\")) NIL"));
        Ok(Done::new("That is where mailboxes are"))
    }
}
