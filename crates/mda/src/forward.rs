//! What leaves again: letters for aliases that lead away from here, and the shares of mailboxes that cannot take theirs now.
//! Knows nothing about how a letter travels; that is the queue's.

use crate::envelope::{Envelope, Recipient};
use crate::{Mda, Refusal};
use bytes::Bytes;
use queue::Notify;
use std::sync::atomic::Ordering;
use types::Address;

/// Of a letter's name this much goes into that of its copies: all, but for copies of copies.
const ID_BYTES: usize = 12;

impl Mda {
    /// Hands the letter for one recipient to the queue, as another letter: from the address that forwards it.
    pub(crate) async fn send_on(
        &self,
        envelope: &Envelope,
        recipient: &Recipient,
        to: Vec<Address>,
        letter: Bytes,
    ) -> Result<(), Refusal> {
        let Some(queue) = self.queue.get() else {
            tracing::error!(alias = %recipient.address, "it leads to other servers, and there is no queue");
            return Err(Refusal::Unavailable);
        };
        let count = to.len();
        let id = self.copy_id(&envelope.id);
        queue.accept(id.clone(), outer(envelope, recipient, to), letter).await?;
        tracing::info!(of = envelope.id, id, alias = %recipient.address, recipients = count, "letter forwarded");
        Ok(())
    }

    /// A name that no copy had before, also before a restart: the numbers begin with the time.
    fn copy_id(&self, of: &str) -> String {
        let number = self.copies.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number:X}", of.get(..ID_BYTES).unwrap_or(of))
    }
}

/// Reports of failure come to the address that forwards: SPF fits its domain, and whoever runs it learns that it does not
/// work. What the first sender wanted to be told, or never told, was between them and that address. Nothing is said of
/// delays: everybody behind the alias would get to read it.
fn outer(envelope: &Envelope, recipient: &Recipient, to: Vec<Address>) -> queue::Envelope {
    let notify = Notify { success: false, failure: true, delay: false, said: false };
    let recipient_of = |address| queue::Recipient { address, notify, original: None };
    queue::Envelope {
        // A report must not be reported on (RFC 5321 §4.5.5).
        sender: envelope.sender.as_ref().map(|_| recipient.address.clone()),
        recipients: to.into_iter().map(recipient_of).collect(),
        body: envelope.body,
        utf8: envelope.utf8,
        require_tls: envelope.require_tls,
        ret: None,
        envelope_id: None,
        account: None,
        release_unix_s: None,
    }
}
