//! Follows the feed: reads a page, makes it readable, swaps it in, and only then acknowledges it.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use mtasts_model::{
    DomainId, Revision, Timestamp,
    feed::{Challenge, EdgeChange, EdgeEntry, Page},
};
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    catalogue::Catalogue,
    edge::Shared,
    error::{FeedError, chain},
    feed::Feed,
    readiness::Note,
    replica::{Batch, HostRow, ReplicaError},
    serve::Doors,
};

const PAGE: u32 = 1_000;
const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// At the start, a feed that takes longer for one answer is taken for dead. A cold start answers within two seconds, of
/// which opening a large replica takes some.
const PATIENCE: Duration = Duration::from_millis(1_200);
/// An acknowledgement at least this often: the sign of life.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// After the disk refused: how long until it is asked again.
const DISK_RETRY: Duration = Duration::from_secs(10);
/// After a loss of the replica: how long until a connection is believed again that reports one. Loads that began before
/// may report the old file, and a disk that damages everything must not make the edge read the whole feed without end.
const DISBELIEF: Duration = Duration::from_mins(1);
/// Changes of one page whose traces are joined: more tell nobody anything new.
const TRACED: usize = 32;
/// Between two reads, however often the feed nudges.
const BREATH: Duration = Duration::from_millis(10);
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
/// Short, because what is served while the feed is away may be older than what is published.
const LAST_BACKOFF: Duration = Duration::from_secs(5);

/// What a connection may find wrong with the replica. The follower, who alone writes, looks into it.
#[derive(Default)]
pub(crate) struct Suspicions {
    found: Mutex<Vec<Suspicion>>,
    news: Notify,
}

enum Suspicion {
    /// A row did not read back.
    Damage(String),
    /// A read failed.
    Disk,
    /// A listed host has no row.
    Missing(String),
}

impl Suspicions {
    /// A load failed with this.
    pub(crate) fn report(&self, error: &ReplicaError) {
        self.push(match error {
            ReplicaError::Damaged(why) => Suspicion::Damage(why.clone()),
            ReplicaError::Disk(_) | ReplicaError::InUse => Suspicion::Disk,
        });
    }

    /// This listed host has no row.
    pub(crate) fn report_missing(&self, domain: &str) {
        self.push(Suspicion::Missing(domain.to_owned()));
    }

    /// A row names an issuer that is not there.
    pub(crate) fn report_missing_issuer(&self) {
        self.push(Suspicion::Damage("an issuer's certificate is missing".to_owned()));
    }

    fn push(&self, suspicion: Suspicion) {
        let mut found = self.found.lock();
        if found.len() < 16 {
            found.push(suspicion);
        }
        self.news.notify_one();
    }
}

/// A reading of the whole feed, at the end of which what was not seen is gone.
#[derive(Default)]
struct FullPass {
    hosts: HashSet<u64>,
    challenges: HashSet<String>,
    /// The replica was lost, so what is listed and cached cannot be swept by its rows.
    after_loss: bool,
}

impl FullPass {
    fn see(&mut self, changes: &[EdgeChange], catalogue: &Catalogue) {
        for change in changes {
            let domain = change.domain.as_str();
            match &change.entry {
                EdgeEntry::Host(_) => _ = self.hosts.insert(catalogue.key(domain)),
                EdgeEntry::HostHeld { domain_id } if serves(catalogue, domain, *domain_id) => {
                    _ = self.hosts.insert(catalogue.key(domain));
                }
                EdgeEntry::HostGone | EdgeEntry::HostHeld { .. } => {
                    _ = self.hosts.remove(&catalogue.key(domain));
                }
                EdgeEntry::Challenge(_) => _ = self.challenges.insert(domain.to_owned()),
                EdgeEntry::ChallengeGone => _ = self.challenges.remove(domain),
            }
        }
    }
}

/// Whether the rows of the replica are still there after a write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rows {
    Kept,
    Lost,
}

/// The one task that changes what this edge serves.
pub(crate) struct Follower {
    feed: Arc<dyn Feed>,
    shared: Arc<Shared>,
    workers: Vec<Handle>,
    doors: Arc<Doors>,
    state: State,
}

struct State {
    /// Up to where the feed has been read.
    position: Revision,
    /// Whether the end of the feed was reached once.
    complete: bool,
    /// Whether connections may come; see [`Follower::let_in`].
    let_in: bool,
    /// Whether all ports listen.
    listening: bool,
    /// From revision 0 to the end of the feed, whenever that becomes necessary.
    pass: Option<FullPass>,
    acknowledged: Option<(Revision, Instant)>,
    caught_up: Instant,
    disk_retry: Option<Instant>,
    lost: Option<Instant>,
    /// Challenges that the disk refused (hosts are in the catalogue).
    held_challenges: Vec<(String, Option<Challenge>)>,
}

impl Follower {
    /// Goes on at `position`; `complete` when the end of the feed had been reached by then.
    pub(crate) fn new(
        feed: Arc<dyn Feed>,
        shared: Arc<Shared>,
        workers: Vec<Handle>,
        doors: Arc<Doors>,
        (position, complete): (Revision, bool),
    ) -> Self {
        let state = State {
            position,
            complete,
            let_in: false,
            listening: false,
            pass: (position == Revision::ZERO).then(FullPass::default),
            acknowledged: None,
            caught_up: Instant::now(),
            disk_retry: None,
            lost: None,
            held_challenges: Vec::new(),
        };
        Self { feed, shared, workers, doors, state }
    }

    /// Runs until it is stopped.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut backoff = FIRST_BACKOFF;
        while !stop.is_cancelled() {
            self.look_into_suspicions().await;
            let pause = match self.step().await {
                Ok(more) => {
                    backoff = FIRST_BACKOFF;
                    self.shared.readiness.note(Note::Feed, None);
                    if more {
                        continue;
                    }
                    self.shared.config.poll
                }
                Err(error) => {
                    self.shared.counters.feed_errors.increment(1);
                    let why = chain(&error);
                    tracing::warn!(why, "the feed cannot be followed now; serving on");
                    self.let_in("the feed is away: what is served may be older than what is published");
                    self.shared.readiness.note(Note::Feed, Some(format!("the feed cannot be followed: {why}")));
                    let pause = jittered(backoff);
                    backoff = (backoff * 2).min(LAST_BACKOFF);
                    pause
                }
            };
            if self.state.let_in && !self.state.listening {
                self.listen();
            }
            self.save_held().await;
            self.show();
            let nudged = async {
                if pause == self.shared.config.poll {
                    self.feed.changed().await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            sleep(BREATH).await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(pause) => {}
                () = nudged => {}
                () = self.shared.suspicions.news.notified() => {}
            }
        }
    }

    /// Reads one page and takes it over. True when more is waiting.
    async fn step(&mut self) -> Result<bool, FeedError> {
        let in_service_since = self.state.acknowledged.map(|(_, at)| at);
        let feed = Arc::clone(&self.feed);
        let page = self.ask(feed.since(self.state.position, PAGE)).await?;
        // A full pass needs no tombstones: it ends with a sweep.
        if page.floor > self.state.position && self.state.pass.is_none() {
            tracing::warn!(position = %self.state.position, floor = %page.floor, "fell behind the feed; reading all of it");
            self.state.position = Revision::ZERO;
            self.state.pass = Some(FullPass::default());
            return Ok(true);
        }
        let more = page.more;
        // Until they are dropped: after the acknowledgement, when the changes are what senders get.
        let _spans = self.spans(&page);
        if self.take_over(page).await == Rows::Lost {
            return Ok(true);
        }
        if !more {
            self.state.caught_up = Instant::now();
            self.shared.readiness.set_complete(true);
        }
        if self.state.pass.is_none() {
            self.shared.served.store(self.state.position.number(), Ordering::Release);
            // After the first end comes an acknowledgement and another look: what others published without this edge,
            // they did before it counted as in service, so that look shows it.
            if !more && in_service_since.is_some_and(|at| at.elapsed() < HEARTBEAT) {
                self.let_in("the feed has been read to its end");
            }
            self.acknowledge().await?;
        }
        Ok(more || !self.state.let_in)
    }

    /// A span for each change that somebody traces. Whoever reads everything anew changes nothing.
    fn spans(&self, page: &Page<EdgeChange>) -> Vec<tracing::Span> {
        if self.state.pass.is_some() {
            return Vec::new();
        }
        let traced = page.changes.iter().filter_map(|change| Some((change, change.trace?))).take(TRACED);
        traced
            .map(|(change, trace)| {
                let revision = change.revision.number();
                let span = tracing::info_span!("take_over", revision, domain = %change.domain);
                mtasts_telemetry::join(&span, &trace);
                // Now, so that the time that it takes is in it.
                mtasts_telemetry::of(&span);
                span
            })
            .collect()
    }

    /// Waits for an answer of the feed. While the doors are closed for it, only for so long.
    async fn ask<T>(&mut self, call: impl Future<Output = Result<T, FeedError>>) -> Result<T, FeedError> {
        let mut call = pin!(timeout(CALL_DEADLINE, call));
        let answer = if self.state.let_in {
            call.await
        } else if let Ok(answer) = timeout(PATIENCE, &mut call).await {
            answer
        } else {
            self.let_in("the feed does not answer: what is served may be older than what is published");
            call.await
        };
        answer.map_err(|_| FeedError::new("no answer in time"))?
    }

    /// From now on connections may come. Invariant 1: not while the feed answers and there is more to read, because a
    /// version may have been published while this edge was away, and a sender would keep the older one under its id.
    fn let_in(&mut self, why: &str) {
        if !self.state.let_in {
            tracing::info!(position = %self.state.position, why, "connections are taken from now on");
            self.state.let_in = true;
            self.listen();
        }
    }

    fn listen(&mut self) {
        match self.doors.open() {
            Ok(()) => {
                self.state.listening = true;
                self.shared.readiness.set_listening();
                self.shared.readiness.note(Note::Listeners, None);
            }
            Err(error) => {
                let why = chain(&error);
                tracing::error!(why, "a port does not listen; trying again");
                self.shared.readiness.note(Note::Listeners, Some(why));
            }
        }
    }

    /// Makes the page readable, swaps it in, and waits until no worker is in the middle of an older answer.
    async fn take_over(&mut self, page: Page<EdgeChange>) -> Rows {
        let catalogue = Arc::clone(&self.shared.catalogue);
        let last = !page.more;
        let mut batch = batch(&page.changes, self.shared.clock.now(), &catalogue);
        if let Some(pass) = &mut self.state.pass {
            pass.see(&page.changes, &catalogue);
        }
        let ended = if last { self.state.pass.take().map(Arc::new) } else { None };
        if let Some(pass) = &ended {
            self.sweep(pass, &mut batch).await;
        }
        let newly_complete = last && !self.state.complete;
        self.state.complete |= last;
        self.state.position = page.position;
        if self.state.pass.is_none() {
            batch.position = Some((page.position, self.state.complete));
        }
        if batch.hosts.is_empty() && batch.challenges.is_empty() && ended.is_none() && !newly_complete {
            return Rows::Kept; // only the position moved: not worth a write
        }
        let batch = Arc::new(batch);
        let rows = self.write(&batch).await;
        catalogue.changed(batch.hosts.iter().map(|(domain, row)| (domain.as_str(), row.is_some())));
        for (domain, challenge) in &batch.challenges {
            match challenge {
                Some(challenge) => self.shared.challenges.set(domain, challenge),
                None => self.shared.challenges.remove(domain),
            }
        }
        if rows == Rows::Kept && ended.is_some_and(|pass| pass.after_loss) {
            // What is listed or cached may be of hosts that the feed no longer knows.
            self.shared.read_names().await;
            catalogue.forget_cached();
        }
        self.barrier().await;
        rows
    }

    /// At the end of a full pass: what the feed did not mention is gone.
    async fn sweep(&self, pass: &Arc<FullPass>, batch: &mut Batch) {
        let (catalogue, wanted) = (Arc::clone(&self.shared.catalogue), Arc::clone(pass));
        match tokio::task::spawn_blocking(move || catalogue.unwanted(&wanted.hosts)).await {
            Ok(Ok(unwanted)) => batch.hosts.extend(unwanted.into_iter().map(|domain| (domain, None))),
            Ok(Err(error)) => self.shared.suspicions.report(&error),
            Err(error) => tracing::error!(%error, "hosts that are gone were not looked for"),
        }
        let unwanted = self.shared.challenges.unwanted(&pass.challenges);
        batch.challenges.extend(unwanted.into_iter().map(|domain| (domain, None)));
    }

    /// To the disk, or into memory when the disk refuses.
    async fn write(&mut self, batch: &Arc<Batch>) -> Rows {
        let mut rows = Rows::Kept;
        if self.state.disk_retry.is_none_or(|at| at <= Instant::now()) {
            match self.write_with_held(batch).await {
                Ok(()) => {
                    self.disk_obeys();
                    return Rows::Kept;
                }
                Err(ReplicaError::Damaged(why)) => {
                    self.begin_again(&why).await;
                    rows = Rows::Lost;
                }
                Err(error) => self.disk_refused(&error).await,
            }
        }
        for (key, der) in &batch.issuers {
            self.shared.catalogue.intermediates.intern(*key, der);
        }
        self.shared.catalogue.hold(batch.hosts.iter().cloned());
        self.state.held_challenges.extend(batch.challenges.iter().cloned());
        rows
    }

    async fn write_with_held(&self, batch: &Arc<Batch>) -> Result<(), ReplicaError> {
        let (catalogue, batch) = (Arc::clone(&self.shared.catalogue), Arc::clone(batch));
        let held_challenges = self.state.held_challenges.clone();
        let written = tokio::task::spawn_blocking(move || {
            if catalogue.held_len() == 0 && held_challenges.is_empty() {
                return catalogue.replica.write(&batch);
            }
            let mut all = Batch { position: batch.position, ..Batch::default() };
            all.hosts = catalogue.held();
            all.hosts.extend(batch.hosts.iter().cloned());
            all.issuers = catalogue.intermediates.all();
            all.issuers.extend(batch.issuers.iter().cloned());
            all.challenges = held_challenges;
            all.challenges.extend(batch.challenges.iter().cloned());
            catalogue.replica.write(&all)?;
            catalogue.release();
            Ok(())
        });
        written.await.unwrap_or_else(|error| Err(ReplicaError::Damaged(error.to_string())))
    }

    /// What the disk refused is offered again now and then.
    async fn save_held(&mut self) {
        let nothing = self.shared.catalogue.held_len() == 0 && self.state.held_challenges.is_empty();
        if nothing || self.state.disk_retry.is_some_and(|at| at > Instant::now()) {
            return;
        }
        let position = self.state.pass.is_none().then_some((self.state.position, self.state.complete));
        let batch = Arc::new(Batch { position, ..Batch::default() });
        if !self.shared.catalogue.replica.is_writable() {
            self.reopen().await;
        }
        match self.write_with_held(&batch).await {
            Ok(()) => {
                tracing::info!("the disk takes changes again");
                self.disk_obeys();
            }
            Err(ReplicaError::Damaged(why)) => self.begin_again(&why).await,
            Err(error) => self.disk_refused(&error).await,
        }
    }

    fn disk_obeys(&mut self) {
        self.state.disk_retry = None;
        self.state.held_challenges.clear();
        self.shared.readiness.note(Note::Replica, None);
    }

    async fn disk_refused(&mut self, error: &ReplicaError) {
        self.shared.counters.replica_failures.increment(1);
        let why = chain(error);
        tracing::error!(why, "the replica cannot be written; changes are served from memory");
        self.shared.readiness.note(Note::Replica, Some(format!("changes are held in memory only: {why}")));
        self.state.disk_retry = Some(Instant::now() + DISK_RETRY);
        self.reopen().await; // a failed write shuts redb's reads too
    }

    async fn reopen(&self) {
        let catalogue = Arc::clone(&self.shared.catalogue);
        match tokio::task::spawn_blocking(move || catalogue.replica.reopen()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(error = %chain(&error), "the replica cannot be opened again"),
            Err(error) => tracing::error!(%error, "the replica cannot be opened again"),
        }
    }

    /// The rows are lost: the feed has them. What is cached is served on meanwhile.
    async fn begin_again(&mut self, why: &str) {
        self.shared.counters.replica_failures.increment(1);
        let (catalogue, why) = (Arc::clone(&self.shared.catalogue), why.to_owned());
        let _ = tokio::task::spawn_blocking(move || catalogue.replica.move_aside(&why)).await;
        self.shared.catalogue.begin_again();
        self.state.lost = Some(Instant::now());
        self.state.position = Revision::ZERO;
        self.state.complete = false;
        self.state.pass = Some(FullPass { after_loss: true, ..FullPass::default() });
        self.shared.readiness.set_complete(false);
        self.shared.served.store(0, Ordering::Release);
        if let Err(error) = self.acknowledge_at(Revision::ZERO).await {
            tracing::warn!(error = %chain(&error), "the feed was not told of the lost replica");
        }
    }

    async fn look_into_suspicions(&mut self) {
        let found = std::mem::take(&mut *self.shared.suspicions.found.lock());
        for suspicion in found {
            let disbelieved = self.state.lost.is_some_and(|at| at.elapsed() < DISBELIEF);
            match suspicion {
                Suspicion::Damage(_) | Suspicion::Missing(_) if disbelieved => {}
                Suspicion::Damage(why) => return self.begin_again(&why).await,
                Suspicion::Disk => self.reopen().await,
                Suspicion::Missing(domain) => {
                    // Nobody else writes, so a listed name without a row cannot be a change that is half done.
                    let catalogue = Arc::clone(&self.shared.catalogue);
                    let missing = tokio::task::spawn_blocking(move || {
                        catalogue.is_listed(&domain)
                            && !catalogue.is_held(&domain)
                            && matches!(catalogue.replica.host(&domain), Ok(None))
                    });
                    if missing.await.unwrap_or(false) {
                        return self.begin_again("a listed host has no row").await;
                    }
                }
            }
        }
    }

    /// Returns when every worker has finished what it was doing: a worker looks up and writes an answer without
    /// a pause in between, so afterwards nobody is about to write an older one.
    async fn barrier(&self) {
        for worker in &self.workers {
            let _ = worker.spawn(async {}).await;
        }
    }

    async fn acknowledge(&mut self) -> Result<(), FeedError> {
        let position = self.state.position;
        let due = self.state.acknowledged.is_none_or(|(last, at)| last != position || at.elapsed() >= HEARTBEAT);
        if due { self.acknowledge_at(position).await } else { Ok(()) }
    }

    async fn acknowledge_at(&mut self, position: Revision) -> Result<(), FeedError> {
        let feed = Arc::clone(&self.feed);
        self.ask(feed.acknowledge(position)).await?;
        self.state.acknowledged = Some((position, Instant::now()));
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges")]
    fn show(&self) {
        let counters = &self.shared.counters;
        counters.feed_position.set(self.shared.served.load(Ordering::Relaxed) as f64);
        counters.feed_lag.set(self.state.caught_up.elapsed().as_secs_f64());
        counters.replica_entries.set(self.shared.catalogue.replica.len() as f64);
        counters.replica_writable.set(f64::from(u8::from(self.shared.catalogue.replica.is_writable())));
        counters.unsaved_entries.set(self.shared.catalogue.held_len() as f64);
        counters.cache_entries.set(self.shared.catalogue.cached() as f64);
        counters.connections.set(self.shared.admission.open() as f64);
    }
}

fn batch(changes: &[EdgeChange], now: Timestamp, catalogue: &Catalogue) -> Batch {
    let mut batch = Batch::default();
    let mut issuers = HashMap::new();
    for change in changes {
        let domain = change.domain.as_str().to_owned();
        match &change.entry {
            EdgeEntry::Host(host) => {
                let (mut row, chain) = HostRow::split(host);
                for (key, der) in chain {
                    issuers.entry(key).or_insert_with(|| der.to_vec());
                }
                // Looked up for what has expired alone, which is next to never.
                if host.not_after <= now
                    && catalogue.row(&domain).is_some_and(|own| row.keep_working_certificate(&own, now))
                {
                    tracing::warn!(domain, "the feed has an expired certificate: the one that works is kept");
                }
                batch.hosts.push((domain, Some(row.encode())));
            }
            EdgeEntry::HostHeld { domain_id } if serves(catalogue, &domain, *domain_id) => {
                tracing::warn!(domain, "the feed has nothing to serve for this registration: what works is kept");
            }
            EdgeEntry::HostGone | EdgeEntry::HostHeld { .. } => batch.hosts.push((domain, None)),
            EdgeEntry::Challenge(challenge) => batch.challenges.push((domain, Some(challenge.clone()))),
            EdgeEntry::ChallengeGone => batch.challenges.push((domain, None)),
        }
    }
    batch.issuers = issuers.into_iter().collect();
    batch
}

/// Whether what is served for this name is of this registration.
fn serves(catalogue: &Catalogue, domain: &str, registration: DomainId) -> bool {
    catalogue.row(domain).is_some_and(|row| row.domain_id == registration)
}

/// Between half of it and all of it, so that many edges do not come back at once.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) % 512;
    pause * (512 + u32::try_from(random).unwrap_or(0)) / 1_024
}
