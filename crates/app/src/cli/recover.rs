//! `mtasts admin recover`: after the database was restored from a backup (docs/backup.md).

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use mtasts_dns::{Lookup, Resolver, providers::ZoneStore};
use mtasts_model::{
    Clock, Mode, Policy, PolicyId, PolicyVersionId, StsRecord, SystemClock, SystemEntropy, Timestamp, feed::RecordType,
    label::DelegationPurpose,
};
use mtasts_probe::PolicyFetcher;
use mtasts_store::{
    Actor, NewVersion, RecoveredDomain, Recovery, RecoveryDomain, Role, Store, StoreError, VersionReason,
};
use mtasts_worker::Hosting;

use super::{
    ConfigArgs, Outcome, load,
    orphans::{self, OrphansError},
    runtime,
};
use crate::{
    adapters::StoredZone,
    config::ConfigError,
    logging, roles,
    startup::{StartupError, causes},
};

/// So many domains are read from the database at once.
const PAGE: u32 = 200;
/// So many are looked at in DNS, and at their policy hosts, at the same time.
const AT_ONCE: usize = 32;

/// Why a recovery came to no end. It is taken up by the next run.
#[derive(Debug, thiserror::Error)]
enum RecoverError {
    #[error(transparent)]
    Startup(#[from] StartupError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("no resolver can be set up")]
    Resolver(#[from] mtasts_dns::ResolveError),
    #[error("no TLS client can be set up")]
    Tls(#[from] rustls::Error),
    #[error("the recovery is done, but what edges serve and the database does not know could not be listed")]
    Orphans(#[from] OrphansError),
}

/// What was found, for the summary.
#[derive(Default)]
struct Sums {
    domains: u64,
    fresh: u64,
    unknown: u64,
    adopted: u64,
    unread: u64,
}

/// The ids that a domain's record has in the service's zone: several while servers lag.
#[derive(Default)]
struct Live {
    ids: Vec<PolicyId>,
    /// A server did not answer, or what stands there is no record.
    unread: bool,
}

struct Recoverer {
    store: Store,
    resolver: Resolver,
    hostings: Vec<Hosting>,
    fetcher: PolicyFetcher,
}

#[derive(Debug, Args)]
pub(super) struct RecoverArgs {
    /// The last step, once nothing is missing that edges serve and the database does not know (`mtasts admin orphans`):
    /// edges read everything anew, and stop serving that
    #[arg(long)]
    release: bool,
    /// Admin port of an edge that was up at the restore, for a list of what it serves and the database does not know, as
    /// `mtasts admin orphans` makes it
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "release")]
    edge: Vec<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &RecoverArgs) -> Outcome {
    let config = load(&args.config)?;
    logging::start(&config.log)?;
    if args.release {
        let released: Result<(), RecoverError> = runtime()?.block_on(async {
            let owner = roles::connect(&config, Role::Owner).await?;
            Ok(owner.release_edges().await?)
        });
        released?;
        println!("edges read everything anew, and serve what the database knows, nothing else");
        return Ok(());
    }
    let sums: Result<Sums, RecoverError> = runtime()?.block_on(async {
        let owner = roles::connect(&config, Role::Owner).await?;
        let store = roles::connect(&config, Role::Worker).await?;
        let resolver = Resolver::new(config.resolver.config())?;
        let probe = config.probe(Arc::new(SystemClock))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let stored: Arc<dyn ZoneStore> = Arc::new(StoredZone::new(&store, &clock, config.service.zone()?));
        let hostings = config.zones(&stored, &clock)?.hostings;
        let fetcher = PolicyFetcher::new(probe, resolver.clone())?;
        let recoverer = Recoverer { store, resolver, hostings, fetcher };
        let recovery = owner.begin_recovery(SystemClock.now()).await?;
        if recovery.resumed {
            println!("taking up the recovery of {}", recovery.started_at);
        }
        let sums = recoverer.domains(recovery).await?;
        // Only now: until then nameservers keep what they have, which is newer than what was restored.
        owner.finish_recovery(recovery, SystemClock.now()).await?;
        Ok(sums)
    });
    let sums = sums?;
    println!(
        "{} domains looked at: {} have a fresh policy id; {} had an id in the zone that the backup does not know, and {} of \
         these go on with the policy that was found to be served; {} records could not be read",
        sums.domains, sums.fresh, sums.unknown, sums.adopted, sums.unread
    );
    println!("start the API and the workers again; edges go on serving what the database does not know");
    println!("`mtasts admin orphans` lists that, `mtasts admin recover --release` ends it");
    if !args.edge.is_empty() {
        let count = runtime()?.block_on(orphans::list(&config, &args.edge)).map_err(RecoverError::Orphans)?;
        println!("{count} domains are served that the database does not know");
    }
    Ok(())
}

impl Recoverer {
    async fn domains(&self, recovery: Recovery) -> Result<Sums, RecoverError> {
        let (mut sums, mut after) = (Sums::default(), None);
        loop {
            let page = self.store.domains_to_recover(recovery, after, PAGE).await?;
            let Some(last) = page.last().map(|domain| domain.id) else { return Ok(sums) };
            self.store.expect_records(after, last).await?;
            after = Some(last);
            let mut looks = stream::iter(page).map(|domain| self.domain(domain)).buffer_unordered(AT_ONCE);
            while let Some(found) = looks.try_next().await? {
                sums.domains += 1;
                sums.fresh += u64::from(found.fresh);
                sums.unknown += u64::from(found.unknown);
                sums.adopted += u64::from(found.adopted);
                sums.unread += u64::from(found.unread);
            }
            tracing::info!(domains = sums.domains, "recovering");
        }
    }

    async fn domain(&self, domain: RecoveryDomain) -> Result<Done, RecoverError> {
        let live = self.live(&domain).await;
        let mut is_known = !live.unread;
        for id in &live.ids {
            is_known &= self.store.knows_policy_id(domain.id, id).await?;
        }
        // Edges still serve what they had before the restore, the newer policy.
        let served = if is_known { None } else { self.served(&domain).await };
        let adopted = served.as_ref().is_some_and(|served| domain.policy.as_ref().is_none_or(|(own, _)| own != served));
        let now = SystemClock.now();
        let policy = served.or_else(|| domain.policy.as_ref().map(|(policy, _)| policy.clone()));
        let version = policy.map(|policy| fresh(policy, &live.ids, now));
        let done =
            Done { fresh: version.is_some(), unknown: !is_known && !live.ids.is_empty(), adopted, unread: live.unread };
        let found = RecoveredDomain { version, has_unknown: !is_known, live_ids: live.ids };
        self.store.recover_domain(&domain, found, &Actor::operator(), now).await?;
        Ok(done)
    }

    /// By the service's own name, so that a customer's CNAME that has gone hides nothing, and from the servers themselves:
    /// what a resolver remembers may be the id of the backup.
    async fn live(&self, domain: &RecoveryDomain) -> Live {
        let name = DelegationPurpose::StsRecord.target(&domain.label, &domain.zone);
        let hostings = self.hostings.iter().filter(|hosting| hosting.provider.zone() == &domain.zone);
        let servers: BTreeSet<SocketAddr> = hostings.flat_map(|hosting| hosting.provider.authoritative()).collect();
        let mut live = Live { ids: Vec::new(), unread: servers.is_empty() };
        for server in servers {
            let record = match self.resolver.query_at(server, &name, RecordType::Txt).await.map(Lookup::found) {
                Ok(None) => continue,
                Ok(Some(set)) => StsRecord::select(&set.values).ok(),
                Err(error) => {
                    tracing::warn!(domain = %domain.id, %server, error = %causes(&error), "the record cannot be read");
                    None
                }
            };
            match record {
                Some(record) if live.ids.contains(record.id()) => {}
                Some(record) => live.ids.push(record.id().clone()),
                None => live.unread = true,
            }
        }
        live
    }

    /// The policy that a sender gets at this moment.
    async fn served(&self, domain: &RecoveryDomain) -> Option<Policy> {
        match self.fetcher.fetch(&domain.name).await {
            Ok(fetched) => {
                let text = String::from_utf8_lossy(&fetched.first.text).into_owned();
                Policy::parse_strict(&text)
                    .inspect_err(|error| tracing::warn!(domain = %domain.id, %error, "what is served is no policy"))
                    .ok()
            }
            Err(error) => {
                tracing::warn!(domain = %domain.id, error = %causes(&error), "the policy that is served cannot be fetched");
                None
            }
        }
    }
}

#[expect(clippy::struct_excessive_bools, reason = "columns of a summary")]
struct Done {
    fresh: bool,
    unknown: bool,
    adopted: bool,
    unread: bool,
}

/// A version with an id that is none of those that were seen, and later than them, for people who compare.
fn fresh(policy: Policy, live: &[PolicyId], now: Timestamp) -> NewVersion {
    let mut at = now;
    let mut policy_id = PolicyId::draw(at, &SystemEntropy);
    let is_later = |live: &PolicyId, id: &PolicyId| live.as_str().len() == id.as_str().len() && live >= id;
    while live.iter().any(|live| is_later(live, &policy_id)) && at - now < DAY {
        // The clock of whoever drew it was ahead of ours.
        at += chrono::TimeDelta::minutes(1);
        policy_id = PolicyId::draw(at, &SystemEntropy);
    }
    let forced = (policy.mode() == Mode::Enforce).then(|| "recovered after a restore, as it was before".to_owned());
    NewVersion {
        id: PolicyVersionId::draw(now, &SystemEntropy),
        policy_id,
        policy,
        reason: VersionReason::Recovered,
        forced,
    }
}

/// A clock that was further ahead than this is not followed: ids are compared for equality only (RFC 8461 §3.1).
const DAY: chrono::TimeDelta = chrono::TimeDelta::days(1);

#[cfg(test)]
mod tests {
    use mtasts_model::{MaxAge, clock::ManualClock};

    use super::*;

    #[test]
    fn a_fresh_id_is_later_than_the_one_in_the_zone_also_where_that_was_drawn_by_a_clock_ahead_of_ours() {
        let now = ManualClock::default().now();
        let policy = || Policy::new(Mode::None, Vec::new(), MaxAge::MAX).unwrap();
        for ahead in [chrono::TimeDelta::zero(), chrono::TimeDelta::minutes(90)] {
            let live = PolicyId::draw(now + ahead, &SystemEntropy);
            let drawn = fresh(policy(), std::slice::from_ref(&live), now).policy_id;
            assert!(drawn > live, "{drawn} {live}");
        }
        let foreign: PolicyId = "zzzz".parse().unwrap();
        assert_ne!(fresh(policy(), std::slice::from_ref(&foreign), now).policy_id, foreign);
        let far = PolicyId::draw(now + chrono::TimeDelta::days(9), &SystemEntropy);
        assert_ne!(fresh(policy(), std::slice::from_ref(&far), now).policy_id, far);
    }
}
