//! UTF8 (RFC 6856 §2.1): the client takes letters with UTF-8 in their headers. They are sent as they are stored either
//! way: a letter nobody can fetch would be worse than one with headers a program shows badly.

use crate::reply::Reply;
use crate::session::Session;

pub(crate) fn run(_session: &mut Session, arg: &[u8]) -> Reply {
    if !arg.is_empty() {
        return Reply::error("", "UTF8 takes no argument");
    }
    Reply::ok("letters come as they are")
}
