//! The embedded authoritative nameserver for the service's zone.
//!
//! Messages are read and written by `hickory-proto`; the loops around them are ours instead of `hickory-server`'s,
//! which caps neither TCP connections nor the tasks it spawns for UDP packets, logs two lines for each query, and has
//! no room for the OPT record in a truncated answer (RFC 6891 §7).
//!
//! The zone has no delegations, so an answer is a set, an absence, or a refusal. Where [`DnssecConfig`] is given, answers
//! are signed while they are made.
//! On a host with several addresses, listen on each of them and not on `0.0.0.0`: answers to UDP leave from the
//! address that the kernel prefers.

mod config;
mod counters;
mod dnssec;
mod feed;
mod fixed;
mod follower;
mod journal;
mod notify;
mod rate_limit;
mod records;
mod replica;
mod respond;
mod serial;
mod sockets;
mod tcp;
mod transfer;
mod zone;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use mtasts_model::{Clock, Entropy, feed::Revision};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    config::{BindError, CaaValue, Limits, NameServer, NameserverConfig, StaticRecord, Ttls},
    dnssec::{DnssecConfig, DnssecError, KeyKind, KeyRole, ParentSignal, SigningKey, draw_key, ds_record},
    feed::{FeedError, ZoneFeed},
    rate_limit::RateLimit,
    replica::ReplicaError,
    transfer::{TransferLimits, TransferPeer},
};
use self::{
    counters::Counters,
    follower::{Follower, Start},
    journal::Journal,
    notify::Target,
    rate_limit::RateLimiter,
    replica::Replica,
    respond::Responder,
    serial::EpochFile,
    transfer::{Peers, Transfers},
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
        clock: Arc<dyn Clock>,
        shutdown: CancellationToken,
    ) -> Result<Self, BindError> {
        let peers = Peers::new(&config.transfers)?;
        let zone = Zone::new(&config, Arc::clone(&clock))?;
        if zone.is_signed() && !peers.is_empty() {
            return Err(BindError::SignedTransfers);
        }
        let epoch_file = EpochFile::beside(config.replica_path.as_deref());
        let mut start = Start { epoch_file, replica: None, loaded: false, position: Revision::ZERO };
        let mut epoch = u64::from(config.serial_epoch);
        let mut loaded = None;
        if let Some(path) = config.replica_path.clone() {
            let (origin, epoch_file) = (zone.origin().clone(), start.epoch_file.clone());
            let opened = tokio::task::spawn_blocking(move || (Replica::open(path, &origin), epoch_file.load())).await;
            // It catches its panics, so that only the end of the runtime can keep it from finishing.
            let (opened, kept_epoch) = opened.map_err(|_| BindError::Stopped)?;
            let (replica, kept) = opened.map_err(BindError::Replica)?;
            epoch = epoch.max(kept_epoch);
            start.replica = Some(replica);
            loaded = kept;
        }
        tracing::info!(zone = %config.zone, epoch, secondaries = config.transfers.len(), "the nameserver starts");
        let journal = Journal::new((!peers.is_empty()).then_some(config.transfer_limits.journal_octets), epoch);
        if let Some(loaded) = loaded {
            tracing::info!(record_sets = loaded.records.len(), position = %loaded.position, "the replica has been read");
            start.loaded = true;
            start.position = loaded.position;
            journal.load(loaded.records, loaded.position, &zone);
        }
        let bound = sockets::bind(&config)?;
        let responder = Arc::new(Responder {
            zone,
            counters: Counters::new(),
            journal,
            transfers: Transfers::new(peers, &config.transfer_limits),
            limiter: config.rate_limit.clone().map(RateLimiter::new),
            clock,
            proxy_protocol: config.proxy_protocol.clone(),
        });
        let status = Arc::new(Status::default());
        status.set_position(start.position);
        let tasks = TaskTracker::new();
        let addresses: Vec<SocketAddr> = bound.iter().map(|bound| bound.address).collect();
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
        for peer in responder.transfers.peers.iter() {
            for &address in &peer.notify {
                let source = Target::source(address, &addresses);
                let target = Target { peer: peer.name.clone(), address, key: peer.key.clone(), source };
                tasks.spawn(notify::notify(target, Arc::clone(&responder), Arc::clone(&entropy), shutdown.clone()));
            }
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
