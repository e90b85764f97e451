//! Addresses.
use crate::decode_header_text;

/// What an entry of an address list is. IMAP writes groups as two entries around their members (RFC 9051 §7.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MailboxKind {
    #[default]
    Address,
    /// `local` is the group's name.
    GroupStart,
    GroupEnd,
}

/// One entry of an address field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mailbox {
    pub kind: MailboxKind,
    /// The display name, unquoted, RFC 2047 words left as they are.
    pub name: Option<String>,
    pub local: String,
    /// Empty for `root` alone.
    pub domain: String,
}

/// An address as people read it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamedAddress {
    pub name: Option<String>,
    pub address: String,
}

impl Mailbox {
    /// `local@domain`
    pub fn address(&self) -> String {
        if self.domain.is_empty() {
            self.local.clone()
        } else {
            format!("{}@{}", self.local, self.domain)
        }
    }
}

impl NamedAddress {
    /// The addresses of a list, decoded; groups give their members.
    pub fn list(mailboxes: &[Mailbox]) -> Vec<Self> {
        mailboxes
            .iter()
            .filter(|m| m.kind == MailboxKind::Address)
            .map(|m| Self {
                name: m.name.as_deref().map(|n| decode_header_text(n.as_bytes())),
                address: m.address(),
            })
            .collect()
    }
}

/// An address list (RFC 5322 §3.4, §4.4).
pub fn parse_addresses(raw: &[u8]) -> Vec<Mailbox> {
    let _ = raw;
    Vec::new()
}
