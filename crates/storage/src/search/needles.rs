//! The texts a search looks for, and one letter's text held against all of them in one pass.

use super::anchor::{Anchor, Kind, Seen};
use super::fold::{fold, fold_into};
use crate::{Error, Result};
use memchr::memmem::Finder;

/// Each text is looked for in every piece of every letter; people write a handful.
const NEEDLES: usize = 64;
/// As long as a line of a letter may be, several times over. So much stays in memory from one piece to the next.
const NEEDLE_BYTES: usize = 8 * 1024;
/// Text that is folded at once: it stays in the cache of a core, and a search can be ended between two.
const CHUNK_BYTES: usize = 64 * 1024;
/// The form of one character has at most so many bytes.
#[cfg(test)]
pub(super) const FORM_BYTES_MAX: usize = 40;
/// Stands between two texts: in no folded form, so nothing is found across it.
const CUT: u8 = 0xff;

/// Where a text is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The values of fields of this name in the letter's own header.
    Header(String),
    /// The text parts.
    Body,
    /// The fields of all headers, and the text parts.
    Text,
}

pub(super) struct Needle {
    pub(super) place: Place,
    /// The folded text; empty: it is enough that the field is there.
    finder: Finder<'static>,
    /// What tells of most texts as they stand that it is not in them.
    anchor: Option<Anchor>,
}

/// Everything that must be looked for in the bytes of letters; a criterion knows its number.
#[derive(Default)]
pub(super) struct Needles(Vec<Needle>);

impl Needles {
    pub(super) fn add(&mut self, place: Place, text: &str) -> Result<usize> {
        if self.0.len() >= NEEDLES {
            return Err(Error::SearchLimit("it looks for too many texts at once"));
        }
        let finder = finder(text)?;
        let anchor = Anchor::of(finder.needle());
        self.0.push(Needle { place, finder, anchor });
        Ok(self.0.len() - 1)
    }

    pub(super) fn get(&self, number: usize) -> Option<&Needle> {
        self.0.get(number)
    }

    pub(super) fn any(&self, is: impl Fn(&Place) -> bool) -> bool {
        self.0.iter().any(|needle| is(&needle.place))
    }

    fn longest_bytes(&self) -> usize {
        self.0.iter().map(|needle| needle.finder.needle().len()).max().unwrap_or(0)
    }
}

impl Needle {
    pub(super) fn is_in(&self, folded: &[u8]) -> bool {
        self.finder.find(folded).is_some()
    }
}

/// What looks for one text that need not be in a letter's bytes.
pub(super) fn finder(text: &str) -> Result<Finder<'static>> {
    let folded = fold(text);
    if folded.len() > NEEDLE_BYTES {
        return Err(Error::SearchLimit("a text it looks for is too long"));
    }
    Ok(Finder::new(&folded).into_owned())
}

/// One letter after the other is pushed through it. Keeps its memory.
pub(super) struct Scan<'a> {
    needles: &'a Needles,
    /// Nobody waits any more.
    gone: &'a (dyn Fn() -> bool + Sync),
    found: Vec<bool>,
    left: usize,
    folded: Vec<u8>,
    field: Vec<u8>,
    /// What stays of one chunk before the next: a text may begin in it.
    overlap_bytes: usize,
}

impl<'a> Scan<'a> {
    pub(super) fn new(needles: &'a Needles, gone: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self {
            needles,
            gone,
            found: vec![false; needles.0.len()],
            left: needles.0.len(),
            folded: Vec::with_capacity(CHUNK_BYTES),
            field: Vec::new(),
            overlap_bytes: needles.longest_bytes().saturating_sub(1),
        }
    }

    /// Before each letter.
    pub(super) fn begin(&mut self) {
        self.found.fill(false);
        self.left = self.found.len();
        self.folded.clear();
    }

    /// All that is looked for is found: the rest need not be read.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Which needles were found, by number.
    pub(super) fn found(&self) -> &[bool] {
        &self.found
    }

    /// A field of the letter's own header, for those who ask for it by name.
    pub(super) fn field(&mut self, name: &[u8], value: &str) {
        let asks = |place: &Place| matches!(place, Place::Header(asked) if asked.as_bytes().eq_ignore_ascii_case(name));
        if !self.needles.any(asks) {
            return;
        }
        let mut field = std::mem::take(&mut self.field);
        field.clear();
        fold_into(value, &mut field);
        self.look(&field, asks);
        self.field = field;
    }

    /// More text of the place `is` tells. Pieces without [`Scan::cut`] between them are one text.
    pub(super) fn text(&mut self, text: &str, is: fn(&Place) -> bool) -> Result<()> {
        let mut rest = text;
        while !rest.is_empty() {
            let mut end = rest.len().min(CHUNK_BYTES);
            while !rest.is_char_boundary(end) {
                end -= 1;
            }
            let (chunk, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
            fold_into(chunk, &mut self.folded);
            rest = after;
            if self.folded.len() >= CHUNK_BYTES {
                if (self.gone)() {
                    return Err(Error::Closed);
                }
                self.flush(is);
                let keep = self.folded.len().saturating_sub(self.overlap_bytes);
                self.folded.drain(..keep);
            }
        }
        Ok(())
    }

    /// A text by itself, and nothing before or behind it in the same one.
    pub(super) fn whole(&mut self, text: &str, kind: Kind, is: fn(&Place) -> bool) -> Result<()> {
        if !self.may_find(text, kind, is) {
            return Ok(());
        }
        if kind == Kind::Html {
            let text = mparser::html_to_text(text, text.len());
            return self.whole(&text, Kind::Plain, is);
        }
        self.text(text, is)?;
        self.cut();
        Ok(())
    }

    /// Whether something that is still looked for can be in this text; what surely is, is found.
    pub(super) fn may_find(&mut self, text: &str, kind: Kind, is: fn(&Place) -> bool) -> bool {
        let mut perhaps = false;
        for (needle, found) in self.needles.0.iter().zip(&mut self.found) {
            if *found || !is(&needle.place) {
                continue;
            }
            let anchor = needle.anchor.as_ref();
            match anchor.map_or(Seen::Perhaps, |anchor| anchor.look(text, kind)) {
                Seen::No => {}
                Seen::Perhaps => perhaps = true,
                Seen::Yes => {
                    *found = true;
                    self.left -= 1;
                }
            }
        }
        perhaps
    }

    /// What follows is another text.
    pub(super) fn cut(&mut self) {
        self.folded.push(CUT);
    }

    /// The texts of this place are complete.
    pub(super) fn end(&mut self, is: fn(&Place) -> bool) {
        self.flush(is);
        self.folded.clear();
    }

    fn flush(&mut self, is: fn(&Place) -> bool) {
        let folded = std::mem::take(&mut self.folded);
        self.look(&folded, is);
        self.folded = folded;
    }

    fn look(&mut self, folded: &[u8], is: impl Fn(&Place) -> bool) {
        for (needle, found) in self.needles.0.iter().zip(&mut self.found) {
            if !*found && is(&needle.place) && needle.is_in(folded) {
                *found = true;
                self.left -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(place: &Place) -> bool {
        *place == Place::Body
    }

    /// Text is found wherever the chunks end, and in pieces, and not across a cut.
    #[test]
    fn chunks_and_pieces() {
        let mut needles = Needles::default();
        needles.add(Place::Body, "ŻÓŁĆ gęś").unwrap();
        let stays = || false;
        let mut scan = Scan::new(&needles, &stays);
        for before in (0..60).chain(CHUNK_BYTES - 60..CHUNK_BYTES + 20) {
            let text = format!("{}żółć GĘŚ tail", "x".repeat(before));
            scan.begin();
            scan.text(&text, body).unwrap();
            scan.end(body);
            assert!(scan.is_done() && scan.found() == [true], "{before}");
        }
        let check = |scan: &mut Scan<'_>, pieces: &[&str], cut: bool, expect: bool| {
            scan.begin();
            for piece in pieces {
                scan.text(piece, body).unwrap();
                if cut {
                    scan.cut();
                }
            }
            scan.end(body);
            assert_eq!(scan.is_done(), expect, "{pieces:?}");
        };
        check(&mut scan, &["żółć", " gęś"], false, true);
        check(&mut scan, &["żółć", " gęś"], true, false);
        check(&mut scan, &["żółć  gęś"], false, false);
        check(&mut scan, &[], false, false);
    }

    /// Texts that are told unfolded are told as folded ones are.
    #[test]
    fn whole_texts() {
        #[track_caller]
        fn check(needle: &str, text: &str) {
            let mut needles = Needles::default();
            needles.add(Place::Body, needle).unwrap();
            let stays = || false;
            let mut scan = Scan::new(&needles, &stays);
            scan.begin();
            scan.whole("another text", Kind::Plain, body).unwrap();
            scan.whole(text, Kind::Plain, body).unwrap();
            scan.whole("one more", Kind::Plain, body).unwrap();
            scan.end(body);
            let (needle, folded) = (fold(needle), fold(text));
            let others = ["another text", "one more"].map(fold);
            let expect = [folded, others.concat()].iter().any(|text| {
                needle.is_empty() || text.windows(needle.len()).any(|part| part == needle)
            });
            assert_eq!(scan.is_done(), expect, "{needle:?} {text}");
        }
        let texts = [
            "",
            "xyz",
            "A wordo in it",
            "a WORDÖ",
            "a wordö!",
            "wo\u{308}rdo",
            "wor\u{301}",
            "word…",
            "ﬁnd",
            "ĳs",
            "the \u{212a}ing",
            "żółw i wordo",
            "wordow",
            "…wordo…",
            "wörd",
            "Wordo",
            "xwordo",
            "word",
            "work word wordo",
            "kin",
            "KING",
            "ﬁ",
            "fi",
            "wo rdo",
            "wo\u{a0}rdo",
            "word\u{f3}",
        ];
        let needles = [
            "", "w", "wo", "wor", "word", "wordo", "wordö", "find", "king", "ijs", "word...",
            "wo rdo", "ółw i",
        ];
        for needle in needles {
            for text in texts {
                check(needle, text);
                check(needle, &format!("{}{text}{}", "x".repeat(17), "ż y ".repeat(9)));
            }
        }
    }

    #[test]
    fn a_chunk_is_the_longest_wait_of_one_who_has_gone() {
        let mut needles = Needles::default();
        needles.add(Place::Body, "never").unwrap();
        let gone = || true;
        let mut scan = Scan::new(&needles, &gone);
        assert!(scan.text("short", body).is_ok());
        let long = "x".repeat(CHUNK_BYTES);
        assert!(matches!(scan.text(&long, body), Err(Error::Closed)));
    }

    #[test]
    fn limits() {
        let mut needles = Needles::default();
        assert!(needles.add(Place::Text, &"x".repeat(NEEDLE_BYTES)).is_ok());
        let long = needles.add(Place::Text, &"x".repeat(NEEDLE_BYTES + 1));
        assert!(matches!(long, Err(Error::SearchLimit(_))));
        for _ in 1..NEEDLES {
            needles.add(Place::Text, "x").unwrap();
        }
        assert!(matches!(needles.add(Place::Text, "x"), Err(Error::SearchLimit(_))));
    }
}
