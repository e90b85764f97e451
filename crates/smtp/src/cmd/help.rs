//! HELP (RFC 5321 §4.1.1.8): what can be said here.

use crate::reply::Reply;
use crate::session::Session;
use crate::{COMMANDS, Command, Opening};

pub(crate) fn run(session: &mut Session, _arg: &str) -> Reply {
    let kind = session.kind();
    let tls = session.opening == Opening::Encryptable;
    let offered = |name: &str| match name {
        "STARTTLS" => tls,
        "XCLIENT" => session.may_speak_for_others(),
        "XFORWARD" => session.is_from_a_front(),
        _ => true,
    };
    let here = |c: &&Command| c.kinds.contains(&kind) && offered(c.name);
    let names: Vec<&str> = COMMANDS.iter().filter(here).map(|c| c.name).collect();
    Reply::new(214, "2.0.0", names.join(" "))
}
