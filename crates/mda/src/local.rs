//! The way of a queued letter into mailboxes here: the same as that of letters from outside, without leaving the process.

use crate::{Mda, Refusal};
use queue::{Answer, Attempt, Outcome, Route, Transport, Trying};
use std::sync::Arc;
use types::Address;

/// The queue's transport for our own domains.
pub struct Local(Arc<Mda>);

impl Local {
    pub fn new(mda: Arc<Mda>) -> Self {
        Self(mda)
    }

    async fn deliver(&self, attempt: Attempt) -> Vec<Outcome> {
        let mut envelope = (*attempt.envelope).clone();
        let named = |place: &usize| attempt.envelope.recipients.get(*place).cloned();
        envelope.recipients = attempt.recipients.iter().filter_map(named).collect();
        let (letter, again) = (attempt.letter, attempt.from_before);
        let answers = self.0.deliver_here(&envelope, &attempt.id, letter, again).await;
        answers.into_iter().map(|answer| self.outcome(answer.err())).collect()
    }

    fn outcome(&self, refusal: Option<Refusal>) -> Outcome {
        let Some(refusal) = refusal else {
            return Outcome::Delivered(self.answer(250, "2.1.5", "delivered".to_owned()));
        };
        let (code, enhanced) = match refusal {
            Refusal::UnknownUser => (550, "5.1.1"),
            Refusal::OtherDomain => (554, "5.7.1"),
            Refusal::Loop => (554, "5.4.6"),
            Refusal::Unwanted => (550, "5.7.1"),
            Refusal::Later => (451, "4.7.1"),
            Refusal::MailboxFull => (452, "4.2.2"),
            Refusal::DiskFull => (452, "4.3.1"),
            Refusal::Unavailable => (451, "4.3.0"),
        };
        let answer = self.answer(code, enhanced, refusal.to_string());
        if refusal.is_temporary() {
            // A full mailbox is one recipient's; the others are the store's.
            return Outcome::Later { answer, route_down: refusal != Refusal::MailboxFull };
        }
        Outcome::Never(answer)
    }

    fn answer(&self, code: u16, enhanced: &str, text: String) -> Answer {
        let host = Some(self.0.hostname.clone());
        Answer { code, enhanced: enhanced.to_owned(), text, host, reports: false }
    }
}

impl Transport for Local {
    fn route(&self, _: &Address) -> Route {
        Route(Route::LOCAL.into())
    }

    fn attempt(&self, attempt: Attempt) -> Trying<'_> {
        Box::pin(self.deliver(attempt))
    }
}
