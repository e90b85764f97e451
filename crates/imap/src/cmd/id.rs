//! ID (RFC 2971 §3.1): who is who, for logs and statistics.
//!
//! ```text
//! id = "ID" SP ("(" [string SP nstring *(SP string SP nstring)] ")" / nil)
//! ```

use crate::commands::Verb;
use crate::parse::{Parsed, Parser, limits};
use crate::reply::{Answer, Done};
use crate::session::Session;

pub(crate) struct Id(Vec<(String, String)>);

impl Verb for Id {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        if p.word("NIL") {
            return Ok(Self(Vec::new()));
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields = p.list(limits::OPTIONS, |p| {
            let name = text(&p.string()?);
            p.sp()?;
            Ok((name, p.nstring()?.map(|value| text(&value)).unwrap_or_default()))
        })?;
        Ok(Self(fields))
    }

    async fn run(self, session: &mut Session) -> Answer {
        tracing::debug!(ip = %session.peer.ip, client = ?self.0, "imap client");
        let version = env!("CARGO_PKG_VERSION");
        session.wire.say(&format!("* ID (\"name\" \"OpenPoczta\" \"version\" \"{version}\")"));
        Ok(Done::new("Nice to meet you"))
    }
}
