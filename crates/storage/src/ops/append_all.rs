//! Several letters for one mailbox, all of them or none (RFC 3502). In the log they lie one after the other in one
//! frame (docs/adr/0009-many-letters-at-once.md).

use super::deliver::{Arrived, Deliver, find};
use crate::log::blob_hash;
use crate::writer::{Facts, Intent};
use crate::{Error, Result};
use bytes::Bytes;
use db::{Amount, LetterPart};
use types::{AccountId, Uid};

pub(crate) struct AppendAll {
    bytes: Bytes,
    hash: [u8; 16],
    /// Each with one target, the same mailbox for all.
    letters: Vec<Deliver>,
}

impl AppendAll {
    /// `None`: they are together larger than a frame can be.
    pub(crate) fn new(mut letters: Vec<Deliver>) -> Option<Self> {
        let sum: usize = letters.iter().map(|letter| letter.bytes().0.len()).sum();
        u32::try_from(sum).ok()?;
        let mut all = Vec::with_capacity(sum);
        for letter in &mut letters {
            let (bytes, hash) = letter.bytes();
            let offset_bytes = u32::try_from(all.len()).ok()?;
            let size_bytes = u32::try_from(bytes.len()).ok()?;
            all.extend_from_slice(bytes);
            letter.part = Some(LetterPart { offset_bytes, size_bytes, hash });
        }
        Some(Self { hash: blob_hash(&all), bytes: all.into(), letters })
    }
}

impl Intent for AppendAll {
    type Outcome = Vec<Arrived>;

    fn letter(&self) -> Option<(&Bytes, [u8; 16])> {
        Some((&self.bytes, self.hash))
    }

    fn letters(&self) -> Vec<(&Bytes, [u8; 16])> {
        self.letters.iter().map(Deliver::bytes).collect()
    }

    fn accounts(&self) -> Vec<AccountId> {
        self.letters.iter().flat_map(Intent::accounts).collect()
    }

    fn is_delivery(&self) -> bool {
        true
    }

    fn resolve(&self, facts: &mut Facts<'_>) -> Result<Vec<Arrived>> {
        let first = self.letters.first().and_then(Deliver::only_target);
        let (target, _) = first.ok_or(Error::NoMailbox)?;
        let mailbox = find(facts, target)?;
        let room = mailbox.uid_next.map_or(0, |next| u64::from(Uid::MAX.get() - next.get()) + 1);
        if room < self.letters.len() as u64 {
            return Err(Error::UidsExhausted);
        }
        let more = self.letters.iter().map(Deliver::amount).fold(Amount::default(), Amount::plus);
        facts.check_quota(target.account, more)?;
        let mut arrived = Vec::with_capacity(self.letters.len());
        for (at, letter) in self.letters.iter().enumerate() {
            let Some((target, guessed)) = letter.only_target() else { continue };
            if let Some(own) = facts.letters.get(at) {
                facts.blob = Some(*own);
            }
            arrived.push(letter.arrive(facts, target, &mailbox, guessed)?);
        }
        Ok(arrived)
    }
}
