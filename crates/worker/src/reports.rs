//! Reads the reports that have arrived, grades them by their signatures, and puts what they say into the sums.
//!
//! Each tenant has a turn before any has a second one, so that a flood of one holds up nobody else. Nothing is recorded
//! of an arrival before all of it is put in: a worker that dies in between is followed by another one.

mod attribution;
mod grade;
mod group;
mod origins;
mod part;
mod reading;
mod signatures;
mod sums;
mod verdict;

use std::{collections::HashSet, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures_util::FutureExt;
use mtasts_dns::Resolver;
use mtasts_model::{Clock, Entropy, TenantId};
use mtasts_reports::{Limits, ReportHosts};
use mtasts_store::{Channel, DueArrival, NudgeReceiver, Store, StoreError};
use tokio::{
    sync::Semaphore,
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::group::Group;
pub use self::origins::{OriginFiles, Origins};
use crate::{deadline::answered, record::seconds};

/// Tenants that one claim looks at.
const PAGE: u32 = 256;

/// How reports are read.
#[derive(Debug, Clone)]
pub struct ReportConfig {
    /// Hosts that receive reports: what speaks of them is not counted.
    pub report_hosts: Vec<String>,
    /// Tenants whose arrivals are worked on at the same time.
    pub tenants: usize,
    /// Arrivals of one tenant that are claimed at once.
    pub per_tenant: u32,
    /// Arrivals that are read at the same time: each may take as much room as `limits` allow.
    pub readers: usize,
    /// How much of each is looked at.
    pub limits: Limits,
    /// How long reading one may take.
    pub deadline: Duration,
    /// How long an arrival stays with a worker that has gone silent: longer than reading it and putting it in.
    pub lease: TimeDelta,
    /// The longest wait between looks for arrivals, for when a nudge was lost.
    pub poll: Duration,
    /// How long arrivals under way may go on after the worker was told to stop.
    pub stop_grace: Duration,
}

impl Default for ReportConfig {
    fn default() -> Self {
        Self {
            report_hosts: Vec::new(),
            tenants: 8,
            per_tenant: 16,
            readers: 2,
            limits: Limits::default(),
            deadline: Duration::from_secs(30),
            lease: TimeDelta::minutes(5),
            poll: Duration::from_secs(1),
            stop_grace: Duration::from_secs(10),
        }
    }
}

impl ReportConfig {
    fn hosts(&self) -> ReportHosts {
        ReportHosts::new(&self.report_hosts)
    }
}

/// What reports are read with.
pub struct ReportDeps {
    /// The database, as [`mtasts_store::Role::Worker`].
    pub store: Store,
    /// For the keys of signatures.
    pub resolver: Resolver,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For ids.
    pub entropy: Arc<dyn Entropy>,
    /// For countries and networks of addresses.
    pub origins: Origins,
}

/// Reads reports. Any number of them share the arrivals of one database.
pub struct ReportWorker {
    config: Arc<ReportConfig>,
    deps: Arc<ReportDeps>,
    readers: Arc<Semaphore>,
}

/// Groups of arrivals under way, and their tenants.
#[derive(Default)]
struct InWork {
    tasks: JoinSet<TenantId>,
    tenants: HashSet<TenantId>,
}

impl InWork {
    fn ended(&mut self, ended: Result<TenantId, JoinError>) {
        match ended {
            Ok(tenant) => {
                self.tenants.remove(&tenant);
            }
            // Tasks catch their own panics; this is one of the runtime that ends.
            Err(error) => tracing::error!(%error, "the reading of reports ended abnormally"),
        }
    }
}

impl ReportWorker {
    /// A worker that does nothing until it is run.
    pub fn new(config: ReportConfig, deps: ReportDeps) -> Self {
        let readers = Arc::new(Semaphore::new(config.readers.max(1)));
        Self { config: Arc::new(config), deps: Arc::new(deps), readers }
    }

    /// Reads until `stop` is cancelled. Waits while the database is away. What is under way then has a while to end; what
    /// does not is read again by another worker.
    pub async fn run(&self, stop: CancellationToken) {
        let mut nudges = self.deps.store.nudges(Channel::Reports);
        let mut in_work = InWork::default();
        let mut after = None;
        while !stop.is_cancelled() {
            let free = self.config.tenants.saturating_sub(in_work.tasks.len());
            let pause = match self.claim(&mut after, free, &in_work.tenants).await {
                Ok(claimed) => {
                    let is_idle = claimed.is_empty() && after.is_none();
                    self.begin(claimed, &mut in_work, &stop);
                    if is_idle { self.config.poll } else { Duration::ZERO }
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "reports cannot be claimed");
                    self.config.poll
                }
            };
            let is_full = in_work.tasks.len() >= self.config.tenants;
            self.pause(if is_full { self.config.poll } else { pause }, &mut nudges, &mut in_work, &stop).await;
        }
        let _ = timeout(self.config.stop_grace, async { while in_work.tasks.join_next().await.is_some() {} }).await;
    }

    /// Claims arrivals of as many tenants as there are places, the next in the round; of none of which some are in work.
    async fn claim(
        &self,
        after: &mut Option<TenantId>,
        free: usize,
        in_work: &HashSet<TenantId>,
    ) -> Result<Vec<DueArrival>, StoreError> {
        if free == 0 {
            return Ok(Vec::new());
        }
        let (store, now) = (&self.deps.store, self.deps.clock.now());
        if after.is_none() {
            let oldest = answered(store.oldest_arrival_due()).await?;
            let age = oldest.map_or(TimeDelta::zero(), |due| (now - due).max(TimeDelta::zero()));
            metrics::gauge!("mtasts_reports_queue_age_seconds").set(seconds(age));
        }
        let waiting = answered(store.tenants_with_arrivals(*after, PAGE)).await?;
        let is_last_page = waiting.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
        let end_of_page = waiting.last().copied();
        let room = |tenant: TenantId| (tenant, self.config.per_tenant);
        let mut rooms: Vec<_> = waiting.into_iter().filter(|tenant| !in_work.contains(tenant)).map(room).collect();
        let whole_page = rooms.len() <= free;
        rooms.truncate(free);
        *after = match rooms.last() {
            Some((last, _)) if !whole_page => Some(*last),
            _ => end_of_page.filter(|_| !is_last_page),
        };
        if rooms.is_empty() {
            return Ok(Vec::new());
        }
        answered(store.claim_arrivals(&rooms, u32::MAX, now + self.config.lease, now)).await
    }

    fn begin(&self, claimed: Vec<DueArrival>, in_work: &mut InWork, stop: &CancellationToken) {
        let mut groups: std::collections::BTreeMap<TenantId, Vec<DueArrival>> = std::collections::BTreeMap::new();
        for arrival in claimed {
            groups.entry(arrival.tenant).or_default().push(arrival);
        }
        for (tenant, arrivals) in groups {
            in_work.tenants.insert(tenant);
            let group = Group {
                config: Arc::clone(&self.config),
                deps: Arc::clone(&self.deps),
                readers: Arc::clone(&self.readers),
                stop: stop.clone(),
            };
            in_work.tasks.spawn(async move {
                if AssertUnwindSafe(group.run(arrivals)).catch_unwind().await.is_err() {
                    tracing::error!(%tenant, "the reading of reports panicked; they are read again when the lease is over");
                }
                tenant
            });
        }
    }

    /// Waits until there may be something to claim. Groups that end make room.
    async fn pause(&self, pause: Duration, nudges: &mut NudgeReceiver, in_work: &mut InWork, stop: &CancellationToken) {
        if !pause.is_zero() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(pause) => {}
                () = nudges.changed() => {}
                Some(ended) = in_work.tasks.join_next() => in_work.ended(ended),
            }
        }
        while let Some(ended) = in_work.tasks.try_join_next() {
            in_work.ended(ended);
        }
    }
}
