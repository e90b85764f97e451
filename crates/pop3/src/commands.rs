//! The verbs of the conversation. A new one: its file in `cmd/`, its row, its transcript.

use crate::cmd;
use crate::reply::Reply;
use crate::session::Session;
use crate::wire::End;
use std::pin::Pin;

/// A verb: wire name, when it is welcome, who answers, which section says so.
pub struct Command {
    pub name: &'static str,
    pub when: When,
    pub run: Run,
    pub spec: &'static str,
}

/// The states of RFC 1939 §3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Always,
    /// AUTHORIZATION: before login.
    Authorization,
    /// TRANSACTION: after it.
    Transaction,
}

pub type Waiting<'a> = Pin<Box<dyn Future<Output = Result<Reply, End>> + Send + 'a>>;

/// The function that answers: at once, or after waiting for the peer or for the mail store. The argument is
/// what stands behind the first blank, bytes and blanks as they came.
#[derive(Clone, Copy)]
pub enum Run {
    Now(fn(&mut Session, &[u8]) -> Reply),
    Wait(for<'a> fn(&'a mut Session, &'a [u8]) -> Waiting<'a>),
}

use When::{Always, Authorization, Transaction};

pub static COMMANDS: &[Command] = &[
    row("AUTH", Authorization, Run::Wait(cmd::auth::run), "RFC 5034 §4"),
    row("CAPA", Always, Run::Now(cmd::capa::run), "RFC 2449 §5"),
    row("DELE", Transaction, Run::Now(cmd::dele::run), "RFC 1939 §5"),
    row("LIST", Transaction, Run::Now(cmd::list::run), "RFC 1939 §5"),
    row("NOOP", Transaction, Run::Now(cmd::noop::run), "RFC 1939 §5"),
    row("PASS", Authorization, Run::Wait(cmd::pass::run), "RFC 1939 §7"),
    row("QUIT", Always, Run::Wait(cmd::quit::run), "RFC 1939 §5, §6"),
    row("RETR", Transaction, Run::Wait(cmd::retr::run), "RFC 1939 §5"),
    row("RSET", Transaction, Run::Now(cmd::rset::run), "RFC 1939 §5"),
    row("STAT", Transaction, Run::Now(cmd::stat::run), "RFC 1939 §5"),
    row("STLS", Authorization, Run::Now(cmd::stls::run), "RFC 2595 §4"),
    row("TOP", Transaction, Run::Wait(cmd::top::run), "RFC 1939 §7"),
    row("UIDL", Transaction, Run::Now(cmd::uidl::run), "RFC 1939 §7"),
    row("USER", Authorization, Run::Now(cmd::user::run), "RFC 1939 §7"),
    row("UTF8", Authorization, Run::Now(cmd::utf8::run), "RFC 6856 §2.1"),
];

const fn row(name: &'static str, when: When, run: Run, spec: &'static str) -> Command {
    Command { name, when, run, spec }
}

pub(crate) fn find(name: &[u8]) -> Option<&'static Command> {
    COMMANDS.iter().find(|c| c.name.as_bytes().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_each_row_says_where_it_stands() {
        assert!(COMMANDS.is_sorted_by(|a, b| a.name < b.name));
        for command in COMMANDS {
            assert!(command.spec.starts_with("RFC "), "{}", command.name);
            let found = find(command.name.to_lowercase().as_bytes()).unwrap();
            assert_eq!(found.name, command.name);
        }
        assert!(find(b"").is_none() && find(b"APOP").is_none());
    }
}
