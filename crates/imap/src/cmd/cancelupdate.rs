//! CANCELUPDATE (RFC 5267 §4.3.5): results need no longer be kept up to date.
//!
//! ```text
//! cancelupdate = "CANCELUPDATE" 1*(SP quoted)
//! ```

use crate::commands::Verb;
use crate::parse::{Parsed, Parser, limits};
use crate::reply::{Answer, Done, Error};
use crate::session::Session;

/// Tags of the searches.
pub(crate) struct CancelUpdate(Vec<String>);

impl Verb for CancelUpdate {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let mut tags = Vec::new();
        for _ in 0..limits::OPTIONS {
            tags.push(p.astring_utf8()?);
            if !p.more() {
                return Ok(Self(tags));
            }
        }
        p.wanted("fewer tags")
    }

    async fn run(self, session: &mut Session) -> Answer {
        let contexts = session.selected.as_mut().map(|selected| &mut selected.contexts);
        if contexts.is_some_and(|contexts| contexts.cancel(&self.0)) {
            return Ok(Done::new("No longer kept up to date"));
        }
        Err(Error::no("", "no result with that tag is kept up to date"))
    }
}
