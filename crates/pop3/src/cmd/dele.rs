//! DELE (RFC 1939 §5): marks a letter; it goes at QUIT.

use super::no_such_letter;
use crate::reply::Reply;
use crate::session::Session;

pub(crate) fn run(session: &mut Session, arg: &[u8]) -> Reply {
    session.on_maildrop(|maildrop| {
        let Some((place, _)) = maildrop.get(arg) else {
            return no_such_letter();
        };
        maildrop.delete(place);
        Reply::ok("marked, it goes at QUIT")
    })
}
