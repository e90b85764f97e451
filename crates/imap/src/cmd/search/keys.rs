//! SEARCH keys: the tables of keys, their parser, and what they ask of the store.

use crate::parse::{Bound, Parsed, Parser, Set, limits};
use crate::reply::Error;
use crate::selected::Selected;
use std::ops::Range;
use storage::{Query, View};
use types::{EmailId, Flag, ModSeq, ThreadId, UidSet};

/// `$` in one search. It may stand for every other message of a large mailbox, and each is a list of its own.
const SAVED_SETS: usize = 8;
/// SAVEDBEFORE and its like in one search: each makes a list too.
const SAVED_DAYS: usize = 8;
const DAY_S: i64 = 86_400;

/// Keys, and what the store or the session must say before they can be looked for.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "what is in a program, each for itself")]
pub(crate) struct Program {
    key: Key,
    /// Threads in it, whose emails the store must name first.
    pub(in crate::cmd) threads: Vec<ThreadId>,
    /// One of them is MODSEQ, so the answer tells the highest one found.
    pub(in crate::cmd) modseq: bool,
    /// There are message numbers in it.
    pub(in crate::cmd) numbers: bool,
    /// There is a `$` in it.
    pub(in crate::cmd) saved: bool,
    /// It asks when messages were saved.
    pub(in crate::cmd) saved_days: bool,
}

impl Program {
    /// What it asks of the store, in a mailbox. `threads` are the queries for [`Program::threads`], in order;
    /// `messages` are there when [`Program::saved_days`] is.
    pub(in crate::cmd) fn query(
        &self,
        view: &Selected,
        threads: &[Query],
        messages: Option<&View>,
        now_unix_s: i64,
    ) -> Result<Query, Error> {
        self.key.query(&Known { view, threads, messages, now_unix_s })
    }
}

/// What is known when a program is asked.
struct Known<'a> {
    view: &'a Selected,
    threads: &'a [Query],
    messages: Option<&'a View>,
    now_unix_s: i64,
}

/// A criterion as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// The same words mean the same to the store.
    Query(Query),
    And(Vec<Key>),
    Or(Box<(Key, Key)>),
    Not(Box<Key>),
    Numbers(Set),
    Uids(Set),
    /// Seconds back from now.
    Older(u32),
    Younger(u32),
    /// Days of SAVEDATE since 1970-01-01 (RFC 8514 §4.3).
    Saved(Range<i64>),
    /// The place of a thread in [`Program::threads`].
    Thread(usize),
}

/// A key without arguments: name, meaning, negated. Sorted by name.
static PLAIN: &[(&str, Plain, bool)] = &[
    ("ALL", Plain::All, false),
    ("ANSWERED", Plain::Flag(Flag::Answered), false),
    ("DELETED", Plain::Flag(Flag::Deleted), false),
    ("DRAFT", Plain::Flag(Flag::Draft), false),
    ("FLAGGED", Plain::Flag(Flag::Flagged), false),
    // \Recent is gone from IMAP, and none of our messages ever has it.
    ("NEW", Plain::All, true),
    ("OLD", Plain::All, false),
    ("RECENT", Plain::All, true),
    // RFC 8514 §4.3: that we know of each message when it was saved.
    ("SAVEDATESUPPORTED", Plain::All, false),
    ("SEEN", Plain::Flag(Flag::Seen), false),
    ("UNANSWERED", Plain::Flag(Flag::Answered), true),
    ("UNDELETED", Plain::Flag(Flag::Deleted), true),
    ("UNDRAFT", Plain::Flag(Flag::Draft), true),
    ("UNFLAGGED", Plain::Flag(Flag::Flagged), true),
    ("UNSEEN", Plain::Flag(Flag::Seen), true),
];

#[derive(Clone, Copy)]
enum Plain {
    All,
    Flag(Flag),
}

/// A key with an argument: name, meaning.
type Row<Argument, Meaning> = (&'static str, fn(Argument) -> Meaning);

/// A key with one text. Sorted by name.
static TEXT: &[Row<String, Query>] = &[
    ("BCC", Query::Bcc),
    ("BODY", Query::Body),
    ("CC", Query::Cc),
    ("FROM", Query::From),
    ("SUBJECT", Query::Subject),
    ("TEXT", Query::Text),
    ("TO", Query::To),
];

/// A key with a day: from the first day (inclusive) to the second (exclusive). Sorted by name.
static DAYS: &[Row<i64, Query>] = &[
    ("BEFORE", |day| Query::ReceivedDays(i64::MIN, day)),
    ("ON", |day| Query::ReceivedDays(day, day + 1)),
    ("SENTBEFORE", |day| Query::SentDays(i64::MIN, day)),
    ("SENTON", |day| Query::SentDays(day, day + 1)),
    ("SENTSINCE", |day| Query::SentDays(day, i64::MAX)),
    ("SINCE", |day| Query::ReceivedDays(day, i64::MAX)),
];

/// The same of the day of saving. Sorted by name.
static SAVED: &[Row<i64, Range<i64>>] = &[
    ("SAVEDBEFORE", |day| i64::MIN..day),
    ("SAVEDON", |day| day..day + 1),
    ("SAVEDSINCE", |day| day..i64::MAX),
];

/// A key with a number. Sorted by name.
static NUMBERS: &[Row<u32, Key>] = &[
    ("LARGER", |size_bytes| Key::Query(Query::Larger(size_bytes))),
    ("OLDER", Key::Older),
    ("SMALLER", |size_bytes| Key::Query(Query::Smaller(size_bytes))),
    ("YOUNGER", Key::Younger),
];

/// ```text
/// search-key *(SP search-key)
/// ```
pub(super) fn program(p: &mut Parser<'_>) -> Parsed<Program> {
    let mut keys = Keys {
        left: limits::SEARCH_KEYS,
        saved_left: SAVED_SETS,
        days_left: SAVED_DAYS,
        threads: Vec::new(),
        modseq: false,
        numbers: false,
    };
    let mut all = vec![keys.key(p)?];
    while p.more() {
        all.push(keys.key(p)?);
    }
    Ok(Program {
        key: and(all),
        threads: keys.threads,
        modseq: keys.modseq,
        numbers: keys.numbers,
        saved: keys.saved_left < SAVED_SETS,
        saved_days: keys.days_left < SAVED_DAYS,
    })
}

fn and(mut keys: Vec<Key>) -> Key {
    match keys.pop() {
        Some(only) if keys.is_empty() => only,
        last => {
            keys.extend(last);
            Key::And(keys)
        }
    }
}

struct Keys {
    /// How many more there may be.
    left: usize,
    saved_left: usize,
    days_left: usize,
    threads: Vec<ThreadId>,
    modseq: bool,
    numbers: bool,
}

impl Keys {
    /// ```text
    /// search-key = "ALL" / "ANSWERED" / "BCC" SP astring / "BEFORE" SP date / ... / "NOT" SP search-key /
    ///              "OR" SP search-key SP search-key / sequence-set / "UID" SP sequence-set /
    ///              "(" search-key *(SP search-key) ")"
    /// ```
    fn key(&mut self, p: &mut Parser<'_>) -> Parsed<Key> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => return p.wanted("fewer search keys"),
        }
        if p.peek() == Some(b'(') {
            let keys = p.list(limits::SEARCH_KEYS, |p| self.key(p))?;
            return if keys.is_empty() { p.wanted("a search key") } else { Ok(and(keys)) };
        }
        if p.at_set() {
            let set = self.set(p)?;
            // `$` is the same messages by number and by UID.
            self.numbers |= set.0.iter().any(|(a, _)| *a != Bound::Saved);
            return Ok(Key::Numbers(set));
        }
        if p.word("NOT") {
            p.sp()?;
            return Ok(Key::Not(Box::new(p.deeper(|p| self.key(p))?)));
        }
        if p.word("OR") {
            p.sp()?;
            return p.deeper(|p| {
                let first = self.key(p)?;
                p.sp()?;
                Ok(Key::Or(Box::new((first, self.key(p)?))))
            });
        }
        self.leaf(p)
    }

    fn set(&mut self, p: &mut Parser<'_>) -> Parsed<Set> {
        let set = p.set()?;
        if set.0.iter().any(|(a, _)| *a == Bound::Saved) {
            match self.saved_left.checked_sub(1) {
                Some(left) => self.saved_left = left,
                None => return p.wanted("fewer sets with $"),
            }
        }
        Ok(set)
    }

    fn leaf(&mut self, p: &mut Parser<'_>) -> Parsed<Key> {
        if let Some((_, plain, negated)) = PLAIN.iter().find(|(name, ..)| p.word(name)) {
            let key = Key::Query(match plain {
                Plain::All => Query::All,
                Plain::Flag(flag) => Query::Flag(*flag),
            });
            return Ok(if *negated { Key::Not(Box::new(key)) } else { key });
        }
        if let Some((_, query)) = TEXT.iter().find(|(name, _)| p.word(name)) {
            p.sp()?;
            return Ok(Key::Query(query(p.astring_utf8()?)));
        }
        if let Some((_, query)) = DAYS.iter().find(|(name, _)| p.word(name)) {
            p.sp()?;
            return Ok(Key::Query(query(p.date()?)));
        }
        if let Some((_, days)) = SAVED.iter().find(|(name, _)| p.word(name)) {
            match self.days_left.checked_sub(1) {
                Some(left) => self.days_left = left,
                None => return p.wanted("fewer days of saving"),
            }
            p.sp()?;
            return Ok(Key::Saved(days(p.date()?)));
        }
        if let Some((_, key)) = NUMBERS.iter().find(|(name, _)| p.word(name)) {
            p.sp()?;
            // Larger than any letter, longer than anybody keeps them.
            return Ok(key(u32::try_from(p.number64()?).unwrap_or(u32::MAX)));
        }
        let words = ["UID", "HEADER", "KEYWORD", "UNKEYWORD", "EMAILID", "MODSEQ", "THREADID"];
        let which = p.one_of(&words, "a search key")?;
        p.sp()?;
        match which {
            0 => self.set(p).map(Key::Uids),
            1 => {
                let name = p.astring_utf8()?;
                p.sp()?;
                Ok(Key::Query(Query::Header(name, p.astring_utf8()?)))
            }
            2 => Ok(Key::Query(Query::Keyword(p.atom()?.to_owned()))),
            3 => {
                let keyword = Key::Query(Query::Keyword(p.atom()?.to_owned()));
                Ok(Key::Not(Box::new(keyword)))
            }
            4 => {
                let email = number_after('M', p.atom()?);
                Ok(Key::Query(email.map_or_else(nothing, |n| Query::Email(EmailId(n)))))
            }
            5 => {
                // RFC 7162 §3.1.5: which flag it is about may be said; a message has one MODSEQ for all.
                if p.peek() == Some(b'"') {
                    p.string()?;
                    p.sp()?;
                    p.one_of(&["ALL", "PRIV", "SHARED"], "all, priv or shared")?;
                    p.sp()?;
                }
                self.modseq = true;
                Ok(Key::Query(Query::ModSeq(ModSeq(p.number64()?))))
            }
            _ => Ok(match number_after('T', p.atom()?) {
                Some(n) => {
                    self.threads.push(ThreadId(n));
                    Key::Thread(self.threads.len() - 1)
                }
                None => Key::Query(nothing()),
            }),
        }
    }
}

/// `M12` or `T12`. Another text is no id we ever gave: it finds nothing.
fn number_after(letter: char, text: &str) -> Option<u64> {
    text.strip_prefix(letter)?.parse().ok()
}

fn nothing() -> Query {
    Query::Not(Box::new(Query::All))
}

impl Key {
    /// As deep as the parser allowed, no deeper.
    fn query(&self, known: &Known<'_>) -> Result<Query, Error> {
        Ok(match self {
            Self::Query(query) => query.clone(),
            Self::And(keys) => {
                Query::And(keys.iter().map(|key| key.query(known)).collect::<Result<_, _>>()?)
            }
            Self::Or(keys) => Query::Or(vec![keys.0.query(known)?, keys.1.query(known)?]),
            Self::Not(key) => Query::Not(Box::new(key.query(known)?)),
            Self::Numbers(set) => Query::Uids(known.view.resolve(set, false)?),
            Self::Uids(set) => Query::Uids(known.view.resolve(set, true)?),
            // RFC 5032 §3: the interval's end belongs to YOUNGER.
            Self::Older(age_s) => Query::Received(i64::MIN, known.now_unix_s - i64::from(*age_s)),
            Self::Younger(age_s) => Query::Received(known.now_unix_s - i64::from(*age_s), i64::MAX),
            Self::Saved(days) => Query::Uids(saved_in(days, known.messages)),
            Self::Thread(at) => known.threads.get(*at).cloned().unwrap_or_else(nothing),
        })
    }
}

fn saved_in(days: &Range<i64>, messages: Option<&View>) -> UidSet {
    let entries = messages.into_iter().flat_map(View::entries);
    let within = entries.filter(|entry| days.contains(&entry.saved_unix_s.div_euclid(DAY_S)));
    within.map(|entry| entry.uid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::whole;
    use types::{MailboxId, Uid};

    #[test]
    fn the_tables_are_sorted() {
        assert!(PLAIN.is_sorted_by(|a, b| a.0 < b.0));
        assert!(TEXT.is_sorted_by(|a, b| a.0 < b.0));
        assert!(DAYS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(SAVED.is_sorted_by(|a, b| a.0 < b.0));
        assert!(NUMBERS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn keys() {
        #[track_caller]
        fn check(found: Option<Query>, expect: Option<&str>) {
            assert_eq!(found.map(|q| format!("{q:?}")).as_deref(), expect);
        }
        let uids: Vec<_> = [3, 5, 9].into_iter().filter_map(Uid::new).collect();
        let mut view = Selected::new(MailboxId(1), false, uids.into(), ModSeq(0));
        view.save([3, 9].into_iter().filter_map(Uid::new).collect());
        let query = |text: &str| {
            let program = whole(text.as_bytes(), program).ok()?;
            program.query(&view, &[Query::Or(vec![Query::Email(EmailId(7))])], None, 1_000).ok()
        };
        check(query("ALL"), Some("All"));
        check(query("unseen"), Some("Not(Flag(Seen))"));
        check(query("SEEN ANSWERED"), Some("And([Flag(Seen), Flag(Answered)])"));
        check(query("(SEEN)"), Some("Flag(Seen)"));
        check(query("( SEEN  DRAFT )"), Some("And([Flag(Seen), Flag(Draft)])"));
        check(query("OR SEEN NOT DRAFT"), Some("Or([Flag(Seen), Not(Flag(Draft))])"));
        check(query("FROM \"za \u{17c}\""), Some("From(\"za \u{17c}\")"));
        check(query("SUBJECT {3}\r\na b TO x"), Some("And([Subject(\"a b\"), To(\"x\")])"));
        check(query("HEADER Message-ID \"\""), Some("Header(\"Message-ID\", \"\")"));
        check(query("KEYWORD $a"), Some("Keyword(\"$a\")"));
        check(query("UNKEYWORD $a"), Some("Not(Keyword(\"$a\"))"));
        check(query("SINCE 2-Jan-1970"), Some("ReceivedDays(1, 9223372036854775807)"));
        check(query("SENTON \"2-Jan-1970\""), Some("SentDays(1, 2)"));
        check(query("LARGER 10"), Some("Larger(10)"));
        check(query("YOUNGER 10"), Some("Received(990, 9223372036854775807)"));
        check(query("NEW"), Some("Not(All)"));
        let set = |ranges: &[(u32, u32)]| {
            let uid = |n| Uid::new(n).unwrap();
            let ranges = ranges.iter().map(|(a, b)| (uid(*a), uid(*b)));
            Some(format!("{:?}", Query::Uids(UidSet::from_ranges(ranges))))
        };
        check(query("2:*"), set(&[(5, 9)]).as_deref());
        check(query("UID 4:*"), set(&[(4, 9)]).as_deref());
        check(query("$,2"), set(&[(3, 3), (5, 5), (9, 9)]).as_deref());
        check(query("UID $"), set(&[(3, 3), (9, 9)]).as_deref());
        check(query(&"$ ".repeat(SAVED_SETS + 1)), None);
        check(query("LARGER 99999999999"), Some("Larger(4294967295)"));
        check(query("SAVEDATESUPPORTED"), Some("All"));
        check(query("SAVEDON 1-Jan-2026"), set(&[]).as_deref());
        check(query(&"SAVEDON 1-Jan-2026 ".repeat(SAVED_DAYS + 1)), None);
        check(query("EMAILID M5"), Some("Email(EmailId(5))"));
        check(query("EMAILID 5"), Some("Not(All)"));
        check(query("MODSEQ 620162338"), Some("ModSeq(ModSeq(620162338))"));
        let flag = "MODSEQ \"/flags/\\\\draft\" all 7 SEEN";
        check(query(flag), Some("And([ModSeq(ModSeq(7)), Flag(Seen)])"));
        check(query("MODSEQ \"/flags/\\\\draft\" some 7"), None);
        check(query("MODSEQ x"), None);
        check(query("THREADID T5"), Some("Or([Email(EmailId(7))])"));
        check(query("THREADID nonsense"), Some("Not(All)"));
        check(query("4"), None);
        check(query(""), None);
        check(query("()"), None);
        check(query("FOO"), None);
        check(query("OR SEEN"), None);
        check(query("NOT"), None);
        check(query("FROM"), None);
        check(query("SINCE 31-Feb-2020"), None);
        check(query("LARGER -1"), None);
        check(query("SEEN)"), None);
    }
}
