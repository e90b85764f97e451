//! UNAUTHENTICATE (RFC 8437): the connection stays, whoever was logged in is not any more. Proxies use it to keep
//! connections for the next client. COMPRESS ends with it, behind this command and behind its answer (§4.1).
//!
//! ```text
//! unauthenticate = "UNAUTHENTICATE"
//! ```

use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done, Error};
use crate::session::Session;

pub(crate) struct Unauthenticate;

impl Verb for Unauthenticate {
    fn parse(_: &mut Parser<'_>) -> Parsed<Self> {
        Ok(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        if session.wire.is_compressed() {
            if session.wire.has_input() {
                return Err(Error::Bad(
                    "nothing may follow UNAUTHENTICATE in the same compression",
                ));
            }
            session.end_compression = true;
        }
        session.log_out();
        Ok(Done::with(session.capabilities(), "Nobody is logged in"))
    }
}
