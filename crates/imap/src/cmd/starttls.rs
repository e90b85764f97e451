//! STARTTLS (RFC 9051 §6.2.1): the connection goes on encrypted. All that was said before is forgotten.
//!
//! ```text
//! starttls = "STARTTLS"
//! ```

use crate::Opening;
use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done, Error};
use crate::session::Session;

pub(crate) struct StartTls;

impl Verb for StartTls {
    fn parse(_: &mut Parser<'_>) -> Parsed<Self> {
        Ok(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        match session.opening {
            Opening::Encryptable if session.wire.is_compressed() => {
                Err(Error::Bad("TLS begins before COMPRESS, not inside it"))
            }
            Opening::Encryptable => {
                session.begin_tls = true;
                Ok(Done::new("Begin"))
            }
            Opening::Encrypted(_) | Opening::Implicit(_) => {
                Err(Error::Bad("the connection is encrypted already"))
            }
            Opening::Greeting => Err(Error::Bad("TLS cannot be begun on this connection")),
        }
    }
}
