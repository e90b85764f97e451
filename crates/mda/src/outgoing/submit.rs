//! From the last byte of a letter of ours to the durable commit: at once into the mailboxes when all of them are here
//! and nothing else is wanted, else into the queue; never half.

use super::{Leaving, Login, OUTGOING, Objection, Submission, author};
use crate::{Delivered, Envelope, LARGE_BYTES, Mda, Recipient, Refusal};
use bytes::Bytes;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
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

    /// Whether the account may send another letter to so many recipients now; `submit` asks again.
    pub fn may_send(&self, account: AccountId, recipients: u32) -> Result<(), Objection> {
        let now_unix_s = self.clock.now_unix_s();
        self.rates.room(account, recipients, now_unix_s).map_err(Objection::TooMuch)
    }

    /// Mail for this address is ours to deliver.
    pub fn is_local(&self, address: &Address) -> bool {
        self.domains.contains(address.domain())
    }

    /// Letters to other domains are taken, and letters can wait.
    pub fn has_queue(&self) -> bool {
        self.queue.get().is_some()
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
        if raw.len() < LARGE_BYTES {
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
        let answers = self.deliver_here(&submission.envelope, &submission.id, letter.clone()).await;
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

    /// A letter of our own, with its `Received` already, into mailboxes here. One answer for each recipient.
    pub(crate) async fn deliver_here(
        self: &Arc<Self>,
        envelope: &queue::Envelope,
        id: &str,
        letter: Bytes,
    ) -> Vec<Result<Delivered, Refusal>> {
        let size_bytes = letter.len() as u64;
        let mut found: Vec<Result<Recipient, Refusal>> = Vec::new();
        for to in &envelope.recipients {
            found.push(self.recipient(&to.address, size_bytes).await);
        }
        let recipients: Vec<Recipient> = found.iter().filter_map(|f| f.clone().ok()).collect();
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
        let answer = |found: Result<Recipient, Refusal>| {
            found.and_then(|_| answers.next().unwrap_or(Err(Refusal::Unavailable)))
        };
        found.into_iter().map(answer).collect()
    }
}

/// The steps look at nothing else, and a body may be large.
pub(super) fn header(raw: &[u8]) -> &[u8] {
    let end = memchr::memmem::find(raw, b"\r\n\r\n").map_or(raw.len(), |at| at + 4);
    raw.get(..end).unwrap_or_default()
}
