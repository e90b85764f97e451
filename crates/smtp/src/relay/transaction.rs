//! One letter over one connection: MAIL, RCPT, DATA or BDAT, and what that means for each recipient
//! (RFC 5321 §3.3; RFC 2920 where the server can).

use super::answers;
use super::content::Content;
use super::reply::{Reply, Step};
use super::session::Session;
use super::wire::Broken;
use queue::{Answer, Attempt, Envelope, Outcome, Recipient, Return};
use std::fmt::Write as _;
use std::time::Duration;
use types::Address;

/// Recipients of one transaction: every server takes so many (RFC 5321 §4.5.3.1.8), and so many pipelined commands and
/// their replies fit into the buffers of any connection, so that nobody waits for the other (RFC 2920 §3.1).
const RECIPIENTS: usize = 100;

/// The letter of an attempt, and what has become of it so far.
pub(super) struct Letter<'a> {
    pub(super) envelope: &'a Envelope,
    pub(super) content: Content,
    recipients: Vec<Option<&'a Recipient>>,
    outcomes: Vec<Option<Outcome>>,
}

/// The conversation ended in the middle; recipients without an outcome may be tried elsewhere.
pub(super) struct Stopped {
    pub(super) answer: Answer,
    /// The whole letter was sent, but nobody said whether it was taken.
    pub(super) uncertain: bool,
}

/// What the commands before the letter came to.
struct Accepted {
    /// Places in the letter's list.
    recipients: Vec<usize>,
    /// The server waits for the letter already.
    go: Option<Reply>,
}

impl<'a> Letter<'a> {
    pub(super) fn new(attempt: &'a Attempt) -> Self {
        let envelope = &*attempt.envelope;
        let recipients: Vec<_> =
            attempt.recipients.iter().map(|at| envelope.recipients.get(*at)).collect();
        Self {
            envelope,
            content: Content::new(&attempt.letter, envelope.body),
            outcomes: vec![None; recipients.len()],
            recipients,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.outcomes.iter().all(Option::is_some)
    }

    /// Those without an outcome get this one.
    pub(super) fn into_outcomes(self, rest: &Outcome) -> Vec<Outcome> {
        self.outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| rest.clone())).collect()
    }

    fn open(&self) -> Vec<usize> {
        let places = self.outcomes.iter().enumerate();
        places.filter(|(_, outcome)| outcome.is_none()).map(|(at, _)| at).collect()
    }

    fn set(&mut self, at: usize, outcome: Outcome) {
        if let Some(slot) = self.outcomes.get_mut(at) {
            *slot = Some(outcome);
        }
    }

    fn set_all(&mut self, places: &[usize], outcome: &Outcome) {
        for at in places {
            self.set(*at, outcome.clone());
        }
    }

    fn recipient(&self, at: usize) -> Option<&'a Recipient> {
        self.recipients.get(at).copied().flatten()
    }

    /// Whatever the recipients are, the letter needs SMTPUTF8 (RFC 6531 §3.1).
    fn needs_utf8(&self) -> bool {
        let sender = self.envelope.sender.as_ref();
        sender.is_some_and(|sender| !sender.local().is_ascii())
            || (self.envelope.utf8 && self.content.has_utf8_header)
    }
}

impl Session {
    /// Sends the letter to all of its recipients that have no outcome yet, in several transactions where the server
    /// takes few at a time.
    pub(super) async fn send(&mut self, letter: &mut Letter<'_>) -> Result<(), Stopped> {
        loop {
            let mut batch = letter.open();
            batch.truncate(self.offers.recipients.unwrap_or(RECIPIENTS).min(RECIPIENTS));
            if batch.is_empty() {
                return Ok(());
            }
            let open = letter.open().len();
            if let Some(answer) = self.obstacle(letter) {
                letter.set_all(&batch, &Outcome::Never(answer));
                continue;
            }
            if !self.offers.utf8 {
                self.leave_out_utf8(letter, &mut batch);
            }
            if !batch.is_empty() {
                self.transaction(letter, &batch).await?;
            }
            // Every round decides about somebody; should one not, there is no second.
            if letter.open().len() >= open {
                let answer =
                    answers::about(&self.host, "4.5.0", "does not say what becomes of the letter");
                letter.set_all(&batch, &Outcome::Later { answer, route_down: false });
            }
        }
    }

    /// Why this server cannot take this letter at all.
    fn obstacle(&self, letter: &Letter<'_>) -> Option<Answer> {
        let (offers, content) = (&self.offers, &letter.content);
        let (enhanced, text) = if letter.needs_utf8() && !offers.utf8 {
            ("5.6.7", "cannot take addresses or headers outside ASCII (SMTPUTF8)".to_owned())
        } else if content.is_binary && !(offers.binary && offers.chunking) {
            ("5.6.3", "cannot take a letter with binary content (BINARYMIME)".to_owned())
        } else if content.is_eight_bit && !content.is_binary && !offers.eight_bit {
            ("5.6.3", "cannot take a letter with 8-bit content (8BITMIME)".to_owned())
        } else if offers.size.is_some_and(|most| most > 0 && content.size_bytes() > most) {
            let most = offers.size.unwrap_or_default();
            ("5.3.4", format!("takes letters of at most {most} bytes"))
        } else {
            return None;
        };
        Some(answers::about(&self.host, enhanced, &text))
    }

    /// RFC 6531 §3.2: those whose own address cannot be said there.
    fn leave_out_utf8(&self, letter: &mut Letter<'_>, batch: &mut Vec<usize>) {
        batch.retain(|at| {
            let ascii = letter.recipient(*at).is_none_or(|r| r.address.local().is_ascii());
            if !ascii {
                let text = "cannot take an address outside ASCII (SMTPUTF8)";
                letter.set(*at, Outcome::Never(answers::about(&self.host, "5.6.7", text)));
            }
            ascii
        });
    }

    async fn transaction(
        &mut self,
        letter: &mut Letter<'_>,
        batch: &[usize],
    ) -> Result<(), Stopped> {
        let Some(Accepted { recipients, go }) = self.envelope(letter, batch).await? else {
            return Ok(());
        };
        let reply = if letter.content.is_binary {
            self.bdat(letter, &recipients).await?
        } else {
            let go = match go {
                Some(go) => go,
                None => self.command("DATA", self.patience.data).await?,
            };
            if go.code != 354 {
                self.refused(letter, &recipients, &go, Step::Data)?;
                return self.reset().await;
            }
            let stuffed = letter.content.stuffed();
            self.body(letter, &recipients, &stuffed).await?
        };
        self.letters += 1;
        if !reply.is_good() {
            return self.refused(letter, &recipients, &reply, Step::End);
        }
        let answer = reply.answer(Step::End, &self.host);
        for at in recipients {
            // RFC 3461 §5.2.2: what we asked for, a server with DSN does.
            let said = letter.recipient(at).is_some_and(|r| r.notify.said);
            let answer = Answer { reports: self.offers.dsn && said, ..answer.clone() };
            letter.set(at, Outcome::Delivered(answer));
        }
        Ok(())
    }

    /// MAIL and RCPT, and DATA with them where commands may be batched. `None`: nobody is left to send to.
    async fn envelope(
        &mut self,
        letter: &mut Letter<'_>,
        batch: &[usize],
    ) -> Result<Option<Accepted>, Stopped> {
        let batched = self.offers.pipelining;
        let with_data = batched && !letter.content.is_binary;
        let mail = self.mail(letter, batch);
        let to = |at: &usize| letter.recipient(*at).map(|r| self.rcpt(r)).unwrap_or_default();
        let rcpts: Vec<String> = batch.iter().map(to).collect();
        if batched {
            self.wire.say(&mail);
            for rcpt in &rcpts {
                self.wire.say(rcpt);
            }
            if with_data {
                self.wire.say("DATA");
            }
            let flushed = self.wire.flush(self.patience.command).await;
            flushed.map_err(|broken| self.stopped(broken))?;
        }
        let mail = if batched {
            self.reply().await?
        } else {
            self.command(&mail, self.patience.command).await?
        };
        let begun = mail.is_good();
        if !begun {
            self.refused(letter, batch, &mail, Step::Mail)?;
        }
        let (mut accepted, mut too_many) = (Vec::new(), Vec::new());
        for (at, rcpt) in batch.iter().zip(&rcpts) {
            if !batched && !begun {
                break;
            }
            let reply = if batched {
                self.reply().await?
            } else {
                self.command(rcpt, self.patience.command).await?
            };
            if reply.is_goodbye() {
                return Err(Stopped {
                    answer: reply.answer(Step::Recipient, &self.host),
                    uncertain: false,
                });
            }
            if begun && reply.is_good() {
                accepted.push(*at);
            } else if begun {
                let answer = reply.answer(Step::Recipient, &self.host);
                match refused_recipient(&reply, answer) {
                    Ok(outcome) => letter.set(*at, outcome),
                    Err(outcome) => too_many.push((*at, outcome)),
                }
            }
        }
        // RFC 5321 §4.5.3.1.10: where some were taken, the rest comes in another transaction.
        if accepted.is_empty() {
            for (at, outcome) in too_many {
                letter.set(at, outcome);
            }
        }
        let go = if with_data { Some(self.data_reply().await?) } else { None };
        if !accepted.is_empty() {
            return Ok(Some(Accepted { recipients: accepted, go }));
        }
        if go.is_some_and(|go| go.code == 354) {
            // RFC 2920 §3.1: the server waits for a letter to nobody; it gets an empty one.
            let ended = self.wire.ask(".", self.patience.end).await;
            ended.map_err(|broken| self.stopped(broken))?;
        }
        if begun || batched {
            self.reset().await?;
        }
        Ok(None)
    }

    /// One reply for several recipients.
    fn refused(
        &self,
        letter: &mut Letter<'_>,
        recipients: &[usize],
        reply: &Reply,
        step: Step,
    ) -> Result<(), Stopped> {
        let answer = reply.answer(step, &self.host);
        if reply.is_goodbye() {
            return Err(Stopped { answer, uncertain: false });
        }
        let outcome = if reply.is_permanent() {
            Outcome::Never(answer)
        } else {
            Outcome::Later { answer: answers::temporary(&answer), route_down: false }
        };
        letter.set_all(recipients, &outcome);
        Ok(())
    }

    async fn body(
        &mut self,
        letter: &mut Letter<'_>,
        recipients: &[usize],
        stuffed: &[u8],
    ) -> Result<Reply, Stopped> {
        // Until the last piece is on its way, nobody can have taken the letter.
        let (text, end) = in_two(stuffed);
        if let Err(broken) = self.wire.send(text, self.patience.block).await {
            return Err(self.interrupted(broken).await);
        }
        self.end(letter, recipients, end).await
    }

    async fn bdat(
        &mut self,
        letter: &mut Letter<'_>,
        recipients: &[usize],
    ) -> Result<Reply, Stopped> {
        self.wire.say(&format!("BDAT {} LAST", letter.content.size_bytes()));
        let flushed = self.wire.flush(self.patience.data).await;
        flushed.map_err(|broken| self.stopped(broken))?;
        let content = letter.content.clone();
        let raw = content.raw();
        let (text, end) = in_two(raw);
        if let Err(broken) = self.wire.send(text, self.patience.block).await {
            return Err(self.interrupted(broken).await);
        }
        self.end(letter, recipients, end).await
    }

    /// The last piece and the reply to the whole. From here on, silence can mean that the letter was taken: it is tried
    /// again, since a letter twice is better than none (RFC 5321 §4.5.3.2.6), and counted.
    async fn end(
        &mut self,
        letter: &mut Letter<'_>,
        recipients: &[usize],
        end: &[u8],
    ) -> Result<Reply, Stopped> {
        let sent = self.wire.send(end, self.patience.block).await;
        let reply = match sent {
            Ok(()) => self.wire.reply(self.patience.end).await,
            Err(broken) => self.wire.reply(self.patience.quit).await.map_err(|_| broken),
        };
        reply.map_err(|broken| {
            let text =
                format!("{} after the whole letter was sent; it may arrive twice", broken.text());
            let answer = answers::about(&self.host, "4.4.2", &text);
            letter
                .set_all(recipients, &Outcome::Later { answer: answer.clone(), route_down: false });
            Stopped { answer, uncertain: true }
        })
    }

    /// Who closes in the middle of a letter has often said why.
    async fn interrupted(&mut self, broken: Broken) -> Stopped {
        let answer = match self.wire.reply(self.patience.quit).await {
            Ok(reply) if !reply.is_good() => reply.answer(Step::End, &self.host),
            _ => self.broken(broken),
        };
        Stopped { answer, uncertain: false }
    }

    fn stopped(&self, broken: Broken) -> Stopped {
        Stopped { answer: self.broken(broken), uncertain: false }
    }

    async fn command(&mut self, command: &str, patience: Duration) -> Result<Reply, Stopped> {
        let reply = self.wire.ask(command, patience).await;
        reply.map_err(|broken| self.stopped(broken))
    }

    async fn reply(&mut self) -> Result<Reply, Stopped> {
        let reply = self.wire.reply(self.patience.command).await;
        reply.map_err(|broken| self.stopped(broken))
    }

    async fn data_reply(&mut self) -> Result<Reply, Stopped> {
        let reply = self.wire.reply(self.patience.data).await;
        reply.map_err(|broken| self.stopped(broken))
    }

    /// So that the next letter begins with nothing (RFC 5321 §4.1.1.5).
    async fn reset(&mut self) -> Result<(), Stopped> {
        let reply = self.command("RSET", self.patience.command).await?;
        if reply.is_good() {
            return Ok(());
        }
        Err(Stopped { answer: reply.answer(Step::Mail, &self.host), uncertain: false })
    }

    fn mail(&self, letter: &Letter<'_>, batch: &[usize]) -> String {
        let (envelope, content, offers) = (letter.envelope, &letter.content, &self.offers);
        let sender = envelope.sender.as_ref().map(|sender| self.path(sender)).unwrap_or_default();
        let mut line = format!("MAIL FROM:<{sender}>");
        if offers.size.is_some() {
            let _ = write!(line, " SIZE={}", content.size_bytes());
        }
        if content.is_binary {
            line.push_str(" BODY=BINARYMIME");
        } else if content.is_eight_bit {
            line.push_str(" BODY=8BITMIME");
        }
        let foreign =
            |at: &usize| letter.recipient(*at).is_some_and(|r| !r.address.local().is_ascii());
        if offers.utf8 && (letter.needs_utf8() || batch.iter().any(foreign)) {
            line.push_str(" SMTPUTF8");
        }
        if envelope.require_tls {
            line.push_str(" REQUIRETLS");
        }
        if offers.dsn {
            match envelope.ret {
                Some(Return::Full) => line.push_str(" RET=FULL"),
                Some(Return::Headers) => line.push_str(" RET=HDRS"),
                None => {}
            }
            if let Some(id) = &envelope.envelope_id {
                let _ = write!(line, " ENVID={}", xtext(id));
            }
        }
        line
    }

    fn rcpt(&self, recipient: &Recipient) -> String {
        let mut line = format!("RCPT TO:<{}>", self.path(&recipient.address));
        if !self.offers.dsn {
            return line;
        }
        let notify = recipient.notify;
        if notify.said {
            let words =
                [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
            let wanted: Vec<&str> = words.iter().filter(|word| word.0).map(|word| word.1).collect();
            let wanted = if wanted.is_empty() { "NEVER".to_owned() } else { wanted.join(",") };
            let _ = write!(line, " NOTIFY={wanted}");
        }
        if let Some(original) = &recipient.original {
            let _ = write!(line, " ORCPT={}", self.original(original));
        }
        line
    }

    /// RFC 6533 §3: characters outside ASCII stand for themselves only where SMTPUTF8 is.
    fn original(&self, text: &str) -> String {
        let one = |c: char| match c {
            ' ' | '\t' => format!("+{:02X}", u32::from(c)),
            c if self.offers.utf8 || c.is_ascii() => c.to_string(),
            c => format!("\\x{{{:X}}}", u32::from(c)),
        };
        text.chars().map(one).collect()
    }

    /// An address as this server can read it: the domain in ASCII unless it knows SMTPUTF8 (RFC 6531 §3.2).
    fn path(&self, address: &Address) -> String {
        let text = address.to_string();
        if self.offers.utf8 || address.domain().is_ascii() {
            return text;
        }
        match (text.rsplit_once('@'), idna::domain_to_ascii(address.domain())) {
            (Some((local, _)), Ok(domain)) => format!("{local}@{domain}"),
            _ => text,
        }
    }
}

/// What was said to one recipient. The error is the same for the case that there were too many before it.
fn refused_recipient(reply: &Reply, answer: Answer) -> Result<Outcome, Outcome> {
    let too_many = answer.enhanced.ends_with(".5.3") || matches!(reply.code, 452 | 552);
    // RFC 5321 §4.5.3.1.10: 552 here is an old way to say 452.
    if reply.is_permanent() && reply.code != 552 {
        return if too_many { Err(Outcome::Never(answer)) } else { Ok(Outcome::Never(answer)) };
    }
    let outcome = Outcome::Later { answer: answers::temporary(&answer), route_down: false };
    if too_many { Err(outcome) } else { Ok(outcome) }
}

/// CRLF, dot, CRLF; of BDAT as many bytes.
const END_BYTES: usize = 5;
/// A letter of at most this leaves in one piece.
const SMALL_BYTES: usize = 16 * 1024;

/// What nobody can take for a whole letter, and the rest.
fn in_two(bytes: &[u8]) -> (&[u8], &[u8]) {
    let small = bytes.len() <= SMALL_BYTES;
    bytes.split_at(if small { 0 } else { bytes.len() - END_BYTES })
}

/// RFC 3461 §4
fn xtext(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'+' | b'=' => {
                let _ = write!(out, "+{byte:02X}");
            }
            b'!'..=b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "+{byte:02X}");
            }
        }
    }
    out
}
