//! EHLO, HELO (RFC 5321 §4.1.1.1) and LHLO (RFC 2033 §4.1): names and dialects. A new one starts afresh.
//!
//! ```text
//! ehlo = "EHLO" SP ( Domain / address-literal ) CRLF
//! ```

use crate::extensions;
use crate::reply::Reply;
use crate::session::{Hello, Session};

pub(crate) fn ehlo(session: &mut Session, arg: &str) -> Reply {
    greet(session, arg, true)
}

pub(crate) fn helo(session: &mut Session, arg: &str) -> Reply {
    greet(session, arg, false)
}

pub(crate) fn lhlo(session: &mut Session, arg: &str) -> Reply {
    greet(session, arg, true)
}

/// The name is not checked: what is wrong with it is for antispam to weigh.
fn greet(session: &mut Session, name: &str, extended: bool) -> Reply {
    if name.is_empty() {
        return Reply::syntax("say who you are: a domain, or an address in brackets");
    }
    session.hello = Some(Hello { name: name.to_owned(), extended });
    session.mail = None;
    session.forwarded = None;
    let mut text = session.service.config.hostname.clone();
    if extended {
        text.push_str(&extensions::lines(session));
    }
    Reply::new(250, "", text)
}
