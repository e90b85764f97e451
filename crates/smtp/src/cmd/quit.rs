//! QUIT (RFC 5321 §4.1.1.10): the end. What comes after it is ignored.

use crate::reply::Reply;
use crate::session::Session;

pub(crate) fn run(_session: &mut Session, _arg: &str) -> Reply {
    Reply::new(221, "2.0.0", "goodbye").closing()
}
