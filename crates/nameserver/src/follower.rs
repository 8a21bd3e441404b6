//! Follows the feed: pages go to the replica, then to memory, then they are acknowledged.

use std::{sync::Arc, time::Duration};

use hickory_proto::rr::Name;
use mtasts_model::{
    Entropy,
    feed::{Page, RecordType, Revision, ZoneChange},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Status,
    feed::{FeedError, ZoneFeed},
    records::{RecordSet, Records, owner_of},
    replica::{OwnerChange, Replica, ReplicaError},
    respond::Responder,
    serial::EpochFile,
};
use mtasts_dns::name;

const PAGE: u32 = 2000;
/// Asks at least this often, also when nobody tells of a change.
const POLL: Duration = Duration::from_secs(2);
/// Lets changes that come together be fetched together, and keeps a feed that always says "changed" in check.
const GATHER: Duration = Duration::from_millis(10);
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
const FEED_DEADLINE: Duration = Duration::from_secs(30);
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(15);
/// After the disk has failed.
const REPLICA_RETRY: Duration = Duration::from_secs(30);

/// How the file stands to memory.
enum Keeping {
    /// None is configured.
    Off,
    /// The file has every page that memory has.
    InStep(Arc<Replica>),
    /// A new file is being written; the changes since then wait. `obsolete`: of records that are not served any more.
    Writing {
        task: JoinHandle<Result<(), ReplicaError>>,
        replica: Arc<Replica>,
        waiting: Vec<OwnerChange>,
        obsolete: bool,
    },
    /// Nothing has been written yet, or the disk failed: served from memory until a new file can be written.
    Behind { replica: Arc<Replica>, retry_at: Instant },
}

/// Why no page was taken.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error("the zone feed gave no answer in time")]
    Deadline,
    #[error("the zone feed says that there is more after {0}, and gives nothing")]
    Stuck(Revision),
    #[error("the nameserver stops")]
    Stopped,
}

/// Where a follower begins.
pub(super) struct Start {
    pub(super) epoch_file: EpochFile,
    pub(super) replica: Option<Replica>,
    /// Whether the replica had contents; then `position` is theirs, and they are being served.
    pub(super) loaded: bool,
    pub(super) position: Revision,
}

pub(super) struct Follower {
    feed: Arc<dyn ZoneFeed>,
    responder: Arc<Responder>,
    status: Arc<Status>,
    entropy: Arc<dyn Entropy>,
    shutdown: CancellationToken,
    keeping: Keeping,
    epoch_file: EpochFile,
    /// Filled from revision 0 while the old records are still served.
    building: Option<Records>,
    position: Revision,
    /// Tombstones up to here were gone when reading began at 0; only a higher floor can hide one from us.
    known_floor: Revision,
    at_head: Instant,
    acknowledged: Option<(Revision, Instant)>,
}

impl Follower {
    pub(super) fn new(
        start: Start,
        feed: Arc<dyn ZoneFeed>,
        responder: Arc<Responder>,
        status: Arc<Status>,
        entropy: Arc<dyn Entropy>,
        shutdown: CancellationToken,
    ) -> Self {
        let keeping = match start.replica.map(Arc::new) {
            None => Keeping::Off,
            Some(replica) if start.loaded => Keeping::InStep(replica),
            Some(replica) => Keeping::Behind { replica, retry_at: Instant::now() },
        };
        Self {
            feed,
            responder,
            status,
            entropy,
            shutdown,
            keeping,
            epoch_file: start.epoch_file,
            building: (!start.loaded).then(Records::new),
            position: start.position,
            known_floor: Revision::ZERO,
            at_head: Instant::now(),
            acknowledged: None,
        }
    }

    /// Runs until shutdown, which ends waiting but not writing: a page is on disk whole or not at all, and nobody
    /// holds the file afterwards.
    pub(super) async fn run(mut self) {
        let mut failures = 0_u32;
        while !self.shutdown.is_cancelled() {
            match self.pull().await {
                Ok(true) => failures = 0,
                Ok(false) => {
                    failures = 0;
                    self.acknowledge().await;
                    self.keep().await;
                    let feed = Arc::clone(&self.feed);
                    self.unless_stopped(async move {
                        tokio::select! {
                            () = feed.changed() => sleep(GATHER).await,
                            () = sleep(POLL) => {}
                        }
                    })
                    .await;
                }
                Err(FollowError::Stopped) => break,
                Err(error) => {
                    self.responder.counters.feed_error();
                    failures = failures.saturating_add(1);
                    let pause = self.pause(failures);
                    tracing::warn!(
                        error = %mtasts_model::causes(&error),
                        position = %self.position, ?pause,
                        "the zone feed cannot be followed; the records so far are served on"
                    );
                    self.unless_stopped(sleep(pause)).await;
                }
            }
            self.responder.counters.feed_lag.set(self.at_head.elapsed().as_secs_f64());
        }
        self.finish_writing(true).await;
    }

    async fn unless_stopped<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        self.shutdown.run_until_cancelled(wait).await
    }

    /// Half of the doubled pause is drawn, so that nameservers do not come back all at once.
    fn pause(&self, failures: u32) -> Duration {
        let full = BACKOFF_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(BACKOFF_MAX);
        let mut random = [0; 2];
        self.entropy.fill(&mut random);
        let share = f64::from(u16::from_be_bytes(random)) / f64::from(u16::MAX);
        full.mul_f64(0.5 + share / 2.0)
    }

    /// Takes one page. True when more is waiting.
    async fn pull(&mut self) -> Result<bool, FollowError> {
        let page = self
            .unless_stopped(timeout(FEED_DEADLINE, self.feed.since(self.position, PAGE)))
            .await
            .ok_or(FollowError::Stopped)?
            .map_err(|_| FollowError::Deadline)??;
        let nothing = self.position == Revision::ZERO;
        if nothing {
            self.known_floor = page.floor;
        } else if page.floor > self.position.max(self.known_floor) {
            tracing::warn!(position = %self.position, floor = %page.floor, "too far behind the zone feed: read anew");
            self.building = Some(Records::new());
            self.position = Revision::ZERO;
            return Ok(true);
        }
        if page.more && page.position <= self.position {
            return Err(FollowError::Stuck(self.position));
        }
        let Page { changes, position, more, .. } = page;
        let changes = self.readable(changes);
        if let Some(building) = &self.building {
            apply(building, &changes);
        } else if !changes.is_empty() || position > self.position {
            self.store(&changes, position).await;
            if let Some(live) = self.responder.zone.records.load_full() {
                for change in changes {
                    self.responder.journal.note(&live, &change);
                    apply(&live, std::slice::from_ref(&change));
                }
            }
        }
        self.position = position.max(self.position);
        if more {
            return Ok(true);
        }
        if let Some(built) = self.building.take() {
            tracing::info!(record_sets = built.len(), position = %self.position, "the zone has been read from the feed");
            self.take_over(built).await;
            self.begin_anew();
        }
        self.at_head = Instant::now();
        self.responder.journal.publish(self.position, &self.responder.zone);
        self.status.set_position(self.position);
        self.responder.counters.feed_position.set(precise(self.position.number()));
        let live = self.responder.zone.records.load();
        let count = live.as_ref().map_or(0, |live| live.len());
        self.responder.counters.records.set(precise(u64::try_from(count).unwrap_or(u64::MAX)));
        Ok(false)
    }

    /// Serves records that were read anew, under a serial that is not behind the one before.
    async fn take_over(&self, built: Records) {
        let (journal, zone) = (&self.responder.journal, &self.responder.zone);
        // A removal above the position may have been forgotten by the feed, and been published by us.
        let position = self.position.max(self.known_floor);
        let epoch = journal.epoch_for(position);
        if epoch > journal.epoch() {
            tracing::warn!(
                %position, epoch,
                "the zone feed went back: was its database restored? The serial goes on in a new epoch; a nameserver \
                 without a replica needs it as its serial_epoch"
            );
            let file = self.epoch_file.clone();
            if let Some(Err(error)) = blocking(move || file.save(epoch)).await {
                tracing::error!(error = &error as &dyn std::error::Error, "the serial's epoch cannot be kept on disk");
            }
        }
        journal.replace(built, position, epoch, zone);
    }

    /// Drops what is of another zone, silently (the zones of a service share one feed), and what cannot be served,
    /// with a line in the log: one bad row must not stop the zone.
    fn readable(&self, changes: Vec<ZoneChange>) -> Vec<OwnerChange> {
        let origin = self.responder.zone.origin();
        let mut readable = Vec::with_capacity(changes.len());
        for change in changes {
            match read(&change, origin) {
                Ok(Some(change)) => readable.push(change),
                Ok(None) => {}
                Err(reason) => {
                    self.responder.counters.record_refused();
                    tracing::error!(revision = %change.revision, name = ?change.name, record_type = %change.record_type, reason, "a record set of the feed cannot be served");
                }
            }
        }
        readable
    }

    async fn acknowledge(&mut self) {
        let due =
            self.acknowledged.is_none_or(|(position, at)| position != self.position || at.elapsed() >= SIGN_OF_LIFE);
        if !due {
            return;
        }
        let Some(told) = self.unless_stopped(timeout(FEED_DEADLINE, self.feed.acknowledge(self.position))).await else {
            return;
        };
        match told {
            Ok(Ok(())) => self.acknowledged = Some((self.position, Instant::now())),
            Ok(Err(error)) => {
                self.responder.counters.feed_error();
                tracing::warn!(error = &error as &dyn std::error::Error, "the position cannot be acknowledged");
            }
            Err(_) => tracing::warn!("the position cannot be acknowledged in time"),
        }
    }

    /// Brings a page to disk, or lets it wait for the file that is being written.
    async fn store(&mut self, changes: &[OwnerChange], position: Revision) {
        match &mut self.keeping {
            Keeping::Off | Keeping::Behind { .. } => {}
            Keeping::Writing { waiting, .. } => waiting.extend_from_slice(changes),
            Keeping::InStep(replica) => {
                let replica = Arc::clone(replica);
                self.append(replica, changes.to_vec(), position).await;
            }
        }
    }

    async fn append(&mut self, replica: Arc<Replica>, changes: Vec<OwnerChange>, position: Revision) {
        let writer = Arc::clone(&replica);
        let written = blocking(move || writer.append(&changes, position)).await;
        self.keeping = match written {
            Some(Ok(())) => Keeping::InStep(replica),
            failed => {
                report(failed.and_then(Result::err));
                Keeping::Behind { replica, retry_at: Instant::now() + REPLICA_RETRY }
            }
        };
    }

    /// The records were read anew, so the file has to be, too.
    fn begin_anew(&mut self) {
        match &mut self.keeping {
            Keeping::Off => {}
            // Two writers would share one file.
            Keeping::Writing { obsolete, .. } => *obsolete = true,
            Keeping::InStep(replica) | Keeping::Behind { replica, .. } => {
                self.keeping = Keeping::Behind { replica: Arc::clone(replica), retry_at: Instant::now() };
            }
        }
    }

    /// Between pages: begins a new file where one is needed, and takes over one that is finished.
    async fn keep(&mut self) {
        self.finish_writing(false).await;
        if let Keeping::Behind { replica, retry_at } = &self.keeping
            && *retry_at <= Instant::now()
            && let Some(records) = self.responder.zone.records.load_full()
        {
            let replica = Arc::clone(replica);
            let (writer, position) = (Arc::clone(&replica), self.position);
            let task = tokio::task::spawn_blocking(move || writer.rewrite(&records, position));
            self.keeping = Keeping::Writing { task, replica, waiting: Vec::new(), obsolete: false };
        }
        let in_step = matches!(self.keeping, Keeping::InStep(_));
        self.responder.counters.replica_in_step.set(if in_step { 1.0 } else { 0.0 });
    }

    async fn finish_writing(&mut self, wait: bool) {
        match std::mem::replace(&mut self.keeping, Keeping::Off) {
            Keeping::Writing { task, replica, waiting, obsolete } if wait || task.is_finished() => match task.await {
                Ok(Ok(())) if obsolete => self.keeping = Keeping::Behind { replica, retry_at: Instant::now() },
                Ok(Ok(())) => self.append(replica, waiting, self.position).await,
                failed => {
                    report(failed.ok().and_then(Result::err));
                    self.keeping = Keeping::Behind { replica, retry_at: Instant::now() + REPLICA_RETRY };
                }
            },
            other => self.keeping = other,
        }
    }
}

/// A change of this zone as memory and disk take it; `None` when it is of another zone.
fn read(change: &ZoneChange, origin: &Name) -> Result<Option<OwnerChange>, String> {
    let name = name::parse(&change.name).map_err(|error| error.to_string())?;
    let Some(owner) = owner_of(&name, origin) else { return Ok(None) };
    if owner.is_empty() && change.record_type == RecordType::Cname && change.set.is_some() {
        return Err("the zone's own name cannot be an alias (RFC 1912 §2.4)".to_owned());
    }
    let set = change.set.as_ref().map(|set| RecordSet::new(change.record_type, set)).transpose()?;
    Ok(Some(OwnerChange { revision: change.revision, owner, record_type: change.record_type, set }))
}

fn apply(records: &Records, changes: &[OwnerChange]) {
    for OwnerChange { owner, record_type, set, .. } in changes {
        records.apply(owner, *record_type, set.as_ref());
    }
}

/// Runs on the pool for blocking work; `None` when the work panicked.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

fn report(error: Option<ReplicaError>) {
    if let Some(error) = error {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the nameserver's replica cannot be written; the zone is served from memory"
        );
    } else {
        tracing::error!("writing the nameserver's replica panicked; the zone is served from memory");
    }
}

/// A gauge takes a float; 2^53 revisions are enough.
#[expect(clippy::cast_precision_loss, reason = "a gauge that is off by one above 2^53 harms nobody")]
fn precise(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use mtasts_model::feed::RecordData;

    use super::*;

    fn outcome(name: &str, record_type: RecordType, value: Option<&str>) -> Result<Option<OwnerChange>, String> {
        let set = value.map(|value| RecordData { ttl: 60, values: vec![value.to_owned()] });
        let change = ZoneChange { revision: Revision::ZERO, name: name.to_owned(), record_type, set };
        read(&change, &name::parse("sts.example").unwrap())
    }

    #[test]
    fn names_of_another_zone_are_no_error_and_those_of_this_zone_keep_their_type() {
        assert!(matches!(outcome("*.edge.other.example", RecordType::A, Some("192.0.2.1")), Ok(None)));
        // Not even looked at.
        assert!(matches!(outcome("*.edge.other.example", RecordType::A, Some("no address")), Ok(None)));
        assert!(matches!(outcome("xsts.example", RecordType::Txt, None), Ok(None)));
        let change = outcome("*.edge.sts.example", RecordType::A, Some("192.0.2.1")).unwrap().unwrap();
        assert_eq!((change.owner.as_slice(), change.record_type), (&b"\x01*\x04edge"[..], RecordType::A));
    }

    #[test]
    fn what_the_zone_cannot_serve_is_refused() {
        for (name, record_type, value) in [
            ("a b.sts.example", RecordType::Txt, "t"),
            ("a.sts.example", RecordType::A, "no address"),
            ("sts.example", RecordType::Cname, "a.example"),
        ] {
            assert!(outcome(name, record_type, Some(value)).is_err(), "{name}");
        }
        assert!(outcome("sts.example", RecordType::Cname, None).is_ok());
    }
}
