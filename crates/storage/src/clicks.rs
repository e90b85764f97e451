//! What people say about letters by moving them: into Junk or out of it, with `$Junk` and `$NotJunk`, or by an answer.
//!
//! Told once a change is durable, to one who asked for it with [`crate::Store::clicks`]. What does not fit into the queue
//! is dropped: nobody waits for a filter that learns.

use crate::writer::Facts;
use std::sync::OnceLock;
use tokio::sync::mpsc;
use types::{AccountId, EmailId, Flag, Flags, SpecialUse};

/// Clicks that wait: somebody may mark all of a large mailbox at once.
const WAITING: usize = 100_000;

/// Somebody says of a letter of an account what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Click {
    pub account: AccountId,
    pub email: EmailId,
    pub spam: bool,
}

/// The one who wants to know.
#[derive(Debug, Default)]
pub(crate) struct Clicks(OnceLock<mpsc::Sender<Click>>);

impl Clicks {
    /// `None`: somebody listens already.
    pub(crate) fn listen(&self) -> Option<mpsc::Receiver<Click>> {
        let (sender, receiver) = mpsc::channel(WAITING);
        self.0.set(sender).is_ok().then_some(receiver)
    }

    pub(crate) fn tell(&self, clicks: Vec<Click>) {
        let Some(sender) = self.0.get() else { return };
        let all = clicks.len();
        let told = clicks.into_iter().take_while(|click| sender.try_send(*click).is_ok()).count();
        if told < all {
            tracing::warn!(
                lost = all - told,
                "the spam filter learns slower than people mark letters"
            );
        }
    }
}

/// What a move from one mailbox to another says. From Junk to Trash is tidying up.
pub(crate) fn of_move(from: Option<SpecialUse>, to: Option<SpecialUse>) -> Option<bool> {
    match (from, to) {
        (Some(SpecialUse::Junk), Some(SpecialUse::Junk | SpecialUse::Trash)) => None,
        (_, Some(SpecialUse::Junk)) => Some(true),
        (Some(SpecialUse::Junk), _) => Some(false),
        _ => None,
    }
}

/// What it says when a letter that was in these mailboxes is in those from now on.
pub(crate) fn of_homes(from: &[Option<SpecialUse>], to: &[Option<SpecialUse>]) -> Option<bool> {
    let is_junk = |homes: &[_]| homes.contains(&Some(SpecialUse::Junk));
    match (is_junk(from), is_junk(to)) {
        (false, true) => Some(true),
        (true, false) => to.iter().any(|home| *home != Some(SpecialUse::Trash)).then_some(false),
        _ => None,
    }
}

/// What new flags say. Who answers a letter wanted it.
pub(crate) fn of_flags(before: &Flags, after: &Flags) -> Option<bool> {
    let came = |name| after.has_keyword(name) && !before.has_keyword(name);
    let answered = after.contains(Flag::Answered) && !before.contains(Flag::Answered);
    match (came("$Junk"), came("$NotJunk") || answered) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        _ => None,
    }
}

impl Facts<'_> {
    pub(crate) fn click(&mut self, account: AccountId, email: EmailId, spam: Option<bool>) {
        self.told.clicks.extend(spam.map(|spam| Click { account, email, spam }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves() {
        #[track_caller]
        fn check(from: Option<SpecialUse>, to: Option<SpecialUse>, expect: Option<bool>) {
            assert_eq!(of_move(from, to), expect, "{from:?} -> {to:?}");
        }
        let (inbox, junk) = (Some(SpecialUse::Inbox), Some(SpecialUse::Junk));
        check(inbox, junk, Some(true));
        check(None, junk, Some(true));
        check(Some(SpecialUse::Trash), junk, Some(true));
        check(junk, inbox, Some(false));
        check(junk, None, Some(false));
        check(junk, Some(SpecialUse::Archive), Some(false));
        check(junk, Some(SpecialUse::Trash), None);
        check(junk, junk, None);
        check(inbox, Some(SpecialUse::Trash), None);
        check(inbox, None, None);
    }

    #[test]
    fn flags() {
        #[track_caller]
        fn check(before: &str, after: &str, expect: Option<bool>) {
            let flags = |names: &str| {
                let mut flags = Flags::default();
                names.split_whitespace().for_each(|name| assert!(flags.insert_name(name)));
                flags
            };
            assert_eq!(of_flags(&flags(before), &flags(after)), expect, "{before} -> {after}");
        }
        check("", "$Junk", Some(true));
        check("$Junk", "$Junk \\Seen", None);
        check("", "$NotJunk", Some(false));
        check("", "\\Seen \\Answered", Some(false));
        check("\\Answered", "\\Answered \\Flagged", None);
        check("", "$Junk $NotJunk", None);
        check("$Junk", "", None);
    }
}
