//! What every letter must have and some programs leave to us: `Date` and `Message-ID` (RFC 6409 §8.2, §8.3). Then the
//! letter is put together, without the fields that stay here.

use super::{Leaving, Objection};
use std::fmt::Write as _;
use types::Date;

/// Random bytes of a Message-ID: the id of the letter is unique here, these make it so elsewhere.
const RANDOM_BYTES: usize = 8;

#[expect(clippy::unnecessary_wraps, reason = "the shape of the column")]
pub(super) fn date(leaving: &mut Leaving<'_>) -> Result<(), Objection> {
    if leaving.fields("Date").next().is_none() {
        let date = Date::from_unix_s(leaving.now_unix_s).rfc5322();
        add(leaving, "Date", &date);
    }
    Ok(())
}

pub(super) fn message_id(leaving: &mut Leaving<'_>) -> Result<(), Objection> {
    if leaving.fields("Message-ID").next().is_some() {
        return Ok(());
    }
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random).map_err(|_| crate::Refusal::Unavailable)?;
    // Of our own name: that of the author may not be ASCII.
    let random = u64::from_ne_bytes(random);
    let id = format!("<{}.{random:016x}@{}>", leaving.submission.id, leaving.hostname);
    add(leaving, "Message-ID", &id);
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of the column")]
pub(super) fn put_together(leaving: &mut Leaving<'_>) -> Result<(), Objection> {
    let raw = leaving.raw;
    let mut letter = Vec::with_capacity(leaving.added.len() + raw.len());
    letter.extend_from_slice(leaving.added.as_bytes());
    let mut at = 0;
    for range in &leaving.left_out {
        letter.extend_from_slice(raw.get(at..range.start).unwrap_or_default());
        at = range.end;
    }
    letter.extend_from_slice(raw.get(at..).unwrap_or_default());
    leaving.letter = letter;
    Ok(())
}

fn add(leaving: &mut Leaving<'_>, name: &str, value: &str) {
    let written = write!(leaving.added, "{name}: {value}\r\n");
    debug_assert!(written.is_ok(), "a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::super::tests::step;
    use super::*;

    #[test]
    fn only_what_is_missing() {
        #[track_caller]
        fn check(raw: &str, expect: [bool; 2]) {
            let both = |leaving: &mut Leaving<'_>| date(leaving).and_then(|()| message_id(leaving));
            let added = step(both, raw, |l| l.added.clone()).unwrap();
            let found = ["Date: Sun, 22 Nov 2026 18:00:00 +0000\r\n", "Message-ID: <4K7Q."]
                .map(|start| added.contains(start));
            assert_eq!(found, expect, "{added}");
        }
        check("From: a\r\n\r\n", [true, true]);
        check("DATE: now\r\n\r\nMessage-ID: <x@y>\r\n", [false, true]);
        check("Date: now\r\nmessage-id : <x@y>\r\n\r\n", [false, false]);
    }

    #[test]
    fn ids_differ() {
        let id = || step(message_id, "From: a\r\n\r\n", |l| l.added.clone()).unwrap();
        assert_ne!(id(), id());
        assert!(id().ends_with("@mx.example.test>\r\n"));
    }
}
