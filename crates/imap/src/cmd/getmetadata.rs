//! GETMETADATA (RFC 5464 §4.2): annotations of a mailbox, or with `""` of the server and one's account there.
//!
//! ```text
//! getmetadata = "GETMETADATA" [SP options] SP mailbox [SP options] SP entries
//! options     = "(" option *(SP option) ")"
//! option      = "DEPTH" SP ("0" / "1" / "infinity") / "MAXSIZE" SP number
//! entries     = entry / "(" entry *(SP entry) ")"
//! ```
//! The grammar of the RFC has the options in front of the mailbox, its examples behind: both are taken.

use crate::commands::Verb;
use crate::encode;
use crate::metadata::{Annotated, ENTRIES, Entry};
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done};
use crate::session::Session;

pub(crate) struct GetMetadata {
    mailbox: String,
    options: Options,
    entries: Vec<Entry>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Options {
    max_bytes: Option<u32>,
    depth: Depth,
}

/// What is wanted beside the entries themselves.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Depth {
    #[default]
    Nothing,
    Children,
    AllBelow,
}

impl Verb for GetMetadata {
    const NEEDS_LIST: bool = false;

    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let mut options = Options::default();
        let before = p.peek() == Some(b'(');
        if before {
            options = parse_options(p)?;
            p.sp()?;
        }
        let mailbox = p.mailbox()?;
        p.sp()?;
        if p.peek() != Some(b'(') {
            return Ok(Self { mailbox, options, entries: vec![Entry::parse(p)?] });
        }
        // A list of options begins as one of entries does; no entry is named so.
        let mut ahead = p.clone();
        if !before && let Ok(found) = parse_options(&mut ahead) {
            options = found;
            *p = ahead;
            p.sp()?;
        }
        let entries = if p.peek() == Some(b'(') {
            p.list(ENTRIES, Entry::parse)?
        } else {
            vec![Entry::parse(p)?]
        };
        if entries.is_empty() {
            return p.wanted("the name of an entry");
        }
        Ok(Self { mailbox, options, entries })
    }

    async fn run(self, session: &mut Session) -> Answer {
        let of = Annotated::find(session, &self.mailbox).await?;
        let there = of.entries(&session.store()).await?;
        let mut longest = 0;
        let mut found: Vec<(&str, Option<&[u8]>)> = Vec::new();
        for entry in &self.entries {
            let mut missing = self.options.depth == Depth::Nothing;
            for (name, value) in &there {
                if !self.options.depth.takes(entry.name(), name) {
                    continue;
                }
                missing = false;
                let size = u32::try_from(value.len()).unwrap_or(u32::MAX);
                if self.options.max_bytes.is_some_and(|most| size > most) {
                    longest = longest.max(size);
                } else if !found.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                    let same = name.eq_ignore_ascii_case(entry.name());
                    found.push((if same { entry.name() } else { name }, Some(value)));
                }
            }
            if missing && !found.iter().any(|(known, _)| *known == entry.name()) {
                found.push((entry.name(), None));
            }
        }
        say(session, &of.name, &found);
        let code = (longest > 0).then(|| format!("METADATA LONGENTRIES {longest}"));
        Ok(Done::with(code, "Those are the annotations"))
    }
}

fn parse_options(p: &mut Parser<'_>) -> Parsed<Options> {
    let mut options = Options::default();
    let words = ["DEPTH", "MAXSIZE"];
    let given = p.list(words.len(), |p| {
        let which = p.one_of(&words, "DEPTH or MAXSIZE")?;
        p.sp()?;
        if which == 0 {
            let depths = [Depth::Nothing, Depth::Children, Depth::AllBelow];
            let depth = p.one_of(&["0", "1", "INFINITY"], "0, 1 or infinity")?;
            options.depth = depths.get(depth).copied().unwrap_or_default();
        } else {
            options.max_bytes = Some(p.number()?);
        }
        Ok(())
    })?;
    if given.is_empty() { p.wanted("DEPTH or MAXSIZE") } else { Ok(options) }
}

impl Depth {
    fn takes(self, asked: &str, name: &str) -> bool {
        let (start, below) = name.split_at_checked(asked.len()).unwrap_or_default();
        let is_in = !start.is_empty() && start.eq_ignore_ascii_case(asked);
        is_in
            && match below.strip_prefix('/') {
                None => below.is_empty(),
                Some(below) => match self {
                    Self::Nothing => false,
                    Self::Children => !below.contains('/'),
                    Self::AllBelow => true,
                },
            }
    }
}

/// `* METADATA INBOX (/shared/comment "ours" /private/comment NIL)` (RFC 5464 §4.4.1)
pub(super) fn say(session: &mut Session, mailbox: &str, entries: &[(&str, Option<&[u8]>)]) {
    if entries.is_empty() {
        return;
    }
    let utf8 = session.utf8();
    let out = session.wire.out();
    out.extend_from_slice(b"* METADATA ");
    encode::mailbox(out, mailbox, utf8);
    for (i, (name, value)) in entries.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b" (" } else { b" " });
        encode::astring(out, name);
        out.push(b' ');
        encode::bytes(out, *value);
    }
    out.extend_from_slice(b")\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::whole;

    #[test]
    fn forms() {
        #[track_caller]
        fn check(text: &str, expect: Option<(&str, Option<u32>, Depth, usize)>) {
            let found = whole(text.as_bytes(), GetMetadata::parse).ok();
            let found = found.as_ref().map(|get| {
                (&get.mailbox[..], get.options.max_bytes, get.options.depth, get.entries.len())
            });
            assert_eq!(found, expect, "{text}");
        }
        check(" \"\" /shared/comment", Some(("", None, Depth::Nothing, 1)));
        check(
            " INBOX (/shared/comment /private/comment)",
            Some(("INBOX", None, Depth::Nothing, 2)),
        );
        check(" INBOX (MAXSIZE 9) /shared/x", Some(("INBOX", Some(9), Depth::Nothing, 1)));
        check(" (DEPTH 1) INBOX (/shared/x)", Some(("INBOX", None, Depth::Children, 1)));
        check(
            " INBOX (DEPTH infinity MAXSIZE 0) (/shared)",
            Some(("INBOX", Some(0), Depth::AllBelow, 1)),
        );
        check(" INBOX ()", None);
        check(" INBOX (DEPTH 2) /shared/x", None);
        check(" INBOX (DEPTH 1)", None);
        check(" INBOX comment", None);
        check(" INBOX /shared/*", None);
        check(" INBOX", None);
        check(" (DEPTH 1) INBOX (MAXSIZE 1) /shared/x", None);
    }

    #[test]
    fn depths() {
        let check = |depth: Depth, name: &str, expect: bool| {
            assert_eq!(depth.takes("/shared/a", name), expect, "{depth:?} {name}");
        };
        for depth in [Depth::Nothing, Depth::Children, Depth::AllBelow] {
            check(depth, "/Shared/A", true);
            check(depth, "/shared/ab", false);
            check(depth, "/shared", false);
            check(depth, "/shared/a/b", depth != Depth::Nothing);
            check(depth, "/shared/a/b/c", depth == Depth::AllBelow);
        }
    }
}
