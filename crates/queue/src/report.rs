//! Reports to the sender (RFC 3461, RFC 3464, RFC 6522): what happened in words, the same for programs, and the letter or
//! its header. With addresses outside ASCII in the form of RFC 6533.
//!
//! Pure: the same letter, answers and time give the same report.

use crate::{Answer, Body, Envelope, Options, Recipient, Return};
use bytes::Bytes;
use std::fmt::Write as _;
use types::{Address, Date};

/// A letter larger than this comes back as its header, unless all of it was asked for (RFC 3461 §4.3 leaves it to us).
const WHOLE_BYTES: usize = 64 * 1024;
/// And even then not more than this.
const WHOLE_MOST_BYTES: usize = 1024 * 1024;
/// Of a header that has no end.
const HEADER_MOST_BYTES: usize = 64 * 1024;
/// What a server said is shown to this length, in pieces that fit on a line.
const SAID_BYTES: usize = 500;

/// What is told of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// Its place in the envelope.
    pub(crate) recipient: usize,
    pub(crate) action: Action,
    pub(crate) answer: Answer,
    pub(crate) retry_until_unix_s: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    Failed,
    /// As failed, because it took too long.
    Expired,
    Delayed,
    Delivered,
    /// To a server that makes no reports (RFC 3461 §5.2.2).
    Relayed,
}

impl Action {
    /// RFC 3464 §2.3.3.
    fn word(self) -> &'static str {
        match self {
            Self::Failed | Self::Expired => "failed",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
        }
    }

    fn headline(self) -> &'static str {
        match self {
            Self::Failed | Self::Expired => "Your letter could not be delivered",
            Self::Delayed => "Your letter is delayed; you need not send it again",
            Self::Delivered => "Your letter was delivered",
            Self::Relayed => "Your letter was handed on",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Failed => {
                "It was refused. The reason is below; sending it again without a change will not help."
            }
            Self::Expired => {
                "It was tried again and again for days, and never taken. The last answer is below."
            }
            Self::Delayed => {
                "It could not be handed over yet. We keep trying and tell you if we have to give up."
            }
            Self::Delivered => "It is in the mailbox.",
            Self::Relayed => {
                "It was handed to a server that does not report what it does with it. You will hear no more of it from us."
            }
        }
    }
}

/// A letter and what there is to tell about it.
pub(crate) struct About<'a> {
    pub(crate) options: &'a Options,
    pub(crate) envelope: &'a Envelope,
    pub(crate) sender: &'a Address,
    pub(crate) id: &'a str,
    pub(crate) received_unix_s: i64,
    pub(crate) now_unix_s: i64,
    pub(crate) letter: &'a [u8],
    pub(crate) told: &'a [Told],
}

/// The report and its envelope. `name` is what the report itself is called.
pub(crate) fn write(about: &About<'_>, name: &str) -> (Envelope, Bytes) {
    let utf8 = about.is_utf8();
    let returned = about.returned();
    let eight_bit = utf8 || !returned.is_ascii();
    let envelope = Envelope {
        sender: None,
        recipients: vec![Recipient::plain(about.sender.clone())],
        body: if eight_bit { Body::EightBit } else { Body::SevenBit },
        utf8,
        require_tls: about.envelope.require_tls,
        ret: None,
        envelope_id: None,
        account: None,
        release_unix_s: None,
    };
    let boundary = about.boundary(name, returned);
    let mut out = about.header(name, &boundary, eight_bit);
    let cte = if eight_bit { "8bit" } else { "7bit" };
    let _ = write!(
        out,
        "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {cte}\r\n\r\n{}\r\n",
        about.words(),
    );
    let status = if utf8 { "message/global-delivery-status" } else { "message/delivery-status" };
    let _ = write!(
        out,
        "--{boundary}\r\nContent-Type: {status}\r\nContent-Transfer-Encoding: {cte}\r\n\r\n{}\r\n",
        about.status(utf8),
    );
    let kind = match (about.is_whole(), utf8) {
        (true, true) => "message/global",
        (true, false) => "message/rfc822",
        (false, true) => "message/global-headers",
        (false, false) => "text/rfc822-headers",
    };
    let _ = write!(
        out,
        "--{boundary}\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {cte}\r\n\r\n"
    );
    let mut bytes = out.into_bytes();
    bytes.extend_from_slice(returned);
    bytes.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    (envelope, bytes.into())
}

impl About<'_> {
    fn recipient(&self, told: &Told) -> Option<&Recipient> {
        self.envelope.recipients.get(told.recipient)
    }

    fn is_utf8(&self) -> bool {
        let is_wide =
            |told| self.recipient(told).is_some_and(|r| !r.address.to_string().is_ascii());
        self.envelope.utf8 || !self.sender.to_string().is_ascii() || self.told.iter().any(is_wide)
    }

    /// Only a failure brings the letter back, and what is binary only its header (RFC 3461 §4.3, §6.2).
    fn is_whole(&self) -> bool {
        let failed = self.told.iter().any(|t| matches!(t.action, Action::Failed | Action::Expired));
        let most_bytes = match self.envelope.ret {
            // RFC 8689 §5: what may never go in clear is not sent back, even if that was asked for.
            _ if self.envelope.require_tls => 0,
            Some(Return::Full) => WHOLE_MOST_BYTES,
            Some(Return::Headers) => 0,
            None => WHOLE_BYTES,
        };
        failed && self.envelope.body != Body::Binary && self.letter.len() <= most_bytes
    }

    fn returned(&self) -> &[u8] {
        if self.is_whole() { self.letter } else { head(self.letter) }
    }

    /// One that is nowhere in the letter.
    fn boundary(&self, name: &str, returned: &[u8]) -> String {
        let hash = blake3::hash(returned);
        let (hash, now_unix_s) = (hash.to_hex(), self.now_unix_s);
        format!("=_{name}_{now_unix_s}_{}", hash.get(..16).unwrap_or_default())
    }

    /// The most important of what is told.
    fn action(&self) -> Action {
        self.told.iter().map(|told| told.action).min().unwrap_or(Action::Failed)
    }

    fn header(&self, name: &str, boundary: &str, eight_bit: bool) -> String {
        let Options { hostname, postmaster, .. } = self.options;
        let date = Date::from_unix_s(self.now_unix_s).rfc5322();
        let cte = if eight_bit { "8bit" } else { "7bit" };
        format!(
            "Date: {date}\r\n\
             From: Mail Delivery System <{postmaster}>\r\n\
             To: <{}>\r\n\
             Subject: {}\r\n\
             Message-ID: <{name}@{hostname}>\r\n\
             Auto-Submitted: auto-replied\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status;\r\n\
             \tboundary=\"{boundary}\"\r\n\
             Content-Transfer-Encoding: {cte}\r\n\
             {}\r\n",
            self.sender,
            self.action().headline(),
            self.references(),
        )
    }

    /// So that the report is shown with the letter it is about.
    fn references(&self) -> String {
        let id = message_id(self.letter);
        id.map(|id| format!("In-Reply-To: {id}\r\nReferences: {id}\r\n")).unwrap_or_default()
    }

    fn words(&self) -> String {
        let mut text = format!("This is the mail server {}.\r\n\r\n", self.options.hostname);
        let date = Date::from_unix_s(self.received_unix_s).rfc5322();
        let _ = write!(text, "{}\r\n(taken on {date}).\r\n", self.action().headline());
        for told in self.told {
            let Some(recipient) = self.recipient(told) else { continue };
            let _ = write!(text, "\r\n<{}>\r\n", recipient.address);
            let _ = write!(text, "  {}\r\n", told.action.sentence());
            if told.action < Action::Delivered {
                let _ = write!(text, "  {}\r\n", said(&told.answer));
            }
            if let Some(until) = told.retry_until_unix_s {
                let until = Date::from_unix_s(until).rfc5322();
                let _ = write!(text, "  We try until {until}.\r\n");
            }
        }
        let _ = write!(text, "\r\nIf you ask your postmaster, name this letter: {}\r\n", self.id);
        text
    }

    /// RFC 3464 §2.1: fields of the letter, then a group for each recipient.
    fn status(&self, utf8: bool) -> String {
        let mut text = String::new();
        if let Some(id) = &self.envelope.envelope_id {
            let _ = write!(text, "Original-Envelope-Id: {}\r\n", one_line(id));
        }
        let date = Date::from_unix_s(self.received_unix_s).rfc5322();
        let _ = write!(
            text,
            "Reporting-MTA: dns; {}\r\nArrival-Date: {date}\r\n",
            self.options.hostname
        );
        let last = Date::from_unix_s(self.now_unix_s).rfc5322();
        let kind = if utf8 { "utf-8" } else { "rfc822" };
        for told in self.told {
            let Some(recipient) = self.recipient(told) else { continue };
            text.push_str("\r\n");
            if let Some(original) = recipient.original.as_deref().and_then(original) {
                let _ = write!(text, "Original-Recipient: {original}\r\n");
            }
            let _ = write!(
                text,
                "Final-Recipient: {kind}; {}\r\nAction: {}\r\nStatus: {}\r\n",
                recipient.address,
                told.action.word(),
                code_of(told),
            );
            if let Some(host) = &told.answer.host {
                let _ = write!(text, "Remote-MTA: dns; {}\r\n", one_line(host));
            }
            if told.answer.code != 0 {
                let Answer { code, enhanced, text: said, .. } = &told.answer;
                let (enhanced, said) = (one_line(enhanced), one_line(said));
                let _ = write!(text, "Diagnostic-Code: smtp; {code} {enhanced} {said}\r\n");
            }
            let _ = write!(text, "Last-Attempt-Date: {last}\r\n");
            if let Some(until) = told.retry_until_unix_s {
                let until = Date::from_unix_s(until).rfc5322();
                let _ = write!(text, "Will-Retry-Until: {until}\r\n");
            }
        }
        text
    }
}

fn said(answer: &Answer) -> String {
    let (enhanced, text) = (one_line(&answer.enhanced), one_line(&answer.text));
    let host = one_line(answer.host.as_deref().unwrap_or("The server"));
    match answer.code {
        0 => format!("{text} ({enhanced})"),
        code => format!("{host} said: {code} {enhanced} {text}"),
    }
}

/// The class follows from the action (RFC 3463 §2), whatever a server said.
fn code_of(told: &Told) -> String {
    let rest = told.answer.enhanced.split_once('.').map_or("0.0", |(_, rest)| rest);
    let is_code = !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let rest = if is_code { rest } else { "0.0" };
    match told.action {
        Action::Failed => format!("5.{rest}"),
        // RFC 3463 §3.5: delivery time expired.
        Action::Expired => "5.4.7".to_owned(),
        Action::Delayed => format!("4.{rest}"),
        Action::Delivered | Action::Relayed => format!("2.{rest}"),
    }
}

/// What a stranger wrote, on one line and in print.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars() {
        if line.len() >= SAID_BYTES {
            line.push_str("...");
            break;
        }
        line.push(if c.is_ascii_graphic() || c == ' ' { c } else { '?' });
    }
    line
}

/// `rfc822;alice+2Bx@example.test` with its xtext undone (RFC 3461 §4.2, §5.2.1).
fn original(orcpt: &str) -> Option<String> {
    let (kind, address) = orcpt.split_once(';')?;
    let mut bytes = Vec::with_capacity(address.len());
    let mut rest = address.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'+'
            && let Some(two) = after.first_chunk::<2>()
            && let Ok(hex) = std::str::from_utf8(two)
            && let Ok(byte) = u8::from_str_radix(hex, 16)
        {
            bytes.push(byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
        }
    }
    Some(format!("{}; {}", one_line(kind), one_line(&String::from_utf8_lossy(&bytes))))
}

/// The header with the empty line behind it.
fn head(letter: &[u8]) -> &[u8] {
    let most = letter.get(..HEADER_MOST_BYTES).unwrap_or(letter);
    let end = most.windows(4).position(|four| four == b"\r\n\r\n");
    let last_line = || most.iter().rposition(|b| *b == b'\n').map_or(most.len(), |at| at + 1);
    let end = end.map_or_else(last_line, |at| at + 2);
    most.get(..end).unwrap_or(most)
}

/// `<...>` of the first Message-ID, if it is one that may stand in a header as it is.
fn message_id(letter: &[u8]) -> Option<&str> {
    const NAME: &[u8] = b"message-id:";
    let is_name =
        |line: &&[u8]| line.get(..NAME.len()).is_some_and(|n| n.eq_ignore_ascii_case(NAME));
    let line = head(letter).split(|b| *b == b'\n').find(is_name)?;
    let text = std::str::from_utf8(line.get(NAME.len()..)?).ok()?.trim();
    let plain = text.len() <= 250 && text.bytes().all(|b| b.is_ascii_graphic());
    (plain && text.starts_with('<') && text.ends_with('>')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LETTER: &str = "From: alice@example.test\r\nMessage-ID: <1@example.test>\r\nSubject: x\r\n\r\nThe text.\r\n";

    fn answer(code: u16, enhanced: &str, text: &str) -> Answer {
        let (enhanced, text) = (enhanced.to_owned(), text.to_owned());
        Answer { code, enhanced, text, host: Some("mx.else.test".to_owned()), reports: false }
    }

    fn report(change: impl FnOnce(&mut Envelope, &mut Told)) -> (Envelope, String) {
        let mut recipient = Recipient::plain("bob@else.test".parse().unwrap());
        recipient.original = Some("rfc822;bob+2Bx@old.test".to_owned());
        let sender: Address = "alice@example.test".parse().unwrap();
        let mut envelope = Envelope {
            sender: Some(sender.clone()),
            recipients: vec![recipient],
            body: Body::SevenBit,
            utf8: false,
            require_tls: false,
            ret: None,
            envelope_id: Some("QQ314159".to_owned()),
            account: None,
            release_unix_s: None,
        };
        let mut told = Told {
            recipient: 0,
            action: Action::Failed,
            answer: answer(550, "5.1.1", "no such user"),
            retry_until_unix_s: None,
        };
        change(&mut envelope, &mut told);
        let options =
            Options::in_folder("q", "mx.example.test", "postmaster@example.test".parse().unwrap());
        let about = About {
            options: &options,
            envelope: &envelope,
            sender: &sender,
            id: "4K7Q",
            received_unix_s: 1_795_370_400,
            now_unix_s: 1_795_370_460,
            letter: LETTER.as_bytes(),
            told: &[told],
        };
        let (envelope, bytes) = write(&about, "4K7Q-R2");
        (envelope, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn what_may_not_go_in_clear_does_not_come_back() {
        let (envelope, text) = report(|envelope, _| {
            (envelope.require_tls, envelope.ret) = (true, Some(Return::Full));
        });
        assert!(envelope.require_tls && !text.contains("The text."), "{text}");
        assert!(text.contains("Content-Type: text/rfc822-headers"), "{text}");
    }

    #[test]
    fn a_failure() {
        let (envelope, text) = report(|_, _| {});
        assert_eq!(envelope.sender, None);
        assert_eq!(envelope.recipients[0].address.to_string(), "alice@example.test");
        for part in [
            "To: <alice@example.test>\r\n",
            "Subject: Your letter could not be delivered\r\n",
            "In-Reply-To: <1@example.test>\r\n",
            "Auto-Submitted: auto-replied\r\n",
            "Content-Type: multipart/report; report-type=delivery-status;\r\n",
            "  mx.else.test said: 550 5.1.1 no such user\r\n",
            "name this letter: 4K7Q\r\n",
            "Original-Envelope-Id: QQ314159\r\nReporting-MTA: dns; mx.example.test\r\nArrival-Date: ",
            "\r\n\r\nOriginal-Recipient: rfc822; bob+x@old.test\r\nFinal-Recipient: rfc822; bob@else.test\r\n\
             Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.else.test\r\n\
             Diagnostic-Code: smtp; 550 5.1.1 no such user\r\nLast-Attempt-Date: ",
            "Content-Type: message/rfc822\r\n",
            "\r\n\r\nThe text.\r\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert!(text.lines().all(|line| line.len() <= 998));
    }

    #[test]
    fn what_is_told() {
        #[track_caller]
        fn check(change: impl FnOnce(&mut Envelope, &mut Told), has: &[&str], has_not: &[&str]) {
            let (_, text) = report(change);
            for part in has {
                assert!(text.contains(part), "{part:?} is not in\n{text}");
            }
            for part in has_not {
                assert!(!text.contains(part), "{part:?} is in\n{text}");
            }
        }
        let body = "The text.";
        check(|_, t| t.action = Action::Expired, &["Action: failed", "Status: 5.4.7", body], &[]);
        check(
            |_, t| {
                t.action = Action::Delayed;
                t.answer = answer(451, "4.7.1", "greylisted");
                t.retry_until_unix_s = Some(1_795_802_400);
            },
            &["Action: delayed", "Status: 4.7.1", "Will-Retry-Until: ", "text/rfc822-headers"],
            &[body, "Action: failed"],
        );
        check(
            |_, t| (t.action, t.answer) = (Action::Delivered, answer(250, "2.1.5", "ok")),
            &["Action: delivered", "Status: 2.1.5"],
            &[body],
        );
        check(
            |_, t| (t.action, t.answer) = (Action::Relayed, answer(250, "2.0.0", "ok")),
            &["Action: relayed", "Status: 2.0.0"],
            &[body],
        );
        check(|e, _| e.ret = Some(Return::Headers), &["text/rfc822-headers"], &[body]);
        check(|e, _| e.body = Body::Binary, &["text/rfc822-headers"], &[body]);
        check(
            |e, _| e.utf8 = true,
            &["message/global-delivery-status", "Final-Recipient: utf-8;"],
            &[],
        );
        // What a server says cannot write fields of its own.
        check(
            |_, t| t.answer = answer(550, "x\r\ny", "no\r\nAction: delivered\r\n\u{1b}[2J żółw"),
            &["Status: 5.0.0\r\n", "no??Action: delivered???[2J ???w"],
            &["\r\nAction: delivered"],
        );
        check(|_, t| t.answer.text = "x".repeat(5000), &["xxx..."], &[]);
    }
}
