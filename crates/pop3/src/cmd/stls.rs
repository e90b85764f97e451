//! STLS (RFC 2595 §4): the connection goes on encrypted. All that was said before is forgotten.

use crate::Opening;
use crate::reply::Reply;
use crate::session::Session;

pub(crate) fn run(session: &mut Session, arg: &[u8]) -> Reply {
    if !arg.is_empty() {
        return Reply::error("", "STLS takes no argument");
    }
    match session.opening {
        Opening::Encryptable => {
            session.begin_tls = true;
            Reply::ok("begin")
        }
        Opening::Encrypted | Opening::Implicit => {
            Reply::error("", "the connection is encrypted already")
        }
        Opening::Greeting => Reply::error("", "this command is not offered here"),
    }
}
