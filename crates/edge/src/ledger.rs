//! The served ledger: when this edge last served which version. What "safe to remove" is computed from.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use chrono::TimeDelta;
use mtasts_model::{DomainId, PolicyVersionId, TenantId, Timestamp, feed::ServedLine};
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::{
    catalogue::Catalogue,
    counters::Counters,
    entry::Entry as Host,
    error::chain,
    feed::Feed,
    readiness::{Note, ReadinessState},
    replica::ReplicaError,
};

/// Lines per call of the feed.
const CHUNK: usize = 5_000;
const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// The longest between reading the clock for a request and counting it.
const COUNTING: TimeDelta = TimeDelta::seconds(1);

struct Count {
    tenant_id: TenantId,
    domain_id: DomainId,
    last_served_at: Timestamp,
    requests: u64,
}

/// Whether the feed has all that this edge knows about what it served.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an edge whose ledger waits must stay registered, so that withdrawals wait for it too"]
pub enum Handover {
    /// All of it.
    Complete,
    /// Not all of it. What waits was kept on the disk where that was possible, for the next start to hand over.
    Waiting {
        /// Policy versions with requests that the feed does not know of. With none, the feed lacks the word that the
        /// ledger is complete.
        lines: usize,
        /// What the feed said, for a log.
        why: String,
    },
}

/// Counts by version, in one map per worker so that workers do not wait for each other.
pub(crate) struct Ledger {
    stripes: Box<[Mutex<HashMap<PolicyVersionId, Count>>]>,
    /// Taken from the stripes, not yet by the feed.
    pending: Mutex<HashMap<PolicyVersionId, Count>>,
    /// Whether the replica holds lines.
    kept: Mutex<bool>,
}

impl Ledger {
    /// `found`: what an earlier run could not hand over.
    pub(crate) fn new(workers: usize, found: Vec<ServedLine>) -> Self {
        let ledger = Self {
            stripes: (0..workers.max(1)).map(|_| Mutex::new(HashMap::new())).collect(),
            pending: Mutex::new(HashMap::new()),
            kept: Mutex::new(!found.is_empty()),
        };
        let mut pending = ledger.pending.lock();
        for line in found {
            add(&mut pending, &line);
        }
        drop(pending);
        ledger
    }

    /// The policy of this entry has been served.
    pub(crate) fn record(&self, worker: usize, entry: &Host, now: Timestamp) {
        let mut stripe = self.stripes[worker % self.stripes.len()].lock();
        let count = stripe.entry(entry.version_id).or_insert(Count {
            tenant_id: entry.tenant_id,
            domain_id: entry.domain_id,
            last_served_at: now,
            requests: 0,
        });
        count.requests += 1;
        count.last_served_at = count.last_served_at.max(now);
    }

    /// How many lines wait.
    pub(crate) fn pending(&self) -> usize {
        self.pending.lock().len()
    }

    fn collect(&self) {
        for stripe in &self.stripes {
            let counts = std::mem::take(&mut *stripe.lock());
            let mut pending = self.pending.lock();
            for (version_id, count) in counts {
                add(&mut pending, &line(version_id, &count));
            }
        }
    }

    /// Hands over all that waits. What the feed does not take is kept, also on the disk.
    pub(crate) async fn flush(
        &self,
        feed: &dyn Feed,
        catalogue: &Arc<Catalogue>,
        counters: &Counters,
        readiness: &ReadinessState,
        now: Timestamp,
    ) -> Handover {
        // A worker may have read the clock and not yet counted.
        let complete_until = now - COUNTING;
        self.collect();
        let lines = self.lines();
        let mut failure = None;
        // An edge that served nothing says so too: withdrawals wait for the word of every edge.
        let chunks = if lines.is_empty() { vec![&lines[..]] } else { lines.chunks(CHUNK).collect() };
        let last = chunks.len() - 1;
        for (index, chunk) in chunks.into_iter().enumerate() {
            let complete_until = (index == last).then_some(complete_until);
            match timeout(CALL_DEADLINE, feed.flush_served(chunk.to_vec(), complete_until)).await {
                Ok(Ok(())) => self.settle(chunk),
                Ok(Err(error)) => failure = Some(chain(&error)),
                Err(_) => failure = Some("no answer in time".to_owned()),
            }
            if failure.is_some() {
                break;
            }
        }
        if let Some(why) = &failure {
            counters.ledger_errors.increment(1);
            tracing::warn!(lines = self.pending(), why, "the served ledger waits: the feed did not take it");
        }
        readiness.note(Note::Ledger, failure.as_ref().map(|why| format!("the served ledger waits: {why}")));
        if let Err(error) = self.keep(catalogue).await {
            tracing::warn!(error = %chain(&error), "the served ledger cannot be kept on the disk");
        }
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        counters.ledger_pending.set(self.pending() as f64);
        failure.map_or(Handover::Complete, |why| Handover::Waiting { lines: self.pending(), why })
    }

    /// Writes what waits to the disk, where a restart finds it; nothing when nothing waits and nothing was kept.
    pub(crate) async fn keep(&self, catalogue: &Arc<Catalogue>) -> Result<(), ReplicaError> {
        let lines = self.lines();
        let had_kept = std::mem::replace(&mut *self.kept.lock(), !lines.is_empty());
        if lines.is_empty() && !had_kept {
            return Ok(());
        }
        let catalogue = Arc::clone(catalogue);
        tokio::task::spawn_blocking(move || catalogue.replica.keep_ledger(lines.iter()))
            .await
            .unwrap_or_else(|error| Err(ReplicaError::Damaged(error.to_string())))
    }

    fn lines(&self) -> Vec<ServedLine> {
        self.pending.lock().iter().map(|(version_id, count)| line(*version_id, count)).collect()
    }

    /// Takes out what the feed has taken. What came meanwhile stays.
    fn settle(&self, taken: &[ServedLine]) {
        let mut pending = self.pending.lock();
        for line in taken {
            if let Entry::Occupied(mut waiting) = pending.entry(line.version_id) {
                let count = waiting.get_mut();
                count.requests = count.requests.saturating_sub(line.requests);
                if count.requests == 0 {
                    waiting.remove();
                }
            }
        }
    }
}

fn add(map: &mut HashMap<PolicyVersionId, Count>, line: &ServedLine) {
    let count = map.entry(line.version_id).or_insert(Count {
        tenant_id: line.tenant_id,
        domain_id: line.domain_id,
        last_served_at: line.last_served_at,
        requests: 0,
    });
    count.requests += line.requests;
    count.last_served_at = count.last_served_at.max(line.last_served_at);
}

fn line(version_id: PolicyVersionId, count: &Count) -> ServedLine {
    ServedLine {
        tenant_id: count.tenant_id,
        domain_id: count.domain_id,
        version_id,
        last_served_at: count.last_served_at,
        requests: count.requests,
    }
}
