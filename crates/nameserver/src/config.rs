//! What the operator decides about the zone.

use std::{io, net::IpAddr, net::SocketAddr, path::PathBuf, time::Duration};

use mtasts_model::ZoneName;
use mtasts_proxy::ProxyProtocol;

use super::{
    dnssec::{DnssecConfig, DnssecError},
    rate_limit::RateLimit,
    replica::ReplicaError,
    transfer::{TransferLimits, TransferPeer},
};
use mtasts_dns::InvalidName;

/// How an embedded nameserver serves the service's zone.
#[derive(Debug, Clone)]
pub struct NameserverConfig {
    /// The zone.
    pub zone: ZoneName,
    /// Addresses for UDP and TCP. Port 0 draws one port for both.
    pub listen: Vec<SocketAddr>,
    /// The zone's NS records, at least one.
    pub name_servers: Vec<NameServer>,
    /// The SOA's primary server (RFC 1035 §3.3.13); normally the first name server.
    pub soa_mname: String,
    /// The SOA's mailbox as a domain name, such as `hostmaster.example.net`.
    pub soa_rname: String,
    /// A and AAAA at `*.edge.<zone>`, where the edges are reached, for the types that the feed does not give.
    pub edge_addresses: Vec<IpAddr>,
    /// CAA at `*.edge.<zone>`, unless the feed gives some, which policy hosts inherit through their CNAME (RFC 8659 §3).
    pub caa: Vec<CaaValue>,
    /// Times to live.
    pub ttl: Ttls,
    /// Further records of the operator, such as the host that takes reports.
    pub static_records: Vec<StaticRecord>,
    /// File that keeps the zone over restarts. `None`: nothing is answered from the feed until it has been read.
    pub replica_path: Option<PathBuf>,
    /// Signs the zone. `None`: it is not signed.
    pub dnssec: Option<DnssecConfig>,
    /// Whether load balancers before all of `listen` tell the client's address, by version 2 of the PROXY protocol, before each
    /// datagram and at the begin of each connection.
    pub proxy_protocol: ProxyProtocol,
    /// Limits.
    pub limits: Limits,
    /// Secondaries that may transfer the zone, and are told of changes. Empty: nobody may. Not for a signed zone, see
    /// [`DnssecConfig`].
    pub transfers: Vec<TransferPeer>,
    /// What transfers may cost.
    pub transfer_limits: TransferLimits,
    /// How many UDP answers a network gets. `None`: not limited.
    pub rate_limit: Option<RateLimit>,
    /// The least epoch of the SOA's serial, which is the feed's revision and 2^20 for each epoch. To be raised above
    /// the epoch in use (which is logged at the start), on all nameservers, so that secondaries transfer the zone anew,
    /// after
    ///
    /// - a change to what stands here and not in the feed (name servers, static records, addresses, TTLs);
    /// - a restore of the feed's database from a backup while there was no replica. With a replica the nameserver finds
    ///   out by itself, starts a new epoch, keeps it beside the replica, and logs it.
    pub serial_epoch: u32,
}

impl NameserverConfig {
    /// A configuration with the given zone and addresses, and with defaults for all else: no name servers yet (one
    /// must be added), `hostmaster.<zone>`, no replica.
    pub fn new(zone: ZoneName, listen: Vec<SocketAddr>) -> Self {
        Self {
            soa_mname: format!("ns1.{}", zone.as_str()),
            soa_rname: format!("hostmaster.{}", zone.as_str()),
            zone,
            listen,
            name_servers: Vec::new(),
            edge_addresses: Vec::new(),
            caa: Vec::new(),
            ttl: Ttls::default(),
            static_records: Vec::new(),
            replica_path: None,
            dnssec: None,
            proxy_protocol: ProxyProtocol::Off,
            limits: Limits::default(),
            transfers: Vec::new(),
            transfer_limits: TransferLimits::default(),
            rate_limit: Some(RateLimit::default()),
            serial_epoch: 0,
        }
    }
}

/// One NS record with its glue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameServer {
    /// Its name.
    pub name: String,
    /// Its addresses: needed when the name is inside of the zone, and not allowed otherwise.
    pub addresses: Vec<IpAddr>,
}

/// One CAA record (RFC 8659 §4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaaValue {
    /// 0, or 128 for critical.
    pub flags: u8,
    /// Such as `issue`.
    pub tag: String,
    /// Such as `letsencrypt.org`.
    pub value: String,
}

/// Seconds that resolvers may keep answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttls {
    /// SOA, NS, glue, and static records without one of their own.
    pub zone: u32,
    /// The wildcard's A, AAAA and CAA.
    pub edge: u32,
    /// "There is none" (the SOA's minimum, RFC 2308 §4). Short, so that a new domain's records are seen soon.
    pub negative: u32,
}

impl Default for Ttls {
    fn default() -> Self {
        Self { zone: 3600, edge: 300, negative: 60 }
    }
}

/// One record of the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticRecord {
    /// Owner, absolute, inside of the zone, not beneath `edge`, `acme`, `_mta-sts` or `_smtp-tls`.
    pub name: String,
    /// `A`, `AAAA`, `CAA`, `MX` or `TXT`.
    pub record_type: String,
    /// An address; `0 issue letsencrypt.org`; `10 mail.example.net`; or text.
    pub value: String,
    /// Seconds; `None` takes [`Ttls::zone`].
    pub ttl: Option<u32>,
}

/// What strangers can make the server hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// UDP sockets for each address, each with a task of its own (`SO_REUSEPORT` when above 1).
    pub udp_sockets: usize,
    /// Open TCP connections in all.
    pub tcp_connections: usize,
    /// Open TCP connections of one address.
    pub tcp_connections_per_address: usize,
    /// For a PROXY header, for each question on a TCP connection to arrive whole, and for its answer to be taken.
    pub tcp_idle: Duration,
    /// For a TCP connection in all, besides zone transfers.
    pub tcp_lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            udp_sockets: 1,
            tcp_connections: 1024,
            tcp_connections_per_address: 32,
            tcp_idle: Duration::from_secs(10),
            tcp_lifetime: Duration::from_mins(2),
        }
    }
}

/// Why a nameserver could not start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A name in the configuration is none.
    #[error("{field}: {source}")]
    Name {
        /// Where it stands.
        field: &'static str,
        /// What is wrong.
        #[source]
        source: InvalidName,
    },
    /// There is no address to listen on.
    #[error("no address to listen on is configured")]
    NothingToListenOn,
    /// A zone needs an NS record.
    #[error("no name server is configured")]
    NoNameServers,
    /// A name server inside of the zone has no address, so nobody could find it.
    #[error("the name server {name} is inside of the zone and needs addresses")]
    GlueMissing {
        /// Its name.
        name: String,
    },
    /// A name server outside of the zone has addresses, which this zone cannot publish.
    #[error("the name server {name} is outside of the zone: its addresses belong into its own zone")]
    GlueOutside {
        /// Its name.
        name: String,
    },
    /// A static record or CAA value cannot be served.
    #[error("the record {name} {record_type} cannot be served: {reason}")]
    Record {
        /// Its owner.
        name: String,
        /// Its type.
        record_type: String,
        /// What is wrong.
        reason: String,
    },
    /// A TTL above 2^31 - 1 (RFC 2181 §8).
    #[error("a time to live is above 2147483647 seconds")]
    Ttl,
    /// The zone cannot be signed as configured.
    #[error("the zone cannot be signed")]
    Dnssec(#[from] DnssecError),
    /// A secondary without key and networks would let everybody have the zone.
    #[error("the secondary {name} needs a key or networks")]
    OpenTransfers {
        /// What it is called.
        name: String,
    },
    /// Signatures are made for each answer, so secondaries of a signed zone would have none (see [`DnssecConfig`]).
    #[error("a signed zone cannot be transferred: use several of these nameservers instead of secondaries")]
    SignedTransfers,
    /// The address cannot be bound.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The replica's file cannot be used, and not because it is damaged.
    #[error("the replica cannot be used")]
    Replica(#[source] ReplicaError),
    /// The process ended meanwhile.
    #[error("the process stops")]
    Stopped,
}
