//! A letter that went through too many servers goes round in circles (RFC 5321 §6.3). So does one that comes back to
//! an address which has forwarded it before (RFC 9228 §4).

use super::Passage;
use crate::Refusal;
use crate::resolve::whole;
use std::collections::HashSet;
use types::Address;

/// `Received` fields a letter may bring. Real ones stay under 20; RFC 5321 §6.3 wants a limit of at least 100
/// for relays, but we are the last hop: what comes to us fifty times was sent on by somebody's mistake.
const RECEIVED: usize = 50;
/// `Delivered-To` fields that are read: each is there because somebody forwarded the letter, and brings a `Received`.
const DELIVERED_TO: usize = 2 * RECEIVED;

pub(super) fn run(passage: &mut Passage<'_>) -> Result<(), Refusal> {
    let received = passage
        .message
        .headers()
        .filter(|field| field.name.eq_ignore_ascii_case(b"Received"))
        .take(RECEIVED + 1)
        .count();
    if received > RECEIVED {
        return Err(Refusal::Loop);
    }
    let recipients = passage.envelope.recipients.iter().enumerate();
    let mut forwarding = recipients.filter(|(_, to)| !to.leads.elsewhere().is_empty()).peekable();
    if forwarding.peek().is_some() {
        let before = delivered_to(&passage.message);
        let came_back = forwarding.filter(|(_, to)| before.contains(&whole(&to.address)));
        passage.came_back = came_back.map(|(place, _)| place).collect();
    }
    Ok(())
}

/// Who had the letter before. A field with no `Received` above it was not there when the letter travelled: the server
/// in front of us put it there just now, as Postfix does with `flags=D`.
fn delivered_to(message: &mparser::Message<'_>) -> HashSet<String> {
    let has_name =
        |field: &mparser::Header<'_>, name: &str| field.name.eq_ignore_ascii_case(name.as_bytes());
    let travelled = message.headers().skip_while(|field| !has_name(field, "Received"));
    let fields = travelled.filter(|field| has_name(field, "Delivered-To")).take(DELIVERED_TO);
    let address = |field: mparser::Header<'_>| -> Option<String> {
        let text = std::str::from_utf8(field.value).ok()?.trim();
        let inside = text.strip_prefix('<').and_then(|text| text.strip_suffix('>'));
        Some(whole(&inside.unwrap_or(text).parse::<Address>().ok()?))
    };
    fields.filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{envelope, passage};
    use super::*;
    use crate::{Leads, Targets};
    use std::sync::Arc;

    #[test]
    fn what_was_forwarded_from_here_comes_back() {
        #[track_caller]
        fn check(fields: &str, expect: &[usize]) {
            let raw = format!("{fields}Subject: x\r\n\r\nDelivered-To: a@example.test\r\n");
            let to = ["a@example.test", "A+x@Example.test", "b@example.test"];
            let mut envelope = envelope("s@b.test", &to);
            let elsewhere = vec!["x@other.test".parse().unwrap()];
            let targets = Arc::new(Targets { here: Vec::new(), elsewhere });
            // The last one has a mailbox, where letters stay.
            for recipient in envelope.recipients.iter_mut().take(2) {
                recipient.leads = Leads::Alias(targets.clone());
            }
            let mut passage = passage(&envelope, raw.as_bytes());
            assert_eq!(run(&mut passage), Ok(()));
            assert_eq!(passage.came_back.into_iter().collect::<Vec<_>>(), expect, "{fields}");
        }
        check("", &[]);
        check("Received: x\r\nDelivered-To: a@example.test\r\n", &[0]);
        check("Received: x\r\nX: y\r\ndelivered-TO:\r\n <A@EXAMPLE.test>\r\n", &[0]);
        check(
            "Received: x\r\nDelivered-To: a+X@example.test\r\nDelivered-To: a@example.test\r\n",
            &[0, 1],
        );
        check("Received: x\r\nDelivered-To: b@example.test\r\n", &[]);
        // Not yet on its way when that was written.
        check("Delivered-To: a@example.test\r\nReceived: x\r\n", &[]);
        check("Received: x\r\nDelivered-To: no address\r\nDelivered-To: \u{ff}\r\n", &[]);
        let many = "Delivered-To: z@b.test\r\n".repeat(5000);
        check(&format!("Received: x\r\n{many}Delivered-To: a@example.test\r\n"), &[]);
    }

    #[test]
    fn fifty_are_enough() {
        #[track_caller]
        fn check(fields: &str, count: usize, expect: Result<(), Refusal>) {
            let raw = format!("{}Subject: x\r\n\r\nReceived: body\r\n", fields.repeat(count));
            let envelope = envelope("a@example.test", &["b@example.test"]);
            assert_eq!(run(&mut passage(&envelope, raw.as_bytes())), expect);
        }
        check("Received: from a\r\n\tby b; now\r\n", 0, Ok(()));
        check("Received: from a\r\n\tby b; now\r\n", 50, Ok(()));
        check("Received: from a\r\n\tby b; now\r\n", 51, Err(Refusal::Loop));
        check("RECEIVED:\r\n", 5000, Err(Refusal::Loop));
        check("X-Received: a\r\n", 51, Ok(()));
    }
}
