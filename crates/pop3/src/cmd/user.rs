//! USER (RFC 1939 §7): half a login. Any name is taken; whether it is one of ours is not told.

use crate::reply::Reply;
use crate::session::Session;

pub(crate) fn run(session: &mut Session, arg: &[u8]) -> Reply {
    if let Err(reply) = session.check_private() {
        return reply;
    }
    match std::str::from_utf8(arg).map(str::trim) {
        Ok(name) if !name.is_empty() => {
            session.user = Some(name.to_owned());
            Reply::ok("now the password")
        }
        _ => Reply::error("", "the form is USER name"),
    }
}
