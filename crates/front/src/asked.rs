//! A letter that a server in front asks about, and how it came, as far as the front says.

use bytes::Bytes;
use filter::Connection;
use std::net::{IpAddr, Ipv4Addr};
use types::Address;

#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    /// What the front calls it, such as the name in its queue; empty: nothing.
    pub(crate) id: String,
    pub(crate) client_ip: Option<IpAddr>,
    pub(crate) helo: String,
    /// `None`: the null sender of bounces.
    pub(crate) sender: Option<Address>,
    pub(crate) recipients: Vec<Address>,
    /// Who logged in at the front to send it.
    pub(crate) user: Option<String>,
    pub(crate) tls: bool,
    pub(crate) letter: Bytes,
}

impl Asked {
    pub(crate) fn connection(&self) -> Connection<'_> {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        // Where our own people are says nothing about their letters.
        let client_ip = self.client_ip.filter(|_| self.user.is_none());
        Connection {
            id: &self.id,
            client_ip: client_ip.unwrap_or(here),
            helo: &self.helo,
            sender: self.sender.as_ref(),
            recipients: &self.recipients,
            accounts: &[],
            tls: self.tls,
            is_known: self.user.is_some(),
        }
    }
}

/// The longest name of a letter that is kept; those of Postfix have 18 characters at most.
const ID_CHARS: usize = 64;

/// The front's name for a letter, where it can stand in logs and files.
pub(crate) fn name(said: &str) -> String {
    said.chars().filter(char::is_ascii_alphanumeric).take(ID_CHARS).collect()
}

/// `<alice@example.test>`, with or without the brackets.
pub(crate) fn address(said: &str) -> Option<Address> {
    let said = said.trim();
    let inner = said.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
    inner.unwrap_or(said).parse().ok()
}

/// `192.0.2.1`, `2001:db8::1`, `IPv6:2001:db8::1`.
pub(crate) fn ip(said: &str) -> Option<IpAddr> {
    let prefix = said.get(..5).filter(|start| start.eq_ignore_ascii_case("ipv6:"));
    said.get(prefix.map_or(0, str::len)..)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_front() {
        #[track_caller]
        fn check(said: &str, expect: Option<&str>) {
            let address = address(said).map(|address| address.to_string());
            assert_eq!(address.as_deref(), expect, "{said}");
        }
        check("<alice@example.test>", Some("alice@example.test"));
        check(" alice@example.test", Some("alice@example.test"));
        check("<>", None);
        check("", None);
        check("<alice@example.test", None);
        for (said, expect) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("IPv6:2001:db8::1", Some("2001:db8::1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("", None),
            ("ééé", None),
            ("IPv6:", None),
        ] {
            assert_eq!(ip(said), expect.map(|ip| ip.parse().unwrap()), "{said}");
        }
        assert_eq!(name("4Xy\n../q1"), "4Xyq1");
        assert_eq!(name(&"a".repeat(1000)).len(), ID_CHARS);
    }
}
