//! `mtasts admin orphans`: what edges serve and a restored database does not know (docs/backup.md).

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
};

use clap::Args;
use futures_util::{StreamExt, stream};
use mtasts_dns::Resolver;
use mtasts_edge::{ServedHost, ServedPage};
use mtasts_model::{MailDomain, label::DelegationPurpose};
use mtasts_store::{Role, Store, StoreError, UnknownHost};
use serde_json::json;
use tokio::time::timeout;

use super::{
    ConfigArgs, Outcome, load,
    ready::{CALL, Unready, addresses_of, fetch},
    runtime,
};
use crate::{
    config::Config,
    logging, roles,
    startup::{StartupError, causes},
};

/// Longest page that is read: a thousand hosts, each with the longest name, need less than half of it.
const MAX_PAGE: usize = 1 << 20;
/// So many CNAMEs are looked up at the same time.
const AT_ONCE: usize = 16;

#[derive(Debug, Args)]
pub(super) struct OrphansArgs {
    /// Admin ports of edges, as `host:port`; every address of a name is asked. One edge that was up at the restore is
    /// enough
    #[arg(value_name = "HOST:PORT", required = true)]
    edges: Vec<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Why the list could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrphansError {
    #[error(transparent)]
    Startup(#[from] StartupError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("no resolver can be set up")]
    Resolver(#[from] mtasts_dns::ResolveError),
    #[error("{edge} does not say what it serves")]
    Edge {
        edge: String,
        #[source]
        source: Unready,
    },
    #[error("{0} says something that is no list of hosts")]
    List(String, #[source] serde_json::Error),
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
}

pub(super) fn run(args: &OrphansArgs) -> Outcome {
    let config = load(&args.config)?;
    logging::start(&config.log)?;
    let count = runtime()?.block_on(list(&config, &args.edges))?;
    tracing::info!(count, "hosts are served that the database does not know");
    Ok(())
}

/// Prints a line of JSON for each, and says how many there are.
pub(super) async fn list(config: &Config, edges: &[String]) -> Result<usize, OrphansError> {
    let store = roles::connect(config, Role::Operator).await?;
    let resolver = Resolver::new(config.resolver.config())?;
    let mut orphans = BTreeMap::new();
    for edge in edges {
        let failed = |source| OrphansError::Edge { edge: edge.clone(), source };
        for address in addresses_of(edge).await.map_err(failed)? {
            let mut after = String::new();
            loop {
                let path = format!("/served?{after}");
                let body = timeout(CALL, fetch(address, &path, MAX_PAGE)).await.unwrap_or(Err(Unready::Silent));
                let page: ServedPage = serde_json::from_slice(&body.map_err(failed)?)
                    .map_err(|error| OrphansError::List(edge.clone(), error))?;
                unknown(&store, page.hosts, &mut orphans).await?;
                match page.next {
                    // A list that does not move on would never end.
                    Some(next) if next > after => after = next,
                    _ => break,
                }
            }
        }
    }
    let count = orphans.len();
    let mut lines = stream::iter(orphans.into_values()).map(|orphan| line(&resolver, orphan)).buffered(AT_ONCE);
    while let Some(line) = lines.next().await {
        writeln!(io::stdout().lock(), "{line}")?;
    }
    Ok(count)
}

type Orphan = (ServedHost, Option<String>);

/// Adds those that the database does not know, by name.
async fn unknown(
    store: &Store,
    hosts: Vec<ServedHost>,
    orphans: &mut BTreeMap<String, Orphan>,
) -> Result<(), OrphansError> {
    let registrations: Vec<_> = hosts.iter().map(|host| (host.domain_id, host.tenant_id)).collect();
    let unknown = store.unknown_registrations(&registrations).await?;
    let names: BTreeMap<_, _> = unknown.into_iter().map(|UnknownHost { domain, tenant }| (domain, tenant)).collect();
    for host in hosts {
        if let Some(tenant) = names.get(&host.domain_id) {
            orphans.insert(host.domain.clone(), (host, tenant.clone()));
        }
    }
    Ok(())
}

/// With where its CNAME leads: the label is there, which tells this registration from others of the same name.
async fn line(resolver: &Resolver, (host, tenant): Orphan) -> serde_json::Value {
    let name = MailDomain::from_stored(&host.domain).map(|domain| DelegationPurpose::PolicyHost.name(&domain));
    let target = match name {
        Ok(name) => match resolver.cname_chain(&name).await {
            Ok(chain) => chain.into_iter().next(),
            Err(error) => {
                tracing::warn!(domain = host.domain, error = %causes(&error), "its CNAME cannot be looked up");
                None
            }
        },
        Err(_) => None,
    };
    json!({
        "domain": host.domain, "mode": host.mode, "certificate_until": host.not_after, "domain_id": host.domain_id,
        "tenant_id": host.tenant_id, "tenant": tenant, "cname": target,
    })
}
