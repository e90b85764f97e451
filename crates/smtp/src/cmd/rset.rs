//! RSET (RFC 5321 §4.1.1.5): forget the letter under way.

use crate::reply::Reply;
use crate::session::Session;

pub(crate) fn run(session: &mut Session, arg: &str) -> Reply {
    if !arg.is_empty() {
        return Reply::syntax("RSET takes no argument");
    }
    session.mail = None;
    session.forwarded = None;
    Reply::new(250, "2.0.0", "forgotten")
}
