//! Where the mail of a domain goes (RFC 5321 §5.1).

use mtasts_dns::{Lookup, Mx, MxSet, ResolveError, Resolver};
use mtasts_model::{HostName, MailDomain};

/// At most so many MX hosts of one domain are looked at, the most preferred first.
pub const MAX_MX_HOSTS: usize = 20;

/// Where the mail of a domain goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MxRoute {
    /// The MX hosts, by preference and without repetition.
    Hosts(Vec<(u16, HostName)>),
    /// There is no MX record but an address: the domain is its own MX host (RFC 5321 §5.1).
    Implicit(HostName),
    /// The domain says that it takes no mail (RFC 7505).
    Null,
    /// Neither MX records nor an address.
    Absent,
}

/// Why it is not known where the mail goes.
#[derive(Debug, thiserror::Error)]
pub enum MxRouteError {
    /// DNS gave no conclusive answer.
    #[error("the MX hosts of {domain} could not be resolved")]
    Resolve {
        /// The mail domain.
        domain: MailDomain,
        /// What the resolver met.
        #[source]
        source: ResolveError,
    },
    /// An MX record names what is no host. Senders cannot use it, and no policy can name it.
    #[error("the MX record {preference} {host:?} of {domain} does not name a host")]
    NotAHost {
        /// The mail domain.
        domain: MailDomain,
        /// The record's preference.
        preference: u16,
        /// What it names.
        host: String,
    },
    /// More MX hosts than are looked at: a policy made from a part of them would block the others' mail.
    #[error("{domain} has {count} MX hosts, more than {MAX_MX_HOSTS}")]
    TooMany {
        /// The mail domain.
        domain: MailDomain,
        /// How many there are.
        count: usize,
    },
}

impl MxRoute {
    /// The hosts, the most preferred first.
    pub fn hosts(&self) -> Vec<(u16, HostName)> {
        match self {
            Self::Hosts(hosts) => hosts.clone(),
            Self::Implicit(host) => vec![(0, host.clone())],
            Self::Null | Self::Absent => Vec::new(),
        }
    }
}

/// Asks DNS where the mail of `domain` goes.
pub async fn mx_route(resolver: &Resolver, domain: &MailDomain) -> Result<MxRoute, MxRouteError> {
    let unresolved = |source| MxRouteError::Resolve { domain: domain.clone(), source };
    match resolver.mx(domain.as_str()).await.map_err(unresolved)? {
        Lookup::Found(MxSet::Null) => Ok(MxRoute::Null),
        Lookup::Found(MxSet::Hosts(records)) => hosts(domain, &records).map(MxRoute::Hosts),
        Lookup::NxDomain => Ok(MxRoute::Absent),
        Lookup::NoData => {
            let found = resolver.addresses(domain.as_str()).await.map_err(unresolved)?.found().unwrap_or_default();
            match HostName::parse(domain.as_str()) {
                Ok(host) if !found.is_empty() => Ok(MxRoute::Implicit(host)),
                _ => Ok(MxRoute::Absent),
            }
        }
    }
}

fn hosts(domain: &MailDomain, records: &[Mx]) -> Result<Vec<(u16, HostName)>, MxRouteError> {
    let mut hosts: Vec<(u16, HostName)> = Vec::new();
    for record in records {
        let host = HostName::parse(&record.host).map_err(|_| MxRouteError::NotAHost {
            domain: domain.clone(),
            preference: record.preference,
            host: record.host.chars().take(80).collect(),
        })?;
        if !hosts.iter().any(|(_, known)| *known == host) {
            hosts.push((record.preference, host));
        }
    }
    if hosts.len() > MAX_MX_HOSTS {
        return Err(MxRouteError::TooMany { domain: domain.clone(), count: hosts.len() });
    }
    Ok(hosts)
}
