//! LISTRIGHTS (RFC 4314 §3.4): what rights an identifier can have on a mailbox.
//!
//! ```text
//! listrights      = "LISTRIGHTS" SP mailbox SP identifier
//! listrights-data = "LISTRIGHTS" SP mailbox SP identifier SP rights *(SP rights)
//! ```
//! First what it always has, then what it can be given, each by itself.

use crate::commands::Verb;
use crate::encode;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done};
use crate::session::Session;
use crate::sharing::{self, Identifier, Rights};

pub(crate) struct ListRights {
    mailbox: String,
    identifier: String,
}

impl Verb for ListRights {
    const NEEDS_LIST: bool = false;

    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let mailbox = p.mailbox()?;
        p.sp()?;
        Ok(Self { mailbox, identifier: sharing::identifier(p)? })
    }

    async fn run(self, session: &mut Session) -> Answer {
        let named = session.named(&self.mailbox, Rights::ADMINISTER).await?;
        let identifier = Identifier::of(session, &self.identifier)?;
        let is_owner = identifier.is_owner(&session.store(), &named).await?;
        let most = Rights::of_owner(&named.mailbox);
        let utf8 = session.utf8();
        let out = session.wire.out();
        out.extend_from_slice(b"* LISTRIGHTS ");
        encode::mailbox(out, &named.mailbox.name, utf8);
        out.push(b' ');
        // RFC 4314 §3.4: as the client wrote it.
        encode::string(out, &self.identifier);
        if is_owner {
            out.extend_from_slice(format!(" {most}").as_bytes());
        } else {
            out.extend_from_slice(b" \"\"");
            for letter in most.letters() {
                out.extend_from_slice(format!(" {letter}").as_bytes());
            }
        }
        out.extend_from_slice(b"\r\n");
        Ok(Done::new("Those are the rights there are"))
    }
}
