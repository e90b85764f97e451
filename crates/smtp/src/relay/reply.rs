//! What the other server says: replies in bounds, and what they mean to the queue.
//!
//! ```text
//! Reply-line  = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF   ; RFC 5321 §4.2
//! status-code = class "." subject "." detail                                                 ; RFC 3463 §2
//! ```

use queue::Answer;

/// Of one reply; EHLO of the chattiest servers has some thirty.
pub(super) const LINES: usize = 128;
/// RFC 5321 §4.5.3.1.5 allows 512 bytes; some EHLO lines are longer.
pub(super) const LINE_BYTES: usize = 2048;
/// Of what was said, kept for people; lines after that are read and forgotten.
const TEXT_BYTES: usize = 1000;

/// One reply with all its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// 200 to 599.
    pub(super) code: u16,
    /// Without code; printable, since they go into logs and reports.
    pub(super) lines: Vec<String>,
}

/// Where in the dialogue a reply came: a code without an enhanced one means different things there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Greeting,
    Hello,
    Auth,
    Mail,
    Recipient,
    Data,
    End,
}

/// The code, whether more lines follow, and the text. `None`: that is no reply.
pub(super) fn line(bytes: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = bytes.split_at_checked(3)?;
    let class = digits.first()?;
    if !matches!(class, b'2'..=b'5') || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match rest.split_first() {
        None => Some((code, false, b"")),
        Some((b' ', text)) => Some((code, false, text)),
        Some((b'-', text)) => Some((code, true, text)),
        Some(_) => None,
    }
}

impl Reply {
    pub(super) fn is_good(&self) -> bool {
        self.code / 100 == 2
    }

    pub(super) fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// The server goes away after this (RFC 5321 §3.8).
    pub(super) fn is_goodbye(&self) -> bool {
        self.code == 421
    }

    /// Printable text out of a line of a stranger.
    pub(super) fn printable(bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }

    pub(super) fn answer(&self, step: Step, host: &str) -> Answer {
        let first = self.lines.first().map_or("", String::as_str);
        let found = enhanced(first).filter(|(code, _)| class_of(code) == Some(self.code / 100));
        let said = found.map(|(code, _)| code.to_owned());
        let mut text = String::new();
        for line in &self.lines {
            let line = match enhanced(line) {
                Some((code, rest)) if said.as_deref() == Some(code) => rest,
                _ => line.as_str(),
            };
            if !text.is_empty() && !line.is_empty() {
                text.push(' ');
            }
            text.push_str(line.trim());
            if text.len() > TEXT_BYTES {
                break;
            }
        }
        let end = (0..=TEXT_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        Answer {
            code: self.code,
            enhanced: said.unwrap_or_else(|| made_up(self.code, step)),
            text,
            host: Some(host.to_owned()),
            reports: false,
        }
    }
}

fn class_of(enhanced: &str) -> Option<u16> {
    enhanced.split('.').next()?.parse().ok()
}

/// `5.1.1` at the head of a text, and the rest.
fn enhanced(text: &str) -> Option<(&str, &str)> {
    let code = text.split(' ').next()?;
    let mut parts = code.split('.');
    let is_class = matches!(parts.next(), Some("2" | "4" | "5"));
    let is_number = |part: Option<&str>| {
        part.is_some_and(|p| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))
    };
    let whole =
        is_class && is_number(parts.next()) && is_number(parts.next()) && parts.next().is_none();
    whole.then(|| (code, text.get(code.len()..).unwrap_or("").trim_start()))
}

/// What a bare code most likely means; where that is open, "other" (RFC 3463 §3.1).
fn made_up(code: u16, step: Step) -> String {
    let rest = match (code, step) {
        (421, _) => "3.2",
        (450 | 550 | 553, Step::Recipient) => "1.1",
        (551, _) => "1.6",
        (452 | 552, Step::Recipient) => "5.3",
        (452, _) => "3.1",
        (552, _) => "3.4",
        (500, _) => "5.2",
        (501 | 504 | 555, _) => "5.4",
        (502 | 503, _) => "5.1",
        (521 | 556, _) => "1.10",
        (530, _) => "7.0",
        (534 | 535 | 538, Step::Auth) => "7.8",
        _ => "0.0",
    };
    format!("{}.{rest}", code / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        #[track_caller]
        fn check(bytes: &[u8], expect: Option<(u16, bool, &[u8])>) {
            assert_eq!(line(bytes), expect, "{:?}", String::from_utf8_lossy(bytes));
        }
        check(b"250 ok", Some((250, false, b"ok")));
        check(b"250-SIZE 10", Some((250, true, b"SIZE 10")));
        check(b"250", Some((250, false, b"")));
        check(b"250 ", Some((250, false, b"")));
        check(b"599 \xff\0", Some((599, false, b"\xff\0")));
        for bad in [
            &b""[..],
            b"25",
            b"250ok",
            b"2x0 ok",
            b"150 ok",
            b"650 ok",
            b"\xff\xff\xff",
            b"SSH-2.0",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn answers() {
        #[track_caller]
        fn check(code: u16, step: Step, lines: &[&str], enhanced: &str, text: &str) {
            let lines = lines.iter().map(|line| (*line).to_owned()).collect();
            let answer = Reply { code, lines }.answer(step, "mx.test");
            assert_eq!((answer.enhanced.as_str(), answer.text.as_str()), (enhanced, text));
            assert_eq!((answer.code, answer.host.as_deref()), (code, Some("mx.test")));
        }
        check(250, Step::End, &["2.6.0 taken as 7"], "2.6.0", "taken as 7");
        check(550, Step::Recipient, &["5.7.1 no", "5.7.1 never"], "5.7.1", "no never");
        check(550, Step::Recipient, &["5.7.1 no", "", "5.9 x"], "5.7.1", "no 5.9 x");
        // A code of another class is no code.
        check(450, Step::Recipient, &["5.7.1 no"], "4.1.1", "5.7.1 no");
        check(550, Step::Recipient, &["no such user"], "5.1.1", "no such user");
        check(550, Step::Mail, &["1.2.3.4 is listed"], "5.0.0", "1.2.3.4 is listed");
        check(554, Step::End, &["5.1234.1 x"], "5.0.0", "5.1234.1 x");
        check(421, Step::Mail, &[""], "4.3.2", "");
        check(452, Step::Recipient, &[], "4.5.3", "");
        check(521, Step::Greeting, &["no mail here"], "5.1.10", "no mail here");
        check(535, Step::Auth, &["no"], "5.7.8", "no");
        let long = "ż".repeat(5000);
        let answer = Reply { code: 550, lines: vec![long] }.answer(Step::End, "mx");
        assert!(answer.text.len() <= TEXT_BYTES && answer.text.starts_with("żż"));
    }

    #[test]
    fn what_is_kept_can_be_printed() {
        assert_eq!(Reply::printable(b"a\x1b[2Jb\r\0c\xff"), "a [2Jb  c\u{fffd}");
    }
}
