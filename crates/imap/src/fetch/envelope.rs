//! ENVELOPE (RFC 9051 §7.5.2), from the envelope that was stored with the letter.

use crate::encode::{nstring, string};
use mparser::{Envelope, Mailbox, MailboxKind};

/// ```text
/// envelope = "(" env-date SP env-subject SP env-from SP env-sender SP env-reply-to SP env-to SP
///            env-cc SP env-bcc SP env-in-reply-to SP env-message-id ")"
/// ```
pub(crate) fn write(out: &mut Vec<u8>, envelope: &Envelope) {
    out.push(b'(');
    nstring(out, envelope.date.as_deref());
    out.push(b' ');
    nstring(out, envelope.subject.as_deref());
    // RFC 9051 §7.5.2: Sender and Reply-To are From where the letter has none.
    let or_from = |own| if Vec::is_empty(own) { &envelope.from } else { own };
    let lists = [
        &envelope.from,
        or_from(&envelope.sender),
        or_from(&envelope.reply_to),
        &envelope.to,
        &envelope.cc,
        &envelope.bcc,
    ];
    for list in lists {
        out.push(b' ');
        addresses(out, list);
    }
    out.push(b' ');
    nstring(out, envelope.in_reply_to.as_deref());
    out.push(b' ');
    nstring(out, envelope.message_id.as_deref());
    out.push(b')');
}

/// ```text
/// env-from = "(" 1*address ")" / nil
/// address  = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"
/// ```
/// A group is two entries around its members: one with its name and no host, one with nothing.
fn addresses(out: &mut Vec<u8>, list: &[Mailbox]) {
    if list.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for entry in list {
        match entry.kind {
            MailboxKind::Address => {
                out.push(b'(');
                nstring(out, entry.name.as_deref());
                out.extend_from_slice(b" NIL ");
                string(out, &entry.local);
                out.push(b' ');
                // Never NIL, which would make it a group.
                string(out, &entry.domain);
                out.push(b')');
            }
            MailboxKind::GroupStart => {
                out.extend_from_slice(b"(NIL NIL ");
                string(out, &entry.local);
                out.extend_from_slice(b" NIL)");
            }
            MailboxKind::GroupEnd => out.extend_from_slice(b"(NIL NIL NIL NIL)"),
        }
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: MailboxKind, name: Option<&str>, local: &str, domain: &str) -> Mailbox {
        Mailbox { kind, name: name.map(Into::into), local: local.into(), domain: domain.into() }
    }

    #[test]
    fn envelopes() {
        #[track_caller]
        fn check(envelope: &Envelope, expect: &str) {
            let mut out = Vec::new();
            write(&mut out, envelope);
            assert_eq!(String::from_utf8(out).unwrap(), expect);
        }
        check(&Envelope::default(), "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
        let ala = entry(MailboxKind::Address, Some("Ala \"A\""), "ala", "example.test");
        let root = entry(MailboxKind::Address, None, "root", "");
        check(
            &Envelope {
                date: Some("Sun, 22 Nov 2026 18:00:00 +0000".into()),
                subject: Some("=?utf-8?Q?Cze=C5=9B=C4=87?=".into()),
                from: vec![ala.clone()],
                sender: vec![root],
                to: vec![
                    entry(MailboxKind::GroupStart, None, "all", ""),
                    ala,
                    entry(MailboxKind::GroupEnd, None, "", ""),
                ],
                message_id: Some("<1@example.test>".into()),
                ..Envelope::default()
            },
            "(\"Sun, 22 Nov 2026 18:00:00 +0000\" \"=?utf-8?Q?Cze=C5=9B=C4=87?=\" \
             ((\"Ala \\\"A\\\"\" NIL \"ala\" \"example.test\")) ((NIL NIL \"root\" \"\")) \
             ((\"Ala \\\"A\\\"\" NIL \"ala\" \"example.test\")) \
             ((NIL NIL \"all\" NIL)(\"Ala \\\"A\\\"\" NIL \"ala\" \"example.test\")(NIL NIL NIL NIL)) \
             NIL NIL NIL \"<1@example.test>\")",
        );
    }
}
