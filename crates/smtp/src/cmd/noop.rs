//! NOOP (RFC 5321 §4.1.1.9): are you there?

use crate::reply::Reply;
use crate::session::Session;

pub(crate) fn run(_session: &mut Session, _arg: &str) -> Reply {
    Reply::new(250, "2.0.0", "here")
}
