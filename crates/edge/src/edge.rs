//! An edge as a whole: started, looked at, shut down.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use mtasts_model::{Clock, Revision};
use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    admission::Admission,
    catalogue::Catalogue,
    challenges::Challenges,
    config::EdgeConfig,
    counters::Counters,
    error::{EdgeError, InventoryError, chain},
    feed::{Feed, KeyOpener},
    follower::{Follower, Suspicions},
    ledger::{Handover, Ledger},
    readiness::{Readiness, ReadinessState},
    replica::Replica,
    serve::Workers,
    served::ServedPage,
    tls::Settings,
};

/// For the last hand-over of the ledger, whatever the deadline of the shutdown was.
const LAST_FLUSH: Duration = Duration::from_secs(5);

/// What connections, the follower and the ledger have in common.
pub(crate) struct Shared {
    pub(crate) config: EdgeConfig,
    pub(crate) tls: Settings,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) challenges: Challenges,
    pub(crate) readiness: ReadinessState,
    pub(crate) counters: Arc<Counters>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) suspicions: Suspicions,
    pub(crate) ledger: Ledger,
    pub(crate) clock: Arc<dyn Clock>,
    /// The revision up to which this edge serves.
    pub(crate) served: AtomicU64,
    /// The second in which a failed load was last logged.
    pub(crate) failure_logged: AtomicI64,
}

impl Shared {
    /// Lists the names that exist, on a thread that may wait for the disk.
    pub(crate) async fn read_names(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || {
            if let Err(error) = shared.catalogue.read_names() {
                shared.suspicions.report(&error);
            }
        });
        if let Err(error) = read.await {
            tracing::error!(%error, "the names of the replica were not read");
        }
    }
}

/// Starts edges.
#[derive(Debug, Clone, Copy)]
pub struct Edge;

impl Edge {
    /// Opens the replica, takes the ports, and begins to follow the feed.
    ///
    /// Connections are taken once the feed has been read to its end, or at once when the feed fails, or when an answer
    /// of it takes longer than 1.2 seconds: then the edge serves what the replica has, which may be older than what was
    /// published while it was away. Until then they are refused.
    ///
    /// Must be called within a tokio runtime: the feed is called there. Requests are served on threads of their own.
    pub fn start(
        config: EdgeConfig,
        feed: Arc<dyn Feed>,
        opener: Arc<dyn KeyOpener>,
        clock: Arc<dyn Clock>,
    ) -> Result<EdgeHandle, EdgeError> {
        let runtime = Handle::try_current().map_err(|_| EdgeError::NoRuntime)?;
        let tls = Settings::new(config.send_tickets).map_err(EdgeError::Tls)?;
        let counters = Arc::new(Counters::register());
        let (replica, found) = Replica::open(&config.replica_dir, config.replica_cache_bytes)
            .map_err(|_| EdgeError::ReplicaInUse(config.replica_dir.clone()))?;
        tracing::info!(hosts = found.hosts, position = %found.position, complete = found.complete, "replica opened");

        let challenges = Challenges::default();
        for (domain, challenge) in &found.challenges {
            challenges.set(domain, challenge);
        }
        let shared = Arc::new(Shared {
            tls,
            catalogue: Arc::new(Catalogue::new(replica, config.key_cache_entries, opener, Arc::clone(&counters))),
            challenges,
            readiness: ReadinessState::default(),
            counters,
            admission: Arc::new(Admission::new(config.max_connections, config.max_connections_per_address)),
            suspicions: Suspicions::default(),
            ledger: Ledger::new(config.workers.get(), found.ledger),
            clock,
            served: AtomicU64::new(found.position.number()),
            failure_logged: AtomicI64::new(i64::MIN),
            config,
        });
        shared.readiness.set_complete(found.complete);

        let workers = Workers::start(&shared)?;
        let stop = CancellationToken::new();
        let names = Arc::clone(&shared);
        runtime.spawn(async move { names.read_names().await });
        let follower = Follower::new(
            Arc::clone(&feed),
            Arc::clone(&shared),
            workers.runtimes(),
            workers.doors(),
            (found.position, found.complete),
        );
        let follower = runtime.spawn(follower.run(stop.clone()));
        let flusher = runtime.spawn(flush_regularly(Arc::clone(&shared), Arc::clone(&feed), stop.clone()));
        Ok(EdgeHandle { shared, feed, workers: Some(workers), stop, tasks: vec![follower, flusher] })
    }
}

async fn flush_regularly(shared: Arc<Shared>, feed: Arc<dyn Feed>, stop: CancellationToken) {
    while timeout(shared.config.ledger_flush, stop.cancelled()).await.is_err() {
        let now = shared.clock.now();
        // What waits is offered again next time.
        let _ = shared.ledger.flush(&*feed, &shared.catalogue, &shared.counters, &shared.readiness, now).await;
    }
}

/// A running edge. Dropping it stops the edge at once, without a drain and without handing over the ledger.
pub struct EdgeHandle {
    shared: Arc<Shared>,
    feed: Arc<dyn Feed>,
    workers: Option<Workers>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl EdgeHandle {
    /// Where policies are served, with the ports that the kernel chose.
    pub fn local_https_addrs(&self) -> &[SocketAddr] {
        self.workers.as_ref().map_or(&[], Workers::https_addrs)
    }

    /// Where http-01 validations are answered.
    pub fn local_http_addrs(&self) -> &[SocketAddr] {
        self.workers.as_ref().map_or(&[], Workers::http_addrs)
    }

    /// Whether traffic should come, and what is wrong.
    pub fn readiness(&self) -> Readiness {
        let mut readiness = self.shared.readiness.read();
        readiness.notes.extend(self.shared.catalogue.keys.note());
        readiness
    }

    /// The revision up to which every connection is served.
    pub fn position(&self) -> Revision {
        Revision::new(self.shared.served.load(Ordering::Acquire))
    }

    /// Where to ask what is served.
    pub fn inventory(&self) -> Inventory {
        Inventory(Arc::clone(&self.shared.catalogue))
    }

    /// Says "not ready", goes on accepting for the configured `drain`, then stops accepting, lets requests finish
    /// until `deadline` (counted from the call), hands over the ledger and closes the replica. Says whether the feed
    /// has taken all of the ledger.
    pub async fn shutdown(mut self, deadline: Duration) -> Handover {
        let end = Instant::now() + deadline;
        self.shared.readiness.set_draining();
        sleep(self.shared.config.drain.min(deadline)).await;
        if let Some(workers) = self.workers.take() {
            workers.stop(end).await;
        }
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            let abort = task.abort_handle();
            // A call of the feed may hang for longer than anybody wants to wait now.
            if timeout(LAST_FLUSH, task).await.is_err() {
                abort.abort();
            }
        }
        let shared = Arc::clone(&self.shared);
        let now = shared.clock.now();
        let flush = shared.ledger.flush(&*self.feed, &shared.catalogue, &shared.counters, &shared.readiness, now);
        if let Ok(handover) = timeout(LAST_FLUSH, flush).await {
            return handover;
        }
        let error = shared.ledger.keep(&shared.catalogue).await.err();
        tracing::warn!(error = error.map(|error| chain(&error)), "the feed did not take the ledger before the end");
        Handover::Waiting { lines: shared.ledger.pending(), why: "no answer in time".to_owned() }
    }
}

/// What an edge serves, as long as it runs.
#[derive(Clone)]
pub struct Inventory(Arc<Catalogue>);

impl Inventory {
    /// The most hosts of one page.
    pub const PAGE: usize = 1_000;

    /// A page of hosts in the order of their names, after this one (empty: from the first). Waits for the disk, so not for
    /// a thread that has anything else to do.
    pub fn after(&self, name: &str) -> Result<ServedPage, InventoryError> {
        self.0.served_after(name, Self::PAGE).map_err(|error| InventoryError(error.into()))
    }
}

impl Drop for EdgeHandle {
    fn drop(&mut self) {
        self.stop.cancel();
        for task in &self.tasks {
            task.abort();
        }
    }
}
