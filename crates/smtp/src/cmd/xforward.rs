//! XFORWARD (postfix.org, `XFORWARD_README`): a server in front says where the next letter came from. It is used to judge
//! the letter and stands in the log; who speaks to us stays who it is.
//!
//! ```text
//! xforward-command = XFORWARD 1*( SP attribute-name"="attribute-value )
//! attribute-name   = ( NAME | ADDR | PORT | PROTO | HELO | IDENT | SOURCE )
//! attribute-value  = xtext
//! ```

use super::xclient::{Attribute, address, allowed, attributes};
use crate::reply::Reply;
use crate::session::{Forwarded, Session};

/// What XFORWARD understands here, as EHLO tells it.
pub(crate) const NAMES: &str = "NAME ADDR PORT PROTO HELO IDENT SOURCE";

pub(crate) fn run(session: &mut Session, arg: &str) -> Reply {
    let said = allowed(session, session.is_from_a_front());
    match said.and_then(|()| attributes(arg, NAMES)) {
        Ok(attributes) => {
            let forwarded = session.forwarded.get_or_insert_default();
            for attribute in attributes {
                take(forwarded, attribute);
            }
            Reply::new(250, "2.0.0", "noted")
        }
        Err(reply) => reply,
    }
}

/// An address need not be one of the internet: then it says nothing to us.
fn take(forwarded: &mut Forwarded, (name, value): Attribute) {
    match name.as_str() {
        "ADDR" => forwarded.ip = value.as_deref().and_then(address),
        "HELO" => forwarded.helo = value,
        "IDENT" => forwarded.id = value,
        _ => {}
    }
}
