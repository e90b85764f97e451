//! The fields we put before a letter, always in this order: `Return-Path`, `Received`, `Authentication-Results` when others
//! were asked, `X-Spam-Status` with those that are wanted beside it, and one more before a letter whose first line is no
//! field of its own. Before one that is forwarded: no `Return-Path`, which only the last server writes, but `Delivered-To`.
//!
//! ```text
//! Time-stamp-line = "Received:" FWS Stamp CRLF                       ; RFC 5321 §4.4
//! Stamp           = From-domain By-domain Opt-info [CFWS] ";" FWS date-time
//! Opt-info        = [Via] [With] [ID] [For] [Additional-Registered-Clauses]
//! Return-path-line = "Return-Path:" FWS Reverse-path CRLF
//! Delivered-To     = "Delivered-To:" FWS Mailbox FWS CRLF           ; RFC 9228 §4
//! ```

use super::Passage;
use crate::{Envelope, Refusal};
use std::fmt::Write;
use std::net::IpAddr;
use types::{Address, Date};

/// Of what a client calls itself this much is kept (RFC 5321 §4.5.3.1.2).
const HELO_BYTES: usize = 255;
/// A letter that begins with a blank would go on with our last field and could add words to the verdict. This
/// field takes them.
const SHIELD: &str = "X-Defect: the letter begins in the middle of a field\r\n";

#[expect(clippy::unnecessary_wraps, reason = "the shape of the column")]
pub(super) fn run(passage: &mut Passage<'_>) -> Result<(), Refusal> {
    let mut trace = String::with_capacity(512);
    return_path(&mut trace, passage.envelope.sender.as_ref());
    // With more than one recipient, `for` would tell each about the others (RFC 5321 §7.6).
    let only = match passage.envelope.recipients.as_slice() {
        [one] => Some(&one.address),
        _ => None,
    };
    if !passage.envelope.protocol.is_empty() {
        received(&mut trace, passage, only);
    }
    rest(&mut trace, passage);
    passage.trace = trace.into_bytes();
    Ok(())
}

/// Before the copy that leaves again for this recipient.
pub(crate) fn forwarded(passage: &Passage<'_>, recipient: &Address) -> Vec<u8> {
    let mut trace = String::with_capacity(512);
    let written = write!(trace, "Delivered-To: {recipient}\r\n");
    debug_assert!(written.is_ok(), "a String takes everything");
    // One that was here already gets one more: the hops are counted by it.
    received(&mut trace, passage, Some(recipient));
    rest(&mut trace, passage);
    trace.into_bytes()
}

/// What is known of the sender, the verdict, and what keeps the letter's own first line apart.
fn rest(out: &mut String, passage: &Passage<'_>) {
    if let Some(authentication) = &passage.looked.authentication {
        out.push_str(&authentication.field(passage.hostname, passage.envelope.sender.as_ref()));
    }
    if let Some(verdict) = &passage.verdict {
        out.push_str(&passage.filter.status_fields(verdict));
    }
    if passage.message.raw().starts_with(b" ") || passage.message.raw().starts_with(b"\t") {
        out.push_str(SHIELD);
    }
}

fn return_path(out: &mut String, sender: Option<&Address>) {
    let written = match sender {
        Some(sender) => write!(out, "Return-Path: <{sender}>\r\n"),
        None => write!(out, "Return-Path: <>\r\n"),
    };
    debug_assert!(written.is_ok(), "a String takes everything");
}

fn received(out: &mut String, passage: &Passage<'_>, only: Option<&Address>) {
    let Envelope { protocol, id, .. } = passage.envelope;
    let helo = tame(&passage.envelope.helo);
    let ip = literal(passage.envelope.client_ip);
    let host = passage.hostname;
    let date = Date::from_unix_s(passage.now_unix_s).rfc5322();
    let only = only.map_or(String::new(), |only| format!("\r\n\tfor <{only}>"));
    let with = if protocol.is_empty() { "" } else { " with " };
    let written = write!(
        out,
        "Received: from {helo} ({ip})\r\n\tby {host}{with}{protocol} id {id}{only};\r\n\t{date}\r\n"
    );
    debug_assert!(written.is_ok(), "a String takes everything");
}

/// What a stranger calls itself, fit for a header field: letters, digits and the marks of names and address
/// literals; anything else becomes `?`.
pub(crate) fn tame(helo: &str) -> String {
    let safe = |c: char| match c {
        c if c.is_ascii_alphanumeric() || ".-_:[]".contains(c) => c,
        _ => '?',
    };
    let tamed: String = helo.chars().take(HELO_BYTES).map(safe).collect();
    if tamed.is_empty() {
        return "unknown".to_owned();
    }
    tamed
}

/// An address literal (RFC 5321 §4.1.3).
pub(crate) fn literal(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(v4) => format!("[{v4}]"),
        IpAddr::V6(v6) => format!("[IPv6:{v6}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{envelope, passage};
    use super::*;

    #[track_caller]
    fn check(envelope: &Envelope, expect: &str) {
        let mut passage = passage(envelope, b"Subject: x\r\n\r\n");
        run(&mut passage).unwrap();
        assert_eq!(String::from_utf8(passage.trace).unwrap(), expect);
    }

    #[test]
    fn one_recipient() {
        check(
            &envelope("Ala@Example.TEST", &["alice+x@example.test"]),
            "Return-Path: <Ala@example.test>\r\n\
             Received: from client.example.test ([192.0.2.7])\r\n\
             \tby mx.example.test with ESMTP id 4K7Q\r\n\
             \tfor <alice+x@example.test>;\r\n\
             \tSun, 22 Nov 2026 18:00:00 +0000\r\n",
        );
    }

    #[test]
    fn several_recipients_do_not_see_each_other() {
        let mut envelope = envelope("", &["a@example.test", "b@example.test"]);
        envelope.client_ip = "2001:db8::1".parse().unwrap();
        check(
            &envelope,
            "Return-Path: <>\r\n\
             Received: from client.example.test ([IPv6:2001:db8::1])\r\n\
             \tby mx.example.test with ESMTP id 4K7Q;\r\n\
             \tSun, 22 Nov 2026 18:00:00 +0000\r\n",
        );
    }

    #[test]
    fn a_letter_of_our_own_has_its_received_already() {
        let mut envelope = envelope("ala@example.test", &["b@example.test"]);
        envelope.protocol = "";
        check(&envelope, "Return-Path: <ala@example.test>\r\n");
    }

    #[test]
    fn a_copy_that_leaves_again() {
        let mut envelope = envelope("ala@b.test", &["sales@example.test", "b@example.test"]);
        let sales = envelope.recipients[0].address.clone();
        let of = |envelope: &Envelope| {
            let trace = forwarded(&passage(envelope, b" x\r\n"), &sales);
            String::from_utf8(trace).unwrap()
        };
        let expect = "Delivered-To: sales@example.test\r\n\
             Received: from client.example.test ([192.0.2.7])\r\n\
             \tby mx.example.test with ESMTP id 4K7Q\r\n\
             \tfor <sales@example.test>;\r\n\
             \tSun, 22 Nov 2026 18:00:00 +0000\r\n";
        assert_eq!(of(&envelope), format!("{expect}{SHIELD}"));
        envelope.protocol = "";
        let expect = expect.replace(" with ESMTP", "");
        assert_eq!(of(&envelope), format!("{expect}{SHIELD}"));
    }

    #[test]
    fn names_of_strangers() {
        #[track_caller]
        fn check(helo: &str, expect: &str) {
            assert_eq!(tame(helo), expect);
        }
        check("mail.example.test", "mail.example.test");
        check("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]");
        check("", "unknown");
        check("a b\r\nX-Spam: no", "a?b??X-Spam:?no");
        check("(x;y)\0\"<z>", "?x?y????z?");
        check("żółw.test", "???w.test");
        assert_eq!(tame(&"x".repeat(5000)).len(), HELO_BYTES);
    }

    #[test]
    fn the_verdict_comes_last() {
        let envelope = envelope("a@example.test", &["b@example.test"]);
        let mut passage = passage(&envelope, b"Subject: x\r\n\r\n");
        passage.verdict = Some(antispam::Verdict {
            action: antispam::Action::Junk,
            score: 7.5,
            required: 6.0,
            symbols: Vec::new(),
        });
        run(&mut passage).unwrap();
        let trace = String::from_utf8(passage.trace).unwrap();
        let last = trace.find("X-Spam-Status: Yes, score=7.5").unwrap();
        assert!(trace[last..].ends_with("\r\n"));
        assert!(!trace.contains("\r\n\r\n"));
        assert!(trace[..last].ends_with("+0000\r\n"));
    }

    #[test]
    fn a_letter_cannot_go_on_with_our_last_field() {
        let envelope = envelope("a@example.test", &["b@example.test"]);
        for (raw, shielded) in
            [(&b" No, score=0\r\n"[..], true), (b"\tx", true), (b"", false), (b"\r\n", false)]
        {
            let mut passage = passage(&envelope, raw);
            run(&mut passage).unwrap();
            assert_eq!(passage.trace.ends_with(SHIELD.as_bytes()), shielded);
        }
    }
}
