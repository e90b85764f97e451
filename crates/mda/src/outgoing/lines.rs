//! The header has fields and nothing else, in lines that end with CRLF: then everybody who reads the letter after us
//! finds the same fields, and the author that we checked is the one people see.
//!
//! ```text
//! field      = field-name *WSP ":" unstructured CRLF     ; RFC 5322 §2.2, §4.5
//! field-name = 1*(%d33-57 / %d59-126)
//! ```

use super::{Leaving, Objection};

pub(super) fn run(leaving: &mut Leaving<'_>) -> Result<(), Objection> {
    let header = leaving.message.raw();
    // Without the empty line, if there is one.
    let mut rest = header.strip_suffix(b"\r\n\r\n").unwrap_or(header);
    // Nothing is there to go on with.
    let mut open = false;
    while !rest.is_empty() {
        let end = memchr::memmem::find(rest, b"\r\n").unwrap_or(rest.len());
        let line = rest.get(..end).unwrap_or_default();
        rest = rest.get(end + 2..).unwrap_or_default();
        let goes_on = open && matches!(line.first(), Some(b' ' | b'\t'));
        let tame = !line.iter().any(|b| matches!(b, b'\r' | b'\n' | 0));
        if !tame || !(goes_on || is_field(line)) {
            return Err(Objection::BrokenHeader);
        }
        open = true;
    }
    Ok(())
}

fn is_field(line: &[u8]) -> bool {
    let Some(colon) = line.iter().position(|b| *b == b':') else { return false };
    let name = line.get(..colon).unwrap_or_default();
    let blanks = name.iter().rev().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let name = name.get(..name.len() - blanks).unwrap_or_default();
    !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::super::tests::step;
    use super::*;

    #[test]
    fn fields_and_nothing_else() {
        #[track_caller]
        fn check(raw: &str, good: bool) {
            assert_eq!(step(run, raw, |_| ()).is_ok(), good, "{raw:?}");
        }
        check("From: a\r\nTo : b\r\n c\r\n\r\nbody\nof any kind\0", true);
        check("From: a\r\nX:\r\n", true);
        check("From: a\r\n \r\n\tb\r\n\r\n", true);
        check("From: a", true);
        check("", true);
        check("\r\nFrom: a\r\n\r\n", false);
        check("\r\nbody only", false);
        check("From: a\nFrom: b\r\n\r\n", false);
        check("From: a\rFrom: b\r\n\r\n", false);
        check("Subject: a\r\r\nFrom: b\r\n\r\n", false);
        check("Subject: a\0\r\n\r\n", false);
        check("From a Mon Nov 23\r\nFrom: a\r\n\r\n", false);
        check("no field\r\n\r\n", false);
        check(" goes on\r\nFrom: a\r\n\r\n", false);
        check(": a\r\n\r\n", false);
        check("A b: c\r\n\r\n", false);
        check("\u{17c}: c\r\n\r\n", false);
        check("From: a\r\n\n\r\n\r\n", false);
    }
}
