//! Who wrote the letter: `From` is there once, and the account may use the address in it (RFC 6409 §6.1, RFC 5322
//! §3.6.2). With several authors `Sender` says which of them sends. The envelope's sender was looked at before.
//!
//! A letter that somebody else wrote cannot be sent again with `Resent-From` (RFC 5322 §3.6.6): people see `From`, and
//! our signature would say that it is right.

use super::{Leaving, Objection};
use mparser::{Mailbox, MailboxKind, Message, parse_addresses};
use types::Address;

/// Addresses of `From` and `Sender` that are looked up. Nobody writes a letter with more people.
const CLAIMS: usize = 20;

pub(super) fn run(leaving: &mut Leaving<'_>) -> Result<(), Objection> {
    let authors = once(&leaving.message, "From")?.unwrap_or_default();
    let sender = once(&leaving.message, "Sender")?;
    let Some(first) = authors.first() else { return Err(Objection::NoAuthor) };
    let is_owned = |claim: &Mailbox| address(claim).is_some_and(|a| leaving.owned.contains(&a));
    let not_yours = |claim: &Mailbox| Objection::NotYours {
        address: shown(claim),
        key: leaving.submission.login.key.clone(),
    };
    let own = authors.iter().take(CLAIMS).find(|a| is_owned(a)).ok_or_else(|| not_yours(first))?;
    let author = match sender.as_deref() {
        None if authors.len() > 1 => return Err(Objection::WantsSender),
        None => own,
        Some([sender]) if is_owned(sender) => own,
        Some([sender]) => return Err(not_yours(sender)),
        Some(_) => return Err(Objection::Several("address in Sender")),
    };
    leaving.author = address(author);
    Ok(())
}

/// The addresses the letter claims, for the look-up before the steps.
pub(super) fn claims(message: &Message<'_>) -> Vec<Address> {
    let fields = message
        .headers()
        .filter(|f| [&b"From"[..], b"Sender"].iter().any(|name| f.name.eq_ignore_ascii_case(name)));
    let found = fields.take(2).flat_map(|field| addresses(field.value).into_iter().take(CLAIMS));
    let mut claims: Vec<Address> = found.filter_map(|mailbox| address(&mailbox)).collect();
    claims.sort();
    claims.dedup();
    claims
}

/// The addresses in the only field of this name.
fn once(message: &Message<'_>, name: &'static str) -> Result<Option<Vec<Mailbox>>, Objection> {
    let mut same = message.headers().filter(|f| f.name.eq_ignore_ascii_case(name.as_bytes()));
    let first = same.next();
    if same.next().is_some() {
        return Err(Objection::Several(name));
    }
    Ok(first.map(|field| addresses(field.value)))
}

fn addresses(value: &[u8]) -> Vec<Mailbox> {
    let all = parse_addresses(value).into_iter();
    all.filter(|mailbox| mailbox.kind == MailboxKind::Address).collect()
}

fn address(mailbox: &Mailbox) -> Option<Address> {
    let Mailbox { local, domain, .. } = mailbox;
    let quoted = || local.replace('\\', "\\\\").replace('"', "\\\"");
    let plain = format!("{local}@{domain}").parse();
    plain.or_else(|_| format!("\"{}\"@{domain}", quoted()).parse()).ok()
}

/// Fit for a reply: what is no address, or not ASCII, is not repeated.
fn shown(mailbox: &Mailbox) -> String {
    let text = address(mailbox).map(|a| a.to_string()).filter(|text| text.is_ascii());
    text.unwrap_or_else(|| "the address in From or Sender".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::tests::step;
    use super::*;

    fn author(header: &str) -> Result<String, Objection> {
        let raw = format!("{header}\r\n\r\nFrom: body@x.test\r\n");
        let look = |leaving: &Leaving<'_>| leaving.author.as_ref().unwrap().to_string();
        step(run, &raw, look)
    }

    #[test]
    fn the_author() {
        #[track_caller]
        fn check(header: &str, expect: &str) {
            assert_eq!(author(header).as_deref(), Ok(expect), "{header}");
        }
        check("From: ala@example.test", "ala@example.test");
        check("FROM: \"boss@x.test\" <ala@Example.TEST>", "ala@example.test");
        check("From: (c) Ala <Ala+x@example.test>", "Ala+x@example.test");
        check("From: sales@example.test\r\nSender: ala@example.test", "sales@example.test");
        check(
            "From: other@x.test, ala@example.test\r\nSender: ala@example.test",
            "ala@example.test",
        );
        check("From:\r\n ala@example.test", "ala@example.test");
    }

    #[test]
    fn not_so() {
        #[track_caller]
        fn check(header: &str, expect: &str) {
            let objection = author(header).unwrap_err();
            assert!(objection.to_string().contains(expect), "{header}: {objection}");
        }
        check("Subject: x", "does not say who wrote it");
        check("From:", "does not say who wrote it");
        check("From: undisclosed:;", "does not say who wrote it");
        check(
            "From: bob@example.test",
            "bob@example.test is not yours to send from: you are ala@example.test",
        );
        check("From: ala <boss@example.test>", "boss@example.test is not yours");
        check("From: ala@example.test <boss@example.test>", "boss@example.test is not yours");
        check("From: <ala@example.test.evil.test>", "is not yours");
        check("From: ala", "the address in From or Sender is not yours");
        check("From: \u{17c}@example.test", "the address in From or Sender is not yours");
        check("From: ala@example.test\r\nFrom: boss@example.test", "more than one From");
        check("From: boss@example.test, ala@example.test", "say in Sender");
        check(
            "From: boss@example.test, ala@example.test\r\nSender: boss@example.test",
            "boss@example.test is not yours",
        );
        check(
            "From: boss@example.test\r\nSender: ala@example.test",
            "boss@example.test is not yours",
        );
        check(
            "From: ala@example.test\r\nSender: boss@example.test",
            "boss@example.test is not yours",
        );
        check(
            "From: ala@example.test\r\nSender: ala@example.test\r\nSender: x@y.test",
            "more than one Sender",
        );
        check(
            "From: ala@example.test\r\nSender: ala@example.test, x@y.test",
            "more than one address in Sender",
        );
        check(
            "From: boss@example.test\r\nResent-From: ala@example.test",
            "boss@example.test is not yours",
        );
    }

    #[test]
    fn what_is_looked_up() {
        let many: Vec<String> = (0..100).map(|n| format!("a{n}@x.test")).collect();
        let many = many.join(", ");
        let raw = format!("Sender: b@x.test\r\nFrom: {many}\r\n\r\n");
        let found = claims(&Message::parse(raw.as_bytes()));
        assert_eq!(found.len(), CLAIMS + 1);
        let quoted = claims(&Message::parse(b"From: \"a b\\\"c\"@X.test, d\r\n\r\n"));
        assert_eq!(quoted, ["\"a b\\\"c\"@x.test".parse().unwrap()]);
    }
}
