//! Decoded rows of emails in the cache. A row never changes; what can change is whether the email is still there, so
//! each remembers the moment at which it was.

use crate::Result;
use crate::letter::Email;
use crate::read::Reader;
use crate::watch::Moment;
use db::Read;
use mparser::{Envelope, Index, Mailbox, Part};
use ocache::{Key, Kind, Object};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use types::{AccountId, EmailId};

/// An email that was there at a moment of its account.
pub(crate) struct Known {
    email: Arc<Email>,
    account: AccountId,
    moment: AtomicU64,
}

impl Known {
    fn was_there(&self, moment: Moment) -> bool {
        self.moment.load(Ordering::Acquire) == moment.0
    }

    fn is_there(&self, moment: Moment) {
        self.moment.fetch_max(moment.0, Ordering::AcqRel);
    }
}

fn key(email: EmailId) -> Key {
    Key { kind: Kind::Row, owner: 0, id: email.0 }
}

/// Emails asked for, and what the cache has of them.
pub(crate) struct Asked {
    account: AccountId,
    ids: Vec<EmailId>,
    /// For each id.
    known: Vec<Option<Arc<Known>>>,
}

impl Asked {
    pub(crate) fn of(reader: &Reader, account: AccountId, ids: Vec<EmailId>) -> Self {
        let look = |id: &EmailId| reader.cache.get(key(*id)).and_then(Object::into_value);
        let known = ids.iter().map(look).collect();
        Self { account, ids, known }
    }

    /// All of them, if nothing has to be asked.
    pub(crate) fn at(&self, moment: Moment) -> Option<Vec<Arc<Email>>> {
        let all_known = |known: &Option<Arc<Known>>| {
            known.as_ref().is_some_and(|known| known.was_there(moment))
        };
        self.known.iter().all(all_known).then(|| self.found())
    }

    /// All of them, if they are known; the caller knows that they are there.
    pub(crate) fn there(&self, moment: Moment) -> Option<Vec<Arc<Email>>> {
        for known in &self.known {
            known.as_ref()?.is_there(moment);
        }
        Some(self.found())
    }

    /// Asks the index for what is not known, and which of the others are still there: all of them in one snapshot,
    /// for what was right at `moment` need not be in a snapshot that is a little newer.
    pub(crate) fn complete(
        self,
        reader: &Reader,
        read: &dyn Read,
        moment: Moment,
    ) -> Result<Vec<Arc<Email>>> {
        let ids: Vec<EmailId> = self.known.iter().flatten().map(|known| known.email.id).collect();
        let there: HashSet<EmailId> = match &ids[..] {
            [] => HashSet::new(),
            ids => read.existing(self.account, ids)?.into_iter().collect(),
        };
        self.read_others(reader, read, moment, |id| there.contains(&id))
    }

    /// The same for emails that have just been found in messages of this snapshot.
    pub(crate) fn complete_listed(
        self,
        reader: &Reader,
        read: &dyn Read,
        moment: Moment,
    ) -> Result<Vec<Arc<Email>>> {
        self.read_others(reader, read, moment, |_| true)
    }

    fn read_others(
        &self,
        reader: &Reader,
        read: &dyn Read,
        moment: Moment,
        there: impl Fn(EmailId) -> bool,
    ) -> Result<Vec<Arc<Email>>> {
        let mut found = HashMap::with_capacity(self.ids.len());
        for known in self.known.iter().flatten().filter(|known| there(known.email.id)) {
            known.is_there(moment);
            found.insert(known.email.id, known.email.clone());
        }
        self.read_missing(reader, read, moment, &mut found)?;
        Ok(self.ids.iter().filter_map(|id| found.get(id).cloned()).collect())
    }

    fn read_missing(
        &self,
        reader: &Reader,
        read: &dyn Read,
        moment: Moment,
        found: &mut HashMap<EmailId, Arc<Email>>,
    ) -> Result<()> {
        let missing = self.ids.iter().zip(&self.known).filter(|(_, known)| known.is_none());
        let missing: Vec<EmailId> = missing.map(|(id, _)| *id).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut failed = None;
        read.scan_emails(&missing, &mut |row| match reader.email(row) {
            Ok(email) => {
                let email = Arc::new(email);
                if row.account == self.account {
                    found.insert(row.id, email.clone());
                }
                let size_bytes = size_of::<Known>() + weight_bytes(&email);
                let (account, moment) = (row.account, AtomicU64::new(moment.0));
                let known = Arc::new(Known { email, account, moment });
                reader.cache.put(key(row.id), Object::decoded(known, size_bytes));
            }
            Err(error) => failed = Some(error),
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn found(&self) -> Vec<Arc<Email>> {
        let own = self.known.iter().flatten().filter(|known| known.account == self.account);
        own.map(|known| known.email.clone()).collect()
    }
}

/// What memory costs beside what is asked for, each time.
const PIECE_BYTES: usize = 16;

/// What is noted beside an email, about: what it is sorted by, and a text for each part.
const NOTED_BYTES: usize = 128;
const NOTED_PART_BYTES: usize = 120;

/// Memory an email takes, about.
fn weight_bytes(email: &Email) -> usize {
    let Index { parts, envelope, preview, defects, .. } = &*email.index;
    size_of::<Email>()
        + NOTED_BYTES
        + parts.len() * NOTED_PART_BYTES
        + size_of::<Index>()
        + parts.iter().map(of_part).sum::<usize>()
        + of_envelope(envelope)
        + of_text(preview)
        + size_of_val(&defects[..])
        + 2 * PIECE_BYTES
}

fn of_text(text: &str) -> usize {
    if text.is_empty() { 0 } else { PIECE_BYTES + text.len() }
}

fn of_some(text: Option<&String>) -> usize {
    text.map_or(0, |text| of_text(text))
}

fn of_params(params: &[(String, String)]) -> usize {
    let texts = params.iter().map(|(name, value)| of_text(name) + of_text(value));
    size_of_val(params) + texts.sum::<usize>()
}

fn of_part(part: &Part) -> usize {
    let Part { media_type, subtype, params, id, description, disposition, .. } = part;
    let disposition = disposition.as_ref();
    size_of::<Part>()
        + of_text(media_type)
        + of_text(subtype)
        + of_params(params)
        + of_some(id.as_ref())
        + of_some(description.as_ref())
        + disposition.map_or(0, |(kind, params)| of_text(kind) + of_params(params))
        + of_some(part.md5.as_ref())
        + part.language.iter().map(|text| size_of::<String>() + of_text(text)).sum::<usize>()
        + of_some(part.location.as_ref())
        + part.envelope.as_ref().map_or(0, |inner| size_of::<Envelope>() + of_envelope(inner))
}

fn of_envelope(envelope: &Envelope) -> usize {
    let Envelope { date, subject, from, sender, reply_to, to, cc, bcc, .. } = envelope;
    let lists = [from, sender, reply_to, to, cc, bcc];
    let texts = [date, subject, &envelope.in_reply_to, &envelope.message_id];
    lists.into_iter().flatten().map(of_mailbox).sum::<usize>()
        + texts.into_iter().map(|text| of_some(text.as_ref())).sum::<usize>()
        + envelope.references.iter().map(|id| size_of::<String>() + of_text(id)).sum::<usize>()
}

fn of_mailbox(mailbox: &Mailbox) -> usize {
    let Mailbox { name, local, domain, .. } = mailbox;
    size_of::<Mailbox>() + of_some(name.as_ref()) + of_text(local) + of_text(domain)
}
