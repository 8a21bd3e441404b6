//! Address ranges in access lists.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// An address range, such as `192.0.2.0/24`, `2001:db8::/32`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    /// IPv4 as `::ffff:0:0/96`.
    bits: u128,
    prefix: u32,
}

/// Why a text is not a [`Network`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an address or a range like `192.0.2.0/24`")]
pub struct NetworkError;

impl Network {
    /// 127.0.0.0/8 and ::1. Packets from there come from this host: routers drop them.
    pub fn loopback() -> [Self; 2] {
        [Self::around(IpAddr::V4(Ipv4Addr::LOCALHOST), 8, 128), Self::around(IpAddr::V6(Ipv6Addr::LOCALHOST), 8, 128)]
    }

    /// The network of this address with a prefix of that many bits, depending on its family.
    pub(super) fn around(address: IpAddr, ipv4_prefix: u32, ipv6_prefix: u32) -> Self {
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
}
