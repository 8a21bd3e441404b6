//! What an operator may set.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use mtasts_proxy::ProxyProtocol;

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
    /// Whether load balancers in front tell the client's address, by version 2 of the PROXY protocol.
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
