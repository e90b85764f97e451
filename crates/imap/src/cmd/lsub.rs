//! LSUB (RFC 3501 §6.3.9): LIST of what is subscribed, as clients asked before LIST could.
//!
//! ```text
//! lsub = "LSUB" SP mailbox SP list-mailbox
//! ```

use super::list::{Tree, full_patterns, known, line};
use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done};
use crate::session::Session;

pub(crate) struct Lsub {
    reference: String,
    pattern: String,
}

impl Verb for Lsub {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let reference = p.mailbox()?;
        p.sp()?;
        Ok(Self { reference, pattern: p.list_mailbox()? })
    }

    async fn run(self, session: &mut Session) -> Answer {
        let percent = self.pattern.ends_with('%');
        let patterns = full_patterns(&self.reference, &[self.pattern])?;
        let mailboxes = known(session, &patterns).await?;
        let tree = Tree::of(&mailboxes, |named| named.mailbox.subscribed);
        for mailbox in mailboxes.iter().map(|named| &named.mailbox) {
            // With % a mailbox that only leads to a subscribed one is shown as such.
            let leads = percent && tree.chosen.contains(mailbox.name.as_str());
            let shown = mailbox.subscribed || leads;
            if !shown || !patterns.iter().any(|p| p.matches(&mailbox.name)) {
                continue;
            }
            let attribute = if mailbox.subscribed { tree.children(mailbox) } else { "\\Noselect" };
            line(session, "LSUB", &[attribute], &mailbox.name);
            session.wire.out().extend_from_slice(b"\r\n");
        }
        Ok(Done::new("Listed"))
    }
}
