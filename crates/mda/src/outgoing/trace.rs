//! `Received`, as before every letter that comes in; with `hide_client` it does not say from where.

use super::{Leaving, Objection};
use crate::steps::trace::{literal, tame};
use std::fmt::Write as _;
use types::Date;

#[expect(clippy::unnecessary_wraps, reason = "the shape of the column")]
pub(super) fn run(leaving: &mut Leaving<'_>) -> Result<(), Objection> {
    let submission = leaving.submission;
    // A name must stand there (RFC 5321 §4.4). People at home do not want to tell where that is.
    let from = if leaving.outgoing.hide_client {
        "localhost".to_owned()
    } else {
        format!("{} ({})", tame(&submission.helo), literal(submission.client_ip))
    };
    // With more than one recipient, `for` would tell each about the others (RFC 5321 §7.6).
    let only = match submission.envelope.recipients.as_slice() {
        [one] => format!("\r\n\tfor <{}>", one.address),
        _ => String::new(),
    };
    let written = write!(
        leaving.added,
        "Received: from {from}\r\n\tby {} with {} id {}{only};\r\n\t{}\r\n",
        leaving.hostname,
        submission.protocol,
        submission.id,
        Date::from_unix_s(leaving.now_unix_s).rfc5322()
    );
    debug_assert!(written.is_ok(), "a String takes everything");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::step;
    use super::super::{Leaving, Outgoing};
    use super::*;

    #[test]
    fn with_and_without_the_client() {
        let added = step(run, "From: a\r\n\r\n", |l| l.added.clone()).unwrap();
        assert_eq!(
            added,
            "Received: from [10.0.0.5] ([192.0.2.7])\r\n\tby mx.example.test with ESMTPSA id 4K7Q\r\n\
             \tfor <b@x.test>;\r\n\tSun, 22 Nov 2026 18:00:00 +0000\r\n"
        );
        let hidden = |leaving: &mut Leaving<'_>| {
            let outgoing = Outgoing { hide_client: true, ..Outgoing::default() };
            let mut other = Leaving {
                outgoing: &outgoing,
                message: leaving.message.clone(),
                added: String::new(),
                left_out: Vec::new(),
                letter: Vec::new(),
                author: None,
                ..*leaving
            };
            run(&mut other)?;
            leaving.added = other.added;
            Ok(())
        };
        let added = step(hidden, "From: a\r\n\r\n", |l| l.added.clone()).unwrap();
        assert!(
            added.starts_with("Received: from localhost\r\n\tby mx.example.test with"),
            "{added}"
        );
        assert!(!added.contains("10.0.0.5") && !added.contains("192.0.2.7"), "{added}");
    }
}
