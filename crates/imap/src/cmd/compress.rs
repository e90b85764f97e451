//! COMPRESS (RFC 4978): from now on both sides send DEFLATE.
//!
//! ```text
//! compress  = "COMPRESS" SP algorithm
//! algorithm = "DEFLATE"
//! ```

use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done, Error};
use crate::session::Session;

pub(crate) struct Compress;

impl Verb for Compress {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        p.one_of(&["DEFLATE"], "DEFLATE")?;
        Ok(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        if session.wire.is_compressed() {
            return Err(Error::no("COMPRESSIONACTIVE", "the connection is compressed already"));
        }
        if session.wire.has_input() {
            return Err(Error::Bad("nothing may follow COMPRESS before its answer"));
        }
        session.begin_compression = true;
        Ok(Done::new("Compressing"))
    }
}
