//! What CAPA tells (RFC 2449 §5, §6). A new one: its row, and what it adds to a command.

use crate::Opening;
use crate::session::Session;

/// A capability: its tag, its arguments, which section says so.
pub struct Capability {
    pub tag: &'static str,
    /// What stands behind the tag; `None`: it is not offered to this session now.
    pub args: fn(&Session) -> Option<String>,
    pub spec: &'static str,
}

pub static CAPABILITIES: &[Capability] = &[
    row("AUTH-RESP-CODE", plain, "RFC 3206 §4"),
    row("EXPIRE", expire, "RFC 2449 §6.7"),
    row("IMPLEMENTATION", implementation, "RFC 2449 §6.9"),
    row("PIPELINING", plain, "RFC 2449 §6.6"),
    row("RESP-CODES", plain, "RFC 2449 §6.4"),
    row("SASL", sasl, "RFC 5034 §3"),
    row("STLS", stls, "RFC 2595 §4"),
    row("TOP", plain, "RFC 2449 §6.1"),
    row("UIDL", plain, "RFC 2449 §6.8"),
    row("USER", user, "RFC 2449 §6.2"),
    row("UTF8", utf8, "RFC 6856 §2"),
];

const fn row(
    tag: &'static str,
    args: fn(&Session) -> Option<String>,
    spec: &'static str,
) -> Capability {
    Capability { tag, args, spec }
}

pub(crate) fn lines(session: &Session) -> Vec<String> {
    CAPABILITIES.iter().filter_map(|c| Some(format!("{}{}", c.tag, (c.args)(session)?))).collect()
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of the column")]
fn plain(_: &Session) -> Option<String> {
    Some(String::new())
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of the column")]
fn implementation(_: &Session) -> Option<String> {
    Some(" OpenPoczta".to_owned())
}

/// Letters stay until somebody deletes them.
#[expect(clippy::unnecessary_wraps, reason = "the shape of the column")]
fn expire(_: &Session) -> Option<String> {
    Some(" NEVER".to_owned())
}

/// With USER: names and passwords may be UTF-8 too.
#[expect(clippy::unnecessary_wraps, reason = "the shape of the column")]
fn utf8(_: &Session) -> Option<String> {
    Some(" USER".to_owned())
}

/// Only where a password may travel.
fn user(session: &Session) -> Option<String> {
    session.peer.private.then(String::new)
}

/// Where there is a certificate, before login, and once.
fn stls(session: &Session) -> Option<String> {
    let offered = session.opening == Opening::Encryptable && session.maildrop.is_none();
    offered.then(String::new)
}

fn sasl(session: &Session) -> Option<String> {
    let names = session.service.auth.mechanisms(false);
    session.peer.private.then(|| format!(" {}", names.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_each_row_says_where_it_stands() {
        assert!(CAPABILITIES.is_sorted_by(|a, b| a.tag < b.tag));
        for capability in CAPABILITIES {
            assert!(capability.spec.starts_with("RFC "), "{}", capability.tag);
        }
    }
}
