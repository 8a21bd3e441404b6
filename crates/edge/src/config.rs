//! What an operator may set.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

/// Settings of one edge. Start from [`EdgeConfig::new`] and change what differs.
#[derive(Debug, Clone)]
pub struct EdgeConfig {
    /// Where policies are served (TLS). Port 0 lets the kernel choose.
    pub https: Vec<SocketAddr>,
    /// Where http-01 validations are answered, and nothing else. May be empty.
    pub http: Vec<SocketAddr>,
    /// The folder of the local replica. Made if it is missing. One edge per folder.
    pub replica_dir: PathBuf,
    /// Bytes of the replica that are cached in this process, besides the kernel's page cache.
    pub replica_cache_bytes: usize,
    /// Threads that serve, each with listeners of its own (`SO_REUSEPORT`).
    pub workers: NonZeroUsize,
    /// Hosts whose opened key and answer are kept in memory, at about 2 KB each.
    pub key_cache_entries: usize,
    /// From the accepted connection to the end of the TLS handshake, PROXY header included.
    pub handshake_deadline: Duration,
    /// From the first wait for a request to the end of its header section.
    pub header_deadline: Duration,
    /// From the first byte of a request to the last byte of its answer.
    pub request_deadline: Duration,
    /// How long a connection may stay open between requests.
    pub idle_deadline: Duration,
    /// Connections at a time, all listeners together. What is above is closed at once.
    pub max_connections: usize,
    /// Connections at a time from one IPv4 address or one IPv6 /64.
    pub max_connections_per_address: usize,
    /// Whether a load balancer in front tells the client's address.
    pub proxy_protocol: ProxyProtocol,
    /// Whether to offer TLS session tickets. Senders hardly ever resume, and tickets cost each handshake.
    pub send_tickets: bool,
    /// After a shutdown is asked for: how long to go on accepting while readiness already says no.
    pub drain: Duration,
    /// How often the served ledger is handed to the feed.
    pub ledger_flush: Duration,
    /// How often the feed is asked when no nudge comes.
    pub poll: Duration,
}

impl EdgeConfig {
    /// The defaults, with listeners on these addresses and the replica in this folder.
    pub fn new(https: Vec<SocketAddr>, http: Vec<SocketAddr>, replica_dir: impl Into<PathBuf>) -> Self {
        Self {
            https,
            http,
            replica_dir: replica_dir.into(),
            replica_cache_bytes: 2 << 20,
            workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            key_cache_entries: 100_000,
            handshake_deadline: Duration::from_secs(10),
            header_deadline: Duration::from_secs(5),
            request_deadline: Duration::from_secs(30),
            idle_deadline: Duration::from_secs(5),
            max_connections: 50_000,
            max_connections_per_address: 256,
            proxy_protocol: ProxyProtocol::Off,
            send_tickets: false,
            drain: Duration::ZERO,
            ledger_flush: Duration::from_secs(30),
            poll: Duration::from_secs(2),
        }
    }
}

/// The PROXY protocol, version 2 (haproxy's `proxy-protocol.txt`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// The peer is the client.
    Off,
    /// Every connection must begin with a version 2 header and come from one of these networks; others are closed.
    V2Required {
        /// The load balancers.
        trusted: Vec<Network>,
    },
}

/// An address range, such as `192.0.2.0/24`, `2001:db8::/32`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    bits: u128,
    prefix: u32,
}

/// Why a text is not a [`Network`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an address or a range like `192.0.2.0/24`")]
pub struct NetworkError;

impl Network {
    /// Whether this address lies within. `::ffff:192.0.2.1` is the same as `192.0.2.1`.
    pub fn contains(self, address: IpAddr) -> bool {
        let keep = u128::MAX.checked_shl(128 - self.prefix).unwrap_or(0);
        as_v6_bits(address) & keep == self.bits & keep
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
        Ok(Self { bits: as_v6_bits(address), prefix: prefix + offset })
    }
}

fn as_v6_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => Ipv6Addr::to_bits(v6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_its_own_addresses_only() {
        let network: Network = "192.0.2.0/24".parse().unwrap();
        assert!(network.contains("192.0.2.255".parse().unwrap()));
        assert!(network.contains("::ffff:192.0.2.7".parse().unwrap()));
        assert!(!network.contains("192.0.3.1".parse().unwrap()));
        let network: Network = "2001:db8::/32".parse().unwrap();
        assert!(network.contains("2001:db8:ffff::1".parse().unwrap()));
        assert!(!network.contains("2001:db9::1".parse().unwrap()));
        assert!("::/0".parse::<Network>().unwrap().contains("192.0.2.1".parse().unwrap()));
        assert!(!"0.0.0.0/0".parse::<Network>().unwrap().contains("2001:db8::1".parse().unwrap()));
        assert!("127.0.0.1".parse::<Network>().unwrap().contains("127.0.0.1".parse().unwrap()));
        assert!("192.0.2.0/33".parse::<Network>().is_err());
        assert!("somewhere".parse::<Network>().is_err());
    }
}
