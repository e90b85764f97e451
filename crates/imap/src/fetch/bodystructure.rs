//! BODY and BODYSTRUCTURE (RFC 9051 §7.5.2), from the part table that was stored with the letter.

use super::envelope;
use crate::encode::{is_plain, nstring, number, string};
use mparser::{Index, Part, PartKind};

/// Levels written; the parser of letters keeps fewer, so this is a belt to its braces.
const DEPTH: usize = 100;

/// ```text
/// body = "(" (body-type-1part / body-type-mpart) ")"
/// ```
/// `extended` is BODYSTRUCTURE: with the fields after the basic ones. Linear in the number of parts.
pub(crate) fn write(out: &mut Vec<u8>, index: &Index, extended: bool) {
    write_for(out, index, extended, false);
}

/// The same; with `global` a `message/global` is told with its envelope and parts, as clients that take UTF-8 expect it
/// (RFC 9051 §9 `media-message`).
pub(crate) fn write_for(out: &mut Vec<u8>, index: &Index, extended: bool, global: bool) {
    let (mut few, mut many) = ([Links::default(); FEW_PARTS], Vec::new());
    let links = if let Some(few) = few.get_mut(..index.parts.len()) {
        few
    } else {
        many.resize(index.parts.len(), Links::default());
        &mut many[..]
    };
    link(index, links);
    Writer { index, links, extended, global }.part(out, 0, DEPTH);
}

/// Some part would be told differently to clients that take UTF-8.
pub(crate) fn has_global(index: &Index) -> bool {
    index.parts.iter().any(|part| part.kind == PartKind::Message && part.subtype == "global")
}

/// The links of so many parts need no memory of their own.
const FEW_PARTS: usize = 16;

/// Sets for each part its first child and its next sibling.
fn link(index: &Index, links: &mut [Links]) {
    for (at, part) in index.parts.iter().enumerate().rev() {
        let Some(parent) = part.parent.map(place).filter(|parent| *parent < at) else { continue };
        let own = u32::try_from(at).ok();
        let sibling = links.get_mut(parent).and_then(|l| std::mem::replace(&mut l.child, own));
        if let Some(own) = links.get_mut(at) {
            own.sibling = sibling;
        }
    }
}

fn place(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

#[derive(Debug, Clone, Copy, Default)]
struct Links {
    child: Option<u32>,
    sibling: Option<u32>,
}

struct Writer<'a> {
    index: &'a Index,
    links: &'a [Links],
    extended: bool,
    global: bool,
}

impl Writer<'_> {
    fn part(&self, out: &mut Vec<u8>, at: u32, depth: usize) {
        let Some(part) = self.index.parts.get(place(at)).filter(|_| depth > 0) else {
            opaque(out);
            return;
        };
        let child = self.links.get(place(at)).and_then(|l| l.child);
        out.push(b'(');
        match (part.kind, child) {
            (PartKind::Multipart, Some(child)) => self.multipart(out, part, child, depth),
            (PartKind::Message, Some(child)) if self.global || part.subtype == "rfc822" => {
                basic(out, part);
                self.message(out, part, child, depth);
                self.after(out, part);
            }
            (PartKind::Leaf | PartKind::Multipart | PartKind::Message, _) => {
                basic(out, part);
                if part.media_type == "text" {
                    out.push(b' ');
                    number(out, part.lines.into());
                }
                self.after(out, part);
            }
        }
        out.push(b')');
    }

    /// ```text
    /// body-type-mpart = 1*body SP media-subtype [SP body-ext-mpart]
    /// body-ext-mpart  = body-fld-param [SP body-fld-dsp [SP body-fld-lang [SP body-fld-loc]]]
    /// ```
    fn multipart(&self, out: &mut Vec<u8>, part: &Part, child: u32, depth: usize) {
        let mut next = Some(child);
        while let Some(at) = next {
            self.part(out, at, depth - 1);
            next = self.links.get(place(at)).and_then(|l| l.sibling);
        }
        out.push(b' ');
        string(out, &part.subtype);
        if self.extended {
            out.push(b' ');
            params(out, &part.params);
            common_extension(out, part);
        }
    }

    /// ```text
    /// body-type-msg = media-message SP body-fields SP envelope SP body SP body-fld-lines
    /// ```
    fn message(&self, out: &mut Vec<u8>, part: &Part, child: u32, depth: usize) {
        out.push(b' ');
        envelope::write(out, part.envelope.as_deref().unwrap_or(&mparser::Envelope::default()));
        out.push(b' ');
        self.part(out, child, depth - 1);
        out.push(b' ');
        number(out, part.lines.into());
    }

    /// ```text
    /// body-ext-1part = body-fld-md5 [SP body-fld-dsp [SP body-fld-lang [SP body-fld-loc]]]
    /// ```
    fn after(&self, out: &mut Vec<u8>, part: &Part) {
        if self.extended {
            out.push(b' ');
            nstring(out, part.md5.as_deref());
            common_extension(out, part);
        }
    }
}

/// What stands where nothing is known: a part no bytes long.
fn opaque(out: &mut Vec<u8>) {
    out.extend_from_slice(b"(\"application\" \"octet-stream\" NIL NIL NIL \"7bit\" 0)");
}

/// ```text
/// body-type-basic = media-basic SP body-fields
/// body-fields     = body-fld-param SP body-fld-id SP body-fld-desc SP body-fld-enc SP body-fld-octets
/// ```
fn basic(out: &mut Vec<u8>, part: &Part) {
    string(out, &part.media_type);
    out.push(b' ');
    string(out, &part.subtype);
    out.push(b' ');
    params(out, &part.params);
    if let (None, None) = (&part.id, &part.description) {
        out.extend_from_slice(b" NIL NIL \"");
    } else {
        out.push(b' ');
        nstring(out, part.id.as_deref());
        out.push(b' ');
        nstring(out, part.description.as_deref());
        out.extend_from_slice(b" \"");
    }
    out.extend_from_slice(part.encoding.name().as_bytes());
    out.extend_from_slice(b"\" ");
    number(out, part.body_bytes().into());
}

/// ```text
/// body-fld-dsp  = "(" string SP body-fld-param ")" / nil
/// body-fld-lang = nstring / "(" string *(SP string) ")"
/// body-fld-loc  = nstring
/// ```
fn common_extension(out: &mut Vec<u8>, part: &Part) {
    if let (None, [], None) = (&part.disposition, part.language.as_slice(), &part.location) {
        out.extend_from_slice(b" NIL NIL NIL");
        return;
    }
    out.push(b' ');
    match &part.disposition {
        Some((kind, disposition_params)) => {
            out.push(b'(');
            string(out, kind);
            out.push(b' ');
            params(out, disposition_params);
            out.push(b')');
        }
        None => out.extend_from_slice(b"NIL"),
    }
    out.push(b' ');
    match part.language.as_slice() {
        [] => out.extend_from_slice(b"NIL"),
        [one] => string(out, one),
        several => {
            for (i, language) in several.iter().enumerate() {
                out.push(if i == 0 { b'(' } else { b' ' });
                string(out, language);
            }
            out.push(b')');
        }
    }
    out.push(b' ');
    nstring(out, part.location.as_deref());
}

/// ```text
/// body-fld-param = "(" string SP string *(SP string SP string) ")" / nil
/// ```
fn params(out: &mut Vec<u8>, params: &[(String, String)]) {
    if params.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    for (i, (name, value)) in params.iter().enumerate() {
        out.push(if i == 0 { b'(' } else { b' ' });
        if is_plain(value) {
            string(out, name);
            out.push(b' ');
            string(out, value);
        } else {
            // Stored decoded; sent in the form of RFC 2231 §4, which every client reads.
            string(out, &format!("{name}*"));
            out.push(b' ');
            string(out, &percent_encoded(value));
        }
    }
    out.push(b')');
}

/// `utf-8''za%C5%BC%C3%B3%C5%82%C4%87.pdf`
fn percent_encoded(value: &str) -> String {
    let mut text = "utf-8''".to_owned();
    for b in value.bytes() {
        if b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_') {
            text.push(char::from(b));
        } else {
            text.push('%');
            for nibble in [b >> 4, b & 15] {
                text.extend(char::from_digit(nibble.into(), 16).map(|c| c.to_ascii_uppercase()));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(parent: Option<u32>, kind: PartKind, media_type: &str, subtype: &str) -> Part {
        Part {
            parent,
            kind,
            body: 10..110,
            lines: 4,
            media_type: media_type.into(),
            subtype: subtype.into(),
            ..Part::default()
        }
    }

    #[track_caller]
    fn check(parts: Vec<Part>, extended: bool, expect: &str) {
        let mut out = Vec::new();
        write(&mut out, &Index { parts, ..Index::default() }, extended);
        assert_eq!(String::from_utf8(out).unwrap(), expect);
    }

    #[test]
    fn structures() {
        use PartKind::{Leaf, Message, Multipart};
        let text = part(None, Leaf, "text", "plain");
        let plain = "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 100 4)";
        check(vec![text.clone()], false, plain);
        check(
            vec![text.clone()],
            true,
            "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 100 4 NIL NIL NIL NIL)",
        );
        let mut pdf = part(Some(0), Leaf, "application", "pdf");
        pdf.encoding = mparser::Encoding::Base64;
        pdf.params = vec![("name".into(), "a \"b\"".into())];
        pdf.disposition = Some(("attachment".into(), vec![("filename".into(), "ż.pdf".into())]));
        pdf.language = vec!["pl".into(), "en".into()];
        pdf.id = Some("<1@x>".into());
        let mut mixed = part(None, Multipart, "multipart", "mixed");
        mixed.params = vec![("boundary".into(), "b".into())];
        let inner = Part { parent: Some(0), ..text.clone() };
        let parts = vec![mixed, inner, pdf];
        check(
            parts.clone(),
            false,
            &format!(
                "({plain}(\"application\" \"pdf\" (\"name\" \"a \\\"b\\\"\") \"<1@x>\" NIL \
                 \"base64\" 100) \"mixed\")"
            ),
        );
        check(
            parts,
            true,
            "((\"text\" \"plain\" NIL NIL NIL \"7bit\" 100 4 NIL NIL NIL NIL)\
             (\"application\" \"pdf\" (\"name\" \"a \\\"b\\\"\") \"<1@x>\" NIL \"base64\" 100 NIL \
             (\"attachment\" (\"filename*\" \"utf-8''%C5%BC.pdf\")) (\"pl\" \"en\") NIL) \
             \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)",
        );
        let letter = part(None, Message, "message", "rfc822");
        let inner = Part { parent: Some(0), ..text };
        let empty = "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)";
        check(
            vec![letter, inner],
            false,
            &format!("(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 100 {empty} {plain} 4)"),
        );
        check(vec![], false, "(\"application\" \"octet-stream\" NIL NIL NIL \"7bit\" 0)");
    }

    #[test]
    fn many_parts_take_no_long_time() {
        let mut parts = vec![part(None, PartKind::Multipart, "multipart", "mixed")];
        for at in 0..10_000 {
            let kind = if at < 5_000 { PartKind::Multipart } else { PartKind::Leaf };
            let parent = if at < 5_000 { 0 } else { at - 4_999 };
            parts.push(part(Some(parent), kind, "multipart", "mixed"));
        }
        let begin = std::time::Instant::now();
        let mut out = Vec::new();
        write(&mut out, &Index { parts, ..Index::default() }, true);
        assert!(out.len() > 300_000 && begin.elapsed().as_secs() < 1);
    }

    #[test]
    fn letters_in_utf8() {
        #[track_caller]
        fn check(index: &Index, global: bool, expect: &str) {
            let mut out = Vec::new();
            write_for(&mut out, index, false, global);
            let fields = "\"message\" \"global\" NIL NIL NIL \"7bit\" 100";
            assert_eq!(String::from_utf8(out).unwrap(), format!("({fields}{expect})"));
        }
        let global = part(None, PartKind::Message, "message", "global");
        let inner = part(Some(0), PartKind::Leaf, "text", "plain");
        let index = Index { parts: vec![global, inner], ..Index::default() };
        assert!(has_global(&index));
        check(&index, false, "");
        check(
            &index,
            true,
            " (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) (\"text\" \"plain\" NIL NIL NIL \"7bit\" 100 4) 4",
        );
    }
}
