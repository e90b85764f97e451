//! Where two readers of one letter may see two letters (draft-chen-email-mime-ambiguity-defense). A filter that reads
//! it one way and a mail program the other way is what such letters are made for; antispam counts these bits.

use crate::headers::Header;
use crate::lines::line_at;
use crate::params::parse_value;
use crate::{DefectKind, Message, PartKind};
use std::collections::HashSet;

macro_rules! bits {
    ($($(#[$doc:meta])* $name:ident = $bit:literal $word:literal,)*) => {
        impl Ambiguity {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*

            /// Every bit with its stable word in `snake_case`.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$name, $word),)*];
        }
    };
}

/// A set of reasons for doubt. Bits and words are never used again for another reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Ambiguity(u32);

bits! {
    /// `boundary` is given twice, or in several forms.
    DUPLICATE_BOUNDARY = 0 "duplicate_boundary",
    /// Two Content-Transfer-Encoding fields in one header.
    DUPLICATE_ENCODING = 1 "duplicate_encoding",
    /// Two Content-Type fields in one header.
    DUPLICATE_TYPE = 2 "duplicate_type",
    /// A line that begins with a boundary and goes on with something else than a delimiter may, or a delimiter with
    /// blanks behind it.
    DELIMITER_VARIANT = 3 "delimiter_variant",
    /// base64 that readers decode in different ways.
    BAD_BASE64 = 4 "bad_base64",
    /// A NUL byte: some readers stop there.
    NUL = 5 "nul",
    /// CR without LF: some readers see a line end.
    BARE_CR = 6 "bare_cr",
    /// A multipart that is not closed.
    MISSING_CLOSE = 7 "missing_close",
    /// One parameter in a plain and in an RFC 2231 form, with different values, or one form twice.
    PARAMETER_CONFLICT = 8 "parameter_conflict",
    /// Two of a field that may stand once: From, Subject, Date and their like.
    DUPLICATE_FIELD = 9 "duplicate_field",
    /// Two multiparts, one inside the other, with the same boundary or one that begins with the other's.
    NESTED_BOUNDARY = 10 "nested_boundary",
    /// A transfer encoding nobody knows, or one around a multipart or letter.
    BAD_ENCODING = 11 "bad_encoding",
    /// A Content-Type that cannot be read.
    BAD_TYPE = 12 "bad_type",
    /// Lines in a header that are no field, or a header without its empty line.
    BROKEN_HEADER = 13 "broken_header",
    /// A multipart whose boundary is missing or never comes.
    MISSING_BOUNDARY = 14 "missing_boundary",
    /// A limit was reached: what lies beyond was not looked at.
    LIMIT = 15 "limit",
}

impl Ambiguity {
    /// Nothing is doubtful.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all bits of the other are in it.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether one bit of the other is in it.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both together.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// As a number; bits keep their places.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The words of its bits.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().filter(move |(bit, _)| self.contains(*bit)).map(|(_, name)| *name)
    }

    fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl Message<'_> {
    /// Where two readers may see two letters. Reads headers and the lines that begin with `--` once more.
    pub fn ambiguity(&self) -> Ambiguity {
        let mut found = Ambiguity::default();
        for defect in self.defects() {
            found.add(of_defect(defect.kind));
        }
        for part in 0..self.index().parts.len() {
            found.add(self.of_header(part));
        }
        found.add(self.of_delimiters());
        found
    }

    fn of_header(&self, part: usize) -> Ambiguity {
        let mut found = Ambiguity::default();
        let (mut types, mut encodings) = (0, 0);
        for field in self.part_headers(part) {
            let named = |name: &str| field.name.eq_ignore_ascii_case(name.as_bytes());
            let is_type = named("Content-Type");
            types += usize::from(is_type);
            encodings += usize::from(named("Content-Transfer-Encoding"));
            if is_type || named("Content-Disposition") {
                found.add(of_parameters(&field));
            }
        }
        if types > 1 {
            found.add(Ambiguity::DUPLICATE_TYPE);
        }
        if encodings > 1 {
            found.add(Ambiguity::DUPLICATE_ENCODING);
        }
        found
    }

    /// Every line that begins with `--` against the boundaries of the multiparts it lies in, innermost first.
    fn of_delimiters(&self) -> Ambiguity {
        let mut found = Ambiguity::default();
        let parts = &self.index().parts;
        let boundaries: Vec<Option<Vec<u8>>> = (0..parts.len()).map(|n| self.boundary(n)).collect();
        for (number, part) in parts.iter().enumerate() {
            let Some(own) = boundaries.get(number).and_then(Option::as_ref) else {
                continue;
            };
            let mut above = part.parent;
            // At most `limits::DEPTH` steps.
            while let Some(parent) = above.and_then(|p| parts.get(p as usize)) {
                let around = above.and_then(|p| boundaries.get(p as usize)?.as_ref());
                if around.is_some_and(|b| own.starts_with(b) || b.starts_with(own)) {
                    found.add(Ambiguity::NESTED_BOUNDARY);
                }
                above = parent.parent;
            }
        }
        let raw = self.raw();
        // The last part that begins before the line; the multiparts around it are its parents.
        let mut last = 0;
        for at in memchr::memmem::find_iter(raw, b"--") {
            if !matches!(raw.get(at.wrapping_sub(1)), None | Some(b'\r' | b'\n')) {
                continue;
            }
            while parts.get(last + 1).is_some_and(|p| p.header.start as usize <= at) {
                last += 1;
            }
            let line = line_at(raw, at);
            let text = raw.get(at + 2..line.end).unwrap_or_default();
            let mut inside = Some(last);
            while let Some(number) = inside {
                if let Some(boundary) = boundaries.get(number).and_then(Option::as_ref)
                    && let Some(rest) = text.strip_prefix(&**boundary)
                {
                    if !matches!(rest, b"" | b"--") {
                        found.add(Ambiguity::DELIMITER_VARIANT);
                    }
                    break;
                }
                inside = parts.get(number).and_then(|p| p.parent).map(|p| p as usize);
            }
            if found.contains(Ambiguity::DELIMITER_VARIANT) {
                break;
            }
        }
        found
    }

    /// The boundary of a multipart as its lines have it.
    fn boundary(&self, part: usize) -> Option<Vec<u8>> {
        if self.index().parts.get(part)?.kind != PartKind::Multipart {
            return None;
        }
        let mut fields = self.part_headers(part);
        let field = fields.find(|h| h.name.eq_ignore_ascii_case(b"Content-Type"))?;
        parse_value(field.value, None).boundary
    }
}

fn of_defect(kind: DefectKind) -> Ambiguity {
    use DefectKind as K;
    match kind {
        K::DuplicateBoundary => Ambiguity::DUPLICATE_BOUNDARY,
        K::DuplicateHeader => Ambiguity::DUPLICATE_FIELD,
        K::MalformedHeader | K::MissingBlankLine | K::LeadingJunk => Ambiguity::BROKEN_HEADER,
        K::BadContentType => Ambiguity::BAD_TYPE,
        K::MissingBoundary => Ambiguity::MISSING_BOUNDARY,
        K::MissingCloseBoundary => Ambiguity::MISSING_CLOSE,
        K::BadEncoding => Ambiguity::BAD_ENCODING,
        K::BadBase64 => Ambiguity::BAD_BASE64,
        K::NulByte => Ambiguity::NUL,
        K::BareCr => Ambiguity::BARE_CR,
        K::HeadersReached | K::DepthReached | K::PartsReached | K::ParamsReached | K::TooLarge => {
            Ambiguity::LIMIT
        }
        _ => Ambiguity::default(),
    }
}

/// The names of a field's parameters, without their values: which stand in two forms?
fn of_parameters(field: &Header<'_>) -> Ambiguity {
    let mut found = Ambiguity::default();
    let (mut plain, mut extended, mut sections) = (HashSet::new(), HashSet::new(), HashSet::new());
    for raw in pieces(field.value) {
        let name = raw.to_ascii_lowercase();
        let Some((base, form)) = name.split_once('*') else {
            if !plain.insert(name.clone()) {
                found.add(conflict(&name));
            }
            continue;
        };
        let fresh = match form {
            "" => extended.insert(base.to_owned()),
            number => sections.insert((base.to_owned(), number.trim_end_matches('*').to_owned())),
        };
        if !fresh {
            found.add(conflict(base));
        }
    }
    let in_sections: HashSet<&String> = sections.iter().map(|(base, _)| base).collect();
    let forms = |name: &String| {
        usize::from(plain.contains(name))
            + usize::from(extended.contains(name))
            + usize::from(in_sections.contains(name))
    };
    for name in plain.iter().chain(&extended).filter(|name| forms(name) > 1) {
        found.add(conflict(name));
    }
    found
}

fn conflict(name: &str) -> Ambiguity {
    if name == "boundary" { Ambiguity::DUPLICATE_BOUNDARY } else { Ambiguity::PARAMETER_CONFLICT }
}

/// The names before `=` behind each `;` that is in no quotes; comments are not looked into.
fn pieces(value: &[u8]) -> impl Iterator<Item = String> {
    let mut names = Vec::new();
    let (mut quoted, mut escaped, mut start) = (false, false, None);
    for (at, &byte) in value.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b';' if !quoted => start = Some(at + 1),
            b'=' if !quoted => {
                let name = start.take().and_then(|from| value.get(from..at));
                names.extend(name.map(|n| String::from_utf8_lossy(n.trim_ascii()).into_owned()));
            }
            _ => {}
        }
        if names.len() == crate::limits::PARAMS {
            break;
        }
    }
    names.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, expect: &[&str]) {
        let found: Vec<&str> = Message::parse(raw.as_bytes()).ambiguity().names().collect();
        assert_eq!(found, expect, "{raw:?}");
    }

    fn mixed(params: &str, body: &str) -> String {
        format!("Content-Type: multipart/mixed; {params}\r\n\r\n{body}")
    }

    #[test]
    fn bits_and_words_are_unique() {
        let mut all = Ambiguity::default();
        let mut words = HashSet::new();
        for (bit, word) in Ambiguity::ALL {
            assert!(!all.contains(*bit) && words.insert(word));
            all.add(*bit);
        }
        assert_eq!(all.bits().count_ones() as usize, Ambiguity::ALL.len());
    }

    #[test]
    fn of_letters() {
        let close = "--x\r\n\r\na\r\n--x--\r\n";
        check("A: b\r\n\r\nc", &[]);
        check(&mixed("boundary=x", close), &[]);
        check(&mixed("boundary=x; boundary=y", close), &["duplicate_boundary"]);
        check(
            &mixed("boundary=x; boundary*=utf-8''y", "--y\r\n\r\na\r\n--y--\r\n"),
            &["duplicate_boundary"],
        );
        check(&mixed("boundary=x", "--x\r\n\r\na\r\n"), &["missing_close"]);
        check(&mixed("boundary=x", "--x \r\n\r\na\r\n--x--\r\n"), &["delimiter_variant"]);
        check(&mixed("boundary=x", "--x\r\n\r\na\r\n--xy\r\n--x--\r\n"), &["delimiter_variant"]);
        check(&mixed("boundary=x", "--x\r\n\r\na\r\n--y\r\n--x--\r\n"), &[]);
        let inner = "--x\r\nContent-Type: multipart/mixed; boundary=xy\r\n\r\n--xy\r\n\r\na\r\n--xy--\r\n--x--\r\n";
        check(&mixed("boundary=x", inner), &["nested_boundary"]);
        check(
            "Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\n",
            &["duplicate_type", "duplicate_field"],
        );
        check(
            "Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n\r\n",
            &["duplicate_encoding", "duplicate_field"],
        );
        check(
            "Content-Disposition: attachment; filename=a; filename*=utf-8''b\r\n\r\n",
            &["parameter_conflict"],
        );
        check("Content-Disposition: attachment; filename*0=a; filename*1=b\r\n\r\n", &[]);
        check(
            "Content-Disposition: attachment; filename*0=a; filename*0*=b\r\n\r\n",
            &["parameter_conflict"],
        );
        check("Content-Disposition: attachment; filename=\"a; filename=b\"\r\n\r\n", &[]);
        check("Content-Transfer-Encoding: base64\r\n\r\na!", &["bad_base64"]);
        check("A: b\r\n\r\n\0\r", &["nul", "bare_cr"]);
        check("Subject: a\r\nSubject: b\r\n\r\n", &["duplicate_field"]);
    }
}
