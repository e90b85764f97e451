//! A letter comes in: delivery to any number of accounts, or an APPEND to one mailbox.

use super::accounts::standard_mailbox;
use crate::letter::Letter;
use crate::log::blob_hash;
use crate::writer::{Facts, Intent};
use crate::{Error, Result};
use bytes::Bytes;
use db::{Amount, LetterPart, MailboxRow, MessageRow, Op};
use types::{AccountId, EmailId, Flags, MailboxId, ModSeq, SpecialUse, ThreadId, Uid, UidValidity};

/// Ids of one letter that lead to its thread; more are left aside, first and last kept.
const THREAD_IDS: usize = 32;

/// Where in an account a letter goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Into {
    Mailbox(MailboxId),
    /// The mailbox of that use; the inbox when there is none.
    Use(SpecialUse),
}

/// One recipient's copy of a letter.
#[derive(Debug, Clone)]
pub struct Target {
    pub account: AccountId,
    pub into: Into,
    pub flags: Flags,
    /// INTERNALDATE; `None`: now.
    pub received_unix_s: Option<i64>,
}

impl Target {
    pub fn inbox(account: AccountId) -> Self {
        let into = Into::Use(SpecialUse::Inbox);
        Self { account, into, flags: Flags::default(), received_unix_s: None }
    }
}

/// A letter that is now in a mailbox, durably.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    pub email: EmailId,
    pub thread: ThreadId,
    pub mailbox: MailboxId,
    pub uid_validity: UidValidity,
    pub uid: Uid,
    pub modseq: ModSeq,
}

pub(crate) struct Deliver {
    bytes: Bytes,
    hash: [u8; 16],
    /// Encoded and hashed by the caller, so that the writer thread need not.
    index: Vec<u8>,
    message_ids: Vec<u64>,
    targets: Vec<Target>,
    /// For each target the thread to take when no Message-ID leads to one.
    pub(crate) guessed: Vec<Option<ThreadId>>,
    /// Where its bytes are among those of the letters that come with it.
    pub(super) part: Option<LetterPart>,
}

impl Deliver {
    pub(crate) fn new(letter: &Letter, targets: Vec<Target>) -> Self {
        let message_ids = message_id_hashes(&letter.index);
        let (bytes, index) = (letter.bytes.clone(), letter.index.encode());
        let (guessed, part) = (Vec::new(), None);
        Self { hash: blob_hash(&bytes), bytes, index, message_ids, targets, guessed, part }
    }

    /// The first target, for what has no other, and the thread guessed for it.
    pub(super) fn only_target(&self) -> Option<(&Target, Option<ThreadId>)> {
        Some((self.targets.first()?, self.guessed.first().copied().flatten()))
    }

    pub(super) fn bytes(&self) -> (&Bytes, [u8; 16]) {
        (&self.bytes, self.hash)
    }

    /// What each of its copies takes.
    pub(super) fn amount(&self) -> Amount {
        Amount { size_bytes: self.bytes.len() as u64, messages: 1 }
    }
}

/// What leads to the thread of a letter: its own Message-ID and those it refers to.
pub(crate) fn message_id_hashes(index: &mparser::Index) -> Vec<u64> {
    let mut ids = index.thread_ids();
    if ids.len() > THREAD_IDS {
        ids.drain(THREAD_IDS / 2..ids.len() - THREAD_IDS / 2);
    }
    ids.iter().map(|id| hash(id)).collect()
}

/// What a Message-ID is looked up by.
fn hash(message_id: &str) -> u64 {
    let hash = blake3::hash(message_id.as_bytes());
    hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

impl Intent for Deliver {
    type Outcome = Vec<Result<Arrived>>;

    fn letter(&self) -> Option<(&Bytes, [u8; 16])> {
        Some((&self.bytes, self.hash))
    }

    fn accounts(&self) -> Vec<AccountId> {
        self.targets.iter().map(|target| target.account).collect()
    }

    fn is_delivery(&self) -> bool {
        true
    }

    fn resolve(&self, facts: &mut Facts<'_>) -> Result<Self::Outcome> {
        let mut outcomes = Vec::with_capacity(self.targets.len());
        for (at, target) in self.targets.iter().enumerate() {
            let guessed = self.guessed.get(at).copied().flatten();
            let mailbox = find(facts, target);
            let room = |mailbox| facts.check_quota(target.account, self.amount()).map(|()| mailbox);
            let outcome = match mailbox.and_then(room) {
                Ok(mailbox) => Ok(self.arrive(facts, target, &mailbox, guessed)?),
                Err(
                    refused @ (Error::NoAccount
                    | Error::NoMailbox
                    | Error::UidsExhausted
                    | Error::OverQuota),
                ) => Err(refused),
                Err(error) => return Err(error),
            };
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }
}

/// The mailbox a target means, with a UID to give.
pub(super) fn find(facts: &Facts<'_>, target: &Target) -> Result<MailboxRow> {
    let account = target.account;
    facts.txn.account(account)?.ok_or(Error::NoAccount)?;
    // The mailboxes every account is made with are found without a look through all of them.
    let row = match target.into {
        Into::Mailbox(mailbox) => facts.txn.mailbox(account, mailbox)?,
        Into::Use(wanted) => {
            let row = match standard_mailbox(wanted) {
                Some(usual) => facts.txn.mailbox(account, usual)?,
                None => None,
            };
            match row.filter(|row| row.special_use == Some(wanted)) {
                Some(row) => Some(row),
                None => search(facts, account, wanted)?,
            }
        }
    };
    let row = row.ok_or(Error::NoMailbox)?;
    if row.uid_next.is_none() { Err(Error::UidsExhausted) } else { Ok(row) }
}

fn search(facts: &Facts<'_>, account: AccountId, wanted: SpecialUse) -> Result<Option<MailboxRow>> {
    let mut rows = facts.txn.mailboxes(account)?;
    rows.retain(|row| {
        row.special_use == Some(wanted) || row.special_use == Some(SpecialUse::Inbox)
    });
    rows.sort_by_key(|row| row.special_use != Some(wanted));
    Ok(rows.into_iter().next())
}

impl Deliver {
    pub(super) fn arrive(
        &self,
        facts: &mut Facts<'_>,
        target: &Target,
        mailbox: &MailboxRow,
        guessed: Option<ThreadId>,
    ) -> Result<Arrived> {
        let account = target.account;
        let email = facts.txn.next_email()?;
        let (thread, message_ids) = self.thread(facts, account)?;
        let thread = thread.or(guessed).unwrap_or(ThreadId(email.0));
        let received_unix_s = target.received_unix_s.unwrap_or(facts.now_unix_s);
        let modseq = facts.next_modseq(account)?;
        facts.put(&Op::EmailAdd {
            account,
            email,
            thread,
            received_unix_s,
            index: self.index.clone(),
            message_ids,
            // Where each letter has a place of its own, that is all of its bytes.
            part: self.part.filter(|_| facts.letters.is_empty()),
        })?;
        let row = MessageRow {
            uid: Uid::MIN,
            email,
            modseq,
            flags: target.flags.clone(),
            received_unix_s,
            saved_unix_s: facts.now_unix_s,
            size_bytes: u32::try_from(self.bytes.len()).unwrap_or(u32::MAX),
        };
        let row = facts.add_copy(account, mailbox.id, modseq, &row)?;
        let (mailbox, uid_validity) = (mailbox.id, mailbox.uid_validity);
        Ok(Arrived { email, thread, mailbox, uid_validity, uid: row.uid, modseq })
    }

    /// The thread of the first id that is known; and the ids that lead to none yet.
    fn thread(
        &self,
        facts: &Facts<'_>,
        account: AccountId,
    ) -> Result<(Option<ThreadId>, Vec<u64>)> {
        let mut thread = None;
        let mut unknown = Vec::new();
        for id in &self.message_ids {
            match facts.txn.thread_of(account, *id)? {
                Some(known) => thread = thread.or(Some(known)),
                None => unknown.push(*id),
            }
        }
        Ok((thread, unknown))
    }
}
