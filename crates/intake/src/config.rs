//! What an operator may set.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use mtasts_model::{HostName, Network};
use mtasts_proxy::ProxyProtocol;

/// Settings of one intake. Start from [`IntakeConfig::new`] and change what differs.
#[derive(Debug, Clone)]
pub struct IntakeConfig {
    /// The host that takes reports: the domain of its addresses, and its name in SMTP.
    pub host: HostName,
    /// Where mail is taken (SMTP with STARTTLS). Port 0 lets the kernel choose.
    pub smtp: Vec<SocketAddr>,
    /// Where reports are posted over TLS.
    pub https: Vec<SocketAddr>,
    /// Where reports are posted without TLS: behind a proxy of the operator's.
    pub http: Vec<SocketAddr>,
    /// Certificate and key. None: a self-signed one, which is enough for mail and for nothing else.
    pub certificate: Option<CertificateFiles>,
    /// Reports a day of a tenant to whom the operator granted no other number.
    pub reports_a_day: u64,
    /// Proxies whose `X-Forwarded-For` is believed. They are not counted as one address.
    pub trusted_proxies: Vec<Network>,
    /// Whether load balancers before `smtp` and `https` tell the client's address, by either version of the PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
    /// What strangers may cost.
    pub limits: Limits,
    /// Whom those who write to the postmaster are told to write to instead.
    pub postmaster: Option<String>,
}

/// What strangers may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Octets that one report may have.
    pub max_octets: usize,
    /// Octets of reports that are held in memory at the same time.
    pub max_octets_held: usize,
    /// Connections at a time, of mail and of HTTP each.
    pub max_connections: usize,
    /// Of these, from one IPv4 address or one IPv6 /64.
    pub max_connections_per_address: usize,
    /// For a PROXY header, for a TLS handshake, and for the header of a request.
    pub header_deadline: Duration,
    /// For the body of a request.
    pub body_deadline: Duration,
    /// How long the next command of a mail client is waited for (RFC 5321 §4.5.3.2 asks for five minutes).
    pub command_deadline: Duration,
    /// How long the next octets of a mail are waited for (RFC 5321 §4.5.3.2: three minutes).
    pub data_deadline: Duration,
    /// For one connection of a mail client, whatever it does.
    pub session_deadline: Duration,
    /// How long the database may take before the sender is told to come again.
    pub store_deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_octets: 10 << 20,
            max_octets_held: 256 << 20,
            max_connections: 1_000,
            max_connections_per_address: 50,
            header_deadline: Duration::from_secs(10),
            body_deadline: Duration::from_mins(2),
            command_deadline: Duration::from_mins(5),
            data_deadline: Duration::from_mins(3),
            session_deadline: Duration::from_mins(20),
            store_deadline: Duration::from_secs(10),
        }
    }
}

/// Where a certificate is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, the host's own first (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
}

impl IntakeConfig {
    /// The defaults, without any listener.
    pub fn new(host: HostName) -> Self {
        Self {
            host,
            smtp: Vec::new(),
            https: Vec::new(),
            http: Vec::new(),
            certificate: None,
            reports_a_day: 20_000,
            trusted_proxies: Vec::new(),
            proxy_protocol: ProxyProtocol::Off,
            limits: Limits::default(),
            postmaster: None,
        }
    }
}
