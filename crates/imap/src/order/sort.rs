//! Sort keys (RFC 5256 §3, RFC 5957 §3), and the sort.

use super::casemap::casemap;
use crate::noted;
use crate::parse::{Parsed, Parser, limits};
use mparser::{Envelope, Index, Mailbox, MailboxKind, NamedAddress, decode_header_text};
use std::cmp::Ordering;
use std::sync::Arc;
use storage::{Email, Message};

/// Names longer than this are compared by their beginning.
const NAME_BYTES: usize = 1_000;

/// What a message is compared by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Number(i64),
    Text(Arc<[u8]>),
}

impl Value {
    /// A number that is in order with the values: most are told apart by it, without a look at their bytes.
    fn beginning(&self) -> u64 {
        match self {
            // Negative ones before the others.
            Self::Number(number) => number.cast_unsigned() ^ (1 << 63),
            Self::Text(text) => {
                let mut first = [0; 8];
                first.iter_mut().zip(&**text).for_each(|(to, from)| *to = *from);
                u64::from_be_bytes(first)
            }
        }
    }
}

/// Where a key's value comes from.
#[derive(Clone, Copy)]
enum Source {
    Row(fn(&Message) -> i64),
    Date,
    Subject,
    /// `addr-mailbox` of the first address.
    Address(fn(&Envelope) -> &Vec<Mailbox>),
    /// What a client shows of it.
    Display(fn(&Envelope) -> &Vec<Mailbox>),
}

/// Name, value, section. Sorted by name.
static KEYS: &[(&str, Source, &str)] = &[
    ("ARRIVAL", Source::Row(|row| row.received_unix_s), "RFC 5256 §3"),
    ("CC", Source::Address(|e| &e.cc), "RFC 5256 §3"),
    ("DATE", Source::Date, "RFC 5256 §3"),
    ("DISPLAYFROM", Source::Display(|e| &e.from), "RFC 5957 §3"),
    ("DISPLAYTO", Source::Display(|e| &e.to), "RFC 5957 §3"),
    ("FROM", Source::Address(|e| &e.from), "RFC 5256 §3"),
    ("SIZE", Source::Row(|row| i64::from(row.size_bytes)), "RFC 5256 §3"),
    ("SUBJECT", Source::Subject, "RFC 5256 §3"),
    ("TO", Source::Address(|e| &e.to), "RFC 5256 §3"),
];

/// What is sorted by, in the order of what counts most: the place in [`KEYS`], and whether in reverse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys(Vec<(usize, bool)>);

impl Keys {
    /// ```text
    /// sort-criteria  = "(" sort-criterion *(SP sort-criterion) ")"
    /// sort-criterion = ["REVERSE" SP] sort-key
    /// sort-key       = "ARRIVAL" / "CC" / "DATE" / "FROM" / "SIZE" / "SUBJECT" / "TO" /
    ///                  "DISPLAYFROM" / "DISPLAYTO"
    /// ```
    pub(crate) fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        let mut keys: Vec<(usize, bool)> = Vec::new();
        p.list(limits::OPTIONS, |p| {
            let reverse = p.word("REVERSE");
            if reverse {
                p.sp()?;
            }
            let Some(key) = KEYS.iter().position(|(name, ..)| p.word(name)) else {
                return p.wanted("a sort key");
            };
            // Named again, it decides nothing more.
            if !keys.iter().any(|(other, _)| *other == key) {
                keys.push((key, reverse));
            }
            Ok(())
        })?;
        if keys.is_empty() { p.wanted("a sort key") } else { Ok(Self(keys)) }
    }

    pub(crate) fn needs_emails(&self) -> bool {
        self.sources().any(|source| !matches!(source, Source::Row(_)))
    }

    fn sources(&self) -> impl Iterator<Item = Source> {
        self.0.iter().filter_map(|(key, _)| KEYS.get(*key).map(|(_, source, _)| *source))
    }

    fn values(&self, message: &Message, email: Option<&Email>) -> impl Iterator<Item = Value> {
        let value = move |source: Source| match (source, email) {
            (Source::Date, Some(email)) => {
                Value::Number(noted::keys(email).sent_unix_s.unwrap_or(message.received_unix_s))
            }
            (Source::Subject, Some(email)) => Value::Text(noted::keys(email).subject),
            _ => source.value(message, email.map(|email| &*email.index)),
        };
        self.sources().map(value)
    }

    fn compare(&self, a: &[Value], b: &[Value]) -> Ordering {
        for ((_, reverse), (a, b)) in self.0.iter().zip(a.iter().zip(b)) {
            match a.cmp(b) {
                Ordering::Equal => {}
                order if *reverse => return order.reverse(),
                order => return order,
            }
        }
        Ordering::Equal
    }
}

impl Source {
    fn value(self, message: &Message, index: Option<&Index>) -> Value {
        let text = |text: Vec<u8>| Value::Text(text.into());
        match (self, index) {
            (Self::Row(value), _) => Value::Number(value(message)),
            (Self::Address(list), Some(index)) => {
                text(casemap(list(&index.envelope).first().map_or("", |m| cut(&m.local))))
            }
            (Self::Display(list), Some(index)) => text(casemap(cut(&shown(list(&index.envelope))))),
            // Noted, and never asked without the email.
            (Self::Date | Self::Subject, _) => Value::Number(0),
            (_, None) => text(Vec::new()),
        }
    }
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(NAME_BYTES)).unwrap_or(text)
}

/// RFC 5957 §3: the name of the first address, or the address itself; of a group, its name.
fn shown(list: &[Mailbox]) -> String {
    let Some(first) = list.first() else { return String::new() };
    if first.kind == MailboxKind::GroupStart {
        return decode_header_text(first.local.as_bytes());
    }
    let named = NamedAddress::list(std::slice::from_ref(first)).pop();
    named.map_or_else(String::new, |named| match named.name {
        Some(name) if !name.is_empty() => name,
        _ => named.address,
    })
}

/// Messages with their values, to be sorted.
pub(crate) struct Sorter {
    keys: Keys,
    /// Of all messages one behind the other.
    values: Vec<Value>,
    rows: Vec<Row>,
}

struct Row {
    /// Of the first key.
    beginning: u64,
    /// Where its values begin.
    at: usize,
    number: u32,
}

impl Sorter {
    pub(crate) fn new(keys: Keys) -> Self {
        Self { keys, values: Vec::new(), rows: Vec::new() }
    }

    /// In ascending order of `number`, which decides between messages that are the same otherwise.
    pub(crate) fn take(&mut self, number: u32, message: &Message, email: Option<&Email>) {
        let at = self.values.len();
        self.values.extend(self.keys.values(message, email));
        let beginning = self.values.get(at).map_or(0, Value::beginning);
        self.rows.push(Row { beginning, at, number });
    }

    pub(crate) fn sorted(self) -> Vec<u32> {
        let Self { keys, values, mut rows } = self;
        let reverse = keys.0.first().is_some_and(|(_, reverse)| *reverse);
        let of = |row: &Row| values.get(row.at..).unwrap_or_default();
        rows.sort_by(|a, b| match a.beginning.cmp(&b.beginning) {
            Ordering::Equal => keys.compare(of(a), of(b)),
            order if reverse => order.reverse(),
            order => order,
        });
        rows.into_iter().map(|row| row.number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::whole;

    #[test]
    fn the_table_is_sorted() {
        assert!(KEYS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(KEYS.iter().all(|(.., spec)| spec.starts_with("RFC ")));
    }

    #[test]
    fn beginnings_are_in_order_with_the_values() {
        let check = |values: &[Value]| {
            assert!(values.is_sorted());
            assert!(values.is_sorted_by_key(Value::beginning));
        };
        check(&[i64::MIN, -2, -1, 0, 1, 2, i64::MAX].map(Value::Number));
        check(
            &["", "\0", "A", "A\0", "AB", "B", "SUBJECT", "SUBJECT 1", "SUBJECT 2", "\u{105}"]
                .map(|text| Value::Text(text.as_bytes().into())),
        );
    }

    #[test]
    fn keys() {
        #[track_caller]
        fn check(text: &str, expect: Option<&[(&str, bool)]>) {
            let found = whole(text.as_bytes(), Keys::parse).ok();
            let found = found.map(|k| k.0.iter().map(|(key, r)| (KEYS[*key].0, *r)).collect());
            assert_eq!(found, expect.map(<[_]>::to_vec), "{text}");
        }
        check("(DATE)", Some(&[("DATE", false)]));
        check("(reverse date  SUBJECT)", Some(&[("DATE", true), ("SUBJECT", false)]));
        check("(SIZE REVERSE SIZE SIZE)", Some(&[("SIZE", false)]));
        check(
            "(DISPLAYFROM REVERSE DISPLAYTO)",
            Some(&[("DISPLAYFROM", false), ("DISPLAYTO", true)]),
        );
        check("()", None);
        check("(REVERSE)", None);
        check("(REVERSE REVERSE DATE)", None);
        check("(COLOUR)", None);
        check("DATE", None);
        check(&format!("({})", "DATE ".repeat(1_000)), None);
    }

    #[test]
    fn names() {
        #[track_caller]
        fn check(from: &str, address: &str, display: &str) {
            let index = Index::of(format!("From: {from}\r\n\r\n").as_bytes());
            let value = |key: &str| {
                let (_, source, _) = KEYS.iter().find(|(name, ..)| *name == key).unwrap();
                let row = Message {
                    uid: types::Uid::MIN,
                    email: types::EmailId(1),
                    modseq: types::ModSeq(1),
                    flags: types::Flags::default(),
                    received_unix_s: 0,
                    saved_unix_s: 0,
                    size_bytes: 0,
                };
                match source.value(&row, Some(&index)) {
                    Value::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
                    Value::Number(n) => n.to_string(),
                }
            };
            assert_eq!((value("FROM").as_str(), value("DISPLAYFROM").as_str()), (address, display));
        }
        check("Ala Kot <kot@example.test>", "KOT", "ALA KOT");
        check("kot@example.test, b@example.test", "KOT", "KOT@EXAMPLE.TEST");
        check("=?utf-8?Q?=C3=B3?= <kot@example.test>", "KOT", "O\u{301}");
        check("\"\" <kot@example.test>", "KOT", "KOT@EXAMPLE.TEST");
        check("team: a@example.test, b@example.test;", "TEAM", "TEAM");
        check("", "", "");
        check(&format!("{}ż@example.test", "a".repeat(999)), &"A".repeat(999), &"A".repeat(999));
    }
}
