//! What the dialogue found out about a letter (RFC 5321 §2.3.1).

use crate::{Delivered, Refusal};
use std::net::IpAddr;
use types::{AccountId, Address};

/// An address that can have mail here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// As it was given, with its tag.
    pub address: Address,
    pub account: AccountId,
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
