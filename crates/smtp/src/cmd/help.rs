//! HELP (RFC 5321 §4.1.1.8): what can be said here.

use crate::COMMANDS;
use crate::reply::Reply;
use crate::session::Session;

pub(crate) fn run(session: &mut Session, _arg: &str) -> Reply {
    let kind = session.kind();
    let names: Vec<&str> =
        COMMANDS.iter().filter(|c| c.kinds.contains(&kind)).map(|c| c.name).collect();
    Reply::new(214, "2.0.0", names.join(" "))
}
