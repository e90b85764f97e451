//! What can be wrong with a letter. Nothing here stops it from being read.

use crate::limits;

/// One thing that is wrong, and where: bytes from the start of the letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defect {
    /// What is wrong.
    pub kind: DefectKind,
    /// Where it was noticed.
    pub offset: u32,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $number:literal $name:literal,)*) => {
        /// The kinds of defects. Numbers and names are stored and shown: they are never used again for another kind.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum DefectKind {
            $($(#[$doc])* $kind = $number,)*
        }

        impl DefectKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// A stable word in `snake_case`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            pub(crate) fn number(self) -> u8 {
                self as u8
            }

            pub(crate) fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$kind),)* _ => None }
            }
        }
    };
}

kinds! {
    /// RFC 5322 §3.6: no `Date`.
    MissingDate = 1 "missing_date",
    /// RFC 5322 §3.6: no `From`.
    MissingFrom = 2 "missing_from",
    /// A field that may stand once stands twice (RFC 5322 §3.6, RFC 2045 §3); the first one counts.
    DuplicateHeader = 3 "duplicate_header",
    /// A line of the header that is no field.
    MalformedHeader = 4 "malformed_header",
    /// Bytes over 127 in a header (RFC 5322 §2.2), not in UTF-8 (RFC 6532 §3.2).
    EightBitHeader = 5 "eight_bit_header",
    /// More header fields than [`limits::HEADERS`].
    HeadersReached = 6 "headers_reached",
    /// An empty line before the first field, or an mbox `From ` line.
    LeadingJunk = 7 "leading_junk",
    /// The header ends without an empty line.
    MissingBlankLine = 8 "missing_blank_line",
    /// A `Content-Type` that cannot be read; taken as `text/plain` (RFC 2045 §5.2).
    BadContentType = 9 "bad_content_type",
    /// A multipart without `boundary`, or whose boundary never comes; taken as text.
    MissingBoundary = 10 "missing_boundary",
    /// `boundary` given twice; the first one counts.
    DuplicateBoundary = 11 "duplicate_boundary",
    /// A multipart that is not closed (RFC 2046 §5.1.1).
    MissingCloseBoundary = 12 "missing_close_boundary",
    /// Parts nested deeper than [`limits::DEPTH`].
    DepthReached = 13 "depth_reached",
    /// More parts than [`limits::parts`] of the letter's size.
    PartsReached = 14 "parts_reached",
    /// More addresses than [`limits::addresses`] of the letter's size.
    AddressesReached = 15 "addresses_reached",
    /// More parameters than [`limits::PARAMS`] or languages than [`limits::LANGUAGES`].
    ParamsReached = 16 "params_reached",
    /// A transfer encoding nobody knows, or one that a multipart or message may not have (RFC 2045 §6.4).
    BadEncoding = 17 "bad_encoding",
    /// base64 with foreign characters or a broken end.
    BadBase64 = 18 "bad_base64",
    /// A charset nobody knows.
    UnknownCharset = 19 "unknown_charset",
    /// A NUL byte, which RFC 5322 §4 forbids.
    NulByte = 20 "nul_byte",
    /// CR without LF; read as the end of a line.
    BareCr = 21 "bare_cr",
    /// LF without CR; read as the end of a line.
    BareLf = 22 "bare_lf",
    /// A line over 998 bytes (RFC 5322 §2.1.1).
    LongLine = 23 "long_line",
    /// More than 4 GiB.
    TooLarge = 24 "too_large",
}

/// The list under construction: a few of each kind.
#[derive(Debug, Default, Clone)]
pub(crate) struct Defects {
    list: Vec<Defect>,
    counts: [u8; 32],
}

impl Defects {
    pub(crate) fn add(&mut self, kind: DefectKind, offset: usize) {
        let Some(count) = self.counts.get_mut(usize::from(kind.number())) else {
            return;
        };
        if usize::from(*count) < limits::DEFECTS_OF_A_KIND {
            *count += 1;
            let offset = u32::try_from(offset).unwrap_or(u32::MAX);
            self.list.push(Defect { kind, offset });
        }
    }

    /// Only the first of its kind: for what damaged letters have on every line.
    pub(crate) fn add_once(&mut self, kind: DefectKind, offset: usize) {
        if self.counts.get(usize::from(kind.number())) == Some(&0) {
            self.add(kind, offset);
        }
    }

    /// In the order of the letter.
    pub(crate) fn into_list(mut self) -> Vec<Defect> {
        self.list.sort_by_key(|d| (d.offset, d.kind));
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_unique() {
        let mut names: Vec<&str> = DefectKind::ALL.iter().map(|k| k.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DefectKind::ALL.len());
        for kind in DefectKind::ALL {
            assert_eq!(DefectKind::from_number(kind.number()), Some(*kind));
            assert!(kind.number() < 32, "{kind:?} has no counter");
        }
    }

    #[test]
    fn only_a_few_of_a_kind() {
        let mut defects = Defects::default();
        for offset in (0..100).rev() {
            defects.add(DefectKind::DuplicateHeader, offset);
            defects.add_once(DefectKind::BareCr, offset);
        }
        let list = defects.into_list();
        assert_eq!(list.len(), limits::DEFECTS_OF_A_KIND + 1);
        assert!(list.is_sorted_by_key(|d| d.offset));
    }
}
