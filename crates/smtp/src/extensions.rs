//! What EHLO and LHLO tell (RFC 5321 §4.1.1.1). A new one: its row, and what it adds to a command.

use crate::Kind::{self, Lmtp, Smtp, Submission};
use crate::Opening;
use crate::cmd;
use crate::params::HOLD_MAX_S;
use crate::session::Session;
use types::Date;

/// An extension: its keyword, who is told, its parameters, which section says so.
pub struct Extension {
    pub keyword: &'static str,
    pub kinds: &'static [Kind],
    /// What stands behind the keyword; `None`: it is not offered to this session now.
    pub params: fn(&Session) -> Option<String>,
    pub spec: &'static str,
}

const ALL: &[Kind] = &[Lmtp, Smtp, Submission];

pub static EXTENSIONS: &[Extension] = &[
    row("8BITMIME", ALL, plain, "RFC 6152 §2"),
    row("AUTH", &[Submission], auth, "RFC 4954 §3"),
    row("BINARYMIME", ALL, plain, "RFC 3030 §3"),
    row("CHUNKING", ALL, plain, "RFC 3030 §2"),
    row("DSN", ALL, reports, "RFC 3461 §3"),
    row("ENHANCEDSTATUSCODES", ALL, plain, "RFC 2034 §3"),
    row("FUTURERELEASE", &[Submission], future_release, "RFC 4865 §4"),
    row("LIMITS", ALL, limits, "RFC 9422 §3"),
    row("PIPELINING", ALL, plain, "RFC 2920 §3"),
    row("REQUIRETLS", ALL, require_tls, "RFC 8689 §2"),
    row("SIZE", ALL, size, "RFC 1870 §3"),
    row("SMTPUTF8", ALL, plain, "RFC 6531 §3.1"),
    row("STARTTLS", ALL, starttls, "RFC 3207 §2"),
    row("XCLIENT", ALL, xclient, "postfix.org XCLIENT_README"),
    row("XFORWARD", &[Lmtp, Smtp], xforward, "postfix.org XFORWARD_README"),
];

const fn row(
    keyword: &'static str,
    kinds: &'static [Kind],
    params: fn(&Session) -> Option<String>,
    spec: &'static str,
) -> Extension {
    Extension { keyword, kinds, params, spec }
}

/// The lines after our name, ready for a reply of several lines.
pub(crate) fn lines(session: &Session) -> String {
    let kind = session.kind();
    EXTENSIONS
        .iter()
        .filter(|e| e.kinds.contains(&kind))
        .filter_map(|e| Some(format!("\n{}{}", e.keyword, (e.params)(session)?)))
        .collect()
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of the column")]
fn plain(_: &Session) -> Option<String> {
    Some(String::new())
}

/// Only where a password may travel, and only once.
fn auth(session: &Session) -> Option<String> {
    if !session.may_log_in() {
        return None;
    }
    let names = session.service.auth.mechanisms(false);
    Some(format!(" {}", names.join(" ")))
}

/// Where somebody writes them.
fn reports(session: &Session) -> Option<String> {
    session.may_report().then(String::new)
}

/// How long, and until when, a letter may be held.
fn future_release(session: &Session) -> Option<String> {
    if !session.may_hold() {
        return None;
    }
    let until = session.service.clock.now_unix_s().saturating_add(HOLD_MAX_S);
    Some(format!(" {HOLD_MAX_S} {}", Date::from_unix_s(until).rfc3339()))
}

/// Only inside TLS (RFC 8689 §2).
fn require_tls(session: &Session) -> Option<String> {
    session.is_encrypted().then(String::new)
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of the column")]
fn limits(session: &Session) -> Option<String> {
    Some(format!(" RCPTMAX={}", session.limits().recipients))
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of the column")]
fn size(session: &Session) -> Option<String> {
    Some(format!(" {}", session.limits().message_bytes))
}

/// Where there is a certificate, and once.
fn starttls(session: &Session) -> Option<String> {
    (session.opening == Opening::Encryptable).then(String::new)
}

/// Only to a server in front that is trusted so far.
fn xclient(session: &Session) -> Option<String> {
    session.may_speak_for_others().then(|| format!(" {}", cmd::xclient::NAMES))
}

fn xforward(session: &Session) -> Option<String> {
    session.is_from_a_front().then(|| format!(" {}", cmd::xforward::NAMES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_each_row_says_where_it_stands() {
        assert!(EXTENSIONS.is_sorted_by(|a, b| a.keyword < b.keyword));
        for extension in EXTENSIONS {
            let spec = extension.spec;
            assert!(spec.starts_with("RFC ") || spec.starts_with("postfix.org "), "{spec}");
        }
    }
}
