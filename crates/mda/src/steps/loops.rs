//! A letter that went through too many servers goes round in circles (RFC 5321 §6.3).

use super::Passage;
use crate::Refusal;

/// `Received` fields a letter may bring. Real ones stay under 20; RFC 5321 §6.3 wants a limit of at least 100
/// for relays, but we are the last hop: what comes to us fifty times was sent on by somebody's mistake.
const RECEIVED: usize = 50;

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
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{envelope, passage};
    use super::*;

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
