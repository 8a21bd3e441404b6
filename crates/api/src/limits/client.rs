//! Where a request comes from, behind proxies that are ours.

use std::{
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use actix_web::http::header::{HeaderMap, X_FORWARDED_FOR};

/// Further entries of `X-Forwarded-For` are not looked at.
const MAX_PROXIES: usize = 16;

/// Addresses of proxies whose `X-Forwarded-For` is believed: `192.0.2.0/24`, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyNetwork {
    /// IPv4 as IPv4-mapped IPv6 (RFC 4291 §2.5.5.2).
    base: u128,
    /// Of 128 bits.
    prefix: u32,
}

/// A text that is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not an address, or a network such as 192.0.2.0/24")]
pub struct ProxyNetworkError;

impl ProxyNetwork {
    /// `127.0.0.0/8` and `::1`.
    pub fn loopback() -> [Self; 2] {
        [Self { base: bits([127, 0, 0, 0].into()), prefix: 104 }, Self { base: 1, prefix: 128 }]
    }

    fn contains(self, address: IpAddr) -> bool {
        let differ = bits(address) ^ self.base;
        // A shift by all bits is none at all.
        differ.checked_shr(128 - self.prefix).unwrap_or(0) == 0
    }
}

impl FromStr for ProxyNetwork {
    type Err = ProxyNetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u32>().map_err(|_| ProxyNetworkError)?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| ProxyNetworkError)?;
        let (width, mapped) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let prefix = prefix.unwrap_or(width);
        if prefix > width {
            return Err(ProxyNetworkError);
        }
        Ok(Self { base: bits(address), prefix: prefix + mapped })
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The client: the peer, or, where that is a proxy of ours, whom it had the request from.
pub(super) fn client(peer: IpAddr, headers: &HeaderMap, proxies: &[ProxyNetwork]) -> IpAddr {
    let is_ours = |address: IpAddr| proxies.iter().any(|network| network.contains(address));
    if !is_ours(peer) {
        return peer;
    }
    // Each proxy adds at the end whom it had the request from: what stands before the last of ours, anybody may have
    // written.
    let mut entries: Vec<&str> = Vec::new();
    for line in headers.get_all(X_FORWARDED_FOR) {
        entries.extend(line.to_str().unwrap_or("?").split(','));
    }
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

/// What counts as one client: an IPv4 address, or a /64 of IPv6, which is the least that a site has (RFC 6177).
pub(super) fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn from(peer: &str, forwarded: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_static(line));
        }
        let proxies = ["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        network(client(peer.parse().unwrap(), &headers, &proxies)).to_string()
    }

    #[test]
    fn only_our_proxies_are_believed_and_only_what_they_added() {
        assert_eq!(from("198.51.100.1", &["203.0.113.9"]), "198.51.100.1");
        assert_eq!(from("192.0.2.7", &[]), "192.0.2.7");
        assert_eq!(from("192.0.2.7", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(from("::ffff:192.0.2.7", &["forged, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(from("192.0.2.7", &["203.0.113.66", "203.0.113.9 , 192.0.2.8"]), "203.0.113.9");
        assert_eq!(from("2001:db8::1", &["rubbish"]), "2001:db8::");
        assert_eq!(from("192.0.2.7", &["203.0.113.9, rubbish, 192.0.2.8"]), "192.0.2.8");
    }

    #[test]
    fn an_ipv6_site_is_one_client() {
        assert_eq!(from("2001:470:1:2:3:4:5:6", &[]), "2001:470:1:2::");
        assert_eq!(from("::ffff:198.51.100.1", &[]), "198.51.100.1");
    }

    #[test]
    fn networks_are_read_strictly() {
        for text in ["", "a", "192.0.2.0/33", "::/129", "192.0.2.0/", "192.0.2.0/-1", "192.0.2.0/8/8"] {
            assert_eq!(text.parse::<ProxyNetwork>(), Err(ProxyNetworkError), "{text:?}");
        }
        let all: ProxyNetwork = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains([8, 8, 8, 8].into()) && !all.contains("2001:db8::1".parse().unwrap()));
        let every: ProxyNetwork = "::/0".parse().unwrap();
        assert!(every.contains([8, 8, 8, 8].into()));
        let [v4, v6] = ProxyNetwork::loopback();
        assert_eq!((v4, v6), ("127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()));
    }
}
