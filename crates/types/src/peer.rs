//! Who is on the other end of a connection.

use std::net::{IpAddr, Ipv4Addr};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub ip: IpAddr,
    /// A password may be sent: the connection is encrypted or never leaves this machine.
    pub private: bool,
}

impl Peer {
    /// A connection without encryption.
    pub fn plain(ip: IpAddr) -> Self {
        Self { ip, private: ip.to_canonical().is_loopback() }
    }

    /// A peer on this machine.
    pub const LOCAL: Self = Self { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), private: true };
}
