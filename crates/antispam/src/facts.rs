//! What the rules ask about, gathered once for each letter.

use crate::authentication::{Authentication, Listed};
use crate::files::{Finding, look};
use crate::links::{Page, read_page};
use crate::local::LocalRules;
use mparser::{DefectKind, Message, NamedAddress, PartKind};
use std::net::IpAddr;
use types::Address;

/// Of each text part so much is read: spam is short, and the rest of a long letter says the same.
const TEXT_BYTES: usize = 256 * 1024;
/// Text parts that are read. Real letters have two or three.
const TEXT_PARTS: usize = 8;

/// What is known beside the letter itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence<'a> {
    pub client_ip: Option<IpAddr>,
    /// The name the client gave in HELO, EHLO or LHLO.
    pub helo: Option<&'a str>,
    /// `None`: the null sender of bounces.
    pub sender: Option<&'a Address>,
    pub recipients: &'a [Address],
    /// The letter came over TLS.
    pub tls: bool,
    /// `None`: nobody looked.
    pub authentication: Option<&'a Authentication>,
    /// Lists in the DNS that know the client, or a domain in the letter.
    pub listed: &'a [Listed],
    /// Rules of the operator's own.
    pub local: Option<&'a LocalRules>,
    /// What a virus scanner calls what it found.
    pub virus: Option<&'a str>,
    pub now_unix_s: i64,
}

/// What a rule may look at.
#[derive(Debug)]
pub struct Facts<'a> {
    pub(crate) message: &'a Message<'a>,
    pub(crate) evidence: &'a Evidence<'a>,
    pub(crate) subject: String,
    pub(crate) from: Vec<NamedAddress>,
    /// The decoded text parts, one after the other.
    pub(crate) text: String,
    /// The same in lower case, white space single, HTML as its text.
    pub(crate) words: String,
    pub(crate) page: Page,
    /// File names of the attachments, lower case.
    pub(crate) files: Vec<String>,
    pub(crate) findings: Vec<Finding>,
}

impl<'a> Facts<'a> {
    pub fn gather(message: &'a Message<'a>, evidence: &'a Evidence<'a>) -> Self {
        let index = message.index();
        let attachments = index.attachments();
        let mut facts = Self {
            message,
            evidence,
            subject: index.subject(),
            from: index.from_(),
            text: String::new(),
            words: String::new(),
            page: Page::default(),
            files: attachments.iter().filter_map(|p| index.filename(*p)).collect(),
            findings: look(message, &attachments),
        };
        facts.files.iter_mut().for_each(|name| *name = name.to_lowercase());
        let is_text = |number: &usize| {
            let part = index.parts.get(*number);
            part.is_some_and(|p| p.kind == PartKind::Leaf && p.media_type == "text")
        };
        for number in (0..index.parts.len()).filter(is_text).take(TEXT_PARTS) {
            facts.add_text(number);
        }
        facts
    }

    fn add_text(&mut self, number: usize) {
        let Some(part) = self.message.index().parts.get(number) else {
            return;
        };
        let body = self.message.body(number);
        let body = body.get(..body.len().min(TEXT_BYTES)).unwrap_or_default();
        let content = part.encoding.undo(body);
        let content = content.as_deref().unwrap_or(body);
        let text = mparser::decode_charset(content, part.param("charset"));
        let shown = if part.subtype == "html" {
            let shown = mparser::html_to_text(&text, TEXT_BYTES);
            read_page(&text, &shown, &mut self.page);
            shown
        } else {
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        self.words.push_str(&shown.to_lowercase());
        self.words.push(' ');
        self.text.push_str(&text);
        self.text.push('\n');
    }

    pub(crate) fn has_defect(&self, kind: DefectKind) -> bool {
        self.message.defects().iter().any(|d| d.kind == kind)
    }

    /// A field of the letter's own header that may stand once stands twice.
    pub(crate) fn has_double_field(&self) -> bool {
        let header_end = self.message.index().parts.first().map_or(0, |root| root.header.end);
        let defects = self.message.defects().iter();
        defects.filter(|d| d.kind == DefectKind::DuplicateHeader).any(|d| d.offset < header_end)
    }
}
