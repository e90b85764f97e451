//! Which MUSTs of RFC 5322, 2045, 2046 and 2047 a letter breaks: the table [`RULES`], and [`Message::check`].
//!
//! Reading goes on all the same; this is for those who write programs that send, and for their users.
//!
//! ```
//! let letter = mparser::Message::parse(b"From: a@b.c\r\nSubject: x\r\n\r\nhi\r\n");
//! let names: Vec<&str> = letter.check().iter().map(|b| b.rule.name).collect();
//! assert_eq!(names, ["date_once"]);
//! ```

use crate::headers::{Field, find, unfold};
use crate::lines::line_at;
use crate::params::parse_value;
use crate::{DefectKind, Encoding, Header, Mailbox, MailboxKind, Message, Part, PartKind, limits};

/// Something a standard demands of whoever writes a letter.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// A stable word in `snake_case`.
    pub name: &'static str,
    /// Number of the RFC.
    pub rfc: u16,
    /// Its section.
    pub section: &'static str,
    /// What it demands, in one sentence.
    pub sentence: &'static str,
}

/// A rule a letter breaks, and where: bytes from the start of the letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breach {
    /// The rule.
    pub rule: &'static Rule,
    /// Where it is broken; of something missing, where its header begins.
    pub offset: u32,
}

macro_rules! rules {
    ($($id:ident $name:literal $rfc:literal $section:literal $sentence:literal;)*) => {
        #[derive(Clone, Copy)]
        enum RuleId { $($id,)* }

        /// All rules, in the order of the standards.
        pub static RULES: &[Rule] =
            &[$(Rule { name: $name, rfc: $rfc, section: $section, sentence: $sentence },)*];
    };
}

rules! {
    LineLength "line_length" 5322 "2.1.1" "A line has at most 998 characters.";
    HeaderAscii "header_ascii" 5322 "2.2" "A header is in ASCII; other characters are encoded (RFC 2047) or in UTF-8 (RFC 6532).";
    FieldSyntax "field_syntax" 5322 "2.2" "A line of the header is a field, its name printable ASCII followed by a colon, or continues one.";
    BareCr "bare_cr" 5322 "2.3" "CR stands only before LF.";
    BareLf "bare_lf" 5322 "2.3" "LF stands only behind CR.";
    BlankFold "blank_fold" 5322 "3.2.2" "A folded field has no line of blanks alone.";
    DateSyntax "date_syntax" 5322 "3.3" "Date is a valid date and time with a numeric zone.";
    AddressSyntax "address_syntax" 5322 "3.4" "An address is local-part@domain, in brackets when it has a name.";
    DateOnce "date_once" 5322 "3.6" "A letter has exactly one Date.";
    FromOnce "from_once" 5322 "3.6" "A letter has exactly one From, and it has an address.";
    FieldOnce "field_once" 5322 "3.6" "Sender, Reply-To, To, Cc, Bcc, Message-ID, In-Reply-To, References and Subject stand at most once.";
    SenderNeeded "sender_needed" 5322 "3.6.2" "A letter of several authors names its sender.";
    OneSender "one_sender" 5322 "3.6.2" "Sender is one address.";
    Ids "id_syntax" 5322 "3.6.4" "A message id is left@right between < and >, without blanks.";
    NulByte "nul_byte" 5322 "4" "NUL never stands in a letter.";
    ColonBlank "colon_blank" 5322 "4.5" "No blank stands before the colon of a field.";
    MimeVersion "mime_version" 2045 "4" "A letter with MIME fields has MIME-Version: 1.0, once.";
    TypeOnce "type_once" 2045 "3" "Content-Type, Content-Transfer-Encoding and Content-ID stand at most once in a header.";
    TypeSyntax "type_syntax" 2045 "5.1" "Content-Type is type/subtype with parameters; each parameter stands once.";
    EncodingKnown "encoding_known" 2045 "6.1" "A transfer encoding is 7bit, 8bit, binary, quoted-printable, base64 or one that begins with x-.";
    SevenBitClean "seven_bit_clean" 2045 "6.2" "A body declared 7bit, or not declared, has no byte over 127.";
    CompositeEncoding "composite_encoding" 2045 "6.4" "multipart and message have no encoding but 7bit, 8bit or binary.";
    QpLines "qp_lines" 2045 "6.7" "A line of quoted-printable has at most 76 characters, printable ASCII, and no blank at its end.";
    QpEscapes "qp_escapes" 2045 "6.7" "In quoted-printable = stands before two hexadecimal digits in capitals, or at the end of a line.";
    Base64Lines "base64_lines" 2045 "6.8" "A line of base64 has at most 76 characters.";
    Base64Clean "base64_clean" 2045 "6.8" "base64 has whole groups of four characters, and padding only at the end.";
    BoundaryGiven "boundary_given" 2046 "5.1.1" "A multipart names its boundary.";
    BoundarySyntax "boundary_syntax" 2046 "5.1.1" "A boundary has 1 to 70 characters out of the allowed ones and no blank at its end.";
    PartsExist "parts_exist" 2046 "5.1.1" "A multipart has at least one part.";
    CloseDelimiter "close_delimiter" 2046 "5.1.1" "A multipart ends with its close delimiter.";
    WordLength "word_length" 2047 "2" "An encoded word has at most 75 characters.";
}

impl Message<'_> {
    /// The rules this letter breaks, in the order of the letter; of each rule at most
    /// [`limits::DEFECTS_OF_A_KIND`]. Linear in the length of the letter.
    pub fn check(&self) -> Vec<Breach> {
        let mut found = Found::default();
        for defect in self.defects() {
            if let Some(id) = of_defect(defect.kind) {
                found.add(id, defect.offset);
            }
        }
        let parts = &self.index().parts;
        for (number, part) in parts.iter().enumerate() {
            let parent = part.parent.and_then(|p| parts.get(p as usize));
            let is_letter = parent.is_none_or(|p| p.kind == PartKind::Message);
            self.check_header(number, part, is_letter, &mut found);
            self.check_body(number, part, &mut found);
        }
        found.into_list()
    }

    fn check_header(&self, number: usize, part: &Part, is_letter: bool, found: &mut Found) {
        let mut counts = vec![0_u32; crate::HEADERS.len()];
        let mut mime = false;
        for field in self.part_headers(number).take(limits::HEADERS) {
            check_field(&field, found);
            let Some(row) = find(field.name) else {
                continue;
            };
            let Some(count) = counts.get_mut(row.field as usize) else {
                continue;
            };
            *count += 1;
            let is_mime = row.name.starts_with("Content-");
            mime |= is_mime;
            match (*count, is_mime) {
                (1, _) => check_value(&field, row.field, is_letter, found),
                (_, true) if row.once => found.add(RuleId::TypeOnce, field.offset),
                (_, false) if is_letter => found.add(once(row.field), field.offset),
                _ => {}
            }
        }
        let count = |field: Field| counts.get(field as usize).copied().unwrap_or(0);
        let start = part.header.start;
        if is_letter && count(Field::Date) == 0 {
            found.add(RuleId::DateOnce, start);
        }
        if is_letter && count(Field::From) == 0 {
            found.add(RuleId::FromOnce, start);
        }
        // Inside a letter of its own, as outside (RFC 2045 §4): a part's header needs none.
        if is_letter && mime && count(Field::MimeVersion) == 0 {
            found.add(RuleId::MimeVersion, start);
        }
        if is_letter && count(Field::Sender) == 0 && self.authors(number) > 1 {
            found.add(RuleId::SenderNeeded, start);
        }
        self.check_composite(number, part, found);
    }

    /// A multipart or message by its header, whatever was made of it.
    fn check_composite(&self, number: usize, part: &Part, found: &mut Found) {
        let mut fields = self.part_headers(number);
        let Some(field) = fields.find(|h| h.name.eq_ignore_ascii_case(b"Content-Type")) else {
            return;
        };
        let value = parse_value(field.value, None);
        let multipart = value.head.starts_with("multipart/");
        // RFC 6532 §3.7 lets message/global be encoded.
        let message = value.head.starts_with("message/") && value.head != "message/global";
        let plain =
            matches!(part.encoding, Encoding::SevenBit | Encoding::EightBit | Encoding::Binary);
        if (multipart || message) && !plain {
            found.add(RuleId::CompositeEncoding, field.offset);
        }
        if multipart && value.boundary.is_some() && part.kind == PartKind::Leaf {
            found.add(RuleId::PartsExist, field.offset);
        }
    }

    fn authors(&self, number: usize) -> usize {
        let mut fields = self.part_headers(number);
        let from = fields.find(|h| h.name.eq_ignore_ascii_case(b"From"));
        from.map_or(0, |field| addresses(&field).count())
    }

    fn check_body(&self, number: usize, part: &Part, found: &mut Found) {
        let mut fields = self.part_headers(number);
        let mut field = |name: &str| fields.find(|h| h.name.eq_ignore_ascii_case(name.as_bytes()));
        let (body, start) = (self.body(number), part.body.start);
        match part.kind {
            PartKind::Multipart => {
                if let Some(content_type) = field("Content-Type") {
                    check_boundary(&content_type, found);
                }
            }
            PartKind::Message => {}
            PartKind::Leaf => match part.encoding {
                Encoding::SevenBit => {
                    if let Some(at) = body.iter().position(|b| !b.is_ascii()) {
                        found.add(RuleId::SevenBitClean, start + crate::message::small(at));
                    }
                }
                Encoding::QuotedPrintable => each_line(body, start, found, check_qp_line),
                Encoding::Base64 => each_line(body, start, found, |line, at, found| {
                    if line.len() > 76 {
                        found.add(RuleId::Base64Lines, at);
                    }
                }),
                _ => {}
            },
        }
    }
}

fn of_defect(kind: DefectKind) -> Option<RuleId> {
    Some(match kind {
        DefectKind::LongLine => RuleId::LineLength,
        DefectKind::BareCr => RuleId::BareCr,
        DefectKind::BareLf => RuleId::BareLf,
        DefectKind::NulByte => RuleId::NulByte,
        DefectKind::MalformedHeader | DefectKind::LeadingJunk | DefectKind::MissingBlankLine => {
            RuleId::FieldSyntax
        }
        DefectKind::BadContentType | DefectKind::DuplicateBoundary => RuleId::TypeSyntax,
        DefectKind::MissingCloseBoundary => RuleId::CloseDelimiter,
        DefectKind::BadBase64 => RuleId::Base64Clean,
        _ => return None,
    })
}

fn once(field: Field) -> RuleId {
    match field {
        Field::Date => RuleId::DateOnce,
        Field::From => RuleId::FromOnce,
        Field::MimeVersion => RuleId::MimeVersion,
        _ => RuleId::FieldOnce,
    }
}

/// What every field must keep.
fn check_field(field: &Header<'_>, found: &mut Found) {
    if !field.raw.is_ascii() && simdutf8::basic::from_utf8(field.raw).is_err() {
        found.add(RuleId::HeaderAscii, field.offset);
    }
    if field.raw.get(field.name.len()).is_some_and(|b| matches!(b, b' ' | b'\t')) {
        found.add(RuleId::ColonBlank, field.offset);
    }
    let line_start = field.value.split(|b| *b == b'\n').skip(1);
    if line_start.clone().any(|line| line.trim_ascii().is_empty()) {
        found.add(RuleId::BlankFold, field.offset);
    }
    for word in field.value.split(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')) {
        let is_word = word.starts_with(b"=?") && word.ends_with(b"?=");
        if is_word && word.len() > 75 {
            found.add(RuleId::WordLength, field.offset);
        }
    }
}

/// What a known field must keep beyond that.
fn check_value(field: &Header<'_>, kind: Field, is_letter: bool, found: &mut Found) {
    let at = field.offset;
    match kind {
        Field::Date if is_letter && !is_strict_date(field.value) => {
            found.add(RuleId::DateSyntax, at);
        }
        Field::From | Field::Sender | Field::ReplyTo | Field::To | Field::Cc | Field::Bcc
            if is_letter =>
        {
            let list: Vec<Mailbox> = addresses(field).collect();
            if !list.iter().all(is_address) {
                found.add(RuleId::AddressSyntax, at);
            }
            match (kind, list.len()) {
                (Field::From, 0) => found.add(RuleId::FromOnce, at),
                (Field::Sender, 0 | 2..) => found.add(RuleId::OneSender, at),
                _ => {}
            }
        }
        Field::MessageId | Field::InReplyTo | Field::References
            if is_letter && !are_ids(&unfold(field.value), kind == Field::MessageId) =>
        {
            found.add(RuleId::Ids, at);
        }
        Field::MimeVersion if parse_value(field.value, None).head != "1.0" => {
            found.add(RuleId::MimeVersion, at);
        }
        Field::ContentId if !are_ids(&unfold(field.value), true) => found.add(RuleId::Ids, at),
        Field::ContentTransferEncoding => check_encoding(field, found),
        Field::ContentType => check_type(field, found),
        _ => {}
    }
}

fn addresses(field: &Header<'_>) -> impl Iterator<Item = Mailbox> {
    let list = crate::parse_addresses(field.value);
    list.into_iter().filter(|m| m.kind == MailboxKind::Address)
}

fn is_address(mailbox: &Mailbox) -> bool {
    let bad = |c: char| c.is_control() || c.is_whitespace() || "<>()[],;:\\\"".contains(c);
    let literal = mailbox.domain.starts_with('[') && mailbox.domain.ends_with(']');
    let domain = literal || !mailbox.domain.contains(bad);
    !mailbox.local.is_empty()
        && !mailbox.domain.is_empty()
        && domain
        && !mailbox.local.contains('\0')
}

/// `[Sun,] 22 Nov 2026 18:00[:00] +0100 [(comment)]`
fn is_strict_date(value: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&unfold(value)).into_owned();
    let text = text.split('(').next().unwrap_or_default().replace(", ", ",");
    let words: Vec<&str> = text.rsplit(',').next().unwrap_or_default().split_whitespace().collect();
    let digits = |word: &str, widths: &[usize]| {
        widths.contains(&word.len()) && word.bytes().all(|b| b.is_ascii_digit())
    };
    let [day, month, year, time, zone] = words[..] else {
        return false;
    };
    let shaped = digits(day, &[1, 2])
        && types::MONTHS.iter().any(|m| m.eq_ignore_ascii_case(month))
        && digits(year, &[4])
        && time.split(':').all(|piece| digits(piece, &[2]))
        && zone.starts_with(['+', '-'])
        && digits(zone.get(1..).unwrap_or_default(), &[4]);
    shaped && crate::parse_date(value).is_some()
}

/// `<left@right>`, one or several, comments and blanks between.
fn are_ids(value: &[u8], single: bool) -> bool {
    let text = String::from_utf8_lossy(value);
    let mut count = 0;
    for piece in text.split_inclusive('>') {
        let piece = piece.trim_matches([' ', '\t']);
        if piece.is_empty() {
            continue;
        }
        let inside = piece.strip_prefix('<').and_then(|p| p.strip_suffix('>'));
        let good = inside.and_then(|id| id.split_once('@')).is_some_and(|(left, right)| {
            !left.is_empty()
                && !right.is_empty()
                && !inside.is_some_and(|id| id.contains([' ', '\t', '<']))
        });
        // Only a comment may stand beside ids.
        let comment = piece.starts_with('(') && piece.ends_with(')');
        if !good && !comment {
            return false;
        }
        count += usize::from(good);
    }
    count == 1 || (count > 1 && !single)
}

fn check_encoding(field: &Header<'_>, found: &mut Found) {
    let word = parse_value(field.value, None).head;
    let standard = ["7bit", "8bit", "binary", "quoted-printable", "base64"];
    if !standard.contains(&&*word) && !word.starts_with("x-") {
        found.add(RuleId::EncodingKnown, field.offset);
    }
}

fn check_type(field: &Header<'_>, found: &mut Found) {
    let value = parse_value(field.value, None);
    if value.head.split('/').filter(|half| !half.is_empty()).count() != 2 {
        found.add(RuleId::TypeSyntax, field.offset);
    }
    if value.head.starts_with("multipart/") && value.boundary.is_none() {
        found.add(RuleId::BoundaryGiven, field.offset);
    }
}

fn check_boundary(field: &Header<'_>, found: &mut Found) {
    let Some(boundary) = parse_value(field.value, None).boundary else {
        return;
    };
    let good = |b: &u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(b);
    if boundary.len() > 70 || !boundary.iter().all(good) {
        found.add(RuleId::BoundarySyntax, field.offset);
    }
}

fn each_line(body: &[u8], start: u32, found: &mut Found, check: fn(&[u8], u32, &mut Found)) {
    let mut at = 0;
    while at < body.len() {
        let line = line_at(body, at);
        let text = body.get(line.start..line.end).unwrap_or_default();
        check(text, start.saturating_add(crate::message::small(line.start)), found);
        at = line.next;
    }
}

fn check_qp_line(line: &[u8], at: u32, found: &mut Found) {
    let printable = |b: &u8| b.is_ascii_graphic() || matches!(b, b' ' | b'\t');
    if line.len() > 76 || matches!(line.last(), Some(b' ' | b'\t')) || !line.iter().all(printable) {
        found.add(RuleId::QpLines, at);
    }
    let digit = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
    for mark in memchr::memchr_iter(b'=', line) {
        let good = match line.get(mark + 1..).unwrap_or_default() {
            [] => true,
            [high, low, ..] => digit(*high) && digit(*low),
            [_] => false,
        };
        if !good {
            return found.add(RuleId::QpEscapes, at);
        }
    }
}

/// A few breaches of each rule.
#[derive(Default)]
struct Found {
    list: Vec<(u32, usize)>,
    counts: Vec<usize>,
}

impl Found {
    fn add(&mut self, id: RuleId, offset: u32) {
        self.counts.resize(RULES.len(), 0);
        if let Some(count) = self.counts.get_mut(id as usize)
            && *count < limits::DEFECTS_OF_A_KIND
        {
            *count += 1;
            self.list.push((offset, id as usize));
        }
    }

    fn into_list(mut self) -> Vec<Breach> {
        self.list.sort_unstable();
        self.list.dedup();
        self.list
            .into_iter()
            .filter_map(|(offset, id)| Some(Breach { rule: RULES.get(id)?, offset }))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Date: Sun, 22 Nov 2026 18:00:00 +0100\r\nFrom: a@b.c\r\n";
    const MIME: &str = "MIME-Version: 1.0\r\n";

    #[track_caller]
    fn check(raw: impl AsRef<[u8]>, expect: &[&str]) {
        let message = Message::parse(raw.as_ref());
        let found: Vec<&str> = message.check().iter().map(|b| b.rule.name).collect();
        assert_eq!(found, expect, "{:?}", String::from_utf8_lossy(raw.as_ref()));
    }

    fn head(more: &str) -> String {
        format!("{HEAD}{more}\r\nhi\r\n")
    }

    fn mime(fields: &str, body: &str) -> String {
        format!("{HEAD}{MIME}{fields}\r\n\r\n{body}")
    }

    #[test]
    fn rules_are_named_once_and_say_where() {
        let mut names: Vec<&str> = RULES.iter().map(|r| r.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RULES.len());
        assert!(RULES.iter().all(|r| r.sentence.ends_with('.') && !r.section.is_empty()));
        assert_eq!(RULES[RuleId::WordLength as usize].name, "word_length");
    }

    #[test]
    fn rfc_5322() {
        check(head(""), &[]);
        check(
            head(
                "Subject: x\r\nMessage-ID: <a@b>\r\nReferences: <a@b>\r\n <c@d> (e)\r\nTo: g: a@b;\r\n",
            ),
            &[],
        );
        check("From: a@b.c\r\n\r\n", &["date_once"]);
        check("Date: 22 Nov 2026 18:00 +0000 (x)\r\n\r\n", &["from_once"]);
        check(head("From: d@e.f\r\nDate: 1 Jan 2026 10:00 +0000\r\n"), &["from_once", "date_once"]);
        check("Date: yesterday\r\nFrom: a@b.c\r\n\r\n", &["date_syntax"]);
        check(
            "Date: Sun, 22 Nov 26 18:00:00 GMT\r\nFrom: a\r\n\r\n",
            &["date_syntax", "address_syntax"],
        );
        check(head("To: a\r\nSubject: 1\r\nSubject: 2\r\n"), &["address_syntax", "field_once"]);
        check(head("Message-ID: a@b\r\nIn-Reply-To: <a>\r\n"), &["id_syntax", "id_syntax"]);
        check(head("Message-ID: <a@b> <c@d>\r\n"), &["id_syntax"]);
        check("Date: 22 Nov 2026 18:00 +0000\r\nFrom: a@b, c@d\r\n\r\n", &["sender_needed"]);
        check(head("Sender: a@b, c@d\r\n"), &["one_sender"]);
        check(head("Subject : x\r\n"), &["colon_blank"]);
        check(head("X: a\r\n \r\n b\r\n"), &["blank_fold"]);
        check(head("junk\r\n"), &["field_syntax"]);
        check(head(&format!("X: {}\r\n", "a".repeat(999))), &["line_length"]);
        check(head("X: a\0\n"), &["nul_byte", "bare_lf"]);
        check([head("").as_bytes(), b"a\rb"].concat(), &["bare_cr"]);
        check([HEAD.as_bytes(), b"X: \xb1\r\n\r\n"].concat(), &["header_ascii"]);
        check(head(&format!("Subject: =?utf-8?Q?{}?=\r\n", "a".repeat(70))), &["word_length"]);
    }

    #[test]
    fn mime_rules() {
        check(
            mime("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit", "ą"),
            &[],
        );
        check(mime("Content-Type: text/plain; charset=utf-8", "ą"), &["seven_bit_clean"]);
        check(head("Content-Type: text/plain\r\n"), &["mime_version"]);
        check(head("MIME-Version: 2.0\r\n"), &["mime_version"]);
        check(mime("Content-Type: text/plain\r\nContent-Type: text/html", ""), &["type_once"]);
        check(mime("Content-Type: text", ""), &["type_syntax", "type_syntax"]);
        check(mime("Content-Transfer-Encoding: uuencode", ""), &["encoding_known"]);
        check(mime("Content-Transfer-Encoding: x-uuencode", ""), &[]);
        let qp = |body: &str, expect| {
            check(mime("Content-Transfer-Encoding: quoted-printable", body), expect);
        };
        qp("a=C4=85=\r\nb", &[]);
        qp("a \r\n", &["qp_lines"]);
        qp("a=c4\r\n", &["qp_escapes"]);
        qp(&"a".repeat(77), &["qp_lines"]);
        let base64 =
            |body: &str, expect| check(mime("Content-Transfer-Encoding: base64", body), expect);
        base64("aGVsbG8=\r\n", &[]);
        base64("aGVsbG8\r\n", &["base64_clean"]);
        base64(&"aaaa".repeat(20), &["base64_lines"]);
        let mixed = |params: &str, body: &str, expect| {
            check(mime(&format!("Content-Type: multipart/mixed{params}"), body), expect);
        };
        let one = "--x\r\n\r\na\r\n--x--\r\n";
        mixed("; boundary=x", one, &[]);
        mixed("", one, &["boundary_given"]);
        mixed("; boundary=x", "--x\r\n\r\na\r\n", &["close_delimiter"]);
        mixed("; boundary=x", "a", &["parts_exist"]);
        mixed("; boundary=\"x!\"", "--x!\r\n\r\na\r\n--x!--\r\n", &["boundary_syntax"]);
        mixed("; boundary=x\r\nContent-Transfer-Encoding: base64", one, &["composite_encoding"]);
        check(mime("Content-Type: message/rfc822", &head("")), &[]);
        check(
            mime("Content-Type: message/rfc822", "Subject: x\r\n\r\n"),
            &["date_once", "from_once"],
        );
    }

    #[test]
    fn a_few_of_each() {
        let many = head(&"Subject : x\r\n".repeat(100));
        assert_eq!(Message::parse(many.as_bytes()).check().len(), 2 * limits::DEFECTS_OF_A_KIND);
    }
}
