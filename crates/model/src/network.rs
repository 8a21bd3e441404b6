//! Address ranges in access lists, and who a client behind our own proxies is.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// Further entries of `X-Forwarded-For` are not looked at.
const MAX_PROXIES: usize = 16;

/// An address range, such as `192.0.2.0/24`, `2001:db8::/32`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    /// IPv4 as IPv4-mapped IPv6 (RFC 4291 §2.5.5.2). What is beyond the prefix is zero.
    bits: u128,
    /// Of 128 bits.
    prefix: u32,
}

/// Why a text is not a [`Network`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an address or a range like `192.0.2.0/24`")]
pub struct NetworkError;

impl Network {
    /// 127.0.0.0/8 and ::1. Packets from there come from this host: routers drop them.
    pub fn loopback() -> [Self; 2] {
        [Self::around(IpAddr::V4(Ipv4Addr::LOCALHOST), 8, 128), Self::around(IpAddr::V6(Ipv6Addr::LOCALHOST), 8, 128)]
    }

    /// The network of this address with a prefix of that many bits, depending on its family.
    pub fn around(address: IpAddr, ipv4_prefix: u32, ipv6_prefix: u32) -> Self {
        // A client of a socket for both families comes as `::ffff:192.0.2.1`.
        let address = address.to_canonical();
        let prefix = if address.is_ipv4() { ipv4_prefix.min(32) + 96 } else { ipv6_prefix.min(128) };
        Self { bits: as_v6_bits(address) & mask(prefix), prefix }
    }

    /// Whether this address lies within. `::ffff:192.0.2.1` is the same as `192.0.2.1`.
    pub fn contains(self, address: IpAddr) -> bool {
        as_v6_bits(address) & mask(self.prefix) == self.bits
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let (width, offset) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let prefix: u32 = prefix.map_or(Ok(width), |prefix| prefix.parse().map_err(|_| NetworkError))?;
        if prefix > width {
            return Err(NetworkError);
        }
        let prefix = prefix + offset;
        Ok(Self { bits: as_v6_bits(address) & mask(prefix), prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Ipv6Addr::from_bits(self.bits);
        match address.to_ipv4_mapped() {
            Some(address) if self.prefix >= 96 => write!(f, "{address}/{}", self.prefix - 96),
            _ => write!(f, "{address}/{}", self.prefix),
        }
    }
}

fn mask(prefix: u32) -> u128 {
    u128::MAX.checked_shl(128 - prefix).unwrap_or(0)
}

fn as_v6_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// What counts as one client: an IPv4 address, or a /64 of IPv6, which is the least that a site has (RFC 6177).
pub fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The client: the peer, or, where that is a proxy of ours, whom it had the request from. `forwarded` is the lines of
/// `X-Forwarded-For`. Each proxy adds at the end: what stands before the last of ours, anybody may have written.
pub fn client_behind<'a>(peer: IpAddr, forwarded: impl Iterator<Item = &'a str>, proxies: &[Network]) -> IpAddr {
    let is_ours = |address: IpAddr| proxies.iter().any(|network| network.contains(address));
    if !is_ours(peer) {
        return peer;
    }
    let entries: Vec<&str> = forwarded.flat_map(|line| line.split(',')).collect();
    let mut nearest = peer;
    for entry in entries.iter().rev().take(MAX_PROXIES) {
        let Ok(address) = entry.trim().parse() else { return nearest };
        nearest = address;
        if !is_ours(nearest) {
            break;
        }
    }
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_its_own_addresses_only() {
        let network: Network = "192.0.2.77/24".parse().unwrap();
        assert_eq!(network.to_string(), "192.0.2.0/24");
        assert!(network.contains("192.0.2.255".parse().unwrap()));
        assert!(network.contains("::ffff:192.0.2.7".parse().unwrap()));
        assert!(!network.contains("192.0.3.1".parse().unwrap()));
        let network: Network = "2001:db8::/32".parse().unwrap();
        assert!(network.contains("2001:db8:ffff::1".parse().unwrap()));
        assert!(!network.contains("2001:db9::1".parse().unwrap()));
        assert!("::/0".parse::<Network>().unwrap().contains("192.0.2.1".parse().unwrap()));
        assert!(!"0.0.0.0/0".parse::<Network>().unwrap().contains("2001:db8::1".parse().unwrap()));
        for bad in ["192.0.2.0/33", "somewhere", "192.0.2.1/", ""] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn clients_of_one_network_are_one() {
        let of = |address: &str| Network::around(address.parse().unwrap(), 24, 56);
        assert_eq!(of("192.0.2.1"), of("192.0.2.254"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.9"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("2001:db8:0:aa00::1"), of("2001:db8:0:aaff::1"));
        assert_ne!(of("2001:db8:0:aa00::1"), of("2001:db8:0:ab00::1"));
        assert!(Network::loopback().iter().any(|network| network.contains("127.1.2.3".parse().unwrap())));
        assert!(Network::loopback().iter().any(|network| network.contains("::1".parse().unwrap())));
    }

    fn from(peer: &str, forwarded: &[&str]) -> String {
        let proxies = ["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        client_behind(peer.parse().unwrap(), forwarded.iter().copied(), &proxies).to_string()
    }

    #[test]
    fn only_our_proxies_are_believed_and_only_what_they_added() {
        assert_eq!(from("198.51.100.1", &["203.0.113.9"]), "198.51.100.1");
        assert_eq!(from("192.0.2.7", &[]), "192.0.2.7");
        assert_eq!(from("192.0.2.7", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(from("::ffff:192.0.2.7", &["forged, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(from("192.0.2.7", &["203.0.113.66", "203.0.113.9 , 192.0.2.8"]), "203.0.113.9");
        assert_eq!(from("2001:db8::1", &["rubbish"]), "2001:db8::1");
        assert_eq!(from("192.0.2.7", &["203.0.113.9, rubbish, 192.0.2.8"]), "192.0.2.8");
    }

    #[test]
    fn an_ipv6_site_is_one_client() {
        let of = |address: &str| site(address.parse().unwrap()).to_string();
        assert_eq!(of("2001:470:1:2:3:4:5:6"), "2001:470:1:2::");
        assert_eq!(of("::ffff:198.51.100.1"), "198.51.100.1");
    }

    #[test]
    fn networks_are_read_strictly() {
        for text in ["", "a", "192.0.2.0/33", "::/129", "192.0.2.0/", "192.0.2.0/-1", "192.0.2.0/8/8"] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError), "{text:?}");
        }
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains([8, 8, 8, 8].into()) && !all.contains("2001:db8::1".parse().unwrap()));
        assert!("::/0".parse::<Network>().unwrap().contains([8, 8, 8, 8].into()));
    }
}
