//! What happens to a letter between its last byte and storage, in this order. A step looks at the [`Passage`],
//! changes it or refuses the letter; it never waits. A new one: its file, its row, its test.

mod loops;
pub(crate) mod trace;
pub(crate) mod verdict;

use crate::{Delivered, Envelope, Refusal};
use filter::{Filter, Looked};
use std::collections::BTreeSet;
use types::AccountId;

/// A letter on its way, parsed once.
pub struct Passage<'a> {
    pub envelope: &'a Envelope,
    pub hostname: &'a str,
    pub filter: &'a Filter,
    /// What the filter had to ask others about it.
    pub looked: Looked,
    pub now_unix_s: i64,
    pub message: mparser::Message<'a>,
    pub verdict: Option<antispam::Verdict>,
    /// Accounts for which it goes elsewhere than for all.
    pub own: Vec<(AccountId, Delivered)>,
    pub into: Delivered,
    /// Places of recipients who forwarded this letter before: it came back.
    pub came_back: BTreeSet<usize>,
    /// Whole header fields that will stand before the letter.
    pub trace: Vec<u8>,
}

/// A step: its name in the log, what it does, and why it is there.
pub struct Step {
    pub name: &'static str,
    pub run: fn(&mut Passage<'_>) -> Result<(), Refusal>,
    pub spec: &'static str,
}

// unsorted: a letter takes them in turn, cheap refusals first, the trace when all is known
pub static STEPS: &[Step] = &[
    Step { name: "loops", run: loops::run, spec: "RFC 5321 §6.3" },
    Step { name: "verdict", run: verdict::run, spec: "is the letter wanted: antispam says" },
    Step { name: "trace", run: trace::run, spec: "RFC 5321 §4.4" },
];

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{Leads, Recipient};
    use std::sync::Arc;

    pub(crate) fn envelope(sender: &str, recipients: &[&str]) -> Envelope {
        Envelope {
            sender: (!sender.is_empty()).then(|| sender.parse().unwrap()),
            recipients: (1..)
                .zip(recipients)
                .map(|(n, address)| Recipient {
                    address: address.parse().unwrap(),
                    leads: Leads::Account(AccountId(n)),
                })
                .collect(),
            client_ip: "192.0.2.7".parse().unwrap(),
            helo: "client.example.test".to_owned(),
            protocol: "ESMTP",
            id: "4K7Q".to_owned(),
            origin: None,
            body: queue::Body::SevenBit,
            utf8: false,
            require_tls: false,
            may_refuse: true,
        }
    }

    pub(crate) fn passage<'a>(envelope: &'a Envelope, raw: &'a [u8]) -> Passage<'a> {
        Passage {
            envelope,
            hostname: "mx.example.test",
            filter: Box::leak(Box::new(Filter::new(
                filter::Options::default(),
                Arc::new(types::ManualClock::at_unix_s(1_795_370_400)),
            ))),
            looked: Looked::default(),
            own: Vec::new(),
            now_unix_s: 1_795_370_400,
            message: mparser::Message::parse(raw),
            verdict: None,
            into: Delivered::Inbox,
            came_back: BTreeSet::new(),
            trace: Vec::new(),
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = STEPS.iter().map(|s| s.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), STEPS.len());
    }
}
