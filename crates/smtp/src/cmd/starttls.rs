//! STARTTLS (RFC 3207 §4): the connection goes on encrypted. All that was said before is forgotten.
//!
//! ```text
//! starttls = "STARTTLS" CRLF
//! ```

use crate::Opening;
use crate::reply::Reply;
use crate::session::Session;

pub(crate) fn run(session: &mut Session, arg: &str) -> Reply {
    if !arg.is_empty() {
        return Reply::syntax("STARTTLS takes no argument");
    }
    match session.opening {
        Opening::Encryptable if session.hello.is_none() => {
            Reply::sequence("say EHLO or LHLO first")
        }
        Opening::Encryptable => {
            session.begin_tls = true;
            Reply::new(220, "2.0.0", "begin")
        }
        Opening::Encrypted | Opening::Implicit => {
            Reply::sequence("the connection is encrypted already")
        }
        Opening::Greeting => Reply::new(502, "5.5.1", "this command is not offered here"),
    }
}
