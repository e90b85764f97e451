//! CREATE (RFC 9051 §6.3.4).
//!
//! ```text
//! create = "CREATE" SP mailbox
//! ```

use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::pattern::SEPARATOR;
use crate::reply::{Answer, Done};
use crate::session::Session;

pub(crate) struct Create(String);

impl Verb for Create {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        p.mailbox().map(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        let account = session.account()?;
        // A separator at the end says that names below it will follow; it is no part of the name.
        let name = self.0.strip_suffix(SEPARATOR).unwrap_or(&self.0);
        let mailbox = session.store().create_mailbox(account, name, None).await?;
        Ok(Done::with(format!("MAILBOXID (F{})", mailbox.id), "Mailbox made"))
    }
}
