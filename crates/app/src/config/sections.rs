//! The sections that are small.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use chrono::TimeDelta;
use mtasts_dns::ResolverConfig;
use mtasts_model::{HostName, NameRules, ZoneName};
use mtasts_store::{Login, ReportRetention, Role, StoreConfig};
use mtasts_worker::{OriginFiles, ReportHost, ReportTemplate};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::{Config, ConfigError};
pub(crate) use super::{
    issuer::{IssuerConfig, IssuerKind},
    serving::{EdgeSection, NameserverSection},
    working::{ProbeSection, WorkerSection},
};

pub(super) const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// `[database]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DatabaseConfig {
    /// The owner's login: migrates, and works as the other roles where these have no login of their own.
    pub(crate) url: SecretString,
    pub(crate) api_url: Option<SecretString>,
    pub(crate) worker_url: Option<SecretString>,
    /// For edges and nameservers.
    pub(crate) edge_url: Option<SecretString>,
    pub(crate) intake_url: Option<SecretString>,
    /// For each role of a process.
    pub(crate) max_connections: u32,
    pub(crate) connect_timeout_seconds: u64,
    pub(crate) statement_timeout_seconds: u64,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: "postgres://127.0.0.1:5432/mtasts".to_owned().into(),
            api_url: None,
            worker_url: None,
            edge_url: None,
            intake_url: None,
            max_connections: 16,
            connect_timeout_seconds: 5,
            statement_timeout_seconds: 10,
        }
    }
}

impl DatabaseConfig {
    /// The logins that the roles' URLs name.
    pub(crate) fn logins(&self) -> Result<Vec<Login>, ConfigError> {
        let urls = [
            ("database.api_url", Role::Api, &self.api_url),
            ("database.worker_url", Role::Worker, &self.worker_url),
            ("database.edge_url", Role::Edge, &self.edge_url),
            ("database.intake_url", Role::Intake, &self.intake_url),
        ];
        let logins = urls.into_iter().filter_map(|(key, role, url)| {
            Some(Login::from_url(role, url.as_ref()?).map_err(|error| ConfigError::value(key, error)))
        });
        let logins: Vec<_> = logins.collect::<Result<_, _>>()?;
        if logins.is_empty() {
            return Err(ConfigError::value(
                "database.api_url",
                "no role has a URL of its own: there is no login to make",
            ));
        }
        Ok(logins)
    }

    /// How a role connects: by its own login, or by the owner's, which then gives up its rights for the role's.
    pub(crate) fn store(&self, role: Role, redis: &RedisConfig) -> StoreConfig {
        let own = match role {
            Role::Api => &self.api_url,
            Role::Worker => &self.worker_url,
            Role::Edge => &self.edge_url,
            Role::Intake => &self.intake_url,
            // An operator's commands log in as the owner, who gives up all else for them.
            Role::Owner | Role::Keeper | Role::Operator => &None,
        };
        StoreConfig {
            url: own.as_ref().unwrap_or(&self.url).clone(),
            role,
            max_connections: self.max_connections,
            connect_timeout: Duration::from_secs(self.connect_timeout_seconds),
            statement_timeout: Duration::from_secs(self.statement_timeout_seconds),
            redis_url: redis.url.clone(),
        }
    }
}

/// `[redis]`: optional; nudges travel through it as well.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RedisConfig {
    pub(crate) url: Option<SecretString>,
}

/// `[service]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServiceConfig {
    /// The service's own DNS zone.
    pub(crate) zone: String,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self { zone: "sts.test".to_owned() }
    }
}

impl ServiceConfig {
    pub(crate) fn zone(&self) -> Result<ZoneName, ConfigError> {
        self.zone.parse().map_err(|error| ConfigError::value("service.zone", error))
    }
}

/// `[names]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NamesConfig {
    /// Reserved suffixes (RFC 6761) that may be registered all the same, such as `test`.
    pub(crate) allow_reserved: Vec<String>,
}

impl NamesConfig {
    pub(crate) fn rules(&self) -> NameRules {
        NameRules::allowing(&self.allow_reserved)
    }
}

/// `[secrets]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SecretsConfig {
    /// `id:base64,id:base64`: the first seals, all open.
    pub(crate) key_ring: Option<SecretString>,
    pub(crate) key_ring_file: Option<PathBuf>,
}

/// `[api]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ApiSection {
    pub(crate) listen: Vec<SocketAddr>,
    /// How callers reach the API; None: the first address of `listen`.
    pub(crate) public_url: Option<Url>,
    pub(crate) operator_token: Option<SecretString>,
    pub(crate) operator_token_file: Option<PathBuf>,
}

impl Default for ApiSection {
    fn default() -> Self {
        Self { listen: vec![loopback(8080)], public_url: None, operator_token: None, operator_token_file: None }
    }
}

impl ApiSection {
    pub(crate) fn public_url(&self) -> Result<Url, ConfigError> {
        if let Some(url) = &self.public_url {
            return Ok(url.clone());
        }
        let Some(address) = self.listen.first() else {
            return Err(ConfigError::value("api.listen", "at least one address is needed"));
        };
        format!("http://{address}").parse().map_err(|error| ConfigError::value("api.public_url", error))
    }
}

/// `[admin]`: health and metrics, of every role.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AdminConfig {
    pub(crate) listen: SocketAddr,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: loopback(9090) }
    }
}

/// `[zone]`: how the service's zone is read back.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ZoneSection {
    /// All authoritative servers; empty: `nameserver.listen`, as in one process.
    pub(crate) authoritative: Vec<SocketAddr>,
}

impl ZoneSection {
    pub(crate) fn authoritative(&self, config: &Config) -> Result<Vec<SocketAddr>, ConfigError> {
        if self.authoritative.is_empty() && !config.nameserver.proxy_protocol_from.is_empty() {
            let problem = "nobody is answered past the load balancers: name the addresses at which they can be asked";
            return Err(ConfigError::value("zone.authoritative", problem));
        }
        let servers = if self.authoritative.is_empty() { &config.nameserver.listen } else { &self.authoritative };
        if servers.iter().any(|server| server.ip().is_unspecified() || server.port() == 0) {
            let problem = "name the addresses at which the zone's servers can be asked";
            return Err(ConfigError::value("zone.authoritative", problem));
        }
        Ok(servers.clone())
    }
}

/// `[resolver]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ResolverSection {
    /// Recursive resolvers; empty: the system's.
    pub(crate) upstreams: Vec<SocketAddr>,
    pub(crate) timeout_milliseconds: u64,
    pub(crate) attempts: usize,
}

impl Default for ResolverSection {
    fn default() -> Self {
        Self { upstreams: Vec::new(), timeout_milliseconds: 2_000, attempts: 2 }
    }
}

impl ResolverSection {
    pub(crate) fn config(&self) -> ResolverConfig {
        ResolverConfig {
            upstreams: self.upstreams.clone(),
            timeout: Duration::from_millis(self.timeout_milliseconds),
            attempts: self.attempts,
        }
    }
}

/// `[reports]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ReportsConfig {
    /// The host that takes reports; None: nobody does, but for `mtasts all`.
    pub(crate) host: Option<String>,
    /// Where the world reaches it; empty: its addresses are somebody else's affair.
    pub(crate) addresses: Vec<IpAddr>,
    /// Where every domain's TLS reports go besides the tenant's own addresses, with `{label}`; empty: to the host by mail.
    pub(crate) rua: Vec<String>,
    /// A database of networks by address (MaxMind DB).
    pub(crate) asn_database: Option<PathBuf>,
    /// A database of countries by address (MaxMind DB).
    pub(crate) country_database: Option<PathBuf>,
    /// How long what arrived is kept as it came. It goes by the month.
    pub(crate) keep_raw_days: u32,
    /// How long reports and their results are kept. They go by the month.
    pub(crate) keep_results_days: u32,
    /// How long the sums by day are kept.
    pub(crate) keep_days: u32,
}

impl Default for ReportsConfig {
    fn default() -> Self {
        Self {
            host: None,
            addresses: Vec::new(),
            rua: Vec::new(),
            asn_database: None,
            country_database: None,
            keep_raw_days: 30,
            keep_results_days: 90,
            keep_days: 400,
        }
    }
}

impl ReportsConfig {
    pub(crate) fn host(&self) -> Result<Option<HostName>, ConfigError> {
        let parse = |host: &String| HostName::parse(host).map_err(|error| ConfigError::value("reports.host", error));
        self.host.as_ref().map(parse).transpose()
    }

    /// The host as the zone that it lies in knows it.
    pub(crate) fn report_host(&self) -> Result<Option<ReportHost>, ConfigError> {
        Ok(self.host()?.map(|host| ReportHost { host, addresses: self.addresses.clone() }))
    }

    pub(crate) fn templates(&self) -> Result<Vec<ReportTemplate>, ConfigError> {
        let parse = |template: &String| {
            template.parse().map_err(|error: mtasts_worker::ReportTemplateError| {
                ConfigError::value("reports.rua", crate::startup::causes(&error))
            })
        };
        self.uris()?.iter().map(parse).collect()
    }

    /// The templates as they are written.
    pub(crate) fn uris(&self) -> Result<Vec<String>, ConfigError> {
        Ok(match self.host()? {
            // By mail alone: who sent it can be verified, and a sender that honours every address would send all twice.
            Some(host) if self.rua.is_empty() => vec![format!("mailto:tlsrpt-{{label}}@{host}")],
            _ => self.rua.clone(),
        })
    }

    /// The databases of addresses, which must be there: a wrong path would show as nothing at all.
    pub(crate) fn origins(&self) -> Result<OriginFiles, ConfigError> {
        let there = |key, file: &Option<PathBuf>| match file {
            Some(path) => match std::fs::metadata(path) {
                Ok(_) => Ok(Some(path.clone())),
                Err(source) => Err(ConfigError::File { key, path: path.clone(), source }),
            },
            None => Ok(None),
        };
        Ok(OriginFiles {
            asn: there("reports.asn_database", &self.asn_database)?,
            country: there("reports.country_database", &self.country_database)?,
        })
    }

    pub(crate) fn retention(&self) -> Result<ReportRetention, ConfigError> {
        let days = |key, days: u32| match days {
            30..=3650 => Ok(TimeDelta::days(days.into())),
            _ => Err(ConfigError::value(key, "between 30 and 3650 days")),
        };
        Ok(ReportRetention {
            raw: days("reports.keep_raw_days", self.keep_raw_days)?,
            results: days("reports.keep_results_days", self.keep_results_days)?,
            sums: days("reports.keep_days", self.keep_days)?,
        })
    }
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogConfig {
    pub(crate) format: LogFormat,
    /// A level, or a filter such as `info,mtasts_edge=debug`.
    pub(crate) level: String,
    /// Which process among those of its role; None: the name of its host.
    pub(crate) instance: Option<String>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Human, level: "info".to_owned(), instance: None }
    }
}

/// For whom logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// One object a line.
    Json,
    /// Plain lines.
    Human,
}
