//! Address lists (RFC 5322 §3.4, with the obsolete forms of §4.4), read in one pass and without recursion.
//!
//! ```text
//! address-list = (address *("," address))
//! address      = mailbox / group
//! mailbox      = [display-name] "<" [route ":"] addr-spec ">" / addr-spec
//! group        = display-name ":" [mailbox-list] ";"
//! ```
//! Comments may stand anywhere; a comment after a bare address is its owner's name.

use crate::charset::header_line;
use crate::decode_header_text;
use crate::{limits, quick};

/// What an entry of an address list is. IMAP writes groups as two entries around their members (RFC 9051 §7.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MailboxKind {
    /// A person's or a list's address.
    #[default]
    Address,
    /// `local` is the group's name.
    GroupStart,
    /// Behind the last member.
    GroupEnd,
}

/// One entry of an address field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mailbox {
    /// Address, or the start or end of a group.
    pub kind: MailboxKind,
    /// The display name, unquoted, RFC 2047 words left as they are.
    pub name: Option<String>,
    /// What stands before `@`, unquoted.
    pub local: String,
    /// Empty for `root` alone.
    pub domain: String,
}

/// An address as people read it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamedAddress {
    /// The display name.
    pub name: Option<String>,
    /// `local@domain`, or `local` alone.
    pub address: String,
}

impl Mailbox {
    /// `local@domain`, the local part not quoted.
    pub fn address(&self) -> String {
        match &*self.domain {
            "" => self.local.clone(),
            domain => [&self.local, "@", domain].concat(),
        }
    }

    fn marker(kind: MailboxKind, local: String) -> Self {
        Self { kind, local, ..Self::default() }
    }
}

impl NamedAddress {
    /// The addresses of a list, decoded; groups give their members.
    pub fn list(mailboxes: &[Mailbox]) -> Vec<Self> {
        let addresses = mailboxes.iter().filter(|m| m.kind == MailboxKind::Address);
        let named = addresses.map(|m| Self {
            name: m.name.as_deref().map(read_name).filter(|n| !n.is_empty()),
            address: m.address(),
        });
        named.collect()
    }
}

/// A display name as people read it; most need no work.
fn read_name(name: &str) -> String {
    match quick::text(name.as_bytes()) {
        Some(plain) if plain.len() == name.len() => name.to_owned(),
        _ => decode_header_text(name.as_bytes()),
    }
}

/// The addresses of a field's value, at most [`limits::addresses`] of its size.
pub fn parse_addresses(raw: &[u8]) -> Vec<Mailbox> {
    parse_list(raw, None, &mut limits::addresses(raw.len())).0
}

/// The same with the letter's charset and a budget shared with other fields. `true`: the budget is used up.
pub(crate) fn parse_list(
    raw: &[u8],
    charset: Option<&str>,
    left: &mut usize,
) -> (Vec<Mailbox>, bool) {
    if *left > 0
        && let Some((name, local, domain)) = quick::address(raw)
    {
        *left -= 1;
        let name = Some(name.to_owned()).filter(|name| !name.is_empty());
        let (local, domain) = (local.to_owned(), domain.to_owned());
        return (vec![Mailbox { kind: MailboxKind::Address, name, local, domain }], false);
    }
    parse_any(raw, charset, left)
}

/// From here on a list gets exact room, since doubling it takes up to twice the memory.
const LONG_BYTES: usize = 4096;

/// The long way.
pub(crate) fn parse_any(
    raw: &[u8],
    charset: Option<&str>,
    left: &mut usize,
) -> (Vec<Mailbox>, bool) {
    let text = header_line(raw, charset);
    let mut reader = Reader { text: &text, ..Reader::default() };
    if text.len() > LONG_BYTES {
        let ends = text.bytes().filter(|b| matches!(b, b',' | b':' | b';')).count();
        reader.list.reserve_exact(ends.min(*left) + 1);
    }
    while reader.at < text.len() {
        if reader.list.len() >= *left {
            *left = 0;
            return (reader.list, true);
        }
        reader.step();
    }
    reader.end_entry();
    reader.end_group();
    // A group's end may be one too many.
    *left = left.saturating_sub(reader.list.len());
    (reader.list, false)
}

/// State between two commas.
#[expect(clippy::struct_excessive_bools, reason = "four facts that vary alone")]
#[derive(Default)]
struct Reader<'a> {
    text: &'a str,
    at: usize,
    list: Vec<Mailbox>,
    in_group: bool,
    /// No `"` from here on is closed: they are letters like others.
    quotes_open: bool,
    /// The words so far, as a display name has them.
    phrase: String,
    /// The words so far, as an address without brackets has them; `word` is where the last word begins.
    spec: String,
    word: usize,
    /// The last `@` of `spec`.
    at_sign: Option<usize>,
    /// A blank or comment stands before what comes next.
    gap: bool,
    /// Words behind an address without brackets.
    spec_closed: bool,
    comment: String,
    angle: Option<(String, String)>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn step(&mut self) {
        match self.peek() {
            Some(b' ' | b'\t') => {
                self.at += 1;
                self.gap = true;
            }
            Some(b'(') => {
                self.comment = self.take_comment();
                self.gap = true;
            }
            Some(b',') => {
                self.at += 1;
                self.end_entry();
            }
            Some(b';') => {
                self.at += 1;
                self.end_entry();
                self.end_group();
            }
            Some(b':') => {
                self.at += 1;
                self.begin_group();
            }
            Some(b'<') => self.take_angle(),
            Some(b'"') => match self.take_quoted() {
                Some(text) => self.add_word(&text, None),
                None => self.take_atom(),
            },
            _ => self.take_atom(),
        }
    }

    /// A run of characters that mean nothing here, or one `"` or `>` that has no partner.
    fn take_atom(&mut self) {
        let rest = self.text.as_bytes().get(self.at + 1..).unwrap_or_default();
        let stops =
            |b: &u8| matches!(b, b' ' | b'\t' | b'(' | b')' | b',' | b';' | b':' | b'<' | b'"');
        let end = self.at + 1 + rest.iter().position(stops).unwrap_or(rest.len());
        // Every stop is ASCII, but a run may begin inside no character: `at` stands behind an ASCII byte.
        let text = self.text;
        let atom = text.get(self.at..end).unwrap_or_default();
        self.at = end;
        let atom = atom.trim_start_matches('>');
        if !atom.is_empty() {
            self.add_word(atom, atom.rfind('@'));
        }
    }

    fn add_word(&mut self, word: &str, at_sign: Option<usize>) {
        if self.gap && !self.phrase.is_empty() {
            self.phrase.push(' ');
        }
        self.phrase.push_str(word);
        // `jan . kowalski @ example.test` is one address, `Jan kowalski@example.test` is a word and one.
        let joined = word.starts_with(['.', '@']) || self.spec.ends_with(['.', '@']);
        if self.gap && !joined && !self.spec.is_empty() {
            self.spec_closed |= self.at_sign.is_some();
            self.word = if self.spec_closed { self.word } else { self.spec.len() };
        }
        self.gap = false;
        if !self.spec_closed {
            self.at_sign = at_sign.map(|at| self.spec.len() + at).or(self.at_sign);
            self.spec.push_str(word);
        }
    }

    /// The text of a comment; comments inside it belong to it. One that is not closed goes on to the end.
    fn take_comment(&mut self) -> String {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let mut depth = 0_usize;
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'\\' => self.at += 1,
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                break;
            }
        }
        self.at = self.at.min(bytes.len());
        let inner = bytes.get(start..self.at).unwrap_or_default();
        let inner = if depth == 0 { inner.strip_suffix(b")").unwrap_or(inner) } else { inner };
        unescape(inner).trim().to_owned()
    }

    /// The text between quotes; `None` when they are not closed.
    fn take_quoted(&mut self) -> Option<String> {
        if self.quotes_open {
            return None;
        }
        let rest = self.text.as_bytes().get(self.at + 1..)?;
        let Some(length) = quoted_length(rest) else {
            self.quotes_open = true;
            return None;
        };
        self.at += length + 2;
        Some(unescape(rest.get(..length)?))
    }

    /// `<route:local@domain>`. Without `>` it ends at the next comma.
    fn take_angle(&mut self) {
        if self.angle.is_some() {
            self.end_entry();
        }
        self.at += 1;
        let (mut spec, mut at_sign) = (String::new(), None);
        let mut in_route = false;
        while let Some(byte) = self.peek() {
            match byte {
                b'>' => {
                    self.at += 1;
                    break;
                }
                b',' if !in_route => break,
                b'(' => drop(self.take_comment()),
                b':' if in_route => {
                    // A source route (RFC 5322 §4.4) leads nowhere today: only what stands behind it counts.
                    in_route = false;
                    spec.clear();
                    at_sign = None;
                    self.at += 1;
                }
                b' ' | b'\t' => self.at += 1,
                b'"' if let Some(text) = self.take_quoted() => spec.push_str(&text),
                _ => {
                    let rest = self.text.as_bytes().get(self.at + 1..).unwrap_or_default();
                    let stop =
                        rest.iter().position(|b| b" \t(),:>\"".contains(b)).unwrap_or(rest.len());
                    let run = self.text.get(self.at..self.at + 1 + stop).unwrap_or_default();
                    in_route |= spec.is_empty() && run.starts_with('@');
                    at_sign = run.rfind('@').map(|at| spec.len() + at).or(at_sign);
                    spec.push_str(run);
                    self.at += 1 + stop;
                }
            }
        }
        self.gap = true;
        if !spec.is_empty() || self.at_sign.is_none() {
            self.angle = Some(split_at_sign(&spec, at_sign));
        }
    }

    fn begin_group(&mut self) {
        let name = std::mem::take(&mut self.phrase);
        let is_group =
            !self.in_group && self.angle.is_none() && self.at_sign.is_none() && !name.is_empty();
        self.clear();
        if is_group {
            self.list.push(Mailbox::marker(MailboxKind::GroupStart, name));
            self.in_group = true;
        }
    }

    fn end_group(&mut self) {
        if std::mem::take(&mut self.in_group) {
            self.list.push(Mailbox::marker(MailboxKind::GroupEnd, String::new()));
        }
    }

    fn end_entry(&mut self) {
        let comment = std::mem::take(&mut self.comment);
        let some = |text: String| Some(text).filter(|t| !t.is_empty());
        let (name, (local, domain)) = if let Some(address) = self.angle.take() {
            (some(std::mem::take(&mut self.phrase)).or(some(comment)), address)
        } else {
            let spec = self.spec.get(self.word..).unwrap_or_default();
            let at_sign = self.at_sign.and_then(|at| at.checked_sub(self.word));
            let before = self.spec.get(..self.word).unwrap_or_default();
            let (name, spec) = match at_sign {
                Some(_) => (self.words_before_address(before), spec),
                None => (None, &*self.phrase),
            };
            (name.or(some(comment)), split_at_sign(spec, at_sign))
        };
        self.clear();
        if name.is_some() || !local.is_empty() || !domain.is_empty() {
            self.list.push(Mailbox { kind: MailboxKind::Address, name, local, domain });
        }
    }

    /// `Jan Kowalski` of `Jan Kowalski jan@example.test`.
    fn words_before_address(&self, before: &str) -> Option<String> {
        if before.is_empty() {
            return None;
        }
        let (mut left, mut end) = (before.len(), 0);
        for (at, c) in self.phrase.char_indices() {
            if left == 0 {
                break;
            }
            if c != ' ' {
                left = left.saturating_sub(c.len_utf8());
            }
            end = at + c.len_utf8();
        }
        self.phrase.get(..end).map(|name| name.trim().to_owned())
    }

    fn clear(&mut self) {
        self.phrase.clear();
        self.spec.clear();
        self.comment.clear();
        (self.word, self.at_sign, self.gap, self.spec_closed) = (0, None, false, false);
    }
}

fn split_at_sign(spec: &str, at_sign: Option<usize>) -> (String, String) {
    let (local, domain) = at_sign.and_then(|at| spec.split_at_checked(at)).unwrap_or((spec, ""));
    (local.to_owned(), domain.strip_prefix('@').unwrap_or(domain).to_owned())
}

/// Bytes before the closing quote.
fn quoted_length(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match rest.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Without the backslashes of quoted pairs.
fn unescape(text: &[u8]) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        let byte = if *byte == b'\\' { bytes.next().unwrap_or(byte) } else { byte };
        out.push(*byte);
    }
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name|local|domain` for an address, `[name` and `]` for a group.
    fn shown(raw: &str) -> String {
        let entries = parse_addresses(raw.as_bytes()).into_iter().map(|m| match m.kind {
            MailboxKind::Address => {
                format!("{}|{}|{}", m.name.unwrap_or_default(), m.local, m.domain)
            }
            MailboxKind::GroupStart => format!("[{}", m.local),
            MailboxKind::GroupEnd => "]".to_owned(),
        });
        entries.collect::<Vec<_>>().join(", ")
    }

    #[track_caller]
    fn check(raw: &str, expect: &str) {
        assert_eq!(shown(raw), expect, "{raw:?}");
    }

    #[test]
    fn as_the_standard_wants() {
        check("", "");
        check("jan@example.test", "|jan|example.test");
        check("Jan Kowalski <jan@example.test>", "Jan Kowalski|jan|example.test");
        check(
            "\"Kowalski, Jan\" <jan@example.test>, b@c.test",
            "Kowalski, Jan|jan|example.test, |b|c.test",
        );
        check("\"a \\\"b\\\" c\" <d@e.test>", "a \"b\" c|d|e.test");
        check("\"jan kowalski\"@example.test", "|jan kowalski|example.test");
        check("<\"a@b\"@c.test>", "|a@b|c.test");
        check("=?utf-8?Q?Za=C5=BC?= <a@b.test>", "=?utf-8?Q?Za=C5=BC?=|a|b.test");
        check(
            "Friends: a@b.test, C <c@d.test>;, e@f.test",
            "[Friends, |a|b.test, C|c|d.test, ], |e|f.test",
        );
        check("undisclosed-recipients:;", "[undisclosed-recipients, ]");
        check("Ż <ż@ż.pl>", "Ż|ż|ż.pl");
        check("a@[192.0.2.1]", "|a|[192.0.2.1]");
    }

    #[test]
    fn old_and_odd() {
        check("jan@example.test (Jan Kowalski)", "Jan Kowalski|jan|example.test");
        check("jan(a(b)c)@example.test", "a(b)c|jan|example.test");
        check("Jan (the (big) one) K <jan@example.test>", "Jan K|jan|example.test");
        check("<@a.test,@b.test:jan@example.test>", "|jan|example.test");
        check("jan . kowalski @ example . test", "|jan.kowalski|example.test");
        check("Jan Kowalski jan@example.test", "Jan Kowalski|jan|example.test");
        check("jan@example.test Jan", "|jan|example.test");
        check("root", "|root|");
        check("Jan Kowalski", "|Jan Kowalski|");
        check(", ,,a@b.test,", "|a|b.test");
        check("a@b.test; c@d.test", "|a|b.test, |c|d.test");
        check("<a@b.test> <c@d.test>", "|a|b.test, |c|d.test");
        check("\"Jan <a@b.test>", "\"Jan|a|b.test");
        check("Jan <a@b.test, c@d.test", "Jan|a|b.test, |c|d.test");
        check("a@b@c.test", "|a@b|c.test");
        check("Jan <>", "Jan||");
        check("<>", "");
        check("(", "");
        check("\\", "|\\|");
        check("a: b: c@d.test;", "[a, |c|d.test, ]");
        check("Jan, K. <a@b.test>", "|Jan|, K.|a|b.test");
        check("'a@b.test' <c@d.test>", "'a@b.test'|c|d.test");
        check(">a@b.test<", "|a|b.test");
    }

    #[test]
    fn bombs_stay_bounded() {
        assert_eq!(shown(&":".repeat(50_000)), "");
        assert_eq!(
            shown(&format!("{}{} a@b.c", "(".repeat(50_000), ")".repeat(50_000))).len(),
            100_004
        );
        assert_eq!(parse_addresses("a,".repeat(60_000).as_bytes()).len(), 7_000);
        assert_eq!(parse_addresses("a@b,".repeat(60_000).as_bytes()).len(), limits::ADDRESSES);
        assert_eq!(parse_addresses("\"".repeat(50_001).as_bytes()).len(), 1);
        let mut left = 3;
        let (list, used_up) = parse_list(b"a@b.c, d@e.f, g@h.i, j@k.l", None, &mut left);
        assert!(used_up && list.len() == 3 && left == 0);
    }
}
