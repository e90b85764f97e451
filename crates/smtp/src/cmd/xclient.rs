//! XCLIENT (postfix.org, `XCLIENT_README`): a server in front says for whom it speaks. All that is decided by the client
//! is decided by that one from here on.
//!
//! ```text
//! xclient-command = XCLIENT 1*( SP attribute-name"="attribute-value )
//! attribute-name  = ( NAME | ADDR | PORT | PROTO | HELO | LOGIN )
//! attribute-value = xtext
//! ```

use crate::commands::Waiting;
use crate::params;
use crate::reply::Reply;
use crate::session::{Hello, Session};
use crate::{Kind, Service};
use auth::Identity;
use std::net::{IpAddr, Ipv6Addr};
use types::Peer;

/// What XCLIENT understands here, as EHLO tells it.
pub(crate) const NAMES: &str = "NAME ADDR PORT PROTO HELO LOGIN";
/// Of a value: a name has no more (RFC 5321 §4.5.3.1.2).
const VALUE_BYTES: usize = 255;
/// Attributes in one command; there are ten at most.
const ATTRIBUTES: usize = 16;

pub(crate) fn run<'a>(session: &'a mut Session, arg: &'a str) -> Waiting<'a> {
    Box::pin(async move {
        let said = allowed(session, session.may_speak_for_others());
        let reply = match said.and_then(|()| attributes(arg, NAMES)) {
            Ok(attributes) => take_over(session, attributes).await,
            Err(reply) => Err(reply),
        };
        match reply {
            // As if the connection had just been made.
            Ok(()) => Ok(session.begin(false).await?.unwrap_or_else(|| session.greeting())),
            Err(reply) => Ok(reply),
        }
    })
}

/// Also of XFORWARD.
pub(super) fn allowed(session: &Session, trusted: bool) -> Result<(), Reply> {
    if !trusted {
        return Err(Reply::new(550, "5.7.0", "only a server in front may say that"));
    }
    if session.mail.is_some() {
        return Err(Reply::sequence("not now: a letter is under way"));
    }
    Ok(())
}

/// A name in upper case with its value; `None`: not known.
pub(super) type Attribute = (String, Option<String>);

pub(super) fn attributes(arg: &str, known: &str) -> Result<Vec<Attribute>, Reply> {
    let mut found = Vec::new();
    for attribute in arg.split_ascii_whitespace() {
        let pair = attribute.split_once('=').filter(|(_, value)| value.len() <= VALUE_BYTES);
        let Some((name, value)) = pair.filter(|_| found.len() < ATTRIBUTES) else {
            return Err(Reply::syntax("an attribute is a name, = and a value in xtext"));
        };
        let name = name.to_ascii_uppercase();
        if !known.split(' ').any(|known| known == name) {
            return Err(Reply::syntax(format!("the attributes here are {known}")));
        }
        found.push((name, value_of(value)?));
    }
    if found.is_empty() {
        return Err(Reply::syntax(format!("say one of {known}")));
    }
    Ok(found)
}

/// Older servers send what they have as it is, without xtext.
fn value_of(value: &str) -> Result<Option<String>, Reply> {
    if ["[UNAVAILABLE]", "[TEMPUNAVAIL]"].iter().any(|none| none.eq_ignore_ascii_case(value)) {
        return Ok(None);
    }
    let plain = || value.bytes().all(|b| b.is_ascii_graphic()).then(|| value.to_owned());
    match params::xtext(value).or_else(plain) {
        Some(value) if !value.is_empty() && !value.contains(' ') => Ok(Some(value)),
        _ => Err(Reply::syntax("a value is printable ASCII in xtext")),
    }
}

/// `192.0.2.1` or `IPV6:2001:db8::1`.
pub(super) fn address(value: &str) -> Option<IpAddr> {
    let v6 = value.split_at_checked(5).filter(|(head, _)| head.eq_ignore_ascii_case("IPV6:"));
    match v6 {
        Some((_, v6)) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => value.parse().ok(),
    }
}

async fn take_over(session: &mut Session, attributes: Vec<Attribute>) -> Result<(), Reply> {
    let (mut ip, mut helo, mut proto, mut login) = (None, None, None, None);
    for (name, value) in attributes {
        match (name.as_str(), value) {
            ("ADDR", Some(value)) => {
                let found = address(&value);
                let ip_or = found.ok_or_else(|| Reply::syntax("ADDR is no IP address"));
                ip = Some(ip_or?);
            }
            // Not whom it spoke for before.
            ("ADDR", None) => ip = Some(session.front),
            ("HELO", value) => helo = Some(value),
            ("PROTO", Some(value)) => proto = Some(dialect(&value)?),
            ("LOGIN", value) => login = Some(value),
            // For logs only, and ours have the address.
            _ => {}
        }
    }
    let identity = match &login {
        Some(Some(user)) => vouched(&session.service, user).await?,
        _ => None,
    };
    // Another client is not who logged in before.
    if login.is_some() || ip.is_some() {
        session.identity = identity;
    }
    if let Some(ip) = ip {
        tracing::debug!(front = %session.front, %ip, "another client");
        // Its way to the front is unknown to us: a password on it may have been heard.
        let private = session.is_encrypted() || Peer::plain(ip).private && session.peer.private;
        session.peer = Peer { ip, private };
        (session.known, session.unknown) = (0, 0);
    }
    let before = session.hello.take();
    let extended = proto.or(before.as_ref().map(|hello| hello.extended)).unwrap_or(true);
    session.hello = helo.flatten().map(|name| Hello { name, extended });
    session.forwarded = None;
    Ok(())
}

fn dialect(value: &str) -> Result<bool, Reply> {
    match value.to_ascii_uppercase().as_str() {
        "SMTP" => Ok(false),
        "ESMTP" | "LMTP" => Ok(true),
        _ => Err(Reply::syntax("PROTO is SMTP or ESMTP")),
    }
}

/// The server in front has checked the password. Only where passwords are taken it means something.
async fn vouched(service: &Service, user: &str) -> Result<Option<Identity>, Reply> {
    if service.kind() != Kind::Submission {
        return Ok(None);
    }
    match service.auth.vouched(&service.mda.full_address(user)).await {
        Ok(Some(identity)) => Ok(Some(identity)),
        Ok(None) => Err(Reply::new(535, "5.7.8", "there is no such account")),
        Err(error) => Err(Reply::of_login(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said() {
        #[track_caller]
        fn check(arg: &str, expect: Option<&[(&str, Option<&str>)]>) {
            let found = attributes(arg, NAMES).ok();
            let found: Option<Vec<_>> = found
                .as_ref()
                .map(|list| list.iter().map(|(n, v)| (n.as_str(), v.as_deref())).collect());
            assert_eq!(found.as_deref(), expect, "{arg:?}");
        }
        check("ADDR=192.0.2.1", Some(&[("ADDR", Some("192.0.2.1"))]));
        check("name=[unavailable]  helo=a+2Bb", Some(&[("NAME", None), ("HELO", Some("a+b"))]));
        check("LOGIN=alice+x@example.test", Some(&[("LOGIN", Some("alice+x@example.test"))]));
        check("PORT=[TEMPUNAVAIL]", Some(&[("PORT", None)]));
        check("", None);
        check("ADDR", None);
        check("ADDR=", None);
        check("COLOUR=red", None);
        check("HELO=a+20b", None);
        check("HELO=ż", None);
        check(&format!("HELO={}", "a".repeat(256)), None);
        check(&"PORT=1 ".repeat(17), None);
    }

    #[test]
    fn addresses() {
        #[track_caller]
        fn check(value: &str, expect: Option<&str>) {
            assert_eq!(address(value), expect.map(|ip| ip.parse().unwrap()), "{value:?}");
        }
        check("192.0.2.1", Some("192.0.2.1"));
        check("IPV6:2001:db8::1", Some("2001:db8::1"));
        check("ipv6:::1", Some("::1"));
        check("2001:db8::1", Some("2001:db8::1"));
        check("IPV6:192.0.2.1", None);
        check("[192.0.2.1]", None);
        check("localhost", None);
        check("żżż", None);
    }
}
