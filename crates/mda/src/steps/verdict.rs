//! Is the letter wanted? Asks antispam; a refusal ends here, junk goes to Junk.

use super::Passage;
use crate::{Delivered, Refusal};
use antispam::{Action, Evidence};
use types::Address;

pub(super) fn run(passage: &mut Passage<'_>) -> Result<(), Refusal> {
    let envelope = passage.envelope;
    let recipients: Vec<Address> = envelope.recipients.iter().map(|r| r.address.clone()).collect();
    let evidence = Evidence {
        client_ip: Some(envelope.client_ip),
        helo: Some(&envelope.helo),
        sender: envelope.sender.as_ref(),
        recipients: &recipients,
    };
    let verdict = antispam::score(&passage.message, &evidence, passage.thresholds);
    tracing::debug!(
        id = envelope.id,
        score = verdict.score,
        action = ?verdict.action,
        "verdict"
    );
    passage.into = match verdict.action {
        Action::Accept => Delivered::Inbox,
        Action::Junk => Delivered::Junk,
        Action::Refuse => return Err(Refusal::Unwanted),
    };
    passage.verdict = Some(verdict);
    Ok(())
}
