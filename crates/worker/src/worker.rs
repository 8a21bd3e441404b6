//! The loop: claims due domains and gives each a task of its own.

use std::{sync::Arc, time::Duration};

use mtasts_certs::{Issuer, KeyRing};
use mtasts_dns::Resolver;
use mtasts_model::{Clock, Entropy};
use mtasts_probe::{MxProber, PolicyFetcher, inspect::Inspector};
use mtasts_store::{Channel, Lease, NudgeReceiver, Store};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    WorkerConfig,
    claim::{Backoff, Claimed, claim},
    places::{Place, Places},
    session::{End, Session},
    zones::{Writer, Zones},
};

/// What a worker works with.
pub struct WorkerDeps {
    /// The database, as [`mtasts_store::Role::Worker`].
    pub store: Store,
    /// For looks at customers' DNS. It must not cache for long.
    pub resolver: Resolver,
    /// Where the service's zones are hosted.
    pub zones: Zones,
    /// The CA.
    pub issuer: Arc<dyn Issuer>,
    /// Seals the certificates' keys.
    pub key_ring: KeyRing,
    /// Fetches policies as a sender.
    pub policy_fetcher: PolicyFetcher,
    /// Looks at MX hosts as a sender.
    pub mx_prober: MxProber,
    /// Looks at policy hosts and records as a sender.
    pub inspector: Inspector,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For ids.
    pub entropy: Arc<dyn Entropy>,
}

/// A worker. Any number of them share the domains of one database.
pub struct Worker {
    config: Arc<WorkerConfig>,
    deps: Arc<WorkerDeps>,
}

impl Worker {
    /// A worker that does nothing until it is run.
    pub fn new(config: WorkerConfig, deps: WorkerDeps) -> Self {
        Self { config: Arc::new(config), deps: Arc::new(deps) }
    }

    /// Works until `stop` is cancelled and every domain has been given back, each at the border of a step. Waits while
    /// the database is away. Dropped half-way, it leaves leases behind that run out by themselves.
    pub async fn run(&self, stop: CancellationToken) {
        let mut nudges = self.deps.store.nudges(Channel::Worker);
        let places = Places::new(self.config.concurrency, self.config.probe_concurrency);
        let mut sessions = JoinSet::new();
        let mut backoff = Backoff::new(self.config.poll);
        let mut writers = self.writers(&stop);
        while !stop.is_cancelled() {
            let pause = match claim(&self.deps, &self.config, &places).await {
                Ok(claimed) => {
                    backoff.back();
                    let pause = claimed.pause(self.config.poll);
                    self.begin(claimed, &places, &mut sessions, &stop);
                    pause
                }
                Err(error) => backoff.away(&error),
            };
            self.pause(pause, &mut nudges, &mut sessions, &mut backoff, &stop).await;
        }
        while let Some(ended) = sessions.join_next().await {
            note_end(ended, &mut backoff);
        }
        while writers.join_next().await.is_some() {}
    }

    /// A task for each hosting. Most wait: one worker at a time writes to a hosting.
    fn writers(&self, stop: &CancellationToken) -> JoinSet<()> {
        let mut writers = JoinSet::new();
        for hosting in &self.deps.zones.hostings {
            let (config, deps) = (Arc::clone(&self.config), Arc::clone(&self.deps));
            let writer = Writer { config, deps, hosting: hosting.clone() };
            writers.spawn(writer.run(stop.clone()));
        }
        writers
    }

    fn begin(&self, claimed: Claimed, places: &Arc<Places>, sessions: &mut JoinSet<End>, stop: &CancellationToken) {
        for lease in claimed.leases {
            // As many were claimed as there are places, and nobody else takes any.
            let Some(place) = places.take(lease.tenant_id) else { break };
            sessions.spawn(self.session(lease, place, stop.clone()));
        }
    }

    fn session(
        &self,
        lease: Lease,
        place: Place,
        stop: CancellationToken,
    ) -> impl Future<Output = End> + Send + 'static {
        let session = Session { config: Arc::clone(&self.config), deps: Arc::clone(&self.deps), lease, place, stop };
        async move { session.run().await }
    }

    /// Waits until there may be something to claim. Sessions that end make room, and may have woken another domain.
    async fn pause(
        &self,
        pause: Duration,
        nudges: &mut NudgeReceiver,
        sessions: &mut JoinSet<End>,
        backoff: &mut Backoff,
        stop: &CancellationToken,
    ) {
        let away = backoff.is_away();
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(pause) => {}
            () = nudges.changed(), if !away => {}
            Some(ended) = sessions.join_next() => note_end(ended, backoff),
        }
        while let Some(ended) = sessions.try_join_next() {
            note_end(ended, backoff);
        }
        let in_work = u32::try_from(sessions.len()).unwrap_or(u32::MAX);
        metrics::gauge!("mtasts_worker_domains_in_work").set(f64::from(in_work));
    }
}

fn note_end(ended: Result<End, tokio::task::JoinError>, backoff: &mut Backoff) {
    match ended {
        Ok(End::StoreUnavailable) => backoff.session_lost(),
        Ok(End::Settled | End::Fenced | End::StoreFailed) => {}
        // Steps catch their own panics; this is one outside of a step. The lease runs out by itself.
        Err(error) => tracing::error!(%error, "a domain's task ended abnormally"),
    }
}
