//! A network of addresses: who is trusted, who is counted together.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// `192.0.2.0/24`, `2001:db8::/32`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    /// Its first address.
    first: IpAddr,
    bits: u8,
}

/// Why a text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoNetwork;

impl Network {
    /// The first `bits` of an address say where it is; more than it has: all of them. An IPv4 address inside IPv6 is an
    /// IPv4 address.
    pub fn new(ip: IpAddr, bits: u8) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => {
                let bits = bits.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                Self { first: IpAddr::V4((u32::from(v4) & mask).into()), bits }
            }
            IpAddr::V6(v6) => {
                let bits = bits.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                Self { first: IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask)), bits }
            }
        }
    }

    /// One address; of IPv6 the /64, in which anybody has as many as they like.
    pub(crate) fn host(ip: IpAddr) -> Self {
        Self::new(ip, if ip.to_canonical().is_ipv4() { 32 } else { 64 })
    }

    /// What usually belongs to one owner: a /24 of IPv4, a /48 of IPv6.
    pub(crate) fn neighbours(ip: IpAddr) -> Self {
        Self::new(ip, if ip.to_canonical().is_ipv4() { 24 } else { 48 })
    }

    /// The whole of IPv4 or of IPv6.
    pub fn is_everybody(&self) -> bool {
        self.bits == 0
    }

    pub fn contains(&self, ip: IpAddr) -> bool {
        ip.to_canonical().is_ipv4() == self.first.is_ipv4() && Self::new(ip, self.bits) == *self
    }
}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| NoNetwork)?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) if bits.bytes().all(|b| b.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= most).ok_or(NoNetwork)?
            }
            Some(_) => return Err(NoNetwork),
        };
        // `::ffff:192.0.2.0/120` is meant as IPv6 and would be taken as a whole of IPv4.
        if ip.to_canonical() != ip && bits != most {
            return Err(NoNetwork);
        }
        Ok(Self::new(ip, bits))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        #[track_caller]
        fn check(network: &str, ip: &str, expect: bool) {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(ip.parse().unwrap()), expect, "{network} {ip}");
            assert_eq!(network.to_string().parse(), Ok(network));
        }
        check("192.0.2.0/24", "192.0.2.255", true);
        check("192.0.2.0/24", "192.0.3.0", false);
        check("192.0.2.9/24", "192.0.2.1", true);
        check("192.0.2.0/24", "::ffff:192.0.2.1", true);
        check("192.0.2.1", "192.0.2.1", true);
        check("192.0.2.1", "192.0.2.2", false);
        check("0.0.0.0/0", "198.51.100.1", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("::/0", "192.0.2.1", false);
        check("2001:db8::/32", "2001:db8:1::1", true);
        check("2001:db8::/32", "2001:db9::1", false);
        check("::1", "::1", true);
        check("::ffff:192.0.2.1", "192.0.2.1", true);
    }

    #[test]
    fn no_networks() {
        for text in [
            "",
            "192.0.2.0/33",
            "192.0.2.0/",
            "192.0.2.0/+8",
            "x/8",
            "::/129",
            "192.0.2/24",
            "::ffff:1.2.3.4/120",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NoNetwork), "{text:?}");
        }
    }

    #[test]
    fn counted_together() {
        #[track_caller]
        fn check(ip: &str, host: &str, neighbours: &str) {
            let ip = ip.parse().unwrap();
            assert_eq!(Network::host(ip).to_string(), host);
            assert_eq!(Network::neighbours(ip).to_string(), neighbours);
        }
        check("192.0.2.7", "192.0.2.7/32", "192.0.2.0/24");
        check("2001:db8:1:2:3::4", "2001:db8:1:2::/64", "2001:db8:1::/48");
    }
}
