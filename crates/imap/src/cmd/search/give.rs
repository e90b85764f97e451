//! What RETURN asks of SEARCH, SORT and ESEARCH (RFC 4731, RFC 5182, RFC 5267, RFC 9394), and the line that gives it.

use crate::encode;
use crate::parse::{Parsed, Parser, limits};
use types::{ModSeq, Uid, UidSet};

/// What is asked for. Several at once, but for two PARTIALs, or PARTIAL with ALL.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "words of the protocol, any of them at once")]
pub(crate) struct Give {
    min: bool,
    max: bool,
    all: bool,
    count: bool,
    /// What is found becomes `$` (RFC 5182 §2).
    pub(crate) save: bool,
    /// The client wants to hear what changes in it (RFC 5267 §4.3).
    pub(crate) update: bool,
    partial: Option<Partial>,
}

/// A piece of what was found, counted from 1 at the beginning or from -1 at the end (RFC 9394 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Partial {
    from_end: bool,
    /// As the client wrote them; either may be the larger.
    ends: (u32, u32),
}

static OPTIONS: &[&str] = &["ALL", "CONTEXT", "COUNT", "MAX", "MIN", "PARTIAL", "SAVE", "UPDATE"];

impl Give {
    /// What SEARCH gives in `IMAP4rev2` when nothing is said (RFC 9051 §6.4.4).
    pub(crate) const ALL: Self = Self {
        min: false,
        max: false,
        all: true,
        count: false,
        save: false,
        update: false,
        partial: None,
    };

    /// ```text
    /// search-return-opts = "(" [search-return-opt *(SP search-return-opt)] ")"
    /// search-return-opt  = "MIN" / "MAX" / "ALL" / "COUNT" / "SAVE" / "PARTIAL" SP partial-range /
    ///                      "CONTEXT" / "UPDATE"
    /// ```
    pub(crate) fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        let mut give = Self::default();
        p.list(limits::OPTIONS, |p| {
            match p.one_of(OPTIONS, "MIN, MAX, ALL, COUNT, SAVE, PARTIAL or UPDATE")? {
                0 => give.all = true,
                // A hint that there will be more questions (RFC 5267 §4.2).
                1 => {}
                2 => give.count = true,
                3 => give.max = true,
                4 => give.min = true,
                5 if give.partial.is_some() => return p.wanted("PARTIAL once"),
                5 => {
                    p.sp()?;
                    give.partial = Some(Partial::parse(p)?);
                }
                6 => give.save = true,
                _ => give.update = true,
            }
            Ok(())
        })?;
        if give.all && give.partial.is_some() {
            return p.wanted("either ALL or PARTIAL");
        }
        // RFC 4731 §3.1: nothing asked for is ALL.
        give.all |= Self { update: false, ..give.clone() } == Self::default();
        Ok(give)
    }

    /// SAVE alone is answered by nothing but OK (RFC 5182 §2.1).
    pub(crate) fn says_nothing(&self) -> bool {
        *self == Self { save: true, update: self.update, ..Self::default() }
    }

    /// The part of what was found that is given message by message: all but with MIN, MAX and PARTIAL alone. Of the
    /// same is the MODSEQ told (RFC 7162 §3.1.10), and `$` made (RFC 5182 §2.4, RFC 9394 §3.2).
    pub(crate) fn given(&self, found: &[Uid]) -> UidSet {
        if self.all || self.count || self.says_nothing() {
            return found.iter().copied().collect();
        }
        let ends = [found.first().filter(|_| self.min), found.last().filter(|_| self.max)];
        let part = self.partial.map_or_else(Default::default, |partial| partial.cut(found));
        let mut given: UidSet = part.iter().copied().collect();
        ends.into_iter().flatten().for_each(|uid| given.insert(*uid));
        given
    }
}

impl Partial {
    /// ```text
    /// partial-range = nz-number ":" nz-number / "-" nz-number ":" "-" nz-number
    /// ```
    pub(crate) fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        let from_end = p.take(b'-');
        let first = place(p)?;
        p.need(b':', "a colon")?;
        if from_end {
            p.need(b'-', "a number from the end")?;
        }
        Ok(Self { from_end, ends: (first, place(p)?) })
    }

    /// That piece, in the order it has; may be empty.
    pub(crate) fn cut<T>(self, found: &[T]) -> &[T] {
        let to_usize = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let (a, b) = self.ends;
        let (first, last) = (to_usize(a.min(b)) - 1, to_usize(a.max(b)));
        let (from, to) = if self.from_end {
            (found.len().saturating_sub(last), found.len().saturating_sub(first))
        } else {
            (first.min(found.len()), last.min(found.len()))
        };
        found.get(from..to).unwrap_or_default()
    }
}

fn place(p: &mut Parser<'_>) -> Parsed<u32> {
    let before = p.clone();
    match p.number()? {
        0 => before.wanted("a number from 1"),
        n => Ok(n),
    }
}

/// Whose answer it is.
pub(crate) struct Source<'a> {
    pub(crate) tag: &'a str,
    pub(crate) by_uid: bool,
    /// With the name as it stands on the wire, and UIDVALIDITY: of several mailboxes one (RFC 7377 §2.1).
    pub(crate) mailbox: Option<(&'a [u8], u32)>,
}

/// The line without its end; `numbers` in the order they were found in.
///
/// ```text
/// esearch-response = "ESEARCH" [SP "(" "TAG" SP string [SP "MAILBOX" SP mailbox SP "UIDVALIDITY" SP nz-number] ")"]
///                    [SP "UID"] *(SP search-return-data)
/// ```
pub(crate) fn esearch(
    out: &mut Vec<u8>,
    source: &Source<'_>,
    give: &Give,
    numbers: &[u32],
    highest: Option<ModSeq>,
) {
    out.extend_from_slice(b"* ESEARCH (TAG ");
    encode::string(out, source.tag);
    if let Some((name, uid_validity)) = source.mailbox {
        out.extend_from_slice(b" MAILBOX ");
        out.extend_from_slice(name);
        named(out, " UIDVALIDITY ", uid_validity.into());
    }
    out.extend_from_slice(if source.by_uid { b") UID" } else { b")" });
    let ends = [("MIN", give.min, numbers.first()), ("MAX", give.max, numbers.last())];
    for (name, wanted, end) in ends {
        if let (true, Some(end)) = (wanted, end) {
            named(out, &format!(" {name} "), (*end).into());
        }
    }
    if give.count {
        named(out, " COUNT ", numbers.len() as u64);
    }
    if let Some(partial) = give.partial {
        let part = partial.cut(numbers);
        let sign = if partial.from_end { "-" } else { "" };
        let (first, last) = partial.ends;
        out.extend_from_slice(format!(" PARTIAL ({sign}{first}:{sign}{last} ").as_bytes());
        if part.is_empty() {
            out.extend_from_slice(b"NIL)");
        } else {
            out.extend_from_slice(encode::runs(part.iter().copied()).as_bytes());
            out.push(b')');
        }
    }
    if give.all && !numbers.is_empty() {
        out.extend_from_slice(b" ALL ");
        out.extend_from_slice(encode::runs(numbers.iter().copied()).as_bytes());
    }
    if let Some(highest) = highest {
        named(out, " MODSEQ ", highest.0);
    }
    out.extend_from_slice(b"\r\n");
}

fn named(out: &mut Vec<u8>, name: &str, n: u64) {
    out.extend_from_slice(name.as_bytes());
    encode::number(out, n);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::whole;

    #[test]
    fn answers() {
        #[track_caller]
        fn check(options: &str, by_uid: bool, numbers: &[u32], expect: &str) {
            let give = whole(options.as_bytes(), Give::parse).unwrap();
            let mut line = Vec::new();
            let source = Source { tag: "a\\1", by_uid, mailbox: None };
            esearch(&mut line, &source, &give, numbers, None);
            let expect = format!("* ESEARCH (TAG \"a\\\\1\"){expect}\r\n");
            assert_eq!(String::from_utf8(line).unwrap(), expect);
        }
        check("()", false, &[1, 2, 5], " ALL 1:2,5");
        check("(COUNT)", true, &[], " UID COUNT 0");
        check("(min MAX count all)", true, &[2, 3, 9], " UID MIN 2 MAX 9 COUNT 3 ALL 2:3,9");
        check("(MIN MAX ALL)", false, &[], "");
        check("(UPDATE)", false, &[1, 2], " ALL 1:2");
        check("(CONTEXT UPDATE COUNT)", false, &[1, 2], " COUNT 2");
        check("(PARTIAL 1:2)", false, &[3, 4, 5], " PARTIAL (1:2 3:4)");
        check("(PARTIAL 3:2 COUNT)", false, &[3, 4, 5], " COUNT 3 PARTIAL (3:2 4:5)");
        check("(PARTIAL 4:9)", true, &[3, 4, 5], " UID PARTIAL (4:9 NIL)");
        check("(PARTIAL -1:-2)", true, &[3, 4, 5], " UID PARTIAL (-1:-2 4:5)");
        check("(PARTIAL -2:-9)", true, &[3, 4, 5], " UID PARTIAL (-2:-9 3:4)");
        check("(PARTIAL -4:-9)", true, &[3, 4, 5], " UID PARTIAL (-4:-9 NIL)");
        check("(PARTIAL 1:4294967295)", true, &[3, 4, 5], " UID PARTIAL (1:4294967295 3:5)");
    }

    #[test]
    fn what_is_saved() {
        #[track_caller]
        fn check(options: &str, expect: &str) {
            let give = whole(options.as_bytes(), Give::parse).unwrap();
            let found: Vec<_> = (1..=9).filter_map(Uid::new).collect();
            assert_eq!(give.given(&found).to_string(), expect, "{options}");
            assert!(give.given(&[]).is_empty());
        }
        check("(SAVE)", "1:9");
        check("(SAVE MIN)", "1");
        check("(SAVE MIN MAX)", "1,9");
        check("(SAVE MAX COUNT)", "1:9");
        check("(SAVE ALL MIN)", "1:9");
        check("(SAVE PARTIAL 2:3)", "2:3");
        check("(SAVE PARTIAL 2:3 MAX MIN)", "1:3,9");
        check("(SAVE PARTIAL 2:3 COUNT)", "1:9");
    }

    #[test]
    fn refused() {
        for bad in [
            "",
            "(FOO)",
            "(ALL PARTIAL 1:2)",
            "(PARTIAL 1:2 PARTIAL 3:4)",
            "(PARTIAL 0:2)",
            "(PARTIAL 1:-2)",
            "(PARTIAL -1:2)",
            "(PARTIAL 1)",
            "(PARTIAL 1:4294967296)",
            "(PARTIAL)",
            "(MIN",
        ] {
            assert!(whole(bad.as_bytes(), Give::parse).is_err(), "{bad}");
        }
        let most = format!("({})", "MIN ".repeat(limits::OPTIONS + 1));
        assert!(whole(most.as_bytes(), Give::parse).is_err());
    }
}
