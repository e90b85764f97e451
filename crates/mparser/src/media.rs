//! Media types (RFC 2045 §5.1): those nearly all parts have, told at a glance, and what a type announces.

use crate::quick;
use crate::scan::{default_type, head, split_type};

/// What a Content-Type announces, as far as the structure depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Announced {
    Text,
    Multipart,
    Digest,
    Message,
    Other,
}

/// A type that nearly all parts have.
pub(crate) struct MediaRow {
    /// type/subtype, lower case.
    name: &'static str,
    announced: Announced,
}

const fn row(name: &'static str, announced: Announced) -> MediaRow {
    MediaRow { name, announced }
}

/// How many types [`crate::PartView::known_type`] knows.
pub const KNOWN_TYPES: usize = 17;

/// Sorted by name.
static ROWS: [MediaRow; KNOWN_TYPES] = [
    row("application/octet-stream", Announced::Other),
    row("application/pdf", Announced::Other),
    row("application/pgp-signature", Announced::Other),
    row("image/gif", Announced::Other),
    row("image/jpeg", Announced::Other),
    row("image/png", Announced::Other),
    row("message/delivery-status", Announced::Other),
    row("message/rfc822", Announced::Message),
    row("multipart/alternative", Announced::Multipart),
    row("multipart/digest", Announced::Digest),
    row("multipart/mixed", Announced::Multipart),
    row("multipart/related", Announced::Multipart),
    row("multipart/report", Announced::Multipart),
    row("multipart/signed", Announced::Multipart),
    row("text/calendar", Announced::Text),
    row("text/html", Announced::Text),
    row("text/plain", Announced::Text),
];

/// A row of the table, or none: its number and one more, so that it takes a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Known(u8);

impl Known {
    pub(crate) const OCTETS: Self = Self(1);
    pub(crate) const LETTER: Self = Self(8);
    pub(crate) const PLAIN: Self = Self(17);

    fn row(self) -> Option<&'static MediaRow> {
        ROWS.get(usize::from(self.0).checked_sub(1)?)
    }

    /// Its place in the table, and type/subtype.
    pub(crate) fn numbered(self) -> Option<(usize, &'static str)> {
        self.row().map(|row| (usize::from(self.0) - 1, row.name))
    }

    /// Type and subtype.
    pub(crate) fn pair(self) -> Option<(&'static str, &'static str)> {
        self.row()?.name.split_once('/')
    }

    /// [`quick::param`] of a Content-Type that is this one. What stands before its parameters need not be read again.
    #[expect(clippy::option_option, reason = "see quick::param")]
    pub(crate) fn param<'a>(self, value: &'a [u8], name: &[u8]) -> Option<Option<&'a [u8]>> {
        let behind =
            |row: &MediaRow| value.strip_prefix(b" ").unwrap_or(value).get(row.name.len()..);
        match self.row().and_then(behind) {
            Some(params) => quick::param_behind(params, name),
            None => quick::param(value, name),
        }
    }

    /// Of a Content-Type that begins with it, and nothing but parameters behind it.
    #[inline]
    fn of(value: &[u8]) -> Self {
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let found = Self(candidate(value).unwrap_or(0));
        let Some(row) = found.row() else {
            return found;
        };
        let same = value.split_at_checked(row.name.len()).is_some_and(|(name, rest)| {
            name.eq_ignore_ascii_case(row.name.as_bytes())
                && matches!(rest.first(), None | Some(b';'))
        });
        if same { found } else { Self(0) }
    }
}

/// The one row that it may be, told by a few of its letters.
#[inline]
fn candidate(value: &[u8]) -> Option<u8> {
    let letter = |at: usize| value.get(at).map(u8::to_ascii_lowercase);
    Some(match (letter(0)?, letter(1)?) {
        (b'a', _) => match (letter(12)?, letter(13)?) {
            (b'o', _) => 1,
            (b'p', b'd') => 2,
            (b'p', b'g') => 3,
            _ => return None,
        },
        (b'i', _) => match letter(6)? {
            b'g' => 4,
            b'j' => 5,
            b'p' => 6,
            _ => return None,
        },
        (b'm', b'e') => match letter(8)? {
            b'd' => 7,
            b'r' => 8,
            _ => return None,
        },
        (b'm', _) => match (letter(10)?, letter(12)?) {
            (b'a', _) => 9,
            (b'd', _) => 10,
            (b'm', _) => 11,
            (b'r', b'l') => 12,
            (b'r', b'p') => 13,
            (b's', _) => 14,
            _ => return None,
        },
        (b't', _) => match letter(5)? {
            b'c' => 15,
            b'h' => 16,
            b'p' => 17,
            _ => return None,
        },
        _ => return None,
    })
}

/// What a Content-Type announces, and which row of the table it is.
pub(crate) fn announced(value: Option<&[u8]>, in_digest: bool) -> (Announced, Known) {
    let known = match value {
        None if in_digest => Known::LETTER,
        None => Known::PLAIN,
        Some(value) => Known::of(value),
    };
    if let Some(row) = known.row() {
        return (row.announced, known);
    }
    let value = value.unwrap_or_default();
    if let Some((media_type, subtype)) = quick::media_type(value) {
        return (of_type(media_type, subtype), known);
    }
    let head = head(value);
    let (media_type, subtype) = split_type(&head).unwrap_or(default_type(in_digest));
    (of_type(media_type, subtype), known)
}

fn of_type(media_type: &str, subtype: &str) -> Announced {
    let subtype_is = |name: &str| subtype.eq_ignore_ascii_case(name);
    if media_type.eq_ignore_ascii_case("text") {
        Announced::Text
    } else if media_type.eq_ignore_ascii_case("multipart") {
        if subtype_is("digest") { Announced::Digest } else { Announced::Multipart }
    } else if media_type.eq_ignore_ascii_case("message")
        && (subtype_is("rfc822") || subtype_is("global"))
    {
        Announced::Message
    } else {
        Announced::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_the_long_way_says() {
        assert!(ROWS.is_sorted_by(|a, b| a.name < b.name));
        for (number, row) in (1..).zip(&ROWS) {
            let expect = (row.announced, Known(number));
            let (media_type, subtype) = expect.1.pair().unwrap();
            assert_eq!(of_type(media_type, subtype), row.announced, "{}", row.name);
            for written in
                [row.name.to_owned(), row.name.to_uppercase(), format!(" {}; a=b", row.name)]
            {
                assert_eq!(announced(Some(written.as_bytes()), false), expect, "{written}");
            }
            for written in
                [format!("{}x", row.name), format!("{} ;a=b", row.name), row.name[1..].to_owned()]
            {
                assert_eq!(announced(Some(written.as_bytes()), false).1, Known(0), "{written}");
            }
        }
        assert_eq!(Known::OCTETS.numbered(), Some((0, "application/octet-stream")));
        assert_eq!(announced(None, false), (Announced::Text, Known::PLAIN));
        assert_eq!(announced(None, true), (Announced::Message, Known::LETTER));
        assert_eq!(announced(Some(b""), true), (Announced::Message, Known(0)));
        // A control character and 0x20 more is no letter of a type.
        assert_eq!(announced(Some(b"text\x0fplain"), false), (Announced::Text, Known(0)));
    }
}
