//! CAPA (RFC 2449 §5): what this server can do.

use crate::capabilities;
use crate::reply::Reply;
use crate::session::Session;

pub(crate) fn run(session: &mut Session, _arg: &[u8]) -> Reply {
    let lines = capabilities::lines(session).join("\r\n");
    Reply::ok(format!("what is here:\r\n{lines}\r\n."))
}
