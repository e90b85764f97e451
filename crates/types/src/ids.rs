//! Numbers that name things. Each is its own type, so that none can stand in for another.

use std::fmt;
use std::num::NonZeroU32;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// One person's mail; unique in a partition, never reused.
    AccountId, u64
);
id!(
    /// A mailbox of one account; unique in the account, never reused.
    MailboxId, u32
);
id!(
    /// A letter's content; the same in every mailbox that holds a copy. Unique in a partition.
    EmailId, u64
);
id!(
    /// A conversation: the id of its first letter.
    ThreadId, u64
);
id!(
    /// RFC 7162: one counter for each account; every change takes the next value.
    ModSeq, u64
);
id!(
    /// RFC 9051 §2.3.1.1: seconds when the mailbox was made; never given twice to one name.
    UidValidity, u32
);

impl ModSeq {
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// RFC 9051 §2.3.1.1: a message's number in its mailbox, 1 to 4,294,967,295, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(NonZeroU32);

impl Uid {
    pub const MIN: Self = Self(NonZeroU32::MIN);
    pub const MAX: Self = Self(NonZeroU32::MAX);

    /// `None` for 0.
    pub fn new(value: u32) -> Option<Self> {
        NonZeroU32::new(value).map(Self)
    }

    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// `None` past the last UID.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a mailbox is for (RFC 6154 §2; `Inbox` from RFC 8621 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpecialUse {
    Inbox,
    Drafts,
    Sent,
    Junk,
    Trash,
    Archive,
}

impl SpecialUse {
    pub const ALL: [Self; 6] =
        [Self::Inbox, Self::Drafts, Self::Sent, Self::Junk, Self::Trash, Self::Archive];

    /// The word in lower case, as JMAP's `role` has it (RFC 8621 §2).
    pub fn role(self) -> &'static str {
        match self {
            Self::Inbox => "inbox",
            Self::Drafts => "drafts",
            Self::Sent => "sent",
            Self::Junk => "junk",
            Self::Trash => "trash",
            Self::Archive => "archive",
        }
    }

    /// The LIST attribute (RFC 6154 §2); the inbox has none.
    pub fn attribute(self) -> Option<&'static str> {
        match self {
            Self::Inbox => None,
            Self::Drafts => Some("\\Drafts"),
            Self::Sent => Some("\\Sent"),
            Self::Junk => Some("\\Junk"),
            Self::Trash => Some("\\Trash"),
            Self::Archive => Some("\\Archive"),
        }
    }

    pub fn from_role(role: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|u| u.role() == role)
    }
}
