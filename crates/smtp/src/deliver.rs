//! From the end of the data to its replies: one for SMTP, one for each recipient on LMTP (RFC 2033 §4.2).

use crate::Kind;
use crate::dots::Body;
use crate::metrics::Outcome;
use crate::reply::Reply;
use crate::session::{Accepted, Session, Transaction};
use crate::submit;
use bytes::Bytes;
use mda::{Delivered, Envelope, Origin, Refusal};
use std::sync::Arc;

/// Hands the letter over and gives back the last reply; on LMTP the ones before are written already.
pub(crate) async fn finish(
    session: &mut Session,
    mail: Transaction,
    body: Body,
    is_odd: bool,
) -> Reply {
    let size_bytes = body.size_bytes();
    let (id, recipients) = (session.service.new_id(), mail.recipients.clone());
    let refusal = early_refusal(session, &body, is_odd);
    let (replies, outcome) = if let Some(reply) = refusal {
        (vec![reply; recipients.len().max(1)], Outcome::Refused)
    } else if session.kind() == Kind::Submission {
        let (reply, outcome) = submit::finish(session, mail, body, &id).await;
        (vec![reply], outcome)
    } else {
        let answers = take_in(session, mail, body.into_bytes().into(), &id).await;
        let outcome = answers.iter().copied().map(outcome).max().unwrap_or(Outcome::Failed);
        let replies = match session.kind() {
            Kind::Lmtp => each(&answers, &recipients, &id),
            _ => vec![one(&answers, &id)],
        };
        (replies, outcome)
    };
    session.service.metrics.letter(outcome, size_bytes);
    // It was said of this letter only.
    let forwarded = session.forwarded.take().unwrap_or_default();
    tracing::info!(
        kind = session.kind().name(),
        ip = %forwarded.ip.unwrap_or(session.peer.ip),
        id,
        front_id = forwarded.id,
        size_bytes,
        recipients = recipients.len(),
        ?outcome,
        "letter"
    );
    if outcome >= Outcome::Junk {
        session.forgive();
    }
    say_all_but_last(session, replies)
}

/// To the mailboxes, and the reports of success that were asked for.
async fn take_in(
    session: &mut Session,
    mail: Transaction,
    letter: Bytes,
    id: &str,
) -> Vec<Result<Delivered, Refusal>> {
    let asked = asked_of(&mail);
    let envelope = Arc::new(envelope(session, mail, id));
    let (mda, kind) = (Arc::clone(&session.service.mda), session.kind());
    let answers = mda.deliver(&envelope, letter.clone()).await;
    let (Some(asked), Some(queue)) = (asked, mda.queue()) else { return answers };
    // On SMTP all of it comes again when one answer was bad: then is the time to tell.
    if kind != Kind::Lmtp && answers.iter().any(Result::is_err) {
        return answers;
    }
    // Of Junk nobody is told: whoever sends it learns nothing from us, and is seldom whom it names.
    let of = |into: Delivered| -> Vec<usize> {
        let each = (0..).zip(answers.iter().zip(&asked.recipients));
        let told = each.filter(|(_, (answer, to))| **answer == Ok(into) && to.notify.success);
        told.map(|(place, _)| place).collect()
    };
    let (here, elsewhere) = (of(Delivered::Inbox), of(Delivered::Forwarded));
    let nothing = here.is_empty() && elsewhere.is_empty();
    if !nothing
        && let Err(error) = queue.tell_delivered(id, &asked, &here, &elsewhere, &letter).await
    {
        tracing::error!(id, %error, "the letter is delivered, and its sender could not be told so");
    }
    answers
}

/// `None`: nobody wants to hear of a success, or nobody is there to tell.
fn asked_of(mail: &Transaction) -> Option<queue::Envelope> {
    let recipients: Vec<_> = mail.recipients.iter().map(|to| to.wanted.clone()).collect();
    let wanted = mail.sender.is_some() && recipients.iter().any(|to| to.notify.success);
    wanted.then(|| queue::Envelope {
        sender: mail.sender.clone(),
        recipients,
        body: mail.body,
        utf8: mail.utf8,
        require_tls: mail.require_tls,
        ret: mail.ret,
        envelope_id: mail.envelope_id.clone(),
        account: None,
        release_unix_s: None,
    })
}

/// What is wrong with the data as such.
fn early_refusal(session: &Session, body: &Body, is_odd: bool) -> Option<Reply> {
    if body.is_over() {
        return Some(too_large(session));
    }
    // Somebody before LMTP took the letter already: refusing would only bounce it. Storing it as it is does no harm.
    if is_odd && session.kind() != Kind::Lmtp {
        let text =
            "a line has to end with CR and LF, and a NUL beside a dot is no end of the letter";
        return Some(Reply::new(550, "5.6.0", text));
    }
    None
}

pub(crate) fn too_large(session: &Session) -> Reply {
    let limit = session.limits().message_bytes;
    Reply::new(552, "5.3.4", format!("the letter is too large, the limit is {limit} bytes"))
}

fn envelope(session: &Session, mail: Transaction, id: &str) -> Envelope {
    let hello = session.hello.as_ref();
    let forwarded = session.forwarded.as_ref();
    let origin = forwarded.and_then(|from| {
        Some(Origin { ip: from.ip?, helo: from.helo.clone().unwrap_or_default() })
    });
    Envelope {
        origin,
        // Who speaks LMTP has taken the letter already: refused, it would go back to whoever is named as the sender, and
        // spam names anybody.
        may_refuse: session.kind() != Kind::Lmtp,
        require_tls: mail.require_tls,
        body: mail.body,
        utf8: mail.utf8,
        protocol: protocol(session, mail.utf8),
        sender: mail.sender,
        recipients: mail.recipients.into_iter().filter_map(|to| to.here).collect(),
        client_ip: session.peer.ip,
        helo: hello.map(|h| h.name.clone()).unwrap_or_default(),
        id: id.to_owned(),
    }
}

/// The keyword after `with` (RFC 3848 §2, RFC 6531 §4.3).
pub(crate) fn protocol(session: &Session, utf8: bool) -> &'static str {
    let extended = session.hello.as_ref().is_some_and(|h| h.extended);
    let flags = [extended, utf8, session.is_encrypted(), session.identity.is_some()];
    keyword(session.kind(), flags)
}

fn keyword(kind: Kind, [extended, utf8, encrypted, authenticated]: [bool; 4]) -> &'static str {
    match (kind, extended, utf8, encrypted, authenticated) {
        (Kind::Lmtp, _, false, false, _) => "LMTP",
        (Kind::Lmtp, _, false, true, _) => "LMTPS",
        (Kind::Lmtp, _, true, false, _) => "UTF8LMTP",
        (Kind::Lmtp, _, true, true, _) => "UTF8LMTPS",
        (_, false, ..) => "SMTP",
        (_, true, false, false, false) => "ESMTP",
        (_, true, false, false, true) => "ESMTPA",
        (_, true, false, true, false) => "ESMTPS",
        (_, true, false, true, true) => "ESMTPSA",
        (_, true, true, false, false) => "UTF8SMTP",
        (_, true, true, false, true) => "UTF8SMTPA",
        (_, true, true, true, false) => "UTF8SMTPS",
        (_, true, true, true, true) => "UTF8SMTPSA",
    }
}

fn outcome(answer: Result<Delivered, Refusal>) -> Outcome {
    match answer {
        Ok(Delivered::Inbox | Delivered::Forwarded) => Outcome::Accepted,
        Ok(Delivered::Junk) => Outcome::Junk,
        Err(refusal) if Reply::of_refusal(refusal, "").is_temporary() => Outcome::Failed,
        Err(_) => Outcome::Refused,
    }
}

/// LMTP: in the order of the recipients.
fn each(answers: &[Result<Delivered, Refusal>], to: &[Accepted], id: &str) -> Vec<Reply> {
    let reply = |(answer, to): (&Result<Delivered, Refusal>, &Accepted)| match answer {
        Ok(_) => Reply::new(250, "2.1.5", format!("<{}> {id} delivered", to.wanted.address)),
        Err(refusal) => {
            let mut reply = Reply::of_refusal(*refusal, id);
            reply.text = format!("<{}> {}", to.wanted.address, reply.text).into();
            reply
        }
    };
    answers.iter().zip(to).map(reply).collect()
}

/// SMTP has one reply for all. If one recipient's copy could not be stored, the sender must know, even if the
/// others get the letter twice: twice is better than never. Trying again helps, so temporary failures go first.
/// A mailbox that is too full is told apart before, at RCPT, by the SIZE of the letter.
fn one(answers: &[Result<Delivered, Refusal>], id: &str) -> Reply {
    let refusals = answers.iter().filter_map(|a| a.as_ref().err());
    let replies = refusals.map(|refusal| Reply::of_refusal(*refusal, id));
    replies
        .min_by_key(|reply| !reply.is_temporary())
        .unwrap_or_else(|| Reply::new(250, "2.0.0", format!("{id} delivered")))
}

fn say_all_but_last(session: &mut Session, mut replies: Vec<Reply>) -> Reply {
    let per_recipient = session.kind() == Kind::Lmtp;
    let last = replies.pop();
    if per_recipient {
        for reply in &replies {
            reply.write(session.wire.output());
        }
    }
    last.unwrap_or_else(|| Reply::of_refusal(Refusal::Unavailable, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reply_for_all() {
        #[track_caller]
        fn check(answers: &[Result<Delivered, Refusal>], code: u16) {
            assert_eq!(one(answers, "ID").code, code);
        }
        let (inbox, junk) = (Ok(Delivered::Inbox), Ok(Delivered::Junk));
        let (gone, full) = (Err(Refusal::UnknownUser), Err(Refusal::MailboxFull));
        check(std::slice::from_ref(&inbox), 250);
        check(&[inbox, junk], 250);
        check(&[inbox, full, gone], 452);
        check(&[gone, inbox, full], 452);
        check(&[inbox, gone], 550);
        check(&[Err(Refusal::Unwanted), Err(Refusal::Unwanted)], 550);
    }

    #[test]
    fn keywords_of_received() {
        #[track_caller]
        fn check(kind: Kind, flags: [bool; 4], expect: &str) {
            assert_eq!(keyword(kind, flags), expect);
        }
        check(Kind::Lmtp, [true, false, false, false], "LMTP");
        check(Kind::Lmtp, [true, false, true, false], "LMTPS");
        check(Kind::Lmtp, [true, true, false, false], "UTF8LMTP");
        check(Kind::Lmtp, [true, true, true, false], "UTF8LMTPS");
        check(Kind::Smtp, [false, false, false, false], "SMTP");
        check(Kind::Smtp, [true, false, false, false], "ESMTP");
        check(Kind::Smtp, [true, false, true, false], "ESMTPS");
        check(Kind::Smtp, [true, true, false, false], "UTF8SMTP");
        check(Kind::Smtp, [true, true, true, false], "UTF8SMTPS");
        check(Kind::Submission, [true, false, false, true], "ESMTPA");
        check(Kind::Submission, [true, false, true, true], "ESMTPSA");
        check(Kind::Submission, [true, true, false, true], "UTF8SMTPA");
        check(Kind::Submission, [true, true, true, true], "UTF8SMTPSA");
    }
}
