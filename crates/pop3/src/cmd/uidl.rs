//! UIDL (RFC 1939 §7): names that stay, of one letter or of all.

use super::no_such_letter;
use crate::maildrop::Maildrop;
use crate::reply::Reply;
use crate::session::Session;
use std::fmt::Write;

pub(crate) fn run(session: &mut Session, arg: &[u8]) -> Reply {
    session.on_maildrop(|maildrop| match arg {
        [] => all(maildrop),
        number => match maildrop.get(number) {
            Some((place, item)) => {
                Reply::ok(format!("{} {}", place + 1, maildrop.unique_id(&item)))
            }
            None => no_such_letter(),
        },
    })
}

fn all(maildrop: &Maildrop) -> Reply {
    let mut text = "the list:\r\n".to_owned();
    for (number, item) in maildrop.list() {
        let written = write!(text, "{number} {}\r\n", maildrop.unique_id(item));
        debug_assert!(written.is_ok(), "a String takes everything");
    }
    text.push('.');
    Reply::ok(text)
}
