//! A letter of one of our own users on its way out (RFC 6409). What happens to it stands in [`OUTGOING`], in this
//! order; a step looks at the [`Leaving`] letter, changes it or objects; it never waits. A new one: its file, its row,
//! its test. Where the letter goes then, at once or through the queue, is in `submit`.
//!
//! | file | holds |
//! |---|---|
//! | `mod` | [`Submission`], [`Outgoing`], the table [`OUTGOING`] |
//! | `submit` | `Mda::submit`: from the last byte to the durable commit; who may send as whom |
//! | `objection` | [`Objection`]: why not, and what to do |
//! | `rates` | how much one account may send |
//! | the others | one step each |

mod author;
mod complete;
mod lines;
mod loops;
mod objection;
mod private;
mod rates;
mod sign;
mod submit;
mod trace;

pub use objection::Objection;
pub(crate) use rates::Rates;
pub use rates::TooMuch;
pub use submit::Sent;

use antispam::dkim::Signer;
use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use types::{AccountId, Address};

/// What the operator decides about letters of our own users.
#[derive(Debug, Clone, Default)]
pub struct Outgoing {
    /// Nothing leaves for other servers: mail for other domains is not taken.
    pub stays_here: bool,
    /// `Received` does not say from which address the client came.
    pub hide_client: bool,
    /// Letters of one account in an hour; 0: no limit.
    pub letters_per_hour: u32,
    /// Recipients of one account in a day; 0: no limit.
    pub recipients_per_day: u32,
    pub signer: Arc<Signer>,
}

/// Who logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub account: AccountId,
    /// The account's address, in lower case.
    pub key: String,
}

/// One letter as the dialogue with our user gave it.
#[derive(Debug, Clone)]
pub struct Submission {
    pub login: Login,
    /// For whom, when, which reports. `account` is filled in here.
    pub envelope: queue::Envelope,
    pub client_ip: IpAddr,
    /// What the client called itself: any text, not trusted.
    pub helo: String,
    /// The keyword of `with` in `Received` (RFC 3848, RFC 6531 §4.3).
    pub protocol: &'static str,
    /// Ours, for `Received`, replies, log lines and the queue.
    pub id: String,
}

/// A letter on its way out, parsed once.
pub struct Leaving<'a> {
    pub submission: &'a Submission,
    pub hostname: &'a str,
    pub outgoing: &'a Outgoing,
    pub now_unix_s: i64,
    /// All of it, as it came.
    pub raw: &'a [u8],
    /// Its header alone: no step looks into the body.
    pub message: mparser::Message<'a>,
    /// Those of the addresses in `From` and `Sender` that the account may use.
    pub owned: &'a HashSet<Address>,
    /// Who wrote it: its domain signs. Known after the step `author`.
    pub author: Option<Address>,
    /// Parts of the letter that stay here.
    pub left_out: Vec<Range<usize>>,
    /// Whole fields that will stand before the letter.
    pub added: String,
    /// The letter as it leaves. Empty until the step `put together`.
    pub letter: Vec<u8>,
}

/// A step: its name in the log, what it does, and why it is there.
pub struct OutgoingStep {
    pub name: &'static str,
    pub run: fn(&mut Leaving<'_>) -> Result<(), Objection>,
    pub spec: &'static str,
}

// unsorted: a letter takes them in turn, objections first; the signature is over all that was done before
pub static OUTGOING: &[OutgoingStep] = &[
    OutgoingStep { name: "lines", run: lines::run, spec: "RFC 5322 §2.1" },
    OutgoingStep { name: "loops", run: loops::run, spec: "RFC 5321 §6.3" },
    OutgoingStep { name: "author", run: author::run, spec: "RFC 6409 §6.1" },
    OutgoingStep { name: "private fields", run: private::run, spec: "RFC 5322 §3.6.3" },
    OutgoingStep { name: "trace", run: trace::run, spec: "RFC 5321 §4.4" },
    OutgoingStep { name: "date", run: complete::date, spec: "RFC 6409 §8.2" },
    OutgoingStep { name: "message id", run: complete::message_id, spec: "RFC 6409 §8.3" },
    OutgoingStep {
        name: "put together",
        run: complete::put_together,
        spec: "one copy of what stays",
    },
    OutgoingStep { name: "dkim", run: sign::run, spec: "RFC 6376 §5" },
];

impl Leaving<'_> {
    /// The fields of this name, in their order.
    pub(crate) fn fields(&self, name: &str) -> impl Iterator<Item = mparser::Header<'_>> {
        self.message.headers().filter(move |f| f.name.eq_ignore_ascii_case(name.as_bytes()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn submission() -> Submission {
        Submission {
            login: Login { account: AccountId(7), key: "ala@example.test".to_owned() },
            envelope: queue::Envelope {
                sender: Some("ala@example.test".parse().unwrap()),
                recipients: vec![queue::Recipient::plain("b@x.test".parse().unwrap())],
                body: queue::Body::EightBit,
                utf8: false,
                require_tls: false,
                ret: None,
                envelope_id: None,
                account: None,
                release_unix_s: None,
            },
            client_ip: "192.0.2.7".parse().unwrap(),
            helo: "[10.0.0.5]".to_owned(),
            protocol: "ESMTPSA",
            id: "4K7Q".to_owned(),
        }
    }

    /// Takes a letter through one step, as ala with the alias sales, and gives back what it became.
    pub(crate) fn step<T>(
        run: impl Fn(&mut Leaving<'_>) -> Result<(), Objection>,
        raw: &str,
        look: impl FnOnce(&Leaving<'_>) -> T,
    ) -> Result<T, Objection> {
        let (submission, outgoing) = (submission(), Outgoing::default());
        let owned: HashSet<Address> =
            ["ala@example.test", "Ala+x@example.test", "sales@example.test"]
                .map(|a| a.parse().unwrap())
                .into();
        let mut leaving = Leaving {
            submission: &submission,
            hostname: "mx.example.test",
            outgoing: &outgoing,
            now_unix_s: 1_795_370_400,
            raw: raw.as_bytes(),
            message: mparser::Message::parse(submit::header(raw.as_bytes())),
            owned: &owned,
            author: None,
            left_out: Vec::new(),
            added: String::new(),
            letter: Vec::new(),
        };
        run(&mut leaving)?;
        Ok(look(&leaving))
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = OUTGOING.iter().map(|s| s.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), OUTGOING.len());
    }
}
