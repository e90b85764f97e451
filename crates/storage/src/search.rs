//! Search by criteria (RFC 9051 §6.4.4), answered from rows, part tables and, last, decoded bytes.

use types::{Flag, ModSeq, UidSet};

/// A criterion. Text is compared as a substring without regard to case; empty text always matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    All,
    And(Vec<Query>),
    Or(Vec<Query>),
    Not(Box<Query>),
    Flag(Flag),
    Keyword(String),
    Uids(UidSet),
    /// Size above, in bytes.
    Larger(u32),
    Smaller(u32),
    /// INTERNALDATE day, as days since 1970-01-01: from the first (inclusive) to the second (exclusive).
    ReceivedDays(i64, i64),
    /// The same of the Date header.
    SentDays(i64, i64),
    /// INTERNALDATE as Unix time: from (inclusive) to (exclusive).
    Received(i64, i64),
    From(String),
    To(String),
    Cc(String),
    Bcc(String),
    Subject(String),
    /// Any header field of that name holds the text.
    Header(String, String),
    /// Decoded text of the text parts.
    Body(String),
    /// Header or body.
    Text(String),
    /// Changed at or after this.
    ModSeq(ModSeq),
    HasAttachment,
}
