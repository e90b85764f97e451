//! New letters (RFC 5322, RFC 2045): text, HTML with images inside, attachments. What varies from run to run, the
//! date, the id and the word the boundaries are made of, is given by the caller: no clock and no chance in here.
//!
//! ```
//! use mparser::{Builder, Message};
//! let date = mparser::parse_date(b"Sun, 22 Nov 2026 18:00:00 +0100").unwrap();
//! let letter = Builder::new(date, "1@example.test", "b7")
//!     .from("Zażółć Gęślą", "ala@example.test")
//!     .to("", "ola@example.test")
//!     .subject("Faktura za listopad – do zapłaty")
//!     .text("Dzień dobry")
//!     .attach("faktura ą.pdf", "application/pdf", b"%PDF-")
//!     .build()
//!     .unwrap();
//! let read = Message::parse(&letter);
//! assert_eq!(read.index().subject(), "Faktura za listopad – do zapłaty");
//! assert_eq!(read.index().filename(2).as_deref(), Some("faktura ą.pdf"));
//! assert_eq!(read.check(), []);
//! ```
//!
//! ```text
//! multipart/mixed             ; with attachments
//! +- multipart/related        ; with images inside the HTML
//! |  +- multipart/alternative ; with text and HTML
//! |  |  +- text/plain
//! |  |  +- text/html
//! |  +- image/…
//! +- application/…
//! ```

use crate::{encode_base64, encode_header_text};
use std::fmt::Write;
use types::Date;

/// A letter under construction.
#[derive(Debug, Clone)]
pub struct Builder {
    date: Date,
    message_id: String,
    boundary: String,
    from: Vec<(String, String)>,
    sender: Vec<(String, String)>,
    reply_to: Vec<(String, String)>,
    to: Vec<(String, String)>,
    cc: Vec<(String, String)>,
    bcc: Vec<(String, String)>,
    subject: Option<String>,
    in_reply_to: Vec<String>,
    references: Vec<String>,
    extra: Vec<(String, String)>,
    text: Option<String>,
    html: Option<String>,
    inline: Vec<File>,
    attachments: Vec<File>,
}

#[derive(Debug, Clone)]
struct File {
    /// Content-ID without `<>`; of images inside.
    id: Option<String>,
    name: String,
    media_type: String,
    content: Vec<u8>,
}

/// Why a letter cannot be written. All of them are the caller's: trying again does not help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildError {
    /// RFC 5322 §3.6.2: there is no author.
    NoFrom,
    /// RFC 5322 §3.6.2: several authors and no sender.
    NoSender,
    /// An address without `@`, or with blanks, control characters or brackets.
    BadAddress(String),
    /// An id of a letter or an image that is not `left@right` (RFC 2045 §7).
    BadId(String),
    /// A field name with other than printable ASCII, or one this builder writes itself.
    BadFieldName(String),
    /// A media type that is not `type/subtype`.
    BadMediaType(String),
    /// RFC 2046 §5.1.1: a boundary word has 1 to 40 letters, digits, `.`, `_` or `-` here.
    BadBoundary(String),
}

impl BuildError {
    /// Who must act.
    pub fn class(&self) -> types::ErrorClass {
        types::ErrorClass::Client
    }
}

impl std::fmt::Display for BuildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoFrom => f.write_str("a letter needs an author: give a From address"),
            Self::NoSender => f.write_str("a letter of several authors needs a Sender"),
            Self::BadAddress(address) => {
                write!(f, "{address:?} is not an address: write local@domain")
            }
            Self::BadId(id) => write!(f, "{id:?} is not an id: write left@right, without brackets"),
            Self::BadFieldName(name) => write!(f, "{name:?} cannot be the name of an added field"),
            Self::BadMediaType(name) => {
                write!(f, "{name:?} is not a media type: write type/subtype")
            }
            Self::BadBoundary(word) => {
                write!(f, "{word:?} cannot be part of a boundary: use 1 to 40 letters or digits")
            }
        }
    }
}

impl std::error::Error for BuildError {}

impl Builder {
    /// A letter of this date and id (without `<>`). `boundary` is a word its boundaries are made of.
    pub fn new(date: Date, message_id: &str, boundary: &str) -> Self {
        Self {
            date,
            message_id: message_id.to_owned(),
            boundary: boundary.to_owned(),
            from: Vec::new(),
            sender: Vec::new(),
            reply_to: Vec::new(),
            to: Vec::new(),
            cc: Vec::new(),
            bcc: Vec::new(),
            subject: None,
            in_reply_to: Vec::new(),
            references: Vec::new(),
            extra: Vec::new(),
            text: None,
            html: None,
            inline: Vec::new(),
            attachments: Vec::new(),
        }
    }

    /// An author. An empty name is none.
    #[must_use]
    pub fn from(mut self, name: &str, address: &str) -> Self {
        self.from.push((name.to_owned(), address.to_owned()));
        self
    }

    /// Who sent it, when that is not the only author.
    #[must_use]
    pub fn sender(mut self, name: &str, address: &str) -> Self {
        self.sender = vec![(name.to_owned(), address.to_owned())];
        self
    }

    /// Where answers shall go.
    #[must_use]
    pub fn reply_to(mut self, name: &str, address: &str) -> Self {
        self.reply_to.push((name.to_owned(), address.to_owned()));
        self
    }

    /// A recipient.
    #[must_use]
    pub fn to(mut self, name: &str, address: &str) -> Self {
        self.to.push((name.to_owned(), address.to_owned()));
        self
    }

    /// A recipient of a copy.
    #[must_use]
    pub fn cc(mut self, name: &str, address: &str) -> Self {
        self.cc.push((name.to_owned(), address.to_owned()));
        self
    }

    /// A recipient the others shall not see; whoever sends the letter takes the field out.
    #[must_use]
    pub fn bcc(mut self, name: &str, address: &str) -> Self {
        self.bcc.push((name.to_owned(), address.to_owned()));
        self
    }

    /// What it is about.
    #[must_use]
    pub fn subject(mut self, subject: &str) -> Self {
        self.subject = Some(subject.to_owned());
        self
    }

    /// The letter this one answers, and those before it, without `<>`.
    #[must_use]
    pub fn answers(mut self, message_id: &str, references: &[&str]) -> Self {
        self.in_reply_to = vec![message_id.to_owned()];
        self.references = references.iter().map(|id| (*id).to_owned()).collect();
        if !references.contains(&message_id) {
            self.references.push(message_id.to_owned());
        }
        self
    }

    /// Another field of free text.
    #[must_use]
    pub fn field(mut self, name: &str, text: &str) -> Self {
        self.extra.push((name.to_owned(), text.to_owned()));
        self
    }

    /// The text; any line ends.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.text = Some(text.to_owned());
        self
    }

    /// The text as HTML; images are named `cid:ID`.
    #[must_use]
    pub fn html(mut self, html: &str) -> Self {
        self.html = Some(html.to_owned());
        self
    }

    /// An image shown inside the HTML as `cid:ID`; the id is `left@right`, as that of a letter.
    #[must_use]
    pub fn inline(mut self, id: &str, name: &str, media_type: &str, content: &[u8]) -> Self {
        let id = Some(id.to_owned());
        self.inline.push(File { id, ..file(name, media_type, content) });
        self
    }

    /// A file beside the text.
    #[must_use]
    pub fn attach(mut self, name: &str, media_type: &str, content: &[u8]) -> Self {
        self.attachments.push(file(name, media_type, content));
        self
    }

    /// The letter, lines ending in CRLF, in ASCII but for addresses that are not (RFC 6532).
    pub fn build(&self) -> Result<Vec<u8>, BuildError> {
        self.validate()?;
        let mut out = String::new();
        self.write_header(&mut out);
        out.push_str("MIME-Version: 1.0\r\n");
        out.push_str(&self.body());
        Ok(out.into_bytes())
    }

    fn validate(&self) -> Result<(), BuildError> {
        match (self.from.len(), self.sender.len()) {
            (0, _) => return Err(BuildError::NoFrom),
            (2.., 0) => return Err(BuildError::NoSender),
            _ => {}
        }
        let lists = [&self.from, &self.sender, &self.reply_to, &self.to, &self.cc, &self.bcc];
        if let Some((_, bad)) = lists.into_iter().flatten().find(|(_, a)| !is_address(a)) {
            return Err(BuildError::BadAddress(bad.clone()));
        }
        let ids = [&self.message_id].into_iter().chain(&self.in_reply_to).chain(&self.references);
        if let Some(bad) = ids.into_iter().find(|id| !is_id(id)) {
            return Err(BuildError::BadId(bad.clone()));
        }
        let parts = self.inline.iter().filter_map(|file| file.id.as_ref());
        if let Some(bad) = parts.into_iter().find(|id| !is_id(id)) {
            return Err(BuildError::BadId(bad.clone()));
        }
        if let Some((bad, _)) = self.extra.iter().find(|(name, _)| !is_free_name(name)) {
            return Err(BuildError::BadFieldName(bad.clone()));
        }
        let files = self.inline.iter().chain(&self.attachments);
        if let Some(bad) = files.map(|f| &f.media_type).find(|t| !is_media_type(t)) {
            return Err(BuildError::BadMediaType(bad.clone()));
        }
        let good = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if self.boundary.is_empty() || self.boundary.len() > 40 || !self.boundary.bytes().all(good)
        {
            return Err(BuildError::BadBoundary(self.boundary.clone()));
        }
        Ok(())
    }

    fn write_header(&self, out: &mut String) {
        let mut line = |name: &str, value: &str| {
            let _: std::fmt::Result = write!(out, "{name}: {value}\r\n");
        };
        line("Date", &self.date.rfc5322());
        let lists = [
            ("From", &self.from),
            ("Sender", &self.sender),
            ("Reply-To", &self.reply_to),
            ("To", &self.to),
            ("Cc", &self.cc),
            ("Bcc", &self.bcc),
        ];
        for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            let written: Vec<String> = list.iter().map(|(name, a)| address(name, a)).collect();
            line(name, &written.join(",\r\n "));
        }
        if let Some(subject) = &self.subject {
            line("Subject", &encode_header_text(subject));
        }
        line("Message-ID", &format!("<{}>", self.message_id));
        for (name, ids) in [("In-Reply-To", &self.in_reply_to), ("References", &self.references)] {
            if !ids.is_empty() {
                line(name, &format!("<{}>", ids.join(">\r\n <")));
            }
        }
        for (name, text) in &self.extra {
            line(name, &encode_header_text(text));
        }
    }

    /// The outermost part, its Content-Type first.
    fn body(&self) -> String {
        let mut texts: Vec<String> =
            self.text.iter().map(|text| text_part("plain", text)).collect();
        texts.extend(self.html.iter().map(|html| text_part("html", html)));
        if texts.is_empty() {
            texts.push(text_part("plain", ""));
        }
        let mut part = self.multipart("alternative", 3, texts);
        let images = self.inline.iter().map(|image| file_part(image, "inline"));
        part = self.multipart("related", 2, [part].into_iter().chain(images).collect());
        let files = self.attachments.iter().map(|file| file_part(file, "attachment"));
        self.multipart("mixed", 1, [part].into_iter().chain(files).collect())
    }

    /// Several parts as one; one part as it is.
    fn multipart(&self, subtype: &str, level: u8, mut parts: Vec<String>) -> String {
        if parts.len() == 1 {
            return parts.pop().unwrap_or_default();
        }
        // RFC 2045 §6.7: `=_` never stands in quoted-printable or base64, and 7bit text with it is not sent as such.
        let boundary = format!("=_{}.{level}", self.boundary);
        // Alternatives of a related part name their type (RFC 2387 §3.1).
        let root = match (subtype, parts.first().and_then(|p| p.split_once(&[';', '\r'][..]))) {
            ("related", Some((head, _))) => {
                format!("\r\n type=\"{}\";", head.trim_start_matches("Content-Type: "))
            }
            _ => String::new(),
        };
        let mut out =
            format!("Content-Type: multipart/{subtype};{root}\r\n boundary=\"{boundary}\"\r\n\r\n");
        for part in parts {
            let _: std::fmt::Result = write!(out, "--{boundary}\r\n{part}\r\n");
        }
        let _: std::fmt::Result = write!(out, "--{boundary}--\r\n");
        out
    }
}

fn file(name: &str, media_type: &str, content: &[u8]) -> File {
    let (name, media_type) = (name.to_owned(), media_type.to_owned());
    File { id: None, name, media_type, content: content.to_vec() }
}

/// `local@domain`; a local part with odd characters comes quoted.
fn is_address(address: &str) -> bool {
    let bad = |c: char| c.is_control() || c.is_whitespace() || "<>()[],;:\\\"".contains(c);
    let (local, domain) = address.rsplit_once('@').unwrap_or_default();
    let literal = domain.strip_prefix('[').and_then(|d| d.strip_suffix(']'));
    let domain_fits = match literal {
        Some(inside) => !inside.contains(|c: char| c != ':' && bad(c)),
        None => !domain.contains(bad) && !domain.contains("..") && !domain.starts_with('.'),
    };
    let quoted = local.strip_prefix('"').and_then(|l| l.strip_suffix('"'));
    let local_fits = if let Some(inside) = quoted {
        !inside.contains(|c: char| c.is_control() || "\"\\".contains(c))
    } else {
        let dots = local.starts_with('.') || local.ends_with('.') || local.contains("..");
        !local.is_empty() && !dots && !local.contains(|c| bad(c) || c == '@')
    };
    !domain.is_empty() && domain_fits && local_fits && address.len() <= 900
}

/// `left@right` without blanks and brackets (RFC 5322 §3.6.4).
fn is_id(id: &str) -> bool {
    let halves = id.split_once('@');
    is_plain_word(id)
        && halves.is_some_and(|(l, r)| !l.is_empty() && !r.is_empty() && !r.contains('@'))
}

fn is_plain_word(word: &str) -> bool {
    let good = |b: u8| b.is_ascii_graphic() && !b"<>()[],;:\\\"".contains(&b);
    !word.is_empty() && word.len() <= 900 && word.bytes().all(good)
}

fn is_free_name(name: &str) -> bool {
    let good = |b: u8| b.is_ascii_graphic() && b != b':';
    let own = crate::headers::find(name.as_bytes()).is_some();
    !name.is_empty() && name.len() <= 60 && name.bytes().all(good) && !own
}

fn is_media_type(media_type: &str) -> bool {
    let token = |t: &str| {
        !t.is_empty()
            && t.len() <= 127
            && t.bytes().all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&b))
    };
    let composite = ["multipart/", "message/"];
    let opens = composite.iter().any(|c| media_type.to_ascii_lowercase().starts_with(c));
    !opens && media_type.split_once('/').is_some_and(|(a, b)| token(a) && token(b))
}

/// `name <address>`: the name as atoms, quoted, or in encoded words (RFC 5322 §3.4, RFC 2047 §5).
fn address(name: &str, address: &str) -> String {
    let atoms = |b: u8| b.is_ascii_alphanumeric() || b" !#$%&'*+-/=?^_`{|}~".contains(&b);
    let name = name.trim();
    if name.is_empty() {
        return address.to_owned();
    }
    let printable = name.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    let written = if !printable || name.contains("=?") || name.contains("  ") || name.len() > 60 {
        encode_words_always(name)
    } else if name.bytes().all(atoms) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
    };
    let fold = if written.len() + address.len() > 60 { "\r\n " } else { " " };
    format!("{written}{fold}<{address}>")
}

/// Words of RFC 2047 even for ASCII, which may be too long or look like a word.
fn encode_words_always(name: &str) -> String {
    let encoded = encode_header_text(name);
    if encoded.starts_with("=?") { encoded } else { crate::words::encode_words(name) }
}

fn text_part(subtype: &str, text: &str) -> String {
    let text = crlf(text);
    let head =
        format!("Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: ");
    if is_plain_7bit(&text) {
        return format!("{head}7bit\r\n\r\n{text}");
    }
    let escaped = text.bytes().filter(|b| !b.is_ascii_graphic() && !b" \r\n".contains(b)).count();
    if text.len() + 2 * escaped <= text.len() / 3 * 4 + 200 {
        format!("{head}quoted-printable\r\n\r\n{}", encode_quoted_printable(&text))
    } else {
        format!("{head}base64\r\n\r\n{}", encode_base64(text.as_bytes()))
    }
}

/// Every line end as CRLF (RFC 2046 §4.1.1).
fn crlf(text: &str) -> String {
    text.replace("\r\n", "\n").replace(['\r', '\n'], "\r\n")
}

/// Text that passes every relay as it is: short lines of ASCII, none that mbox or a boundary could be taken for.
fn is_plain_7bit(text: &str) -> bool {
    let plain = |line: &str| {
        line.len() <= 78
            && !line.ends_with([' ', '\t'])
            && !line.starts_with("--")
            && !line.starts_with("From ")
            && line != "."
    };
    text.bytes().all(|b| b.is_ascii_graphic() || b" \t\r\n".contains(&b))
        && text.split("\r\n").all(plain)
}

/// quoted-printable (RFC 2045 §6.7) of text with CRLF: lines of at most 76 characters. Blanks at line ends, `From `
/// and a lone dot at line starts, which relays change, are escaped too.
pub fn encode_quoted_printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8 + 8);
    for (i, line) in text.split("\r\n").enumerate() {
        if i > 0 {
            out.push_str("\r\n");
        }
        push_qp_line(&mut out, line);
    }
    out
}

fn push_qp_line(out: &mut String, line: &str) {
    let bytes = line.as_bytes();
    let mut column = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let last = at + 1 == bytes.len();
        let starts = column == 0
            && (byte == b'.'
                || byte == b'-'
                || bytes.get(at..).unwrap_or_default().starts_with(b"From "));
        let plain = match byte {
            b'=' => false,
            b' ' | b'\t' => !last,
            byte => byte.is_ascii_graphic() && !starts,
        };
        let width = if plain { 1 } else { 3 };
        // One column stays free for the mark of the soft break.
        if column + width > 75 + usize::from(last) {
            out.push_str("=\r\n");
            column = 0;
        }
        if plain {
            out.push(char::from(byte));
        } else {
            let _: std::fmt::Result = write!(out, "={byte:02X}");
        }
        column += width;
    }
}

fn file_part(file: &File, disposition: &str) -> String {
    let id = file.id.as_ref().map(|id| format!("Content-ID: <{id}>\r\n")).unwrap_or_default();
    format!(
        "Content-Type: {}\r\n{id}Content-Disposition: {disposition}{}\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
        file.media_type,
        parameter("filename", &file.name),
        encode_base64(&file.content)
    )
}

/// `; name="value"`, or the sections of RFC 2231 when the value is long or not ASCII.
fn parameter(name: &str, value: &str) -> String {
    let value: String = value.chars().filter(|c| !c.is_control()).collect();
    if value.is_empty() {
        return String::new();
    }
    let plain = value.len() <= 60
        && !value.contains("=?")
        && value.trim() == value
        && value.bytes().all(|b| (b.is_ascii_graphic() && !b"\"\\".contains(&b)) || b == b' ');
    if plain {
        return format!(";\r\n {name}=\"{value}\"");
    }
    let mut sections = vec![String::new()];
    for character in value.chars() {
        let mut buffer = [0; 4];
        let mut piece = String::new();
        for byte in character.encode_utf8(&mut buffer).bytes() {
            if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
                piece.push(char::from(byte));
            } else {
                let _: std::fmt::Result = write!(piece, "%{byte:02X}");
            }
        }
        match sections.last_mut() {
            Some(last) if last.len() + piece.len() <= 50 => last.push_str(&piece),
            _ => sections.push(piece),
        }
    }
    let alone = sections.len() == 1;
    let written = sections.iter().enumerate().map(|(i, section)| {
        let charset = if i == 0 { "utf-8''" } else { "" };
        let number = if alone { String::new() } else { format!("*{i}") };
        format!(";\r\n {name}{number}*={charset}{section}")
    });
    written.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Message, PartKind, parse_date};

    fn new() -> Builder {
        let date = parse_date(b"Sun, 22 Nov 2026 18:00:00 +0100").unwrap();
        Builder::new(date, "1.2@example.test", "b7").from("Ala", "ala@example.test")
    }

    /// Builds, and reads again: nothing is wrong with it.
    #[track_caller]
    fn built(builder: &Builder) -> Vec<u8> {
        let raw = builder.build().unwrap();
        let message = Message::parse(&raw);
        assert_eq!(message.defects(), [], "{}", String::from_utf8_lossy(&raw));
        assert_eq!(message.check(), [], "{}", String::from_utf8_lossy(&raw));
        for line in String::from_utf8_lossy(&raw).split("\r\n") {
            assert!(line.len() <= 78, "{line:?}");
        }
        raw
    }

    #[test]
    fn texts_return() {
        #[track_caller]
        fn check(text: &str, encoding: &str) {
            let raw = built(&new().text(text));
            let message = Message::parse(&raw);
            assert_eq!(message.text(0), crlf(text), "{}", String::from_utf8_lossy(&raw));
            assert_eq!(message.index().parts[0].encoding.name(), encoding);
        }
        check("", "7bit");
        check("hello\nworld\r\n\rend", "7bit");
        check("Zażółć gęślą jaźń, i jeszcze trochę zwykłego tekstu.\n", "quoted-printable");
        check("trailing blank \n\ttab\t", "quoted-printable");
        check("From here\n.\n--=_b7.1\n-- \nsignature", "quoted-printable");
        check(&"x".repeat(2000), "quoted-printable");
        check(&"a=".repeat(200), "quoted-printable");
        check(&"日本語の件名です".repeat(200), "base64");
        check("a\0b", "quoted-printable");
        for length in 60..90 {
            check(
                &format!("{}ą{}", "x".repeat(length), " ".repeat(length - 50)),
                "quoted-printable",
            );
        }
    }

    #[test]
    fn headers_return() {
        #[track_caller]
        fn check(name: &str) {
            let raw =
                built(&new().to(name, "ola@example.test").subject(name).field("X-Note", name));
            let message = Message::parse(&raw);
            let to = message.index().to_();
            assert_eq!(to[0].name.clone().unwrap_or_default(), name.trim());
            assert_eq!(to[0].address, "ola@example.test");
            assert_eq!(message.index().subject(), name);
            assert_eq!(message.header("X-Note").unwrap().text(), name);
        }
        check("");
        check("Ola Nowak");
        check("Nowak, Ola \"Oleńka\"");
        check("Nowak, Ola (\"x\\y\") <z@w>");
        check("Zażółć gęślą jaźń");
        check(&"Zażółć gęślą jaźń ".repeat(9));
        check(&"long name ".repeat(20));
        check("=?utf-8?Q?no_word?=");
        check("two  blanks");
    }

    #[test]
    fn parts_return() {
        let builder = new()
            .text("tekst ąę")
            .html("<img src=\"cid:i1@b7\"> ąę")
            .inline("i1@b7", "obrazek ż.png", "image/png", &[137, 80, 78, 71])
            .attach("faktura ą.pdf", "application/pdf", &[0; 300])
            .attach("a \"b\".txt", "text/plain", b"\xff\r\n--=_b7.1\r\n")
            .attach(&"długa nazwa pliku ".repeat(12), "application/zip", b"PK");
        let raw = built(&builder);
        assert_eq!(builder.build().unwrap(), raw, "the same letter every time");
        let message = Message::parse(&raw);
        let index = message.index();
        let types: Vec<String> =
            index.parts.iter().map(|p| format!("{}/{}", p.media_type, p.subtype)).collect();
        let expect = [
            "multipart/mixed",
            "multipart/related",
            "multipart/alternative",
            "text/plain",
            "text/html",
            "image/png",
            "application/pdf",
            "text/plain",
            "application/zip",
        ];
        assert_eq!(types, expect);
        assert_eq!(index.parts[5].id.as_deref(), Some("<i1@b7>"));
        assert_eq!(index.filename(5).as_deref(), Some("obrazek ż.png"));
        assert_eq!(index.filename(7).as_deref(), Some("a \"b\".txt"));
        assert_eq!(index.filename(8).unwrap(), "długa nazwa pliku ".repeat(12).trim());
        assert_eq!(message.text(3), "tekst ąę");
        assert_eq!(&*message.bytes(6), &[0; 300]);
        assert_eq!(&*message.bytes(7), b"\xff\r\n--=_b7.1\r\n");
        assert_eq!(index.attachments(), [6, 7, 8]);
        assert!(index.parts.iter().all(|p| p.kind != PartKind::Message));
    }

    #[test]
    fn many_addresses_and_answers() {
        let mut builder = new().from("Ola", "ola@example.test").sender("", "ala@example.test");
        for i in 0..100 {
            builder = builder.to(&format!("Osoba {i} ż"), &format!("u{i}@example.test"));
        }
        let raw = built(&builder.answers("3@example.test", &["1@example.test", "2@example.test"]));
        let message = Message::parse(&raw);
        assert_eq!(message.index().to_().len(), 100);
        assert_eq!(
            message.index().thread_ids(),
            ["1.2@example.test", "3@example.test", "1@example.test", "2@example.test"]
        );
    }

    #[test]
    fn refused() {
        #[track_caller]
        fn check(builder: &Builder, expect: &BuildError) {
            let error = builder.build().unwrap_err();
            assert_eq!(&error, expect);
            assert!(!error.to_string().is_empty());
        }
        let date = parse_date(b"1 Jan 2026").unwrap();
        check(&Builder::new(date, "1@b", "b"), &BuildError::NoFrom);
        check(&new().from("", "b@c"), &BuildError::NoSender);
        for bad in ["", "a", "a@", "@b", "a b@c", "a@b\r\nBcc: x@y", "a@b>", "a..b@c", "a@b,c@d"] {
            check(&new().to("", bad), &BuildError::BadAddress(bad.into()));
        }
        assert!(new().to("", "\"a b\"@[192.0.2.1]").build().is_ok());
        assert!(new().to("", "ż@example.test").build().is_ok());
        check(&new().answers("a b@c", &[]), &BuildError::BadId("a b@c".into()));
        check(&new().inline("a>", "", "image/png", b""), &BuildError::BadId("a>".into()));
        for bad in ["", "A:", "A b", "Subject", "ż"] {
            check(&new().field(bad, "x"), &BuildError::BadFieldName(bad.into()));
        }
        for bad in ["pdf", "a/b; c=d", "multipart/mixed", "a/\r\n"] {
            check(&new().attach("", bad, b""), &BuildError::BadMediaType(bad.into()));
        }
        check(
            &Builder::new(date, "1@b", "b\"").from("", "a@b"),
            &BuildError::BadBoundary("b\"".into()),
        );
    }
}
