//! Fields that are not for others. `Bcc` names people the others must not see (RFC 5322 §3.6.3, §7.2); Postfix drops
//! it as well. `Return-Path` and `Delivered-To` are written by who delivers last (RFC 5321 §4.4): those of a letter that
//! is sent again would lie, or look like a loop.

use super::{Leaving, Objection};

static PRIVATE: &[&str] = &["Bcc", "Delivered-To", "Resent-Bcc", "Return-Path"];

#[expect(clippy::unnecessary_wraps, reason = "the shape of the column")]
pub(super) fn run(leaving: &mut Leaving<'_>) -> Result<(), Objection> {
    for field in leaving.message.headers() {
        if PRIVATE.iter().any(|name| field.name.eq_ignore_ascii_case(name.as_bytes())) {
            let start = field.offset as usize;
            leaving.left_out.push(start..start + field.raw.len());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::complete::put_together;
    use super::super::tests::step;
    use super::*;

    #[test]
    fn left_out() {
        #[track_caller]
        fn check(raw: &str, expect: &str) {
            let both =
                |leaving: &mut Leaving<'_>| run(leaving).and_then(|()| put_together(leaving));
            let letter = step(both, raw, |l| String::from_utf8(l.letter.clone()).unwrap());
            assert_eq!(letter.as_deref(), Ok(expect));
        }
        check(
            "From: a\r\nBcc: x,\r\n\ty\r\nTo: b\r\n\r\nBcc: z\r\n",
            "From: a\r\nTo: b\r\n\r\nBcc: z\r\n",
        );
        check("return-path: <>\r\nDelivered-To: a\r\nRESENT-BCC:b\r\nX: c\r\n", "X: c\r\n");
        check("Bcc: a\r\n\r\nbody", "\r\nbody");
        check("From: a\r\n\r\n", "From: a\r\n\r\n");
    }
}
