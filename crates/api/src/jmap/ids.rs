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

/// What a blob id names in a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blob {
    /// `b17`
    Letter,
    /// `b17.3`: the part with index 3 in the part table.
    Part(usize),
    /// `b17.3.0`: the first file inside that part (`mparser::Index::files`).
    File(usize, usize),
}

pub(crate) fn blob(id: &str) -> Option<(EmailId, Blob)> {
    let mut pieces = id.split('.');
    let email = number(pieces.next()?, 'b').filter(|n| i64::try_from(*n).is_ok())?;
    let mut next =
        || pieces.next().map(|digits| usize::try_from(number(&format!("p{digits}"), 'p')?).ok());
    let blob = match (next(), next(), next()) {
        (None, ..) => Blob::Letter,
        (Some(part), None, _) => Blob::Part(part?),
        (Some(part), Some(file), None) => Blob::File(part?, file?),
        _ => return None,
    };
    Some((EmailId(email), blob))
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

pub(crate) fn of_blob(email: EmailId, blob: Blob) -> String {
    match blob {
        Blob::Letter => format!("b{email}"),
        Blob::Part(part) => format!("b{email}.{part}"),
        Blob::File(part, file) => format!("b{email}.{part}.{file}"),
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
        for (id, expect) in
            [("b17", Blob::Letter), ("b17.3", Blob::Part(3)), ("b17.3.0", Blob::File(3, 0))]
        {
            assert_eq!(blob(id), Some((EmailId(17), expect)));
            assert_eq!(of_blob(EmailId(17), expect), id);
        }
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
        for bad in ["b1.", "b.1", "b1.01", "b1.2.3.4", "b1.-1", "b"] {
            assert_eq!(blob(bad), None, "{bad:?}");
        }
        assert_eq!(mailbox("m4294967296"), None);
    }
}
