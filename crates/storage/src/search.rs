//! Search by criteria (RFC 9051 §6.4.4), answered from rows, part tables and, last, decoded bytes.

use crate::letter::Email;
use crate::read::Reader;
use crate::{Error, Result};
use db::MessageRow;
use mparser::{Message, NamedAddress};
use std::cell::OnceCell;
use std::sync::Arc;
use types::{AccountId, Date, EmailId, Flag, MailboxId, ModSeq, UidSet};

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
    Email(EmailId),
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

/// Rows of the mailbox that meet the query; `gone` says when nobody waits for the answer any more.
pub(crate) fn search(
    reader: &Reader,
    account: AccountId,
    mailbox: MailboxId,
    query: &Query,
    gone: impl Fn() -> bool,
) -> Result<Vec<MessageRow>> {
    let read = reader.index.read()?;
    read.mailbox(account, mailbox)?.ok_or(Error::NoMailbox)?;
    let rows = read.messages(account, mailbox, &UidSet::all())?;
    drop(read);
    let query = query.prepare();
    let mut found = Vec::new();
    for row in rows {
        if gone() {
            return Err(Error::Closed);
        }
        let candidate = Candidate { reader, account, row: &row, letter: OnceCell::new() };
        if candidate.meets(&query)? {
            found.push(row);
        }
    }
    Ok(found)
}

impl Query {
    /// The same with text in lower case, and what is cheap to ask first.
    fn prepare(&self) -> Self {
        let all = |queries: &[Self]| {
            let mut queries: Vec<Self> = queries.iter().map(Self::prepare).collect();
            queries.sort_by_key(Self::cost);
            queries
        };
        match self {
            Self::And(queries) => Self::And(all(queries)),
            Self::Or(queries) => Self::Or(all(queries)),
            Self::Not(query) => Self::Not(Box::new(query.prepare())),
            Self::From(text) => Self::From(text.to_lowercase()),
            Self::To(text) => Self::To(text.to_lowercase()),
            Self::Cc(text) => Self::Cc(text.to_lowercase()),
            Self::Bcc(text) => Self::Bcc(text.to_lowercase()),
            Self::Subject(text) => Self::Subject(text.to_lowercase()),
            Self::Header(name, text) => Self::Header(name.clone(), text.to_lowercase()),
            Self::Body(text) => Self::Body(text.to_lowercase()),
            Self::Text(text) => Self::Text(text.to_lowercase()),
            other => other.clone(),
        }
    }

    /// 0: the row answers; 1: the part table; 2: the bytes.
    fn cost(&self) -> u8 {
        match self {
            Self::And(queries) | Self::Or(queries) => {
                queries.iter().map(Self::cost).max().unwrap_or(0)
            }
            Self::Not(query) => query.cost(),
            Self::SentDays(..)
            | Self::From(_)
            | Self::To(_)
            | Self::Cc(_)
            | Self::Bcc(_)
            | Self::Subject(_)
            | Self::HasAttachment => 1,
            Self::Header(..) | Self::Body(_) | Self::Text(_) => 2,
            _ => 0,
        }
    }
}

/// A message that may be looked at more closely, but only when a criterion asks for it.
struct Candidate<'a> {
    reader: &'a Reader,
    account: AccountId,
    row: &'a MessageRow,
    /// `None` when the email was removed meanwhile.
    letter: OnceCell<Option<Arc<Email>>>,
}

impl Candidate<'_> {
    fn meets(&self, query: &Query) -> Result<bool> {
        let row = self.row;
        Ok(match query {
            Query::All => true,
            Query::And(queries) => {
                for query in queries {
                    if !self.meets(query)? {
                        return Ok(false);
                    }
                }
                true
            }
            Query::Or(queries) => {
                for query in queries {
                    if self.meets(query)? {
                        return Ok(true);
                    }
                }
                false
            }
            Query::Not(query) => !self.meets(query)?,
            Query::Flag(flag) => row.flags.contains(*flag),
            Query::Keyword(name) => row.flags.has_keyword(name),
            Query::Uids(uids) => uids.contains(row.uid),
            Query::Email(email) => row.email == *email,
            Query::Larger(size) => row.size_bytes > *size,
            Query::Smaller(size) => row.size_bytes < *size,
            Query::Received(from, to) => (*from..*to).contains(&row.received_unix_s),
            Query::ReceivedDays(from, to) => {
                (*from..*to).contains(&Date::from_unix_s(row.received_unix_s).days())
            }
            Query::ModSeq(modseq) => row.modseq >= *modseq,
            closer => match self.letter()? {
                Some(email) => self.letter_meets(&email, closer)?,
                None => false,
            },
        })
    }

    fn letter(&self) -> Result<Option<Arc<Email>>> {
        if let Some(letter) = self.letter.get() {
            return Ok(letter.clone());
        }
        let email = self.reader.emails(self.account, &[self.row.email])?.pop();
        Ok(self.letter.get_or_init(|| email).clone())
    }

    fn letter_meets(&self, email: &Email, query: &Query) -> Result<bool> {
        let index = &email.index;
        Ok(match query {
            Query::SentDays(from, to) => {
                index.date().is_some_and(|date| (*from..*to).contains(&date.days()))
            }
            Query::From(text) => names(&index.from_(), text),
            Query::To(text) => names(&index.to_(), text),
            Query::Cc(text) => names(&index.cc_(), text),
            Query::Bcc(text) => names(&index.bcc_(), text),
            Query::Subject(text) => holds(&index.subject(), text),
            Query::HasAttachment => !index.attachments().is_empty(),
            Query::Header(name, text) => {
                let bytes = self.reader.bytes(email.id, email.blob)?;
                let message = Message::with_index(&bytes, (**index).clone());
                let mut fields = message.headers();
                fields.any(|field| {
                    field.name.eq_ignore_ascii_case(name.as_bytes())
                        && value_holds(field.value, text)
                })
            }
            Query::Body(text) => {
                let bytes = self.reader.bytes(email.id, email.blob)?;
                body_holds(&Message::with_index(&bytes, (**index).clone()), text)
            }
            Query::Text(text) => {
                let bytes = self.reader.bytes(email.id, email.blob)?;
                let message = Message::with_index(&bytes, (**index).clone());
                message.headers().any(|field| {
                    value_holds(field.value, text)
                        || holds(&String::from_utf8_lossy(field.name), text)
                }) || body_holds(&message, text)
            }
            _ => false,
        })
    }
}

/// `text` is in lower case already.
fn holds(value: &str, text: &str) -> bool {
    text.is_empty() || value.to_lowercase().contains(text)
}

fn value_holds(raw: &[u8], text: &str) -> bool {
    text.is_empty() || holds(&mparser::decode_header_text(raw), text)
}

fn names(list: &[NamedAddress], text: &str) -> bool {
    list.iter().any(|named| {
        named.name.as_ref().is_some_and(|name| holds(name, text)) || holds(&named.address, text)
    })
}

fn body_holds(message: &Message<'_>, text: &str) -> bool {
    text.is_empty()
        || message
            .index()
            .parts
            .iter()
            .enumerate()
            .any(|(at, part)| part.media_type == "text" && holds(&message.text(at), text))
}
