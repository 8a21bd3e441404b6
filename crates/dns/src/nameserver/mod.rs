//! The embedded authoritative nameserver for the service's zone.
//!
//! Messages are read and written by `hickory-proto`; the loops around them are ours instead of `hickory-server`'s,
//! which caps neither TCP connections nor the tasks it spawns for UDP packets, logs two lines for each query, and has
//! no room for the OPT record in a truncated answer (RFC 6891 §7).
//!
//! The zone is not signed, has no delegations and no static CNAMEs, so an answer is a set, an absence, or a refusal.
//! On a host with several addresses, listen on each of them and not on `0.0.0.0`: answers to UDP leave from the
//! address that the kernel prefers.

mod config;
mod counters;
mod feed;
mod follower;
mod records;
mod replica;
mod respond;
mod sockets;
mod tcp;
mod zone;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use mtasts_model::{Entropy, feed::Revision};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    config::{BindError, CaaValue, Limits, NameServer, NameserverConfig, StaticRecord, Ttls},
    feed::{FeedError, ZoneFeed},
    replica::ReplicaError,
};
use self::{
    counters::Counters,
    follower::{Follower, Start},
    replica::Replica,
    respond::Responder,
    zone::Zone,
};

/// What the follower tells.
#[derive(Default)]
struct Status {
    position: AtomicU64,
}

impl Status {
    fn set_position(&self, position: Revision) {
        self.position.store(position.number(), Ordering::Release);
    }
}

/// A running nameserver. Dropping it does not stop it: cancel the token.
pub struct Nameserver {
    addresses: Vec<SocketAddr>,
    responder: Arc<Responder>,
    status: Arc<Status>,
    tasks: TaskTracker,
}

impl Nameserver {
    /// Reads the replica, binds all sockets, and starts to answer and to follow the feed. `shutdown` stops it.
    ///
    /// Until the replica or the feed has been read, names that the feed could hold are answered with SERVFAIL and
    /// never denied.
    pub async fn bind(
        config: NameserverConfig,
        feed: Arc<dyn ZoneFeed>,
        entropy: Arc<dyn Entropy>,
        shutdown: CancellationToken,
    ) -> Result<Self, BindError> {
        let zone = Zone::new(&config)?;
        let mut start = Start { replica: None, loaded: false, position: Revision::ZERO };
        if let Some(path) = config.replica_path.clone() {
            let origin = zone.origin().clone();
            let opened = tokio::task::spawn_blocking(move || Replica::open(path, &origin)).await;
            // It catches its panics, so that only the end of the runtime can keep it from finishing.
            let (replica, loaded) = opened.map_err(|_| BindError::Stopped)?.map_err(BindError::Replica)?;
            start.replica = Some(replica);
            if let Some(loaded) = loaded {
                tracing::info!(record_sets = loaded.records.len(), position = %loaded.position, "the replica has been read");
                start.loaded = true;
                start.position = loaded.position;
                zone.set_serial(loaded.position.number());
                zone.records.store(Some(Arc::new(loaded.records)));
            }
        }
        let bound = sockets::bind(&config)?;
        let responder = Arc::new(Responder { zone, counters: Counters::new() });
        let status = Arc::new(Status::default());
        status.set_position(start.position);
        let tasks = TaskTracker::new();
        let addresses = bound.iter().map(|bound| bound.address).collect();
        let open = Arc::new(tcp::Open::default());
        for bound in bound {
            for socket in bound.udp {
                tasks.spawn(sockets::serve_udp(socket, Arc::clone(&responder), shutdown.clone()));
            }
            tasks.spawn(tcp::serve_tcp(
                bound.tcp,
                Arc::clone(&open),
                config.limits,
                Arc::clone(&responder),
                tasks.clone(),
                shutdown.clone(),
            ));
        }
        let follower =
            Follower::new(start, feed, Arc::clone(&responder), Arc::clone(&status), entropy, shutdown.clone());
        tasks.spawn(follower.run());
        tasks.close();
        Ok(Self { addresses, responder, status, tasks })
    }

    /// Where it listens, in the order of the configuration, with the ports that were drawn.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Whether the zone has been read, from the replica or from the feed.
    pub fn ready(&self) -> bool {
        self.responder.zone.records.load().is_some()
    }

    /// Up to which revision the answers are complete.
    pub fn position(&self) -> Revision {
        Revision::new(self.status.position.load(Ordering::Acquire))
    }

    /// Resolves when everything has stopped after the token was cancelled.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }
}
