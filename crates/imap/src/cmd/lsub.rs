//! LSUB (RFC 3501 §6.3.9): LIST of what is subscribed, as clients asked before LIST could.
//!
//! ```text
//! lsub = "LSUB" SP mailbox SP list-mailbox
//! ```

use super::list::{Tree, full_patterns, known, leading, line};
use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done};
use crate::session::Session;
use crate::sharing;

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
        let mut mailboxes = known(session, &patterns).await?;
        let (account, store) = (session.account()?, session.store());
        mailboxes.extend(sharing::subscribed_without(&store, account, &mailboxes).await?);
        let tree = Tree::of(&mailboxes, |named| named.mailbox.subscribed);
        for named in &mailboxes {
            let mailbox = &named.mailbox;
            // With % a mailbox that only leads to a subscribed one is shown as such.
            let leads = percent && tree.chosen.contains(mailbox.name.as_str());
            let shown = mailbox.subscribed || leads;
            if !shown || !patterns.iter().any(|p| p.matches(&mailbox.name)) {
                continue;
            }
            let is_there = mailbox.subscribed && !named.is_missing();
            let attribute = if is_there { tree.children(mailbox) } else { "\\Noselect" };
            line(session, "LSUB", &[attribute], &mailbox.name);
            session.wire.out().extend_from_slice(b"\r\n");
        }
        for name in leading(&mailboxes) {
            let leads = percent && tree.chosen.contains(name);
            if leads && patterns.iter().any(|pattern| pattern.matches(name)) {
                line(session, "LSUB", &["\\Noselect"], name);
                session.wire.out().extend_from_slice(b"\r\n");
            }
        }
        Ok(Done::new("Listed"))
    }
}
