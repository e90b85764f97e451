//! From the last byte of a letter of ours to the durable commit: at once into the mailboxes when all of them are here
//! and nothing else is wanted, else into the queue; never half.

use super::{Leaving, Login, OUTGOING, Objection, Submission, author};
use crate::{Delivered, Envelope, LARGE_BYTES, Leads, Mda, Recipient, Refusal};
use bytes::Bytes;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use storage::Query;
use types::{AccountId, Address};

/// What became of a letter that was taken. It survives a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It is in the mailboxes.
    Delivered,
    /// It is on its way; some of it may have arrived.
    Queued,
    /// It waits for its time, and can be cancelled until then (RFC 4865).
    Held { release_unix_s: i64 },
}

impl Mda {
    /// Whether the account may send as this address: its own, with or without a tag, or an alias that leads to it.
    pub async fn owns(&self, login: &Login, address: &Address) -> Result<bool, Refusal> {
        if address.account_key() == login.key {
            return Ok(true);
        }
        match self.resolve(address).await {
            Ok(resolved) => Ok(resolved.leads.to(login.account)),
            Err(refusal) if refusal.is_temporary() => Err(refusal),
            Err(_) => Ok(false),
        }
    }

    /// The accounts that may send as this address, by their keys; none where nobody has it.
    pub async fn owners(&self, address: &Address) -> Result<Vec<String>, Refusal> {
        match self.resolve(address).await {
            Ok(found) => Ok(found.accounts.into_iter().map(|account| account.key).collect()),
            Err(refusal) if refusal.is_temporary() => Err(refusal),
            Err(_) => Ok(Vec::new()),
        }
    }

    /// Whether the account may send another letter to so many recipients now; `submit` asks again.
    pub fn may_send(&self, account: AccountId, recipients: u32) -> Result<(), Objection> {
        let now_unix_s = self.clock.now_unix_s();
        self.rates.room(account, recipients, now_unix_s).map_err(Objection::TooMuch)
    }

    /// Mail for this address is ours to deliver.
    pub fn is_local(&self, address: &Address) -> bool {
        self.domains.contains(address.domain())
    }

    /// Letters can wait, and reports are written.
    pub fn has_queue(&self) -> bool {
        self.queue.get().is_some()
    }

    /// Letters to other domains are taken and sent there.
    pub fn relays(&self) -> bool {
        self.has_queue() && !self.outgoing.stays_here
    }

    /// Takes a letter back that waits: the account's own, and none of it is sent any more (undo send).
    pub async fn cancel(&self, id: &str, account: AccountId) -> queue::Result<()> {
        let queue = self.queue.get().ok_or(queue::Error::NotFound)?;
        queue.cancel(id, Some(account)).await
    }

    /// Takes a letter of one of our users, through [`OUTGOING`], to all of its recipients or to none.
    pub async fn submit(
        self: &Arc<Self>,
        mut submission: Submission,
        raw: Bytes,
    ) -> Result<Sent, Objection> {
        let account = submission.login.account;
        submission.envelope.account = Some(account);
        let recipients = u32::try_from(submission.envelope.recipients.len()).unwrap_or(u32::MAX);
        self.may_send(account, recipients)?;
        let submission = Arc::new(submission);
        let letter = self.complete(&submission, raw).await?;
        let now_unix_s = self.clock.now_unix_s();
        self.rates.take(account, recipients, now_unix_s).map_err(Objection::TooMuch)?;
        let sent = self.hand_on(&submission, letter).await;
        if sent.is_err() {
            self.rates.give_back(account, recipients);
        } else {
            let to = submission.envelope.recipients.iter();
            self.filter.wrote(account, to.map(|to| to.address.to_string()));
        }
        Ok(sent?)
    }

    /// The letter as it leaves.
    async fn complete(
        self: &Arc<Self>,
        submission: &Arc<Submission>,
        raw: Bytes,
    ) -> Result<Bytes, Objection> {
        let owned = self.owned(submission, &raw).await?;
        // A signature with RSA takes most of a millisecond.
        let is_quick = raw.len() < LARGE_BYTES && self.outgoing.signer.keys().is_empty();
        if is_quick {
            return self.take_outgoing_steps(submission, &owned, &raw);
        }
        let (mda, submission) = (Arc::clone(self), Arc::clone(submission));
        tokio::task::spawn_blocking(move || mda.take_outgoing_steps(&submission, &owned, &raw))
            .await
            .unwrap_or(Err(Refusal::Unavailable.into()))
    }

    /// Those of the addresses in `From` and `Sender` that the account may use.
    async fn owned(
        &self,
        submission: &Submission,
        raw: &[u8],
    ) -> Result<HashSet<Address>, Refusal> {
        let mut owned = HashSet::new();
        for claim in author::claims(&mparser::Message::parse(header(raw))) {
            if self.owns(&submission.login, &claim).await? {
                owned.insert(claim);
            }
        }
        Ok(owned)
    }

    /// No waiting, no disk.
    fn take_outgoing_steps(
        &self,
        submission: &Submission,
        owned: &HashSet<Address>,
        raw: &[u8],
    ) -> Result<Bytes, Objection> {
        let mut leaving = Leaving {
            submission,
            hostname: &self.hostname,
            outgoing: &self.outgoing,
            now_unix_s: self.clock.now_unix_s(),
            message: mparser::Message::parse(header(raw)),
            raw,
            owned,
            author: None,
            left_out: Vec::new(),
            added: String::new(),
            letter: Vec::new(),
        };
        for step in OUTGOING {
            (step.run)(&mut leaving).inspect_err(|objection| {
                tracing::info!(id = submission.id, step = step.name, %objection, "letter not sent");
            })?;
        }
        Ok(leaving.letter.into())
    }

    async fn hand_on(
        self: &Arc<Self>,
        submission: &Submission,
        letter: Bytes,
    ) -> Result<Sent, Refusal> {
        let envelope = &submission.envelope;
        let now_unix_s = self.clock.now_unix_s();
        let held = envelope.release_unix_s.filter(|release| *release > now_unix_s);
        let at_once = held.is_none()
            && envelope
                .recipients
                .iter()
                .all(|to| self.is_local(&to.address) && !to.notify.success);
        if at_once {
            return self.deliver_at_once(submission, letter).await;
        }
        self.enqueue(submission, envelope.clone(), letter).await?;
        Ok(held.map_or(Sent::Queued, |release_unix_s| Sent::Held { release_unix_s }))
    }

    /// Into the mailboxes. Whom that fails for, the queue tries again or reports on: the others must not get the
    /// letter twice because the sender has to send it again.
    async fn deliver_at_once(
        self: &Arc<Self>,
        submission: &Submission,
        letter: Bytes,
    ) -> Result<Sent, Refusal> {
        let (envelope, id) = (&submission.envelope, &submission.id);
        let answers = self.deliver_here(envelope, id, letter.clone(), false).await;
        let refusals: Vec<Refusal> = answers.iter().filter_map(|a| a.err()).collect();
        let Some(first) = refusals.first() else { return Ok(Sent::Delivered) };
        if refusals.len() == answers.len() || !self.has_queue() {
            // Trying again helps with some of them: those go first.
            let temporary = refusals.iter().find(|refusal| refusal.is_temporary());
            return Err(*temporary.unwrap_or(first));
        }
        let mut rest = submission.envelope.clone();
        let mut left = answers.iter().map(Result::is_err);
        rest.recipients.retain(|_| left.next().unwrap_or(true));
        self.enqueue(submission, rest, letter).await?;
        Ok(Sent::Queued)
    }

    async fn enqueue(
        &self,
        submission: &Submission,
        envelope: queue::Envelope,
        letter: Bytes,
    ) -> Result<(), Refusal> {
        let queue = self.queue.get().ok_or(Refusal::OtherDomain)?;
        queue.accept(submission.id.clone(), envelope, letter).await.map_err(|error| {
            tracing::error!(id = submission.id, %error, "letter not queued");
            Refusal::from(error)
        })
    }

    /// A letter of our own, with its `Received` already, into mailboxes here. One answer for each recipient. `again`:
    /// whoever has it already does not get it twice.
    pub(crate) async fn deliver_here(
        self: &Arc<Self>,
        envelope: &queue::Envelope,
        id: &str,
        letter: Bytes,
        again: bool,
    ) -> Vec<Result<Delivered, Refusal>> {
        let mut found = Vec::new();
        for to in &envelope.recipients {
            found.push(self.find(&to.address, &letter, again).await);
        }
        let wanting = |found: &Result<Place, Refusal>| match found {
            Ok(Place::Wants(recipient)) => Some(recipient.clone()),
            _ => None,
        };
        let recipients: Vec<Recipient> = found.iter().filter_map(wanting).collect();
        let mut answers = Vec::new();
        if !recipients.is_empty() {
            let envelope = Envelope {
                sender: envelope.sender.clone(),
                recipients,
                client_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
                helo: String::new(),
                protocol: "",
                origin: None,
                id: id.to_owned(),
                body: envelope.body,
                utf8: envelope.utf8,
                require_tls: envelope.require_tls,
                // A report of ours has nobody to go back to.
                may_refuse: envelope.account.is_some(),
            };
            answers = self.deliver(&Arc::new(envelope), letter).await;
        }
        let mut answers = answers.into_iter();
        let answer = |found: Result<Place, Refusal>| match found? {
            Place::Has => Ok(Delivered::Inbox),
            Place::Wants(_) => answers.next().unwrap_or(Err(Refusal::Unavailable)),
        };
        found.into_iter().map(answer).collect()
    }

    async fn find(&self, address: &Address, letter: &Bytes, again: bool) -> Result<Place, Refusal> {
        if again {
            let leads = self.resolve(address).await?.leads;
            // What leads away as well may not have left: twice is better than never.
            if leads.elsewhere().is_empty() && self.has_already(&leads, letter).await? {
                tracing::info!(%address, "it was there already");
                return Ok(Place::Has);
            }
        }
        Ok(Place::Wants(self.recipient(address, letter.len() as u64).await?))
    }

    /// Whether the letter is in a mailbox of one of them: all got it in one commit, or none. What we put before a letter
    /// differs; the rest has our `Received` in it, which no other letter has.
    async fn has_already(&self, leads: &Leads, letter: &Bytes) -> Result<bool, Refusal> {
        let unavailable = |error: storage::Error| Refusal::of_letter(&error);
        let Some(message_id) = message_id(letter) else { return Ok(false) };
        let size_bytes = u32::try_from(letter.len()).unwrap_or(u32::MAX);
        let query = Query::And(vec![
            Query::Larger(size_bytes.saturating_sub(1)),
            Query::Smaller(size_bytes.saturating_add(TRACE_BYTES)),
            Query::Header("Message-ID".to_owned(), message_id),
        ]);
        for account in leads.accounts() {
            for mailbox in self.store.mailboxes(account).await.map_err(unavailable)? {
                let found = self.store.search(account, mailbox.id, query.clone()).await;
                let ids: Vec<_> = found.map_err(unavailable)?.iter().map(|m| m.email).collect();
                for email in self.store.emails(account, &ids).await.map_err(unavailable)? {
                    if self.store.bytes(&email).await.map_err(unavailable)?.ends_with(letter) {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }
}

/// Where a letter is to go.
enum Place {
    Has,
    Wants(Recipient),
}

/// What we put before a letter has no more than this.
const TRACE_BYTES: u32 = 64 * 1024;

fn message_id(letter: &[u8]) -> Option<String> {
    let message = mparser::Message::parse(header(letter));
    let text = message.header("Message-ID")?.text();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The steps look at nothing else, and a body may be large.
pub(super) fn header(raw: &[u8]) -> &[u8] {
    let end = memchr::memmem::find(raw, b"\r\n\r\n").map_or(raw.len(), |at| at + 4);
    raw.get(..end).unwrap_or_default()
}
