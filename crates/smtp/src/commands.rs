//! The verbs of the conversation. A new one: its file in `cmd/`, its row, its transcript.

use crate::Kind::{self, Lmtp, Smtp, Submission};
use crate::cmd;
use crate::reply::Reply;
use crate::session::Session;
use crate::wire::End;
use std::pin::Pin;

/// A verb: wire name, who may use it, when it is welcome, who answers, which section says so.
pub struct Command {
    pub name: &'static str,
    pub kinds: &'static [Kind],
    pub when: When,
    pub run: Run,
    pub spec: &'static str,
}

/// What must have gone before; else `503`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    Always,
    /// After EHLO, HELO or LHLO.
    Greeted,
    /// After MAIL.
    Mail,
    /// After a RCPT that was accepted.
    Recipients,
}

pub type Waiting<'a> = Pin<Box<dyn Future<Output = Result<Reply, End>> + Send + 'a>>;

/// The function that answers: at once, or after waiting for the peer or for the mail store.
#[derive(Clone, Copy)]
pub enum Run {
    Now(fn(&mut Session, &str) -> Reply),
    Wait(for<'a> fn(&'a mut Session, &'a str) -> Waiting<'a>),
}

const ALL: &[Kind] = &[Lmtp, Smtp, Submission];
/// Where a mail server may stand in front.
const FRONTS: &[Kind] = &[Lmtp, Smtp];

pub static COMMANDS: &[Command] = &[
    row("AUTH", &[Submission], When::Greeted, Run::Wait(cmd::auth::run), "RFC 4954 §4"),
    row("BDAT", ALL, When::Always, Run::Wait(cmd::bdat::run), "RFC 3030 §2"),
    row("DATA", ALL, When::Recipients, Run::Wait(cmd::data::run), "RFC 5321 §4.1.1.4"),
    row("EHLO", &[Smtp, Submission], When::Always, Run::Now(cmd::hello::ehlo), "RFC 5321 §4.1.1.1"),
    row("HELO", &[Smtp, Submission], When::Always, Run::Now(cmd::hello::helo), "RFC 5321 §4.1.1.1"),
    row("HELP", ALL, When::Always, Run::Now(cmd::help::run), "RFC 5321 §4.1.1.8"),
    row("LHLO", &[Lmtp], When::Always, Run::Now(cmd::hello::lhlo), "RFC 2033 §4.1"),
    row("MAIL", ALL, When::Greeted, Run::Wait(cmd::mail::run), "RFC 5321 §4.1.1.2"),
    row("NOOP", ALL, When::Always, Run::Now(cmd::noop::run), "RFC 5321 §4.1.1.9"),
    row("QUIT", ALL, When::Always, Run::Now(cmd::quit::run), "RFC 5321 §4.1.1.10"),
    row("RCPT", ALL, When::Mail, Run::Wait(cmd::rcpt::run), "RFC 5321 §4.1.1.3"),
    row("RSET", ALL, When::Always, Run::Now(cmd::rset::run), "RFC 5321 §4.1.1.5"),
    row("STARTTLS", ALL, When::Always, Run::Now(cmd::starttls::run), "RFC 3207 §4"),
    row("VRFY", ALL, When::Always, Run::Now(cmd::vrfy::run), "RFC 5321 §4.1.1.6"),
    row("XCLIENT", ALL, When::Always, Run::Wait(cmd::xclient::run), "postfix.org XCLIENT_README"),
    row(
        "XFORWARD",
        FRONTS,
        When::Always,
        Run::Now(cmd::xforward::run),
        "postfix.org XFORWARD_README",
    ),
];

/// Verbs of the standards that we know and do not do: `502` instead of `500`.
const NOT_HERE: &[&str] = &["ETRN", "EXPN", "SAML", "SEND", "SOML", "TURN"];

const fn row(
    name: &'static str,
    kinds: &'static [Kind],
    when: When,
    run: Run,
    spec: &'static str,
) -> Command {
    Command { name, kinds, when, run, spec }
}

/// The command of this name for this kind, or the reply to a verb we do not know.
pub(crate) fn find(name: &str, kind: Kind) -> Result<&'static Command, Reply> {
    let known = COMMANDS.iter().find(|c| c.name.eq_ignore_ascii_case(name));
    match known {
        Some(command) if command.kinds.contains(&kind) => Ok(command),
        // RFC 2033 §4.1: an LMTP server answers 500 to HELO and EHLO.
        Some(command) if command.name.ends_with("LO") => {
            let greeting = if kind == Lmtp { "LHLO" } else { "EHLO" };
            let text = format!("this is {}, say {greeting}", kind.name().to_uppercase());
            Err(Reply::new(500, "5.5.1", text))
        }
        None if !NOT_HERE.iter().any(|n| n.eq_ignore_ascii_case(name)) => {
            Err(Reply::new(500, "5.5.1", "no such command; HELP lists them"))
        }
        _ => Err(Reply::new(502, "5.5.1", "this command is not offered here")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_each_row_says_where_it_stands() {
        assert!(COMMANDS.is_sorted_by(|a, b| a.name < b.name));
        assert!(NOT_HERE.is_sorted());
        for command in COMMANDS {
            let spec = command.spec;
            assert!(spec.starts_with("RFC ") || spec.starts_with("postfix.org "), "{spec}");
            assert!(!NOT_HERE.contains(&command.name));
            assert!(!command.kinds.is_empty());
        }
    }

    #[test]
    fn finding() {
        #[track_caller]
        fn check(name: &str, kind: Kind, expect: Result<&str, u16>) {
            let found = find(name, kind).map(|c| c.name).map_err(|r| r.code);
            assert_eq!(found, expect, "{name:?}");
        }
        check("MAIL", Smtp, Ok("MAIL"));
        check("mAiL", Lmtp, Ok("MAIL"));
        check("LHLO", Lmtp, Ok("LHLO"));
        check("LHLO", Smtp, Err(500));
        check("EHLO", Lmtp, Err(500));
        check("HELO", Lmtp, Err(500));
        check("AUTH", Submission, Ok("AUTH"));
        check("AUTH", Smtp, Err(502));
        check("STARTTLS", Smtp, Ok("STARTTLS"));
        check("expn", Submission, Err(502));
        check("GET", Smtp, Err(500));
        check("", Smtp, Err(500));
    }
}
