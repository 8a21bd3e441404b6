//! The worker: carries out what is due.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use mtasts_dns::{Resolver, providers::ZoneStore};
use mtasts_model::{Clock, NodeId};
use mtasts_probe::{MxProber, PolicyFetcher, Poster, inspect::Inspector};
use mtasts_store::{ReportRetention, Role, Store};
use mtasts_worker::{
    AlertDeps, AlertWorker, CheckDeps, CheckWorker, DigestDeps, DigestWorker, Origins, Relay, ReportConfig, ReportDeps,
    ReportWorker, WebhookDeps, WebhookWorker, Worker, WorkerDeps, shared_pacer, show_fleet,
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Context, Running, check_keys, connect_watched};
use crate::{
    adapters::{Accounts, StoredZone},
    admin::{Probe, RoleReadiness},
    config::key_ring,
    startup::{StartupError, causes},
};

/// How soon after it is due a domain's reports are looked at.
const ALERT_POLL: Duration = Duration::from_secs(2);
/// How soon after it is due a mail is sent.
const DIGEST_POLL: Duration = Duration::from_secs(5);
const TIDY_INTERVAL: Duration = Duration::from_hours(1);
/// Followers that were away for longer read their feed anew.
const TOMBSTONES_KEPT: TimeDelta = TimeDelta::days(30);

pub(super) async fn start(context: &Context, running: &mut Running) -> Result<Probe, StartupError> {
    let config = &context.config;
    let (clock, entropy) = (Arc::clone(&context.clock), Arc::clone(&context.entropy));
    let ring = key_ring(config, context.may_draw_secrets, &*entropy)?;
    let store = connect_watched(context, Role::Worker, "worker").await?;
    check_keys(&store, &ring).await?;
    // Unique among running workers, and new at each start: a lease of an earlier run is not ours.
    let name = format!("worker-{}", NodeId::draw(clock.now(), &*entropy));
    let worker_config = config.worker.config(config, name)?;
    let accounts_store = store.clone();
    let accounts_clock = Arc::clone(&clock);
    let accounts = move |issuer| -> Arc<dyn mtasts_certs::AccountStore> {
        Arc::new(Accounts { store: accounts_store, clock: accounts_clock, issuer })
    };
    let issuer = config.issuer.issuer(config, accounts, ring.clone(), Arc::clone(&clock), Arc::clone(&entropy))?;
    let resolver = Resolver::new(config.resolver.config())?;
    let probe = config.probe(Arc::clone(&clock))?;
    let stored: Arc<dyn ZoneStore> = Arc::new(StoredZone::new(&store, &clock, config.service.zone()?));
    let zones = config.zones(&stored, &clock)?;
    let deliveries = WebhookDeps {
        store: store.clone(),
        poster: Poster::new(config.webhooks.probe(&probe), resolver.clone())?,
        key_ring: ring.clone(),
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
    };
    let deliveries = WebhookWorker::new(config.webhooks.config()?, deliveries);
    let alerts = AlertDeps { store: store.clone(), clock: Arc::clone(&clock), poll: ALERT_POLL };
    let alerts = AlertWorker::new(alerts);
    let reports = ReportDeps {
        store: store.clone(),
        resolver: resolver.clone(),
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
        origins: Origins::new(config.reports.origins()?),
    };
    let report_config = ReportConfig { report_hosts: worker_config.report_hosts.clone(), ..ReportConfig::default() };
    let reports = ReportWorker::new(report_config, reports);
    // One for all that connects to MX hosts.
    let pacer = shared_pacer(store.clone(), Arc::clone(&clock));
    let checks = CheckDeps {
        store: store.clone(),
        probe: probe.clone(),
        resolver: resolver.clone(),
        pacer: Arc::clone(&pacer),
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
    };
    let checks = CheckWorker::new(config.checks.config()?, checks);
    let kept = config.reports.retention()?;
    let digests = digests(context, &store)?;
    let deps = WorkerDeps {
        store: store.clone(),
        policy_fetcher: PolicyFetcher::new(probe.clone(), resolver.clone())?,
        // It connects to no MX host.
        inspector: Inspector::new(probe.clone(), resolver.clone(), Arc::default()),
        mx_prober: MxProber::new(probe, resolver.clone(), pacer)?,
        resolver,
        zones,
        issuer,
        key_ring: ring,
        clock,
        entropy,
    };
    let worker = Worker::new(worker_config, deps);
    let stop = context.stop.clone();
    let fleet = show_fleet(store.clone(), Arc::clone(&context.clock), stop.clone());
    let tidying = tokio::spawn(tidy(store, kept, Arc::clone(&context.clock), stop.clone()));
    running.spawn(async move {
        let digests = async {
            match digests {
                Some(digests) => digests.run(stop.clone()).await,
                None => stop.cancelled().await,
            }
        };
        tokio::join!(
            worker.run(stop.clone()),
            deliveries.run(stop.clone()),
            reports.run(stop.clone()),
            alerts.run(stop.clone()),
            checks.run(stop.clone()),
            digests,
            fleet
        );
        tidying.abort();
        "worker"
    });
    // A worker that waits for the database is in order: nothing is sent to it.
    Ok(Box::new(|| RoleReadiness { role: "worker", ready: true, notes: Vec::new() }))
}

/// Sends digests, where there is a relay to send them by.
fn digests(context: &Context, store: &Store) -> Result<Option<DigestWorker>, StartupError> {
    let config = &context.config;
    let Some(relay) = config.mail_relay()? else {
        tracing::info!("no mail is sent: mail.relay is not set");
        return Ok(None);
    };
    let mut public_url = config.api.public_url()?.to_string();
    if !public_url.ends_with('/') {
        public_url.push('/');
    }
    Ok(Some(DigestWorker::new(DigestDeps {
        store: store.clone(),
        relay: Relay::new(relay)?,
        public_url,
        per_tenant: config.mail.per_tenant_a_day,
        poll: DIGEST_POLL,
        clock: Arc::clone(&context.clock),
        entropy: Arc::clone(&context.entropy),
    })))
}

/// Forgets what nobody needs any more, hourly. Several workers may do so at once.
async fn tidy(store: Store, kept: ReportRetention, clock: Arc<dyn Clock>, stop: CancellationToken) {
    // What arrives in the month to come has a place already, and should after a long pause as well.
    if let Err(error) = store.ensure_report_partitions(clock.now()).await {
        tracing::warn!(error = %causes(&error), "partitions for reports could not be made; the next try is in an hour");
    }
    while timeout(TIDY_INTERVAL, stop.cancelled()).await.is_err() {
        match forget(&store, &*clock, TOMBSTONES_KEPT).await {
            Ok(forgotten) => tracing::debug!(forgotten, "tidied up"),
            Err(error) => tracing::warn!(error = %causes(&error), "could not tidy up; the next try is in an hour"),
        }
        match forget_reports(&store, &kept, &*clock).await {
            Ok(forgotten) => tracing::debug!(?forgotten, "tidied up reports"),
            Err(error) => {
                tracing::warn!(error = %causes(&error), "could not tidy up reports; the next try is in an hour");
            }
        }
    }
}

/// Forgets reports that have had their time, in batches.
pub(crate) async fn forget_reports(
    store: &Store,
    kept: &ReportRetention,
    clock: &dyn Clock,
) -> Result<u64, mtasts_store::StoreError> {
    let mut rows = 0;
    loop {
        let forgotten = store.prune_reports(kept, clock.now()).await?;
        if forgotten.rows == 0 {
            return Ok(rows);
        }
        rows += forgotten.rows;
    }
}

/// Forgets tombstones of this age, and what has expired: in batches, so that nobody waits for long, until nothing is left.
pub(crate) async fn forget(
    store: &Store,
    clock: &dyn Clock,
    tombstones_kept: TimeDelta,
) -> Result<u64, mtasts_store::StoreError> {
    store.roll_up_usage(clock.now()).await?;
    store.prune_expired(clock.now()).await?;
    let mut forgotten = 0;
    loop {
        let now = clock.now();
        let batch = store.prune_tombstones(tombstones_kept, now).await?
            + store.prune_issued(now).await?
            + store.prune_events(now).await?
            + store.prune_operations(now).await?
            + store.prune_mx_history(now).await?
            + store.prune_checks(now).await?
            + store.prune_mx_host_looks(now).await?
            + store.prune_watch_history(now).await?
            + store.prune_usage(now).await?
            + store.prune_alerts(now).await?
            + store.prune_digests(now).await?;
        if batch == 0 {
            return Ok(forgotten);
        }
        forgotten += batch;
    }
}
