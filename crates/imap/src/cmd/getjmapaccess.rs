//! GETJMAPACCESS (RFC 9698 §4): where the same mail is to be had by JMAP.
//!
//! ```text
//! getjmapaccess   = "GETJMAPACCESS"
//! resp-jmapaccess = "JMAPACCESS" SP quoted
//! ```

use crate::commands::Verb;
use crate::encode;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done, Error};
use crate::session::Session;

pub(crate) struct GetJmapAccess;

impl Verb for GetJmapAccess {
    const NEEDS_LIST: bool = false;

    fn parse(_: &mut Parser<'_>) -> Parsed<Self> {
        Ok(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        let Some(url) = session.service.config.jmap_session_url.clone() else {
            return Err(Error::Bad("there is no JMAP server with this mail"));
        };
        let out = session.wire.out();
        out.extend_from_slice(b"* JMAPACCESS ");
        encode::string(out, &url);
        out.extend_from_slice(b"\r\n");
        Ok(Done::new("That is the JMAP server"))
    }
}
