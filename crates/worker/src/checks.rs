//! Carries out the looks at domains that tenants ask for, whoever's domains they are.
//!
//! Each worker has a few places for them, and each tenant fewer in all workers together. All of them pace themselves
//! together at each host, so that however many tenants ask, no mail server meets more than a few connections a minute.

mod look;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures_util::FutureExt;
use mtasts_dns::Resolver;
use mtasts_model::{Clock, Entropy};
use mtasts_probe::{
    ProbeConfig,
    inspect::{Inspector, Pacer},
};
use mtasts_store::{Channel, DueCheck, NudgeReceiver, Store, StoreError};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::look::Look;
use crate::deadline::answered;

/// How checks are carried out.
#[derive(Debug, Clone)]
pub struct CheckConfig {
    /// Looks at the same time.
    pub concurrency: usize,
    /// Of one tenant, in all workers together.
    pub per_tenant: u32,
    /// How long one look may take.
    pub deadline: Duration,
    /// How long a check stays with a worker that has gone silent: longer than a look and its record.
    pub lease: TimeDelta,
    /// The longest wait between looks for checks that wait, for when a nudge was lost.
    pub poll: Duration,
    /// How long looks under way may go on after the worker was told to stop.
    pub stop_grace: Duration,
}

impl Default for CheckConfig {
    fn default() -> Self {
        Self {
            concurrency: 16,
            per_tenant: 2,
            deadline: Duration::from_mins(1),
            lease: TimeDelta::minutes(2),
            poll: Duration::from_secs(2),
            stop_grace: Duration::from_secs(5),
        }
    }
}

/// What checks are carried out with.
pub struct CheckDeps {
    /// The database, as [`mtasts_store::Role::Worker`].
    pub store: Store,
    /// How domains are looked at.
    pub probe: ProbeConfig,
    /// For looks at domains' DNS. It must not cache for long.
    pub resolver: Resolver,
    /// The pace at hosts, shared with everything else that looks at MX hosts: see [`crate::shared_pacer`].
    pub pacer: Arc<Pacer>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For the ids of policies.
    pub entropy: Arc<dyn Entropy>,
}

/// Carries checks out. Any number of them share those of one database.
pub struct CheckWorker {
    config: Arc<CheckConfig>,
    look: Arc<Look>,
}

impl CheckWorker {
    /// A worker that does nothing until it is run.
    pub fn new(config: CheckConfig, deps: CheckDeps) -> Self {
        let CheckDeps { store, probe, resolver, pacer, clock, entropy } = deps;
        let inspector = Inspector::new(probe, resolver, pacer);
        let look = Arc::new(Look { store, inspector, clock, entropy, deadline: config.deadline });
        Self { config: Arc::new(config), look }
    }

    /// Works until `stop` is cancelled. Waits while the database is away. Looks that are under way then have a while to
    /// end; what does not is looked at again by another worker.
    pub async fn run(&self, stop: CancellationToken) {
        let mut nudges = self.look.store.nudges(Channel::Checks);
        let mut under_way = JoinSet::new();
        while !stop.is_cancelled() {
            if let Err(error) = self.begin(&mut under_way).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "checks cannot be claimed");
            }
            self.pause(&mut nudges, &mut under_way, &stop).await;
        }
        let _ = timeout(self.config.stop_grace, async { while under_way.join_next().await.is_some() {} }).await;
    }

    async fn begin(&self, under_way: &mut JoinSet<()>) -> Result<(), StoreError> {
        let free = u32::try_from(self.config.concurrency.saturating_sub(under_way.len())).unwrap_or(u32::MAX);
        if free == 0 {
            return Ok(());
        }
        let now = self.look.clock.now();
        let until = now + self.config.lease;
        let claimed = answered(self.look.store.claim_checks(free, self.config.per_tenant, until, now)).await?;
        for check in claimed {
            under_way.spawn(carry_out(Arc::clone(&self.look), check));
        }
        Ok(())
    }

    /// Waits until there may be something to claim. Looks that end make room.
    async fn pause(&self, nudges: &mut NudgeReceiver, under_way: &mut JoinSet<()>, stop: &CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(self.config.poll) => {}
            () = nudges.changed() => {}
            Some(_) = under_way.join_next() => {}
        }
        while under_way.try_join_next().is_some() {}
        metrics::gauge!("mtasts_checks_under_way").set(f64::from(u32::try_from(under_way.len()).unwrap_or(u32::MAX)));
    }
}

async fn carry_out(look: Arc<Look>, check: DueCheck) {
    let id = check.id;
    if AssertUnwindSafe(look.carry_out(&check)).catch_unwind().await.is_err() {
        tracing::error!(check = %id, "a check panicked; another attempt follows when its lease is over");
    }
}
