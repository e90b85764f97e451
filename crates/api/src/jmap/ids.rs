//! Ids as clients see them: a letter that tells the kind, and the number (RFC 8620 §1.2). Clients treat them
//! as opaque.

use std::collections::HashSet;
use types::{AccountId, EmailId, MailboxId, ThreadId};

/// The number after `letter`, in the one form we write it: `e7`, never `e07` or `e+7`.
fn number(id: &str, letter: char) -> Option<u64> {
    let digits = id.strip_prefix(letter)?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    if !plain || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    digits.parse().ok()
}

pub(crate) fn account(id: &str) -> Option<AccountId> {
    number(id, 'a').map(AccountId)
}

pub(crate) fn mailbox(id: &str) -> Option<MailboxId> {
    u32::try_from(number(id, 'm')?).ok().map(MailboxId)
}

pub(crate) fn email(id: &str) -> Option<EmailId> {
    // Ids are kept as signed 64-bit numbers below; larger ones were never given.
    number(id, 'e').filter(|n| i64::try_from(*n).is_ok()).map(EmailId)
}

pub(crate) fn thread(id: &str) -> Option<ThreadId> {
    number(id, 't').filter(|n| i64::try_from(*n).is_ok()).map(ThreadId)
}

/// `b17` is a whole letter, `b17.3` its part with index 3 in the part table.
pub(crate) fn blob(id: &str) -> Option<(EmailId, Option<usize>)> {
    let (letter, part) = match id.split_once('.') {
        Some((letter, part)) => (letter, Some(number(&format!("p{part}"), 'p')?)),
        None => (id, None),
    };
    let email = number(letter, 'b').filter(|n| i64::try_from(*n).is_ok())?;
    let part = part.map(usize::try_from).transpose().ok()?;
    Some((EmailId(email), part))
}

pub(crate) fn of_account(id: AccountId) -> String {
    format!("a{id}")
}

pub(crate) fn of_mailbox(id: MailboxId) -> String {
    format!("m{id}")
}

pub(crate) fn of_email(id: EmailId) -> String {
    format!("e{id}")
}

pub(crate) fn of_thread(id: ThreadId) -> String {
    format!("t{id}")
}

pub(crate) fn of_blob(email: EmailId, part: Option<usize>) -> String {
    match part {
        Some(part) => format!("b{email}.{part}"),
        None => format!("b{email}"),
    }
}

/// The same ids in the same order, each once.
pub(crate) fn unique(ids: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::with_capacity(ids.len());
    ids.into_iter().filter(|id| seen.insert(id.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        assert_eq!(email("e17"), Some(EmailId(17)));
        assert_eq!(of_email(EmailId(17)), "e17");
        assert_eq!(blob("b17"), Some((EmailId(17), None)));
        assert_eq!(blob("b17.3"), Some((EmailId(17), Some(3))));
        assert_eq!(of_blob(EmailId(17), Some(3)), "b17.3");
        assert_eq!(mailbox("m4294967295"), Some(MailboxId(u32::MAX)));
    }

    #[test]
    fn one_form_only() {
        for bad in [
            "",
            "e",
            "17",
            "e017",
            "e+7",
            "e-7",
            "e 7",
            "E7",
            "m7",
            "e1.2",
            "e99999999999999999999",
            "e18446744073709551615",
            "e٣",
        ] {
            assert_eq!(email(bad), None, "{bad:?}");
        }
        for bad in ["b1.", "b.1", "b1.01", "b1.2.3", "b1.-1", "b"] {
            assert_eq!(blob(bad), None, "{bad:?}");
        }
        assert_eq!(mailbox("m4294967296"), None);
    }
}
