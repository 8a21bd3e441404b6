//! A stub resolver for observations: no cache, and three outcomes that cannot be mixed up (found, conclusively absent,
//! could not find out).
//!
//! A cache would show a customer's DNS as it was before they fixed it, and a resolver library's notion of "no records"
//! covers some failures; both matter here, because absence moves ownership and stops certificates. The upstream's own
//! cache remains; [`Resolver::query_at`] goes around it.

mod answer;
mod ask;
mod error;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_proto::rr::{Name, RData, RecordType as WireType};
use hickory_resolver::system_conf::read_system_conf;
use mtasts_model::feed::{RecordData, RecordType};

pub use self::{
    answer::{Caa, CaaSet, CnameAnswer, Lookup, Mx, MxSet, Negative, TlsaSet},
    error::ResolveError,
};
use crate::{name, wire};

/// Longest chain of CNAMEs that is followed.
pub const MAX_CNAME_HOPS: usize = 8;

/// For one lookup with all its questions. A stranger's slow servers must not hold a worker for long, however many
/// aliases and labels they put in a row.
pub const LOOKUP_DEADLINE: Duration = Duration::from_secs(30);

/// Whom to ask, and how patiently.
#[derive(Debug, Clone)]
pub struct ResolverConfig {
    /// Recursive resolvers, asked in this order. Empty: those of the system (`/etc/resolv.conf`).
    pub upstreams: Vec<SocketAddr>,
    /// For one question to one server, TCP fallback included.
    pub timeout: Duration,
    /// Rounds over all upstreams before giving up; 0 counts as 1.
    pub attempts: usize,
}

impl Default for ResolverConfig {
    /// The system's resolvers, 3 s, 2 rounds.
    fn default() -> Self {
        Self { upstreams: Vec::new(), timeout: Duration::from_secs(3), attempts: 2 }
    }
}

/// Asks DNS. Clones share their configuration.
#[derive(Debug, Clone)]
pub struct Resolver(Arc<ResolverConfig>);

impl Resolver {
    /// Fails with [`ResolveError::NoUpstreams`] when none are given and the system names none.
    pub fn new(mut config: ResolverConfig) -> Result<Self, ResolveError> {
        if config.upstreams.is_empty() {
            let (system, _) =
                read_system_conf().map_err(|error| ResolveError::NoUpstreams { reason: error.to_string() })?;
            config.upstreams = system.name_servers().iter().map(|server| SocketAddr::new(server.ip, 53)).collect();
        }
        if config.upstreams.is_empty() {
            return Err(ResolveError::NoUpstreams { reason: "it names none".to_owned() });
        }
        config.attempts = config.attempts.max(1);
        Ok(Self(Arc::new(config)))
    }

    /// One step: asks for the CNAME of exactly this name.
    pub async fn cname(&self, name: &str) -> Result<CnameAnswer, ResolveError> {
        let name = name::parse(name)?;
        Ok(match within(&name, self.cname_of(&name)).await? {
            Ok(target) => CnameAnswer::Target(name::text(&target)),
            Err(negative) => CnameAnswer::None(negative),
        })
    }

    /// All targets of the CNAMEs that start at `name`, in order, asked for step by step; empty when it is no alias.
    pub async fn cname_chain(&self, name: &str) -> Result<Vec<String>, ResolveError> {
        let name = name::parse(name)?;
        let walk = async {
            let mut walk = ask::Walk::from(name.clone());
            while let Ok(target) = self.cname_of(walk.at()).await? {
                walk.step(target)?;
            }
            Ok(walk.targets())
        };
        within(&name, walk).await
    }

    /// IPv4 and IPv6 addresses, aliases followed. When only one of the two questions fails, the other's addresses are
    /// given; without any address the failure is the outcome.
    pub async fn addresses(&self, name: &str) -> Result<Lookup<Vec<IpAddr>>, ResolveError> {
        let name = name::parse(name)?;
        let (v4, v6) = tokio::join!(
            within(&name, self.records(&name, WireType::A)),
            within(&name, self.records(&name, WireType::AAAA)),
        );
        let mut addresses = Vec::new();
        for answer in [&v4, &v6] {
            if let Ok(Lookup::Found(records)) = answer {
                addresses.extend(records.iter().filter_map(RData::ip_addr));
            }
        }
        if !addresses.is_empty() {
            return Ok(Lookup::Found(addresses));
        }
        Ok(match (v4?, v6?) {
            (Lookup::NxDomain, _) | (_, Lookup::NxDomain) => Lookup::NxDomain,
            _ => Lookup::NoData,
        })
    }

    /// Mail exchangers, aliases followed.
    pub async fn mx(&self, name: &str) -> Result<Lookup<MxSet>, ResolveError> {
        Ok(self.mx_records(name).await?.map(|mut hosts| {
            // RFC 7505 §3: a null MX stands alone; beside others it is a mistake, and the others count.
            hosts.retain(|mx| !mx.host.is_empty());
            if hosts.is_empty() { MxSet::Null } else { MxSet::Hosts(hosts) }
        }))
    }

    /// MX records as they stand there, by preference and name, aliases followed. The host of a null MX is empty.
    pub async fn mx_records(&self, name: &str) -> Result<Lookup<Vec<Mx>>, ResolveError> {
        let name = name::parse(name)?;
        let answer = within(&name, self.records(&name, WireType::MX)).await?;
        Ok(answer.map(|records| {
            let mut hosts: Vec<Mx> = records
                .iter()
                .filter_map(|record| match record {
                    RData::MX(mx) => Some(Mx { preference: mx.preference, host: name::text(&mx.exchange) }),
                    _ => None,
                })
                .collect();
            hosts.sort();
            hosts
        }))
    }

    /// TLSA records at this name, such as `_25._tcp.mx.example.com`.
    pub async fn tlsa(&self, name: &str) -> Result<Lookup<TlsaSet>, ResolveError> {
        let name = name::parse(name)?;
        within(&name, self.tlsa_of(&name)).await
    }

    /// TXT values, aliases followed; the character-strings of each are joined without blanks (RFC 8461 §3.1).
    pub async fn txt(&self, name: &str) -> Result<Lookup<Vec<String>>, ResolveError> {
        let name = name::parse(name)?;
        let answer = within(&name, self.records(&name, WireType::TXT)).await?;
        Ok(answer.map(|records| records.iter().filter_map(wire::value).map(|(_, value)| value).collect()))
    }

    /// The CAA records that bind a CA for this name: its own or the nearest ancestor's (RFC 8659 §3). `None` when
    /// there are none up to the top-level domain. Any failure on the way is an error, because a CA treats it so.
    pub async fn caa(&self, name: &str) -> Result<Option<CaaSet>, ResolveError> {
        let name = name::parse(name)?;
        let climb = async {
            let mut owner = name.clone();
            while !owner.is_root() {
                if let Lookup::Found(records) = self.records(&owner, WireType::CAA).await? {
                    let records = records.iter().filter_map(ask::caa).collect();
                    return Ok(Some(CaaSet { owner: name::text(&owner), records }));
                }
                owner = owner.base_name();
            }
            Ok(None)
        };
        within(&name, climb).await
    }

    /// Asks one authoritative server, without recursion and around every cache. An answer without the AA bit is
    /// [`ResolveError::NotAuthoritative`]; aliases are not followed.
    pub async fn query_at(
        &self,
        server: SocketAddr,
        name: &str,
        record_type: RecordType,
    ) -> Result<Lookup<RecordData>, ResolveError> {
        let name = name::parse(name)?;
        self.records_at(server, &name, wire::wire_type(record_type)).await
    }
}

async fn within<T>(name: &Name, lookup: impl Future<Output = Result<T, ResolveError>>) -> Result<T, ResolveError> {
    let late = |_| Err(ResolveError::Deadline { name: name::text(name) });
    tokio::time::timeout(LOOKUP_DEADLINE, lookup).await.unwrap_or_else(late)
}
