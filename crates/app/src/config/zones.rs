//! `[zones.<id>]`: the service's zones, and where each is hosted.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use mtasts_dns::{
    Marker, Pace, ZoneProvider,
    providers::{
        Embedded, ZoneStore,
        cloudflare::{Cloudflare, CloudflareConfig},
        powerdns::{PowerDns, PowerDnsConfig},
        rfc2136::{Rfc2136, Rfc2136Config},
    },
    tsig::{TsigKey, TsigKeyError},
};
use mtasts_model::{Clock, ZoneName, label::Placement};
use mtasts_worker::{CaaPolicy, Hosting, Infrastructure, Zones};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::{Config, ConfigError, data_dir::configured};
use crate::startup::{StartupError, causes};

/// `[zones.<id>]`: one place where a zone is hosted.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ZoneHosting {
    /// The zone; empty: `service.zone`.
    pub(crate) name: String,
    pub(crate) provider: ProviderKind,
    pub(crate) state: ZoneState,
    /// Its share of new domains among the active zones.
    pub(crate) weight: u32,
    /// All authoritative servers: what was published is read back from each.
    pub(crate) authoritative: Vec<SocketAddr>,
    /// Our name in the marker beside each of our records.
    pub(crate) owner: String,
    /// None: as much as Cloudflare allows, with room for others; more of servers of one's own.
    pub(crate) requests_per_second: Option<f64>,
    pub(crate) requests_burst: Option<u32>,
    pub(crate) timeout_seconds: u64,
    /// The most changes in one request; None: what the provider takes.
    pub(crate) batch: Option<usize>,
    /// The token (cloudflare), API key (powerdns) or TSIG secret in base64 (rfc2136).
    pub(crate) secret: Option<SecretString>,
    pub(crate) secret_file: Option<PathBuf>,
    /// Where the provider's API is (cloudflare, powerdns).
    pub(crate) api_url: Option<Url>,
    /// Cloudflare's id of the zone; None: looked up by name.
    pub(crate) zone_id: Option<String>,
    /// PowerDNS's id of the server.
    pub(crate) server_id: String,
    /// The primary (rfc2136); None: the first of `authoritative`.
    pub(crate) server: Option<SocketAddr>,
    /// The TSIG key's name (rfc2136); None: updates are not signed.
    pub(crate) key_name: Option<String>,
    /// `hmac-sha256` or `hmac-sha512`.
    pub(crate) key_algorithm: String,
}

/// Who hosts a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ProviderKind {
    /// Our own nameservers.
    Embedded,
    /// Cloudflare's API.
    Cloudflare,
    /// Dynamic updates (RFC 2136): BIND, Knot, PowerDNS and others.
    Rfc2136,
    /// PowerDNS's HTTP API.
    Powerdns,
}

/// What is done with a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ZoneState {
    /// It takes new domains.
    Active,
    /// It keeps the domains that it has, and takes no new ones.
    Closed,
    /// Its domains move to the active zones.
    Draining,
    /// A new hosting of a zone that is hosted elsewhere too: written to, and not waited for.
    Filling,
}

impl Default for ZoneHosting {
    fn default() -> Self {
        Self {
            name: String::new(),
            provider: ProviderKind::Embedded,
            state: ZoneState::Active,
            weight: 1,
            authoritative: Vec::new(),
            owner: "mtasts".to_owned(),
            requests_per_second: None,
            requests_burst: None,
            timeout_seconds: 10,
            batch: None,
            secret: None,
            secret_file: None,
            api_url: None,
            zone_id: None,
            server_id: "localhost".to_owned(),
            server: None,
            key_name: None,
            key_algorithm: "hmac-sha256".to_owned(),
        }
    }
}

const CLOUDFLARE: &str = "https://api.cloudflare.com/client/v4/";

impl ZoneHosting {
    fn zone(&self, config: &Config) -> Result<ZoneName, ConfigError> {
        if self.name.is_empty() {
            return config.service.zone();
        }
        self.name.parse().map_err(|error| ConfigError::value("zones.<id>.name", error))
    }

    fn authoritative(&self, id: &str, config: &Config) -> Result<Vec<SocketAddr>, ConfigError> {
        if self.authoritative.is_empty() && self.provider == ProviderKind::Embedded {
            return config.zone.authoritative(config);
        }
        if self.authoritative.is_empty() {
            let problem = format!("zones.{id}: name every server that answers for the zone, as address:port");
            return Err(ConfigError::value("zones.<id>.authoritative", problem));
        }
        if self.authoritative.iter().any(|server| server.ip().is_unspecified() || server.port() == 0) {
            let problem = format!("zones.{id}: name the addresses at which the zone's servers can be asked");
            return Err(ConfigError::value("zones.<id>.authoritative", problem));
        }
        Ok(self.authoritative.clone())
    }

    fn secret(&self, id: &str) -> Result<SecretString, ConfigError> {
        configured("zones.<id>.secret", self.secret.as_ref(), self.secret_file.as_deref())?.ok_or_else(|| {
            let problem = format!("zones.{id}: the provider needs its token or key: set secret or secret_file");
            ConfigError::value("zones.<id>.secret", problem)
        })
    }

    fn marker(&self) -> Result<Marker, ConfigError> {
        Marker::new(&self.owner).map_err(|error| ConfigError::value("zones.<id>.owner", error))
    }

    fn timeout(&self) -> Result<Duration, ConfigError> {
        super::serving::seconds("zones.<id>.timeout_seconds", self.timeout_seconds)
    }

    fn pace(&self) -> Result<Arc<Pace>, ConfigError> {
        // Cloudflare allows 1,200 requests in five minutes, of which others may want some.
        let (per_second, burst) = match self.provider {
            ProviderKind::Cloudflare => (3.0, 50),
            _ => (500.0, 500),
        };
        let per_second = self.requests_per_second.unwrap_or(per_second);
        let burst = self.requests_burst.unwrap_or(burst);
        if !per_second.is_finite() || per_second <= 0.0 || burst == 0 {
            let problem = "requests_per_second and requests_burst must be above 0";
            return Err(ConfigError::value("zones.<id>.requests_per_second", problem));
        }
        Ok(Arc::new(Pace::new(per_second, burst)))
    }

    fn tsig(&self, id: &str) -> Result<Option<TsigKey>, ConfigError> {
        let Some(name) = &self.key_name else { return Ok(None) };
        let wrong = |error: String| ConfigError::value("zones.<id>.key_name", format!("zones.{id}: {error}"));
        let algorithm = self.key_algorithm.parse().map_err(|error: TsigKeyError| wrong(causes(&error)))?;
        TsigKey::new(name, algorithm, &self.secret(id)?).map(Some).map_err(|error| wrong(causes(&error)))
    }

    fn provider(
        &self,
        id: &str,
        config: &Config,
        store: &Arc<dyn ZoneStore>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Arc<dyn ZoneProvider>, StartupError> {
        let (zone, authoritative) = (self.zone(config)?, self.authoritative(id, config)?);
        let timeout = self.timeout()?;
        Ok(match self.provider {
            ProviderKind::Embedded => Arc::new(Embedded::new(zone, Arc::clone(store), authoritative)),
            ProviderKind::Cloudflare => {
                let url = Url::parse(CLOUDFLARE).map_err(|error| ConfigError::value("zones.<id>.api_url", error))?;
                let made = CloudflareConfig {
                    zone,
                    zone_id: self.zone_id.clone(),
                    api_url: self.api_url.clone().unwrap_or(url),
                    token: self.secret(id)?,
                    marker: self.marker()?,
                    authoritative,
                    pace: self.pace()?,
                    batch: self.batch.unwrap_or(100),
                    timeout,
                };
                Arc::new(Cloudflare::new(made).map_err(|error| unusable(id, &error))?)
            }
            ProviderKind::Rfc2136 => {
                let made = Rfc2136Config {
                    zone,
                    server: self.server.unwrap_or(authoritative[0]),
                    key: self.tsig(id)?,
                    marker: self.marker()?,
                    authoritative,
                    pace: self.pace()?,
                    timeout,
                    batch: self.batch.unwrap_or(100),
                };
                Arc::new(Rfc2136::new(made, Arc::clone(clock)).map_err(|error| unusable(id, &error))?)
            }
            ProviderKind::Powerdns => {
                let Some(api_url) = self.api_url.clone() else {
                    let problem = format!("zones.{id}: such as http://127.0.0.1:8081/api/v1/");
                    return Err(ConfigError::value("zones.<id>.api_url", problem).into());
                };
                let made = PowerDnsConfig {
                    zone,
                    api_url,
                    server_id: self.server_id.clone(),
                    api_key: self.secret(id)?,
                    marker: self.marker()?,
                    authoritative,
                    pace: self.pace()?,
                    timeout,
                    batch: self.batch.unwrap_or(100),
                };
                Arc::new(PowerDns::new(made).map_err(|error| unusable(id, &error))?)
            }
        })
    }
}

fn unusable(id: &str, error: &dyn std::error::Error) -> ConfigError {
    ConfigError::value("zones.<id>.provider", format!("zones.{id}: {}", causes(error)))
}

impl Config {
    /// All hostings. With none configured, `service.zone` is on our own nameservers.
    fn hostings(&self) -> BTreeMap<String, ZoneHosting> {
        if self.zones.is_empty() {
            return BTreeMap::from([("main".to_owned(), ZoneHosting::default())]);
        }
        self.zones.clone()
    }

    /// Whether our own nameservers answer for any zone.
    pub(crate) fn has_embedded_zone(&self) -> bool {
        self.hostings().values().any(|hosting| hosting.provider == ProviderKind::Embedded)
    }

    /// Where new domains are at home, and those of zones that are drained go.
    pub(crate) fn placement(&self) -> Result<Placement, ConfigError> {
        let mut zones: Vec<(ZoneName, u32)> = Vec::new();
        for hosting in self.hostings().values().filter(|hosting| hosting.state == ZoneState::Active) {
            let zone = hosting.zone(self)?;
            // Two hostings of one zone are one zone.
            if !zones.iter().any(|(known, _)| *known == zone) {
                zones.push((zone, hosting.weight));
            }
        }
        Placement::new(zones).map_err(|error| ConfigError::value("zones.<id>.state", error))
    }

    /// What can be said without asking anybody.
    pub(super) fn check_zones(&self) -> Result<(), StartupError> {
        let hostings = self.hostings();
        let service = self.service.zone()?;
        let mut names = Vec::new();
        for (id, hosting) in &hostings {
            if id.is_empty() || id.len() > 60 {
                return Err(ConfigError::value("zones.<id>", "an id needs 1 to 60 characters").into());
            }
            let zone = hosting.zone(self)?;
            if hosting.provider == ProviderKind::Embedded && zone != service {
                let problem = format!("zones.{id}: our own nameservers answer for service.zone, which is {service}");
                return Err(ConfigError::value("zones.<id>.name", problem).into());
            }
            names.push(zone);
        }
        if !names.contains(&service) {
            let problem = format!("{service} is not among the configured zones");
            return Err(ConfigError::value("service.zone", problem).into());
        }
        for (id, hosting) in &hostings {
            let alone = hosting.state == ZoneState::Filling
                && !hostings.iter().any(|(other_id, other)| {
                    other_id != id
                        && other.state != ZoneState::Filling
                        && other.zone(self).ok() == hosting.zone(self).ok()
                });
            if alone {
                let problem = format!("zones.{id}: a zone that is being filled needs another hosting that answers");
                return Err(ConfigError::value("zones.<id>.state", problem).into());
            }
        }
        self.placement()?;
        self.caa_policy()?;
        Ok(())
    }

    /// Builds everything of the providers but the connections, which takes their credentials.
    pub(super) fn check_providers(&self) -> Result<(), StartupError> {
        let clock: Arc<dyn Clock> = Arc::new(mtasts_model::SystemClock);
        let store: Arc<dyn ZoneStore> = Arc::new(crate::adapters::NoZone);
        for (id, hosting) in self.hostings() {
            hosting.provider(&id, self, &store, &clock)?;
        }
        Ok(())
    }

    fn caa_policy(&self) -> Result<CaaPolicy, ConfigError> {
        if self.nameserver.caa.is_empty() {
            return Ok(CaaPolicy::Account);
        }
        let quoted = |text: &String| {
            let value = super::serving::parse_caa(text)?;
            Ok(format!("{} {} \"{}\"", value.flags, value.tag, value.value))
        };
        self.nameserver.caa.iter().map(quoted).collect::<Result<_, _>>().map(CaaPolicy::Fixed)
    }

    /// The zones as the worker writes to them.
    pub(crate) fn zones(&self, store: &Arc<dyn ZoneStore>, clock: &Arc<dyn Clock>) -> Result<Zones, StartupError> {
        let mut hostings = Vec::new();
        for (id, hosting) in self.hostings() {
            hostings.push(Hosting {
                provider: hosting.provider(&id, self, store, clock)?,
                is_authoritative: hosting.state != ZoneState::Filling,
                is_draining: hosting.state == ZoneState::Draining,
                id,
            });
        }
        Ok(Zones {
            hostings,
            placement: self.placement()?,
            infrastructure: Infrastructure {
                edge_addresses: self.nameserver.edge_addresses.clone(),
                caa: self.caa_policy()?,
                reports: self.reports.report_host()?,
                ttl: self.nameserver.edge_ttl_seconds,
            },
            sweep_interval: super::serving::seconds("worker.sweep_seconds", self.worker.sweep_seconds)?,
        })
    }
}
