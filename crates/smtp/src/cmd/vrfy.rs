//! VRFY (RFC 5321 §3.5.3): we do not tell who is here, only that we would take the mail and see.

use crate::reply::Reply;
use crate::session::Session;

pub(crate) fn run(_session: &mut Session, arg: &str) -> Reply {
    if arg.is_empty() {
        return Reply::syntax("VRFY takes a name");
    }
    Reply::new(252, "2.5.2", "send the mail and see")
}
