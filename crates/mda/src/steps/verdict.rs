//! Is the letter wanted? Asks the filter; a refusal ends here, junk goes to Junk.

use super::Passage;
use crate::{Delivered, Envelope, Refusal};
use antispam::Action;
use filter::Connection;
use types::{AccountId, Address};

pub(super) fn run(passage: &mut Passage<'_>) -> Result<(), Refusal> {
    let envelope = passage.envelope;
    let asked = Asked::of(envelope);
    let judgement =
        passage.filter.judge(&asked.connection(envelope), &passage.looked, &passage.message);
    let verdict = &judgement.verdict;
    tracing::debug!(
        id = envelope.id,
        score = verdict.score,
        action = ?verdict.action,
        "verdict"
    );
    if verdict.action == Action::Refuse && envelope.may_refuse {
        return Err(Refusal::Unwanted);
    }
    if judgement.later && envelope.may_refuse {
        return Err(Refusal::Later);
    }
    passage.into = place(verdict.action);
    passage.own = judgement.own.iter().map(|(of, own)| (*of, place(own.action))).collect();
    passage.verdict = Some(judgement.verdict);
    Ok(())
}

fn place(action: Action) -> Delivered {
    match action {
        Action::Accept => Delivered::Inbox,
        Action::Junk | Action::Refuse => Delivered::Junk,
    }
}

/// What the filter is asked about a letter, but for the letter.
pub(crate) struct Asked {
    recipients: Vec<Address>,
    accounts: Vec<AccountId>,
}

impl Asked {
    pub(crate) fn of(envelope: &Envelope) -> Self {
        let recipients = envelope.recipients.iter().map(|to| to.address.clone()).collect();
        let mut accounts: Vec<AccountId> =
            envelope.recipients.iter().flat_map(|to| to.leads.accounts()).collect();
        accounts.sort_unstable();
        accounts.dedup();
        Self { recipients, accounts }
    }

    pub(crate) fn connection<'a>(&'a self, envelope: &'a Envelope) -> Connection<'a> {
        let origin = envelope.origin.as_ref();
        Connection {
            id: &envelope.id,
            client_ip: origin.map_or(envelope.client_ip, |origin| origin.ip),
            helo: origin.map_or(&envelope.helo, |origin| &origin.helo),
            sender: envelope.sender.as_ref(),
            recipients: &self.recipients,
            accounts: &self.accounts,
            is_known: envelope.protocol.is_empty(),
            // RFC 3848: ESMTPS, ESMTPSA, LMTPS and so on.
            tls: envelope.protocol.trim_end_matches('A').ends_with('S'),
        }
    }
}
