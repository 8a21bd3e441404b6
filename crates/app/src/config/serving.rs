//! `[edge]` and `[nameserver]`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use mtasts_edge::EdgeConfig;
use mtasts_nameserver::{CaaValue, NameServer, NameserverConfig, RateLimit, StaticRecord, TransferLimits, Ttls};
use mtasts_proxy::ProxyProtocol;
use serde::Deserialize;

use super::{
    Config, ConfigError,
    nameserver::{DnssecKeyConfig, DnssecParent, TransferConfig},
    sections::loopback,
};

/// `[edge]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EdgeSection {
    pub(crate) https_listen: Vec<SocketAddr>,
    pub(crate) http_listen: Vec<SocketAddr>,
    /// None: `edge` in the data folder.
    pub(crate) replica_dir: Option<PathBuf>,
    pub(crate) replica_cache_mebibytes: usize,
    /// Threads; None: one for each CPU.
    pub(crate) workers: Option<NonZeroUsize>,
    pub(crate) key_cache_entries: usize,
    pub(crate) handshake_deadline_seconds: u64,
    pub(crate) header_deadline_seconds: u64,
    pub(crate) request_deadline_seconds: u64,
    pub(crate) idle_deadline_seconds: u64,
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_address: usize,
    /// Networks of load balancers that send the PROXY protocol, version 2; not empty: all others are refused.
    pub(crate) proxy_protocol_from: Vec<String>,
    pub(crate) send_tickets: bool,
    pub(crate) drain_seconds: u64,
    pub(crate) ledger_flush_seconds: u64,
}

impl Default for EdgeSection {
    fn default() -> Self {
        let defaults = EdgeConfig::new(Vec::new(), Vec::new(), "");
        Self {
            https_listen: vec![loopback(8443)],
            http_listen: vec![loopback(8081)],
            replica_dir: None,
            replica_cache_mebibytes: defaults.replica_cache_bytes >> 20,
            workers: None,
            key_cache_entries: defaults.key_cache_entries,
            handshake_deadline_seconds: defaults.handshake_deadline.as_secs(),
            header_deadline_seconds: defaults.header_deadline.as_secs(),
            request_deadline_seconds: defaults.request_deadline.as_secs(),
            idle_deadline_seconds: defaults.idle_deadline.as_secs(),
            max_connections: defaults.max_connections,
            max_connections_per_address: defaults.max_connections_per_address,
            proxy_protocol_from: Vec::new(),
            send_tickets: defaults.send_tickets,
            drain_seconds: defaults.drain.as_secs(),
            ledger_flush_seconds: defaults.ledger_flush.as_secs(),
        }
    }
}

impl EdgeSection {
    pub(crate) fn config(&self, data_dir: &Path) -> Result<EdgeConfig, ConfigError> {
        if self.https_listen.is_empty() {
            return Err(ConfigError::value("edge.https_listen", "at least one address is needed"));
        }
        if self.key_cache_entries == 0 || self.max_connections == 0 || self.max_connections_per_address == 0 {
            return Err(ConfigError::value("edge", "key_cache_entries and the caps must be above 0"));
        }
        if !(1..=60).contains(&self.ledger_flush_seconds) {
            let problem = "the served ledger is flushed each 1 to 60 seconds: withdrawals wait for it";
            return Err(ConfigError::value("edge.ledger_flush_seconds", problem));
        }
        let replica_dir = self.replica_dir.clone().unwrap_or_else(|| data_dir.join("edge"));
        let mut config = EdgeConfig::new(self.https_listen.clone(), self.http_listen.clone(), replica_dir);
        config.replica_cache_bytes = self.replica_cache_mebibytes << 20;
        if let Some(workers) = self.workers {
            config.workers = workers;
        }
        config.key_cache_entries = self.key_cache_entries;
        config.handshake_deadline = seconds("edge.handshake_deadline_seconds", self.handshake_deadline_seconds)?;
        config.header_deadline = seconds("edge.header_deadline_seconds", self.header_deadline_seconds)?;
        config.request_deadline = seconds("edge.request_deadline_seconds", self.request_deadline_seconds)?;
        config.idle_deadline = seconds("edge.idle_deadline_seconds", self.idle_deadline_seconds)?;
        config.max_connections = self.max_connections;
        config.max_connections_per_address = self.max_connections_per_address;
        config.send_tickets = self.send_tickets;
        config.drain = Duration::from_secs(self.drain_seconds);
        config.ledger_flush = Duration::from_secs(self.ledger_flush_seconds);
        config.proxy_protocol = behind("edge.proxy_protocol_from", &self.proxy_protocol_from)?;
        Ok(config)
    }
}

/// What a key with networks of load balancers says.
pub(super) fn behind(key: &'static str, balancers: &[String]) -> Result<ProxyProtocol, ConfigError> {
    let parse = |text: &String| text.parse().map_err(|error| ConfigError::value(key, format!("{text:?}: {error}")));
    Ok(ProxyProtocol::behind(balancers.iter().map(parse).collect::<Result<_, _>>()?))
}

pub(super) fn seconds(key: &'static str, value: u64) -> Result<Duration, ConfigError> {
    if value == 0 {
        return Err(ConfigError::value(key, "must be above 0"));
    }
    Ok(Duration::from_secs(value))
}

/// `[nameserver]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NameserverSection {
    pub(crate) listen: Vec<SocketAddr>,
    /// The zone's name servers; empty: `ns1.<zone>`.
    pub(crate) ns: Vec<String>,
    /// Addresses of those name servers that are inside of the zone; empty: those of `listen`.
    pub(crate) ns_addresses: Vec<IpAddr>,
    /// A and AAAA of `*.edge.<zone>`.
    pub(crate) edge_addresses: Vec<IpAddr>,
    /// CAA of `*.edge.<zone>`, such as `0 issue letsencrypt.org`.
    pub(crate) caa: Vec<String>,
    /// Mailbox of the SOA as a domain name; None: `hostmaster.<zone>`.
    pub(crate) hostmaster: Option<String>,
    pub(crate) zone_ttl_seconds: u32,
    pub(crate) edge_ttl_seconds: u32,
    pub(crate) negative_ttl_seconds: u32,
    /// None: `nameserver.redb` in the data folder.
    pub(crate) replica_file: Option<PathBuf>,
    pub(crate) records: Vec<RecordConfig>,
    /// Secondaries that may transfer the zone.
    pub(crate) transfers: Vec<TransferConfig>,
    pub(crate) transfers_at_once: usize,
    /// The least epoch of the SOA's serial: raised after a restore of the database.
    pub(crate) serial_epoch: u32,
    /// Whether answers over UDP are limited by client network.
    pub(crate) rate_limit: bool,
    pub(crate) rate_limit_answers_per_second: u32,
    pub(crate) rate_limit_nxdomains_per_second: u32,
    pub(crate) rate_limit_errors_per_second: u32,
    /// Each n-th limited answer is truncated instead of dropped.
    pub(crate) rate_limit_slip: u32,
    /// Networks that are never limited, besides loopback.
    pub(crate) rate_limit_exempt: Vec<String>,
    /// Networks of load balancers that send the PROXY protocol, version 2; not empty: all others are refused.
    pub(crate) proxy_protocol_from: Vec<String>,
    /// Keys that the zone is signed with; empty: it is not signed.
    pub(crate) dnssec_keys: Vec<DnssecKeyConfig>,
    pub(crate) dnssec_validity_days: u16,
    /// What the parent is told by CDS and CDNSKEY.
    pub(crate) dnssec_parent: DnssecParent,
}

/// `[[nameserver.records]]`: a record of the operator's own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordConfig {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) record_type: String,
    pub(crate) value: String,
    pub(crate) ttl_seconds: Option<u32>,
}

impl Default for NameserverSection {
    fn default() -> Self {
        let (ttl, limits) = (Ttls::default(), RateLimit::default());
        Self {
            listen: vec![loopback(5300)],
            ns: Vec::new(),
            ns_addresses: Vec::new(),
            edge_addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            caa: Vec::new(),
            hostmaster: None,
            zone_ttl_seconds: ttl.zone,
            edge_ttl_seconds: ttl.edge,
            negative_ttl_seconds: ttl.negative,
            replica_file: None,
            records: Vec::new(),
            transfers: Vec::new(),
            transfers_at_once: TransferLimits::default().at_once,
            serial_epoch: 0,
            rate_limit: true,
            rate_limit_answers_per_second: limits.answers_per_second,
            rate_limit_nxdomains_per_second: limits.nxdomains_per_second,
            rate_limit_errors_per_second: limits.errors_per_second,
            rate_limit_slip: limits.slip,
            rate_limit_exempt: Vec::new(),
            proxy_protocol_from: Vec::new(),
            dnssec_keys: Vec::new(),
            dnssec_validity_days: 7,
            dnssec_parent: DnssecParent::Publish,
        }
    }
}

impl NameserverSection {
    pub(crate) fn config(&self, config: &Config) -> Result<NameserverConfig, ConfigError> {
        let zone = config.service.zone()?;
        let mut made = NameserverConfig::new(zone.clone(), self.listen.clone());
        let names = if self.ns.is_empty() { vec![format!("ns1.{zone}")] } else { self.ns.clone() };
        made.soa_mname.clone_from(&names[0]);
        made.name_servers =
            names.into_iter().map(|name| self.name_server(name, zone.as_str())).collect::<Result<_, _>>()?;
        if let Some(hostmaster) = &self.hostmaster {
            made.soa_rname.clone_from(hostmaster);
        }
        made.edge_addresses.clone_from(&self.edge_addresses);
        made.caa = self.caa.iter().map(|text| parse_caa(text)).collect::<Result<_, _>>()?;
        made.ttl =
            Ttls { zone: self.zone_ttl_seconds, edge: self.edge_ttl_seconds, negative: self.negative_ttl_seconds };
        made.static_records = self.records.iter().map(RecordConfig::record).collect();
        made.static_records.extend(self.report_records(config)?);
        made.transfers = self.transfer_peers()?;
        made.transfer_limits = self.transfer_limits()?;
        made.rate_limit = self.rate_limits()?;
        made.proxy_protocol = behind("nameserver.proxy_protocol_from", &self.proxy_protocol_from)?;
        made.serial_epoch = self.serial_epoch;
        made.replica_path = Some(self.replica_file.clone().unwrap_or_else(|| config.data_dir.join("nameserver.redb")));
        Ok(made)
    }

    /// Those of the host that takes reports, if it is in the zone, but for what the operator's own records say.
    fn report_records(&self, config: &Config) -> Result<Vec<StaticRecord>, ConfigError> {
        let zone = config.service.zone()?;
        let Some(reports) = config.reports.report_host()?.filter(|reports| reports.is_in(&zone)) else {
            return Ok(Vec::new());
        };
        let host = reports.host.as_str();
        let record = |name: &str, record_type: &str, value: String| StaticRecord {
            name: name.to_owned(),
            record_type: record_type.to_owned(),
            value,
            ttl: None,
        };
        let (name, text) = reports.dmarc_consent();
        let mut made = vec![record(&name, "TXT", text.to_owned())];
        if !reports.addresses.is_empty() {
            made.push(record(host, "MX", format!("10 {host}")));
        }
        made.extend(
            reports
                .addresses
                .iter()
                .map(|address| record(host, if address.is_ipv4() { "A" } else { "AAAA" }, address.to_string())),
        );
        made.retain(|made| {
            !self.records.iter().any(|own| {
                own.name.trim_end_matches('.').eq_ignore_ascii_case(&made.name)
                    && own.record_type.eq_ignore_ascii_case(&made.record_type)
            })
        });
        Ok(made)
    }

    fn name_server(&self, name: String, zone: &str) -> Result<NameServer, ConfigError> {
        let lower = name.to_ascii_lowercase();
        let inside = lower.strip_suffix(zone).is_some_and(|rest| rest.ends_with('.'));
        if !inside {
            return Ok(NameServer { name, addresses: Vec::new() });
        }
        let addresses: Vec<IpAddr> = if self.ns_addresses.is_empty() {
            self.listen.iter().map(SocketAddr::ip).filter(|address| !address.is_unspecified()).collect()
        } else {
            self.ns_addresses.clone()
        };
        if addresses.is_empty() {
            let problem = format!("{name} is inside of the zone: give the addresses at which the world finds it");
            return Err(ConfigError::value("nameserver.ns_addresses", problem));
        }
        Ok(NameServer { name, addresses })
    }
}

impl RecordConfig {
    fn record(&self) -> StaticRecord {
        StaticRecord {
            name: self.name.clone(),
            record_type: self.record_type.clone(),
            value: self.value.clone(),
            ttl: self.ttl_seconds,
        }
    }
}

pub(super) fn parse_caa(text: &str) -> Result<CaaValue, ConfigError> {
    let mut parts = text.splitn(3, ' ');
    let flags = parts.next().and_then(|flags| flags.parse().ok());
    match (flags, parts.next(), parts.next()) {
        (Some(flags), Some(tag), Some(value)) => {
            Ok(CaaValue { flags, tag: tag.to_owned(), value: value.trim_matches('"').to_owned() })
        }
        _ => Err(ConfigError::value("nameserver.caa", format!("{text:?} is not like `0 issue ca.example`"))),
    }
}
