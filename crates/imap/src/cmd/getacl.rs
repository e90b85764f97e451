//! GETACL (RFC 4314 §3.3): who may do what with a mailbox.
//!
//! ```text
//! getacl   = "GETACL" SP mailbox
//! acl-data = "ACL" SP mailbox *(SP identifier SP rights)
//! ```

use crate::commands::Verb;
use crate::encode;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done};
use crate::session::Session;
use crate::sharing::{self, Rights};

pub(crate) struct GetAcl(String);

impl Verb for GetAcl {
    const NEEDS_LIST: bool = false;

    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        p.mailbox().map(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        let named = session.named(&self.0, Rights::ADMINISTER).await?;
        let store = session.store();
        let owner = store.account(named.account).await?.key;
        let entries = sharing::entries(&store, named.account, named.mailbox.id).await?;
        let utf8 = session.utf8();
        let out = session.wire.out();
        out.extend_from_slice(b"* ACL ");
        encode::mailbox(out, &named.mailbox.name, utf8);
        let all = (owner, Rights::of_owner(&named.mailbox));
        for (identifier, rights) in [all].into_iter().chain(entries) {
            out.push(b' ');
            encode::string(out, &identifier);
            out.extend_from_slice(format!(" {rights}").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        Ok(Done::new("Those are the rights"))
    }
}
