//! What leaves again: letters for aliases that lead away from here, and the shares of mailboxes that cannot take theirs now.
//! Knows nothing about how a letter travels; that is the queue's.

use crate::envelope::{Envelope, Leads, Recipient, Share, Targets};
use crate::{Mda, Refusal};
use bytes::Bytes;
use queue::Notify;
use std::sync::Arc;
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

    /// A report that our queue wrote to an alias without a mailbox would only go where the letter could not go, and end
    /// there: nobody would know that a letter is lost. The postmaster gets it too.
    pub(crate) async fn with_postmaster(&self, envelope: &Arc<Envelope>) -> Arc<Envelope> {
        let is_ours = envelope.sender.is_none() && envelope.protocol.is_empty();
        let has_none = |to: &Recipient| to.leads.accounts().next().is_none();
        if !is_ours || !envelope.recipients.iter().any(has_none) {
            return Arc::clone(envelope);
        }
        let mut envelope = (**envelope).clone();
        for recipient in envelope.recipients.iter_mut().filter(|to| has_none(to)) {
            let here = self.postmaster(&recipient.address).await;
            let elsewhere = recipient.leads.elsewhere().to_vec();
            recipient.leads = Leads::Alias(Arc::new(Targets { here, elsewhere }));
        }
        Arc::new(envelope)
    }

    /// The mailboxes of who looks after the domain of an address, or after the first domain.
    async fn postmaster(&self, of: &Address) -> Vec<Share> {
        let names = [format!("postmaster@{}", of.domain()), self.full_address("postmaster")];
        for name in names {
            let Ok(address) = name.parse() else { continue };
            let Ok(found) = self.resolve(&address).await else { continue };
            let shares = found.leads.accounts().map(|account| Share { account, alone: None });
            let shares: Vec<Share> = shares.collect();
            if !shares.is_empty() {
                return shares;
            }
        }
        tracing::warn!(alias = %of, "there is no postmaster to whom a report of its forwarding could go");
        Vec::new()
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
