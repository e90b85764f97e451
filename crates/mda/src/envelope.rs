//! What the dialogue found out about a letter (RFC 5321 §2.3.1).

use crate::{Delivered, Refusal};
use queue::Body;
use std::net::IpAddr;
use std::sync::Arc;
use types::{AccountId, Address};

/// An address that can have mail here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// As it was given, with its tag.
    pub address: Address,
    pub leads: Leads,
}

/// Where mail for an address goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leads {
    /// Into one mailbox here.
    Account(AccountId),
    /// To several, or away from here.
    Alias(Arc<Targets>),
}

/// Where an alias leads, with all aliases behind it. Nobody is named twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Targets {
    pub here: Vec<Share>,
    pub elsewhere: Vec<Address>,
}

/// One mailbox of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    pub account: AccountId,
    /// Under which the queue may try again for this mailbox alone, when it cannot take the letter now. `None`: its address
    /// is an alias itself, and would lead to the others too.
    pub alone: Option<Address>,
}

impl Leads {
    /// Whether mail for the address comes into this account.
    pub fn to(&self, account: AccountId) -> bool {
        self.accounts().any(|here| here == account)
    }

    pub(crate) fn accounts(&self) -> impl Iterator<Item = AccountId> {
        let (one, many) = match self {
            Self::Account(account) => (Some(*account), &[][..]),
            Self::Alias(targets) => (None, &targets.here[..]),
        };
        one.into_iter().chain(many.iter().map(|share| share.account))
    }

    pub(crate) fn elsewhere(&self) -> &[Address] {
        match self {
            Self::Account(_) => &[],
            Self::Alias(targets) => &targets.elsewhere,
        }
    }
}

/// The envelope of one letter.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// `None`: the null sender of bounces.
    pub sender: Option<Address>,
    /// Never empty.
    pub recipients: Vec<Recipient>,
    pub client_ip: IpAddr,
    /// What the client called itself: any text, not trusted.
    pub helo: String,
    /// The keyword of `with` in `Received`: `SMTP`, `ESMTP`, `ESMTPA`, `LMTP`, `UTF8LMTP`, … (RFC 3848, RFC 6531 §4.3).
    /// Empty: the letter was here already, and has its `Received`.
    pub protocol: &'static str,
    /// Ours, for `Received`, replies and log lines.
    pub id: String,
    /// Who brought the letter to the server that brings it to us, when that one is trusted and says so. `None`: the client
    /// itself.
    pub origin: Option<Origin>,
    /// What the letter holds, for where it is forwarded (RFC 6152, RFC 3030).
    pub body: Body,
    /// The letter or an address needs SMTPUTF8, where it is forwarded too (RFC 6531).
    pub utf8: bool,
    /// Never in clear, where it is forwarded too (RFC 8689).
    pub require_tls: bool,
    /// The client can still be told that the letter is not wanted. `false`: somebody has taken it already and would have
    /// to bounce it; then what should be refused goes to Junk.
    pub may_refuse: bool,
}

/// A client of a server in front of us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub ip: IpAddr,
    /// What it called itself: any text, not trusted.
    pub helo: String,
}

impl Envelope {
    /// The same answer for every recipient.
    pub(crate) fn all(
        &self,
        answer: Result<Delivered, Refusal>,
    ) -> Vec<Result<Delivered, Refusal>> {
        vec![answer; self.recipients.len()]
    }
}
