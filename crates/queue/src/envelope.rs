//! What is asked for: for whom, from whom, which reports (RFC 3461), when (RFC 4865).

use types::{AccountId, Address};

/// Of one letter, as it was when the letter was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// `None`: `<>`, nobody to report to (RFC 5321 §4.5.5).
    pub sender: Option<Address>,
    pub recipients: Vec<Recipient>,
    pub body: Body,
    /// The letter or an address needs SMTPUTF8 (RFC 6531).
    pub utf8: bool,
    /// Never in clear (RFC 8689).
    pub require_tls: bool,
    /// How much of the letter a report brings back; `None`: nothing was said (RFC 3461 §4.3).
    pub ret: Option<Return>,
    /// ENVID, decoded: the sender's own name for the letter (RFC 3461 §4.4).
    pub envelope_id: Option<String>,
    /// Whose letter it is: who may see it waiting, and cancel it. `None`: the server's own.
    pub account: Option<AccountId>,
    /// Not before this time; until then it can be cancelled (RFC 4865).
    pub release_unix_s: Option<i64>,
}

/// One address and what is to be told about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    pub address: Address,
    pub notify: Notify,
    /// ORCPT as it came, `rfc822;` and xtext (RFC 3461 §4.2).
    pub original: Option<String>,
}

impl Recipient {
    /// With the reports everybody gets: of failure and of delay.
    pub fn plain(address: Address) -> Self {
        Self { address, notify: Notify::default(), original: None }
    }
}

/// What the letter holds (RFC 6152 §3, RFC 3030 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Body {
    #[default]
    SevenBit,
    EightBit,
    Binary,
}

/// Which reports are wanted (RFC 3461 §4.1). All `false`: NEVER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "three words of the standard and one more")]
pub struct Notify {
    pub success: bool,
    pub failure: bool,
    pub delay: bool,
    /// The sender said so; it is passed on.
    pub said: bool,
}

impl Notify {
    pub const NEVER: Self = Self { success: false, failure: false, delay: false, said: true };
}

impl Default for Notify {
    fn default() -> Self {
        Self { success: false, failure: true, delay: true, said: false }
    }
}

/// How much of the letter a report brings back (RFC 3461 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    Full,
    Headers,
}
