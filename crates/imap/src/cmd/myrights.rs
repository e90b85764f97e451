//! MYRIGHTS (RFC 4314 §3.5): what the user may do with a mailbox.
//!
//! ```text
//! myrights = "MYRIGHTS" SP mailbox
//! ```

use crate::commands::Verb;
use crate::encode;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done};
use crate::session::Session;
use crate::sharing::Rights;
use storage::Mailbox;

pub(crate) struct MyRights(String);

impl Verb for MyRights {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        p.mailbox().map(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        let named = session.named(&self.0, Rights::NONE).await?;
        // RFC 4314 §4
        if !named.rights.has_any(ANY) {
            return Err(storage::Error::NoMailbox.into());
        }
        say(session, &named.mailbox, named.rights);
        Ok(Done::new("Those are your rights"))
    }
}

/// One of these is needed to ask.
const ANY: Rights = Rights::LOOKUP
    .with(Rights::READ)
    .with(Rights::INSERT)
    .with(Rights::CREATE)
    .with(Rights::DELETE)
    .with(Rights::ADMINISTER);

/// `* MYRIGHTS Work lrswipkxteacd`; also what LIST says (RFC 8440).
pub(super) fn say(session: &mut Session, mailbox: &Mailbox, rights: Rights) {
    let utf8 = session.utf8();
    let out = session.wire.out();
    out.extend_from_slice(b"* MYRIGHTS ");
    encode::mailbox(out, &mailbox.name, utf8);
    out.extend_from_slice(format!(" {rights}\r\n").as_bytes());
}
