//! RCPT (RFC 5321 §4.1.1.3): for whom. Who is not here is refused here, so that no bounce is ever needed.
//!
//! ```text
//! rcpt = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path ) [SP Rcpt-parameters] CRLF
//! ```
//!
//! Parameters: NOTIFY and ORCPT (RFC 3461 §4.1, §4.2), read in [`params`].

use super::mail::check_ascii;
use crate::Kind;
use crate::commands::Waiting;
use crate::params;
use crate::path;
use crate::reply::Reply;
use crate::session::{Accepted, Session, Transaction};
use crate::submit;
use mda::{Mda, Refusal};
use queue::Notify;
use types::{Address, AddressError};

pub(crate) fn run<'a>(session: &'a mut Session, arg: &'a str) -> Waiting<'a> {
    Box::pin(async move {
        // Taken out for the time of the look-up; the table lets nobody come here without one.
        let Some(mut mail) = session.mail.take() else {
            return Ok(Reply::sequence("say MAIL first"));
        };
        let mut reply = add(session, &mut mail, arg).await;
        if session.is_guessing() {
            reply = Reply::new(421, "4.7.0", "too many unknown recipients, closing").closing();
        }
        if reply.is_error() {
            session.service.metrics.refused_recipient();
        }
        session.mail = Some(mail);
        Ok(reply)
    })
}

async fn add(session: &mut Session, mail: &mut Transaction, arg: &str) -> Reply {
    if let Some(reply) = too_many(session, mail) {
        return reply;
    }
    let reports = session.may_report();
    let mda = &session.service.mda;
    let wanted = match parse(arg, mail.utf8, reports, mda) {
        Ok(wanted) => wanted,
        Err(reply) => return reply,
    };
    let ours = session.kind() == Kind::Submission;
    if ours && let Err(reply) = submit::may_address(session, mail) {
        return reply;
    }
    match mda.recipient(&wanted.address, mail.size_bytes.unwrap_or_default()).await {
        Ok(here) => {
            session.known += 1;
            accept(mail, Accepted { wanted, here: Some(here) })
        }
        Err(refusal @ Refusal::UnknownUser) => {
            session.unknown += 1;
            Reply::of_refusal(refusal, "")
        }
        Err(Refusal::OtherDomain) if ours => match submit::elsewhere(session, wanted) {
            Ok(accepted) => accept(mail, accepted),
            Err(reply) => reply,
        },
        Err(refusal) => Reply::of_refusal(refusal, ""),
    }
}

fn accept(mail: &mut Transaction, recipient: Accepted) -> Reply {
    mail.recipients.push(recipient);
    Reply::new(250, "2.1.5", "recipient ok")
}

/// RFC 5321 §4.5.3.1.10: 452, and the sender comes back with the rest. Who does not stop is cut off.
fn too_many(session: &mut Session, mail: &mut Transaction) -> Option<Reply> {
    let limit = session.limits().recipients;
    if u32::try_from(mail.recipients.len()).is_ok_and(|n| n < limit) {
        return None;
    }
    mail.too_many += 1;
    if mail.too_many > limit {
        return Some(Reply::new(421, "4.5.3", "far too many recipients, closing").closing());
    }
    // A well-meaning client may have sent a thousand in one go: that is no error to be counted.
    session.forgive();
    let text = format!("too many recipients, send the rest separately (the limit is {limit})");
    Some(Reply::new(452, "4.5.3", text))
}

fn parse(arg: &str, utf8: bool, reports: bool, mda: &Mda) -> Result<queue::Recipient, Reply> {
    let (mailbox, notify, original) = read(arg, utf8, reports)?;
    let address = if mailbox.eq_ignore_ascii_case("postmaster") {
        address(&mda.full_address(mailbox))?
    } else {
        address(mailbox)?
    };
    Ok(queue::Recipient { address, notify, original })
}

/// `reports`: somebody here writes them.
fn read(arg: &str, utf8: bool, reports: bool) -> Result<(&str, Notify, Option<String>), Reply> {
    let path =
        path::parse(arg, "TO").ok_or_else(|| Reply::syntax("the form is RCPT TO:<address>"))?;
    if path.mailbox.is_empty() {
        return Err(Reply::new(501, "5.1.3", "a recipient has a name"));
    }
    let (mut notify, mut original) = (None, None);
    for (key, value) in path::params(path.params) {
        let first = match key.to_ascii_uppercase().as_str() {
            "NOTIFY" if reports => notify.replace(params::notify(value)?).is_none(),
            "ORCPT" if reports => original.replace(params::orcpt(value, utf8)?).is_none(),
            _ => return Err(Reply::new(555, "5.5.4", "there is no such parameter here")),
        };
        if !first {
            return Err(Reply::syntax("a parameter is there twice"));
        }
    }
    check_ascii(path.mailbox, utf8)?;
    Ok((path.mailbox, notify.unwrap_or_default(), original))
}

fn address(mailbox: &str) -> Result<Address, Reply> {
    mailbox
        .parse()
        .map_err(|error: AddressError| Reply::new(553, "5.1.3", format!("no address: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients() {
        #[track_caller]
        fn check(arg: &str, expect: Result<&str, u16>) {
            let found = read(arg, false, false).and_then(|(mailbox, ..)| address(mailbox));
            let found = found.map(|a| a.to_string()).map_err(|r| r.code);
            assert_eq!(found, expect.map(str::to_owned), "{arg:?}");
        }
        check("TO:<alice@Example.test>", Ok("alice@example.test"));
        check("TO:<@relay.test:alice@example.test>", Ok("alice@example.test"));
        check("TO:<\"a b\"@example.test>", Ok("\"a b\"@example.test"));
        check("TO:<>", Err(501));
        check("TO:alice@example.test", Err(501));
        check("TO:<alice@example.test> NOTIFY=NEVER", Err(555));
        check("TO:<ż@example.test>", Err(553));
        check("TO:<alice>", Err(553));
        check("TO:<other.test!alice>", Err(553));
        check("TO:<|/bin/sh@example.test >", Err(553));
        check(&format!("TO:<{}@example.test>", "a".repeat(65)), Err(553));
        check(&format!("TO:<a@{}test>", "a.".repeat(150)), Err(553));
    }

    #[test]
    fn reports() {
        #[track_caller]
        fn check(params: &str, expect: Result<(Notify, Option<&str>), u16>) {
            let arg = format!("TO:<a@b> {params}");
            let found = read(&arg, false, true);
            let found = found.as_ref().map(|(_, n, o)| (*n, o.as_deref())).map_err(|r| r.code);
            assert_eq!(found, expect, "{params:?}");
        }
        let failure = Notify { failure: true, ..Notify::NEVER };
        check("", Ok((Notify::default(), None)));
        check("notify=never", Ok((Notify::NEVER, None)));
        check("NOTIFY=FAILURE ORCPT=rfc822;x@y", Ok((failure, Some("rfc822;x@y"))));
        check("NOTIFY=FAILURE NOTIFY=DELAY", Err(501));
        check("ORCPT=rfc822;x ORCPT=rfc822;x", Err(501));
        check("NOTIFY", Err(501));
        check("RET=FULL", Err(555));
    }
}
