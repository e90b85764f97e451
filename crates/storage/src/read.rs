//! Reading: rows from a snapshot of the index, bytes from the segments, both through the cache.
//!
//! A cached view of a mailbox or row of an email is taken without a question when nothing has changed in the account
//! since it was known to be right ([`Moment`]); else the index says what of it still holds.

use crate::known::Asked;
use crate::letter::Email;
use crate::log::{Segments, blob_hash};
use crate::recent::Recent;
use crate::view::{Now, View};
use crate::watch::{Listeners, Moment};
use crate::{Error, Result};
use bytes::Bytes;
use db::{AccountRow, BlobRef, ChangeRow, EmailRef, Index, Location, MailboxRow, MessageRow, Read};
use ocache::{Key, Kind, Object, ObjectCache};
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use types::{AccountId, EmailId, MailboxId, ModSeq, UidSet};

/// A mailbox and its messages at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub mailbox: MailboxRow,
    /// Ascending by UID.
    pub messages: Vec<MessageRow>,
}

/// What happened in an account after a MODSEQ.
#[derive(Debug, Clone)]
pub struct Changes {
    /// Ascending.
    pub changes: Vec<ChangeRow>,
    /// The state after the last of them.
    pub state: ModSeq,
    /// More follow after `state`.
    pub more: bool,
}

/// A mailbox as who opens it is told of it.
#[derive(Debug, Clone)]
pub struct Glance {
    pub mailbox: MailboxRow,
    /// The account's MODSEQ of that moment.
    pub state: ModSeq,
    /// Its messages, where they are known or few; else they have not been read.
    pub view: Option<Arc<View>>,
}

/// A range of a letter from this size on is read without the rest, once the whole was checked.
const RANGE_BYTES: u32 = 1 << 20;
/// Letters that are read before they are asked for.
const AHEAD_BYTES: u32 = 1 << 20;

/// What is read beside the rows of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum With {
    Nothing,
    Emails,
    /// Into the cache.
    Letters,
}

/// Reads a stored part table, or some of it.
pub(crate) type Decode = fn(&[u8]) -> std::result::Result<mparser::Index, mparser::IndexError>;

/// The reading half of a store. What goes to the index or the segments blocks: callers run it off the async threads.
pub(crate) struct Reader {
    pub(crate) index: Arc<dyn Index>,
    /// `None`: the index keeps the letters too.
    pub(crate) segments: Option<Arc<Segments>>,
    pub(crate) cache: Arc<dyn ObjectCache>,
    /// What listeners asked last.
    pub(crate) recent: Recent,
    /// Told of every change. `None`: other servers change accounts too, and only the index knows.
    pub(crate) listeners: Option<Arc<Listeners>>,
}

/// A mailbox asked for, and what the cache has of it.
pub(crate) struct AskedView {
    account: AccountId,
    mailbox: MailboxId,
    cached: Option<Arc<View>>,
}

impl AskedView {
    /// The view, if it is still right.
    pub(crate) fn at(&self, moment: Moment) -> Option<&Arc<View>> {
        self.cached.as_ref().filter(|view| view.is_of(moment))
    }
}

impl Reader {
    /// The moment of now, where it is known without asking the index. Take it, then wait until the account's
    /// changes can be read, then read: what is found is of this moment or later.
    pub(crate) fn moment(&self, account: AccountId) -> Option<Moment> {
        self.listeners.as_ref().map(|listeners| listeners.moment(account))
    }

    /// Where it is not known: the account's MODSEQ tells as well.
    fn moment_of(told: Option<Moment>, account: &AccountRow) -> Moment {
        told.unwrap_or(Moment(account.modseq.0))
    }

    // --- mailboxes

    pub(crate) fn ask_view(&self, account: AccountId, mailbox: MailboxId) -> AskedView {
        let cached = self.cache.get(view_key(account, mailbox)).and_then(Object::into_value);
        AskedView { account, mailbox, cached }
    }

    pub(crate) fn view(&self, asked: &AskedView, told: Option<Moment>) -> Result<Arc<View>> {
        let read = self.index.read()?;
        let mailbox = read.mailbox(asked.account, asked.mailbox)?.ok_or(Error::NoMailbox)?;
        self.view_of(&*read, asked, mailbox, told)
    }

    pub(crate) fn view_by_name(
        &self,
        account: AccountId,
        name: &str,
        told: Option<Moment>,
    ) -> Result<Arc<View>> {
        let read = self.index.read()?;
        let mailbox = read.mailbox_by_name(account, name)?.ok_or(Error::NoMailbox)?;
        self.view_of(&*read, &self.ask_view(account, mailbox.id), mailbox, told)
    }

    fn view_of(
        &self,
        read: &dyn Read,
        asked: &AskedView,
        mailbox: MailboxRow,
        told: Option<Moment>,
    ) -> Result<Arc<View>> {
        let account = read.account(asked.account)?.ok_or(Error::NoMailbox)?;
        let moment = Self::moment_of(told, &account);
        let now = Now { read, account: &account, mailbox, moment };
        let mut older = asked.cached.clone();
        if older.as_ref().is_none_or(|view| *view.mailbox() != now.mailbox) {
            // Many wake up of one change and ask together: one who waited for its turn may find what another made.
            older = self.ask_view(asked.account, asked.mailbox).cached;
        }
        let view = now.view(older)?;
        self.keep(asked, &view);
        Ok(view)
    }

    /// The messages are read when there are no more than `most`, or when little has to be read.
    pub(crate) fn glance(
        &self,
        account: AccountId,
        name: &str,
        most: u64,
        told: Option<Moment>,
    ) -> Result<Glance> {
        let read = self.index.read()?;
        let mailbox = read.mailbox_by_name(account, name)?.ok_or(Error::NoMailbox)?;
        let asked = self.ask_view(account, mailbox.id);
        let account = read.account(account)?.ok_or(Error::NoMailbox)?;
        let moment = Self::moment_of(told, &account);
        let now = Now { read: &*read, account: &account, mailbox, moment };
        let view = match now.near(asked.cached.clone())? {
            None if now.mailbox.total <= most => Some(now.view(None)?),
            near => near,
        };
        if let Some(view) = &view {
            self.keep(&asked, view);
        }
        Ok(Glance { mailbox: now.mailbox, state: account.modseq, view })
    }

    fn keep(&self, asked: &AskedView, view: &Arc<View>) {
        if !asked.cached.as_ref().is_some_and(|cached| Arc::ptr_eq(cached, view)) {
            let key = view_key(asked.account, asked.mailbox);
            self.cache.put(key, Object::decoded(view.clone(), view.weight_bytes()));
        }
    }

    /// Rows of messages, with the emails that the cache has not: from a view that is near, else from the index.
    pub(crate) fn list(
        &self,
        asked: &AskedView,
        uids: &UidSet,
        told: Option<Moment>,
        with: With,
    ) -> Result<(Vec<MessageRow>, Vec<Arc<Email>>)> {
        let read = self.index.read()?;
        let Some(account) = read.account(asked.account)? else { return Ok(Default::default()) };
        let moment = Self::moment_of(told, &account);
        let rows = self.rows(&*read, asked, &account, uids, moment)?;
        if with == With::Nothing {
            return Ok((rows, Vec::new()));
        }
        let ids = rows.iter().map(|row| row.email).collect();
        let asked = Asked::of(self, account.id, ids);
        let emails = match asked.there(moment) {
            Some(emails) => emails,
            None => asked.complete_listed(self, &*read, moment)?,
        };
        drop(read);
        if with == With::Letters {
            self.read_ahead(&emails);
        }
        Ok((rows, emails))
    }

    fn rows(
        &self,
        read: &dyn Read,
        asked: &AskedView,
        account: &AccountRow,
        uids: &UidSet,
        moment: Moment,
    ) -> Result<Vec<MessageRow>> {
        if asked.cached.is_some()
            && let Some(mailbox) = read.mailbox(asked.account, asked.mailbox)?
        {
            let now = Now { read, account, mailbox, moment };
            if let Some(view) = now.near(asked.cached.clone())? {
                self.keep(asked, &view);
                return Ok(view.members(uids).map(|entry| entry.to_row()).collect());
            }
        }
        Ok(read.messages(asked.account, asked.mailbox, uids)?)
    }

    // --- emails

    /// The emails asked for that exist in this account, in the order asked, past the cache; of their part tables what
    /// `decode` reads.
    pub(crate) fn emails(
        &self,
        account: AccountId,
        ids: &[EmailId],
        decode: Decode,
    ) -> Result<Vec<Email>> {
        let mut emails = Vec::with_capacity(ids.len());
        let mut failed = None;
        self.index.read()?.scan_emails(ids, &mut |row| {
            if row.account == account {
                match self.email_as(row, decode) {
                    Ok(email) => emails.push(email),
                    Err(error) => failed = Some(error),
                }
            }
        })?;
        failed.map_or(Ok(emails), Err)
    }

    /// The same, with the cache.
    pub(crate) fn emails_asked(
        &self,
        account: AccountId,
        asked: Asked,
        told: Option<Moment>,
    ) -> Result<Vec<Arc<Email>>> {
        let read = self.index.read()?;
        let moment = match told {
            Some(moment) => moment,
            None => match read.account(account)? {
                Some(account) => Self::moment_of(None, &account),
                None => return Ok(Vec::new()),
            },
        };
        asked.complete(self, &*read, moment)
    }

    /// A row with its part table decoded; one in a form of another version is parsed again.
    pub(crate) fn email(&self, row: EmailRef<'_>) -> Result<Email> {
        self.email_as(row, mparser::Index::decode)
    }

    fn email_as(&self, row: EmailRef<'_>, decode: Decode) -> Result<Email> {
        let index = match decode(row.index) {
            Ok(index) => index,
            Err(_) => mparser::Index::of(&self.bytes(row.id, row.blob)?),
        };
        Ok(Email {
            id: row.id,
            thread: row.thread,
            received_unix_s: row.received_unix_s,
            size_bytes: row.blob.size_bytes,
            index: Arc::new(index),
            blob: row.blob,
            noted: OnceLock::new(),
        })
    }

    // --- bytes

    /// The letter, if the cache has it.
    pub(crate) fn cached_bytes(&self, email: EmailId) -> Option<Bytes> {
        self.cache.get(letter_key(email)).and_then(Object::into_bytes)
    }

    /// The letter as stored, checked against its hash.
    pub(crate) fn bytes(&self, email: EmailId, blob: BlobRef) -> Result<Bytes> {
        match self.cached_bytes(email) {
            Some(bytes) => Ok(bytes),
            None => self.stored_bytes(email, blob),
        }
    }

    /// The same when the cache does not have it.
    pub(crate) fn stored_bytes(&self, email: EmailId, blob: BlobRef) -> Result<Bytes> {
        let bytes = self.stored(blob, 0..blob.size_bytes)?;
        if blob_hash(&bytes) != blob.hash {
            let place = self.place(blob.location);
            return Err(Error::Corrupt(format!("{place}, the letter of email {email}")));
        }
        if blob.size_bytes >= RANGE_BYTES
            && let Some(segments) = &self.segments
        {
            segments.found_whole(blob.location);
        }
        let bytes = Bytes::from(bytes);
        self.cache.put(letter_key(email), bytes.clone().into());
        Ok(bytes)
    }

    /// Brings the first letters into the cache. What cannot be read is said to who asks for it.
    fn read_ahead(&self, emails: &[Arc<Email>]) {
        let mut left_bytes = AHEAD_BYTES;
        for email in emails {
            left_bytes = left_bytes.saturating_sub(email.size_bytes);
            if left_bytes == 0 || self.bytes(email.id, email.blob).is_err() {
                return;
            }
        }
    }

    /// A range of each letter, in the order asked; the first is not in the cache. A letter that is damaged does not
    /// keep the others back.
    pub(crate) fn ranges(&self, wanted: &[(Arc<Email>, Range<u32>)]) -> Vec<Result<Bytes>> {
        // Several ranges of one letter follow one another, and it may be too large for the cache.
        let mut last: Option<(EmailId, Bytes)> = None;
        let mut is_first = true;
        let range = |(email, range): &(Arc<Email>, Range<u32>)| {
            let is_missing = std::mem::take(&mut is_first);
            let range = cut(email, range);
            if is_piece(email, &range) && self.is_whole(email.blob) {
                return Ok(self.stored(email.blob, range)?.into());
            }
            let bytes = match &last {
                Some((id, bytes)) if *id == email.id => bytes.clone(),
                _ if is_missing => self.stored_bytes(email.id, email.blob)?,
                _ => self.bytes(email.id, email.blob)?,
            };
            last = Some((email.id, bytes.clone()));
            slice(email, &bytes, &range)
        };
        wanted.iter().map(range).collect()
    }

    /// A piece can be read by itself. Of a letter in a database, the database answers for the bytes.
    fn is_whole(&self, blob: BlobRef) -> bool {
        self.segments.as_ref().is_none_or(|segments| segments.is_whole(blob.location))
    }

    /// Where in which file, for people who look for damage.
    fn place(&self, at: Location) -> String {
        match &self.segments {
            Some(segments) => segments.place(at),
            None => format!("the database at byte {}", at.offset),
        }
    }

    fn stored(&self, blob: BlobRef, range: Range<u32>) -> Result<Vec<u8>> {
        let mut bytes = vec![0; range.len()];
        let Location { segment, offset } = blob.location;
        self.read_at(Location { segment, offset: offset + u64::from(range.start) }, &mut bytes)?;
        Ok(bytes)
    }

    /// Fills `bytes` with what is stored from there on.
    pub(crate) fn read_at(&self, from: Location, bytes: &mut [u8]) -> Result<()> {
        let whole = match (&self.segments, self.index.letters()) {
            (Some(segments), _) => {
                let segment = segments.segment(from.segment)?;
                if segment.pack().is_some_and(|pack| pack.is_gone(from.offset)) {
                    return Err(Error::NoMessage);
                }
                segment.read(bytes, from.offset)?
            }
            (None, Some(letters)) => {
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                let found = letters.read(from, 0..length)?.ok_or(Error::NoMessage)?;
                let whole = found.len() == bytes.len();
                if whole {
                    bytes.copy_from_slice(&found);
                }
                whole
            }
            (None, None) => false,
        };
        if whole {
            return Ok(());
        }
        Err(Error::Corrupt(format!("{}, the file ends too early", self.place(from))))
    }
}

fn view_key(account: AccountId, mailbox: MailboxId) -> Key {
    Key { kind: Kind::View, owner: account.0, id: mailbox.0.into() }
}

fn letter_key(email: EmailId) -> Key {
    Key { kind: Kind::Letter, owner: 0, id: email.0 }
}

/// What of the range there is.
pub(crate) fn cut(email: &Email, range: &Range<u32>) -> Range<u32> {
    let end = range.end.min(email.size_bytes);
    range.start.min(end)..end
}

fn is_piece(email: &Email, range: &Range<u32>) -> bool {
    email.size_bytes >= RANGE_BYTES && range.len() < email.size_bytes as usize / 2
}

pub(crate) fn slice(email: &Email, bytes: &Bytes, range: &Range<u32>) -> Result<Bytes> {
    let cut = range.start as usize..range.end as usize;
    if cut.end > bytes.len() {
        return Err(Error::Corrupt(format!("the length of email {}", email.id)));
    }
    Ok(bytes.slice(cut))
}
