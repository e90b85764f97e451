//! NOOP (RFC 1939 §5): are you there?

use crate::reply::Reply;
use crate::session::Session;

pub(crate) fn run(_session: &mut Session, _arg: &[u8]) -> Reply {
    Reply::ok("here")
}
