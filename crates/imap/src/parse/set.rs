//! Sets of message numbers or UIDs, as they are written.

use super::{Parsed, Parser, limits};

/// One end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    Number(u32),
    /// `*`: the last message there is.
    Last,
    /// `$`: what the last SEARCH saved (RFC 5182 §2); always both ends.
    Saved,
}

/// `1:3,9,20:*`; in the order written, not yet compared with what exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set(pub(crate) Vec<(Bound, Bound)>);

impl Parser<'_> {
    /// ```text
    /// sequence-set = (seq-number / seq-range) *("," (seq-number / seq-range))
    /// seq-range    = seq-number ":" seq-number
    /// seq-number   = nz-number / "*"
    /// sequence-set =/ "$"
    /// ```
    pub(crate) fn set(&mut self) -> Parsed<Set> {
        let mut ranges = Vec::new();
        loop {
            if ranges.len() >= limits::SET_RANGES {
                return self.wanted("a shorter set");
            }
            if self.take(b'$') {
                if ranges.contains(&(Bound::Saved, Bound::Saved)) {
                    // It may stand for very many.
                    return self.wanted("$ once");
                }
                ranges.push((Bound::Saved, Bound::Saved));
            } else {
                let first = self.bound()?;
                let last = if self.take(b':') { self.bound()? } else { first };
                ranges.push((first, last));
            }
            if !self.take(b',') {
                return Ok(Set(ranges));
            }
        }
    }

    fn bound(&mut self) -> Parsed<Bound> {
        if self.take(b'*') {
            return Ok(Bound::Last);
        }
        let before = self.clone();
        match self.number() {
            Ok(0) | Err(_) => before.wanted("a message number or *"),
            Ok(n) => Ok(Bound::Number(n)),
        }
    }

    /// Whether a set begins here, not a word.
    pub(crate) fn at_set(&self) -> bool {
        self.peek().is_some_and(|b| b.is_ascii_digit() || matches!(b, b'*' | b'$'))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::whole;
    use super::*;

    #[test]
    fn sets() {
        #[track_caller]
        fn check(text: &str, expect: Option<usize>) {
            let found = whole(text.as_bytes(), Parser::set).ok();
            assert_eq!(found.map(|s| s.0.len()), expect, "{text}");
        }
        check("1", Some(1));
        check("*", Some(1));
        check("1:*,5,*:4", Some(3));
        check("$", Some(1));
        check("1,$", Some(2));
        check("$:2", None);
        check("2:$", None);
        check("$$", None);
        check("$,1,$", None);
        check("4294967295", Some(1));
        check("4294967296", None);
        check("0", None);
        check("1:", None);
        check("1,,2", None);
        check(",", None);
        check("1:2:3", None);
        check("", None);
        check(&vec!["1"; limits::SET_RANGES].join(","), Some(limits::SET_RANGES));
        check(&vec!["1"; 20_000].join(","), None);
    }
}
