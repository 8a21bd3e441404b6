//! Reading a record set back from every server that answers for the zone.

use std::net::SocketAddr;

use futures_util::future::join_all;
use mtasts_model::feed::{RecordData, RecordType};

use super::ZoneProvider;
use crate::resolver::{Lookup, ResolveError, Resolver};

/// What the authoritative servers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// Every server has the expected set.
    Agreed,
    /// This server (perhaps not alone) has another set.
    Lagging {
        /// Which.
        server: SocketAddr,
    },
}

/// Why the servers could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmError {
    /// The provider names no servers.
    #[error("the provider names no authoritative servers")]
    NoServers,
    /// One server could not be asked, and no other is lagging.
    #[error("an authoritative server could not be asked")]
    Resolve(#[from] ResolveError),
}

/// Asks all authoritative servers at the same time whether they have the expected record set (`None`: none of this
/// type). Values are compared as a set; the TTL is not, because hosted providers have minimums of their own.
pub async fn confirm(
    resolver: &Resolver,
    provider: &dyn ZoneProvider,
    name: &str,
    record_type: RecordType,
    expected: Option<&RecordData>,
) -> Result<Confirmation, ConfirmError> {
    let servers = provider.authoritative();
    if servers.is_empty() {
        return Err(ConfirmError::NoServers);
    }
    let asked =
        servers.iter().map(|&server| async move { (server, resolver.query_at(server, name, record_type).await) });
    let mut failure = None;
    for (server, answer) in join_all(asked).await {
        match answer {
            Ok(answer) if agrees(&answer, expected) => {}
            Ok(_) => return Ok(Confirmation::Lagging { server }),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) => Err(error.into()),
        None => Ok(Confirmation::Agreed),
    }
}

fn agrees(answer: &Lookup<RecordData>, expected: Option<&RecordData>) -> bool {
    match (answer, expected) {
        (Lookup::Found(found), Some(expected)) => found.same_values(expected),
        (Lookup::NoData | Lookup::NxDomain, None) => true,
        _ => false,
    }
}
