//! Search by criteria (RFC 9051 §6.4.4), answered from rows, then part tables, then, last, decoded bytes.
//!
//! A query becomes a [`Plan`], and [`Plan::decide`] answers yes, no or "not with what is known so far". So each
//! criterion is asked as early as it can be, and what is still open goes on: from the rows of the mailbox to
//! the part tables to the bytes, where one pass looks for all texts. An index of words belongs between: it
//! would give `decide` more facts, and what it leaves open is scanned as now.
//!
//! | file | holds |
//! |---|---|
//! | `anchor` | what tells of a text as it stands that something is not in it |
//! | `fold` | text in the form in which it is compared |
//! | `needles` | the texts looked for, and the pass that looks for them |
//! | `letter` | which bytes of a letter matter, and its text out of them |
//! | `work` | many letters on many cores |

mod anchor;
mod fold;
mod letter;
mod needles;
mod work;

use crate::read::{Decode, Reader};
use crate::{Error, Result};
use db::MessageRow;
use memchr::memmem::Finder;
use mparser::{Index, NamedAddress};
use needles::{Needles, Place};
use std::time::Duration;
use types::{AccountId, Date, EmailId, Flag, MailboxId, ModSeq, UidSet};

/// A criterion. Text is looked for without regard to case (RFC 5051) and not across lines; where it is looked for
/// stands in `letter`. Empty text is in everything that is there.
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

/// How much one search may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// People and their programs have given up by then.
    time: Duration,
    /// Of letters read: what a disk gives in that time.
    bytes: u64,
    /// Rows in the answer, which stay in memory until it is sent; larger mailboxes are asked in ranges.
    matches: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_mins(2), bytes: 64 << 30, matches: 2_000_000 }
    }
}

/// Rows of the mailbox that meet the query, ascending by UID; `gone` says when nobody waits for the answer any more.
pub(crate) fn search(
    reader: &Reader,
    account: AccountId,
    mailbox: MailboxId,
    query: &Query,
    gone: impl Fn() -> bool + Sync,
) -> Result<Vec<MessageRow>> {
    search_within(reader, account, mailbox, query, Limits::default(), &gone)
}

fn search_within(
    reader: &Reader,
    account: AccountId,
    mailbox: MailboxId,
    query: &Query,
    limits: Limits,
    gone: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<MessageRow>> {
    let plan = Plan::of(query)?;
    let read = reader.index.read()?;
    read.mailbox(account, mailbox)?.ok_or(Error::NoMailbox)?;
    let rows = read.messages(account, mailbox, &UidSet::all())?;
    drop(read);
    let (mut found, mut open) = (Vec::new(), Vec::new());
    for row in rows {
        match plan.decide(&Facts { row: &row, index: None, found: None }) {
            Some(true) => found.push(row),
            Some(false) => {}
            None => open.push(row),
        }
    }
    if !open.is_empty() {
        found.append(&mut work::decide_all(reader, account, &plan, &open, limits, gone)?);
        found.sort_unstable_by_key(|row| row.uid);
    }
    if found.len() > limits.matches {
        return Err(Error::SearchLimit("it finds too many messages"));
    }
    Ok(found)
}

/// A query made ready.
struct Plan {
    root: Node,
    needles: Needles,
}

/// Operands stand in the order of what they cost.
enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    /// The row tells.
    Row(Query),
    /// The part table tells.
    Table(Query),
    /// The part table tells, of the text it has of a field.
    Field(Field, Box<Finder<'static>>),
    /// The bytes tell: the needle of this number.
    Needle(usize),
}

/// What the part table has of the letter's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    From,
    To,
    Cc,
    Bcc,
    Subject,
}

/// What is known of a message so far.
struct Facts<'a> {
    row: &'a MessageRow,
    index: Option<&'a Index>,
    /// By number of needle.
    found: Option<&'a [bool]>,
}

impl Plan {
    fn of(query: &Query) -> Result<Self> {
        let mut needles = Needles::default();
        let root = Node::of(query, &mut needles)?;
        Ok(Self { root, needles })
    }

    /// Whether a message meets the query; `None`: that cannot be told yet.
    fn decide(&self, facts: &Facts<'_>) -> Option<bool> {
        self.root.decide(&self.needles, facts)
    }

    /// What reads as much of a part table as the plan asks of it.
    fn decode(&self) -> Decode {
        // A field asked for by its name may be in the table.
        let named = self.needles.any(|place| matches!(place, Place::Header(_)));
        let text = self.needles.any(|place| !matches!(place, Place::Header(_)));
        match (text, named || self.root.asks_header(), self.root.asks_parts()) {
            (true, false, false) => Index::decode_places,
            (false, true, false) if !named => Index::decode_header,
            _ => Index::decode,
        }
    }
}

impl Node {
    /// As deep as the query, whose depth the edges bound.
    fn of(query: &Query, needles: &mut Needles) -> Result<Self> {
        let mut all = |queries: &[Query]| {
            let nodes = queries.iter().map(|query| Self::of(query, needles));
            let mut nodes = nodes.collect::<Result<Vec<Self>>>()?;
            nodes.sort_by_key(Self::cost);
            Ok::<_, Error>(nodes)
        };
        let field = |field, text: &str| Ok(Self::Field(field, Box::new(needles::finder(text)?)));
        match query {
            Query::And(queries) => Ok(Self::And(all(queries)?)),
            Query::Or(queries) => Ok(Self::Or(all(queries)?)),
            Query::Not(query) => Ok(Self::Not(Box::new(Self::of(query, needles)?))),
            Query::From(text) => field(Field::From, text),
            Query::To(text) => field(Field::To, text),
            Query::Cc(text) => field(Field::Cc, text),
            Query::Bcc(text) => field(Field::Bcc, text),
            Query::Subject(text) => field(Field::Subject, text),
            // Every letter has a body, and a header.
            Query::Body(text) | Query::Text(text) if text.is_empty() => Ok(Self::Row(Query::All)),
            Query::Header(name, text) => {
                Ok(Self::Needle(needles.add(Place::Header(name.clone()), text)?))
            }
            Query::Body(text) => Ok(Self::Needle(needles.add(Place::Body, text)?)),
            Query::Text(text) => Ok(Self::Needle(needles.add(Place::Text, text)?)),
            Query::SentDays(..) | Query::HasAttachment => Ok(Self::Table(query.clone())),
            row => Ok(Self::Row(row.clone())),
        }
    }

    fn cost(&self) -> u8 {
        match self {
            Self::And(nodes) | Self::Or(nodes) => nodes.iter().map(Self::cost).max().unwrap_or(0),
            Self::Not(node) => node.cost(),
            Self::Row(_) => 0,
            Self::Table(_) | Self::Field(..) => 1,
            Self::Needle(_) => 2,
        }
    }

    fn any(&self, is: &dyn Fn(&Self) -> bool) -> bool {
        match self {
            Self::And(nodes) | Self::Or(nodes) => nodes.iter().any(|node| node.any(is)),
            Self::Not(node) => node.any(is),
            leaf => is(leaf),
        }
    }

    /// Some criterion is about the envelope.
    fn asks_header(&self) -> bool {
        self.any(&|leaf| matches!(leaf, Self::Field(..) | Self::Table(Query::SentDays(..))))
    }

    /// Some criterion is about more of the parts than where their text is.
    fn asks_parts(&self) -> bool {
        self.any(
            &|leaf| matches!(leaf, Self::Table(query) if !matches!(query, Query::SentDays(..))),
        )
    }

    fn decide(&self, needles: &Needles, facts: &Facts<'_>) -> Option<bool> {
        // One operand that is `decisive` settles it; one that is open leaves it open.
        let settle = |nodes: &[Self], decisive: bool| {
            let mut open = false;
            for node in nodes {
                match node.decide(needles, facts) {
                    Some(answer) if answer == decisive => return Some(decisive),
                    Some(_) => {}
                    None => open = true,
                }
            }
            (!open).then_some(!decisive)
        };
        match self {
            Self::And(nodes) => settle(nodes, false),
            Self::Or(nodes) => settle(nodes, true),
            Self::Not(node) => node.decide(needles, facts).map(|answer| !answer),
            Self::Row(query) => Some(row_meets(facts.row, query)),
            Self::Table(query) => facts.index.map(|index| table_meets(index, query)),
            Self::Field(field, finder) => facts.index.map(|index| field.holds(index, finder)),
            Self::Needle(number) => match (facts.found, facts.index) {
                (Some(found), _) => Some(found.get(*number).copied().unwrap_or(false)),
                (None, Some(index)) => {
                    let needle = needles.get(*number)?;
                    let Place::Header(name) = &needle.place else { return None };
                    letter::table_holds(index, name, |value| {
                        let value = mparser::decode_header_text(value.as_bytes());
                        needle.is_in(&fold::fold(&value))
                    })
                }
                (None, None) => None,
            },
        }
    }
}

fn row_meets(row: &MessageRow, query: &Query) -> bool {
    match query {
        Query::All => true,
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
        _ => false,
    }
}

fn table_meets(index: &Index, query: &Query) -> bool {
    match query {
        Query::SentDays(from, to) => {
            index.date().is_some_and(|date| (*from..*to).contains(&date.days()))
        }
        Query::HasAttachment => index.has_attachments(),
        _ => false,
    }
}

impl Field {
    /// Whether the field as people read it, `Name <local@domain>, …` for addresses, holds the text.
    fn holds(self, index: &Index, finder: &Finder<'_>) -> bool {
        let list = match self {
            Self::From => index.from_(),
            Self::To => index.to_(),
            Self::Cc => index.cc_(),
            Self::Bcc => index.bcc_(),
            Self::Subject => return finder.find(&fold::fold(&index.subject())).is_some(),
        };
        let shown: Vec<String> = list.iter().map(shown).collect();
        !list.is_empty() && finder.find(&fold::fold(&shown.join(", "))).is_some()
    }
}

fn shown(named: &NamedAddress) -> String {
    match &named.name {
        Some(name) => format!("{name} <{}>", named.address),
        None => named.address.clone(),
    }
}
