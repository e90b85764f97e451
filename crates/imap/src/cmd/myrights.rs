//! MYRIGHTS (RFC 4314 §3.5): what the user may do with a mailbox. So far each has all rights on all of their own.
//!
//! ```text
//! myrights = "MYRIGHTS" SP mailbox
//! ```

use crate::commands::Verb;
use crate::encode;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done};
use crate::session::Session;
use storage::Mailbox;
use types::SpecialUse;

pub(crate) struct MyRights(String);

impl Verb for MyRights {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        p.mailbox().map(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        let account = session.account()?;
        let mailbox = session.store().mailbox_by_name(account, &self.0).await?;
        say(session, &mailbox);
        Ok(Done::new("Those are your rights"))
    }
}

/// `* MYRIGHTS Work lrswipkxtea`; also what LIST says (RFC 8440).
pub(super) fn say(session: &mut Session, mailbox: &Mailbox) {
    let utf8 = session.utf8();
    let out = session.wire.out();
    out.extend_from_slice(b"* MYRIGHTS ");
    encode::mailbox(out, &mailbox.name, utf8);
    // The inbox cannot be deleted.
    let inbox = mailbox.special_use == Some(SpecialUse::Inbox);
    out.extend_from_slice(if inbox { b" lrswipktea\r\n" } else { b" lrswipkxtea\r\n" });
}
