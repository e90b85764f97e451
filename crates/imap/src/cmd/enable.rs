//! ENABLE (RFC 9051 §6.3.1, RFC 5161): extensions that change answers are off until asked for.
//!
//! ```text
//! enable = "ENABLE" 1*(SP capability)
//! ```

use crate::commands::Verb;
use crate::parse::{Parsed, Parser, limits};
use crate::reply::{Answer, Done};
use crate::session::Session;

type Switch = fn(&mut Session);

/// What can be switched on, and how. Sorted by name.
static ENABLES: &[(&str, Switch)] = &[
    ("CONDSTORE", Session::enable_condstore),
    ("IMAP4rev2", |session| {
        session.enabled.rev2 = true;
        session.enabled.utf8 = true;
    }),
    ("QRESYNC", |session| {
        // RFC 7162 §3.2.3: it includes the other.
        session.enable_condstore();
        session.enabled.qresync = true;
    }),
    ("UIDONLY", |session| session.enabled.uid_only = true),
    ("UTF8=ACCEPT", |session| session.enabled.utf8 = true),
];

/// Places in [`ENABLES`]; what we do not know is ignored (RFC 5161 §3.1).
pub(crate) struct Enable(Vec<usize>);

impl Verb for Enable {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let mut asked = Vec::new();
        for _ in 0..limits::OPTIONS {
            let name = p.atom()?;
            asked.extend(ENABLES.iter().position(|(known, _)| known.eq_ignore_ascii_case(name)));
            if !p.more() {
                // CONDSTORE before QRESYNC, which includes it: both are told when both were asked for.
                asked.sort_unstable();
                return Ok(Self(asked));
            }
        }
        p.wanted("fewer capabilities")
    }

    async fn run(self, session: &mut Session) -> Answer {
        let mut line = "* ENABLED".to_owned();
        for at in self.0 {
            let Some((name, enable)) = ENABLES.get(at) else { continue };
            let before = session.enabled;
            enable(session);
            if session.enabled != before {
                line.extend([" ", name]);
            }
        }
        session.wire.say(&line);
        Ok(Done::new(if line == "* ENABLED" { "Nothing was enabled" } else { "Enabled" }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(ENABLES.is_sorted_by(|a, b| a.0 < b.0));
    }
}
