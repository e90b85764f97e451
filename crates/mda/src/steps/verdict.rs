//! Is the letter wanted? Asks antispam; a refusal ends here, junk goes to Junk.

use super::Passage;
use crate::{Delivered, Refusal};
use antispam::{Action, Evidence};
use types::Address;

pub(super) fn run(passage: &mut Passage<'_>) -> Result<(), Refusal> {
    let envelope = passage.envelope;
    let recipients: Vec<Address> = envelope.recipients.iter().map(|r| r.address.clone()).collect();
    let origin = envelope.origin.as_ref();
    let evidence = Evidence {
        client_ip: Some(origin.map_or(envelope.client_ip, |origin| origin.ip)),
        helo: Some(origin.map_or(&envelope.helo, |origin| &origin.helo)),
        sender: envelope.sender.as_ref(),
        recipients: &recipients,
        now_unix_s: passage.now_unix_s,
        ..Evidence::default()
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
        Action::Refuse if envelope.may_refuse => return Err(Refusal::Unwanted),
        Action::Junk | Action::Refuse => Delivered::Junk,
    };
    passage.verdict = Some(verdict);
    Ok(())
}
