//! The rows of the index, as values.

use types::{
    AccountId, EmailId, Flags, Keyword, MailboxId, ModSeq, SpecialUse, ThreadId, Uid, UidValidity,
};

/// One person's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    pub id: AccountId,
    /// Lower case `local@domain`, without tag.
    pub key: String,
    /// Password hash as a PHC string; empty: nobody can log in.
    pub secret: String,
    /// The last MODSEQ given in this account.
    pub modseq: ModSeq,
    /// The last mailbox id given.
    pub last_mailbox: MailboxId,
    /// The last UIDVALIDITY given.
    pub last_uid_validity: UidValidity,
    /// What it may hold; 0: as much as it likes.
    pub limit: Amount,
    /// What it holds.
    pub used: Amount,
    /// Changes up to this one are forgotten; [`crate::Read::changes`] is complete above it.
    pub changes_floor: ModSeq,
    /// Entries written to the change log since somebody looked whether it is too long.
    pub new_changes: u64,
}

impl AccountRow {
    /// Whether the account may hold so much more.
    pub fn has_room(&self, more: Amount) -> bool {
        let after = self.used.plus(more);
        let fits = |limit, after| limit == 0 || after <= limit;
        fits(self.limit.size_bytes, after.size_bytes) && fits(self.limit.messages, after.messages)
    }
}

/// An address that stands for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasRow {
    /// Lower case `local@domain`, or `@domain` for every address there that is nothing else.
    pub key: String,
    /// Never empty, in the order they were given.
    pub targets: Vec<String>,
}

/// Something noted about a mailbox or an account: an annotation, a right, who has read what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteRow {
    /// `None`: about the account.
    pub mailbox: Option<MailboxId>,
    pub name: String,
    pub value: Vec<u8>,
}

/// Rows of one target each, sorted by key, as aliases.
pub(crate) fn aliases(rows: Vec<(String, String)>) -> Vec<AliasRow> {
    let mut found: Vec<AliasRow> = Vec::new();
    for (key, target) in rows {
        match found.last_mut() {
            Some(row) if row.key == key => row.targets.push(target),
            _ => found.push(AliasRow { key, targets: vec![target] }),
        }
    }
    found
}

/// What is noted of the messages that somebody else has read stands under this and the account's number.
pub const SEEN_BY: &str = "seen/";

pub(crate) fn seen_name(user: AccountId) -> String {
    format!("{SEEN_BY}{user}")
}

/// Letters, counted as IMAP's quota does (RFC 9208 §5.1, §5.2): an email that is in three mailboxes is three
/// messages and three times its size, though its bytes are stored once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    pub size_bytes: u64,
    pub messages: u64,
}

impl Amount {
    pub fn of(row: &MessageRow) -> Self {
        Self { size_bytes: row.size_bytes.into(), messages: 1 }
    }

    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        Self {
            size_bytes: self.size_bytes.saturating_add(more.size_bytes),
            messages: self.messages.saturating_add(more.messages),
        }
    }

    #[must_use]
    pub fn minus(self, less: Self) -> Self {
        Self {
            size_bytes: self.size_bytes.saturating_sub(less.size_bytes),
            messages: self.messages.saturating_sub(less.messages),
        }
    }
}

/// One mailbox with its counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxRow {
    pub id: MailboxId,
    /// UTF-8, levels separated by `/`; the inbox is `INBOX`.
    pub name: String,
    pub special_use: Option<SpecialUse>,
    pub subscribed: bool,
    pub uid_validity: UidValidity,
    /// `None` when every UID has been given.
    pub uid_next: Option<Uid>,
    /// The last change in this mailbox.
    pub modseq: ModSeq,
    /// The change that made it.
    pub created: ModSeq,
    pub total: u64,
    pub unseen: u64,
    pub deleted: u64,
    pub size_bytes: u64,
}

/// A copy of an email in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    pub uid: Uid,
    pub email: EmailId,
    pub modseq: ModSeq,
    pub flags: Flags,
    /// INTERNALDATE
    pub received_unix_s: i64,
    /// When it came into this mailbox (RFC 8514).
    pub saved_unix_s: i64,
    pub size_bytes: u32,
}

/// An email: its content, the same wherever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailRow {
    pub id: EmailId,
    pub account: AccountId,
    pub thread: ThreadId,
    pub received_unix_s: i64,
    pub blob: BlobRef,
    /// The encoded `mparser::Index`: envelope and part table.
    pub index: Vec<u8>,
}

/// A [`MessageRow`] as an engine meets it, with nothing in memory of its own.
#[derive(Debug, Clone, Copy)]
pub struct MessageRef<'a> {
    pub uid: Uid,
    pub email: EmailId,
    pub modseq: ModSeq,
    /// [`Flags::bits`]
    pub system: u8,
    /// With spaces between them; `None`: there are none.
    pub keywords: Option<&'a str>,
    pub received_unix_s: i64,
    pub saved_unix_s: i64,
    pub size_bytes: u32,
}

impl MessageRef<'_> {
    pub fn flags(&self) -> Flags {
        let mut flags = Flags::from_bits(self.system);
        if let Some(keywords) = self.keywords {
            keywords.split(' ').filter_map(Keyword::new).for_each(|k| flags.insert_keyword(k));
        }
        flags
    }

    pub fn to_row(&self) -> MessageRow {
        MessageRow {
            uid: self.uid,
            email: self.email,
            modseq: self.modseq,
            flags: self.flags(),
            received_unix_s: self.received_unix_s,
            saved_unix_s: self.saved_unix_s,
            size_bytes: self.size_bytes,
        }
    }
}

/// An [`EmailRow`] as an engine meets it: its part table still encoded, and where the engine has it.
#[derive(Debug, Clone, Copy)]
pub struct EmailRef<'a> {
    pub id: EmailId,
    pub account: AccountId,
    pub thread: ThreadId,
    pub received_unix_s: i64,
    pub blob: BlobRef,
    /// The encoded `mparser::Index`.
    pub index: &'a [u8],
}

impl EmailRef<'_> {
    pub fn to_row(&self) -> EmailRow {
        EmailRow {
            id: self.id,
            account: self.account,
            thread: self.thread,
            received_unix_s: self.received_unix_s,
            blob: self.blob,
            index: self.index.to_vec(),
        }
    }
}

impl MessageRow {
    /// `keywords` as [`MessageRef`] has them.
    pub(crate) fn as_ref<'a>(&self, keywords: Option<&'a str>) -> MessageRef<'a> {
        MessageRef {
            uid: self.uid,
            email: self.email,
            modseq: self.modseq,
            system: self.flags.bits(),
            keywords,
            received_unix_s: self.received_unix_s,
            saved_unix_s: self.saved_unix_s,
            size_bytes: self.size_bytes,
        }
    }
}

impl EmailRow {
    pub fn as_ref(&self) -> EmailRef<'_> {
        EmailRef {
            id: self.id,
            account: self.account,
            thread: self.thread,
            received_unix_s: self.received_unix_s,
            blob: self.blob,
            index: &self.index,
        }
    }
}

/// Keywords in one text, separated by spaces; `None` when there are none.
pub(crate) fn keywords(flags: &Flags) -> Option<String> {
    let words: Vec<&str> = flags.keywords().iter().map(Keyword::as_str).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// Where the bytes of a letter lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlobRef {
    pub location: Location,
    pub size_bytes: u32,
    /// First half of the BLAKE3 hash of the bytes.
    pub hash: [u8; 16],
}

impl BlobRef {
    /// Where a part of it lies; `None`: it is not inside.
    pub fn part(self, part: &LetterPart) -> Option<Self> {
        let end = part.offset_bytes.checked_add(part.size_bytes)?;
        let Location { segment, offset } = self.location;
        let location = Location { segment, offset: offset + u64::from(part.offset_bytes) };
        let (size_bytes, hash) = (part.size_bytes, part.hash);
        (end <= self.size_bytes).then_some(Self { location, size_bytes, hash })
    }
}

/// One of several letters that came together and lie in one blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LetterPart {
    /// From the first byte of the blob.
    pub offset_bytes: u32,
    pub size_bytes: u32,
    /// First half of the BLAKE3 hash of its bytes.
    pub hash: [u8; 16],
}

/// A byte in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    pub segment: u64,
    pub offset: u64,
}

/// The end of what has been applied: the next frame is `lsn + 1` and begins at `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub lsn: u64,
    pub end: Location,
}

impl Position {
    /// Of an index that is the truth itself.
    pub const NO_LOG: Self = Self { lsn: 0, end: Location { segment: 0, offset: 0 } };
}

/// One entry of the change log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRow {
    pub modseq: ModSeq,
    pub kind: ChangeKind,
    pub mailbox: MailboxId,
    /// `None` for changes of the mailbox itself.
    pub message: Option<(Uid, EmailId)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ChangeKind {
    MessageAdded = 1,
    FlagsChanged = 2,
    MessageGone = 3,
    MailboxMade = 4,
    MailboxChanged = 5,
    MailboxGone = 6,
}

impl ChangeKind {
    pub fn from_u8(n: u8) -> Option<Self> {
        [
            Self::MessageAdded,
            Self::FlagsChanged,
            Self::MessageGone,
            Self::MailboxMade,
            Self::MailboxChanged,
            Self::MailboxGone,
        ]
        .into_iter()
        .find(|k| *k as u8 == n)
    }
}
