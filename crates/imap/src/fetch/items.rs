//! What may be fetched: the table of items without arguments, and their parser.

use super::Section;
use crate::parse::{Parsed, Parser, limits};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Body,
    BodyStructure,
    EmailId,
    Envelope,
    Flags,
    InternalDate,
    ModSeq,
    Preview,
    SaveDate,
    Section(Box<Section>),
    Size,
    ThreadId,
    Uid,
}

impl Item {
    /// It needs more than the message's row.
    pub(crate) fn needs_email(&self) -> bool {
        use Item::{Body, BodyStructure, Envelope, Preview, ThreadId};
        matches!(self, Body | BodyStructure | Envelope | Preview | ThreadId | Item::Section(_))
    }
}

/// An item without arguments: name, meaning, where it is specified. Sorted by name.
static ITEMS: &[(&str, Item, &str)] = &[
    ("BODY", Item::Body, "RFC 9051 §6.4.5"),
    ("BODYSTRUCTURE", Item::BodyStructure, "RFC 9051 §6.4.5"),
    ("EMAILID", Item::EmailId, "RFC 8474 §5.1"),
    ("ENVELOPE", Item::Envelope, "RFC 9051 §6.4.5"),
    ("FLAGS", Item::Flags, "RFC 9051 §6.4.5"),
    ("INTERNALDATE", Item::InternalDate, "RFC 9051 §6.4.5"),
    ("MODSEQ", Item::ModSeq, "RFC 7162 §3.1.4.2"),
    ("RFC822.SIZE", Item::Size, "RFC 9051 §6.4.5"),
    ("SAVEDATE", Item::SaveDate, "RFC 8514 §4.2"),
    ("THREADID", Item::ThreadId, "RFC 8474 §5.2"),
    ("UID", Item::Uid, "RFC 9051 §6.4.5"),
];

/// Names for several items (RFC 9051 §6.4.5); they stand alone, not in parentheses.
static MACROS: &[(&str, &[Item])] = &[
    ("ALL", &[Item::Flags, Item::InternalDate, Item::Size, Item::Envelope]),
    ("FAST", &[Item::Flags, Item::InternalDate, Item::Size]),
    ("FULL", &[Item::Flags, Item::InternalDate, Item::Size, Item::Envelope, Item::Body]),
];

/// ```text
/// fetch-items = "ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")"
/// ```
pub(crate) fn items(p: &mut Parser<'_>) -> Parsed<Vec<Item>> {
    if p.peek() == Some(b'(') {
        let items = p.list(limits::FETCH_ITEMS, item)?;
        return if items.is_empty() { p.wanted("something to fetch") } else { Ok(items) };
    }
    if let Some((_, items)) = MACROS.iter().find(|(name, _)| p.word(name)) {
        return Ok(items.to_vec());
    }
    Ok(vec![item(p)?])
}

/// ```text
/// fetch-att = "ENVELOPE" / "FLAGS" / "INTERNALDATE" / "RFC822" [".HEADER" / ".SIZE" / ".TEXT"] /
///             "BODY" ["STRUCTURE"] / "UID" / "BODY" [".PEEK"] section ["<" number64 "." nz-number64 ">"] /
///             "BINARY" [".PEEK"] section-binary ["<" number64 "." nz-number64 ">"] / "BINARY.SIZE" section-binary
/// ```
fn item(p: &mut Parser<'_>) -> Parsed<Item> {
    if let Some(section) = Section::parse(p)? {
        return Ok(Item::Section(Box::new(section)));
    }
    if p.word("PREVIEW") {
        lazy(p)?;
        return Ok(Item::Preview);
    }
    match ITEMS.iter().find(|(name, ..)| p.word(name)) {
        Some((_, item, _)) => Ok(item.clone()),
        None => p.wanted("something to fetch"),
    }
}

/// `PREVIEW (LAZY)` (RFC 8970): ours are always at hand, so that it makes no difference.
fn lazy(p: &mut Parser<'_>) -> Parsed<()> {
    let mut ahead = p.clone();
    ahead.skip_spaces();
    if ahead.peek() == Some(b'(') {
        *p = ahead;
        p.list(1, |p| p.one_of(&["LAZY"], "LAZY"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::whole;

    #[test]
    fn the_table_is_sorted() {
        assert!(ITEMS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn fetch_items() {
        #[track_caller]
        fn check(text: &str, expect: Option<usize>) {
            let found = whole(text.as_bytes(), items).ok();
            assert_eq!(found.map(|i| i.len()), expect, "{text}");
        }
        check("ALL", Some(4));
        check("fast", Some(3));
        check("FULL", Some(5));
        check("(ALL)", None);
        check("UID", Some(1));
        check("(UID)", Some(1));
        check("( uid  flags )", Some(2));
        check("(FLAGS BODY[] BODYSTRUCTURE BODY)", Some(4));
        check("(PREVIEW (LAZY) UID PREVIEW)", Some(3));
        check("PREVIEW (HASTY)", None);
        check("(RFC822 RFC822.SIZE RFC822.HEADER RFC822.TEXT)", Some(4));
        check("()", None);
        check("UID FLAGS", None);
        check("FOO", None);
        check("BODYSTRUCTURE[]", None);
        check("(UID", None);
    }
}
