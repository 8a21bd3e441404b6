//! Claiming due domains, and bearing with a database that is away.

use std::time::Duration;

use chrono::TimeDelta;
use mtasts_model::Timestamp;
use mtasts_store::{Lease, StoreError};

use crate::{WorkerConfig, WorkerDeps, deadline::answered, places::Places, record::seconds};

/// Never look more often than this, whatever is due.
const LEAST_PAUSE: Duration = Duration::from_millis(5);
/// First wait while the database is away; it doubles.
const FIRST_AWAY: Duration = Duration::from_millis(100);
/// Longest wait while the database is away.
const LONGEST_AWAY: Duration = Duration::from_secs(5);

/// What a look for due domains gave.
pub(crate) struct Claimed {
    pub(crate) leases: Vec<Lease>,
    /// As many as were asked for: more may be due.
    full: bool,
    /// When the next one is due, and the time at which that was asked.
    next: Option<Timestamp>,
    asked_at: Timestamp,
}

impl Claimed {
    /// How long nothing will be due, `poll` at most.
    pub(crate) fn pause(&self, poll: Duration) -> Duration {
        if self.full {
            // A place must become free first, or the next batch is claimed at once.
            return if self.leases.is_empty() { poll } else { LEAST_PAUSE };
        }
        let until_next = self.next.map_or(poll, |next| (next - self.asked_at).to_std().unwrap_or_default());
        until_next.clamp(LEAST_PAUSE, poll.max(LEAST_PAUSE))
    }
}

/// Claims as many due domains as there are places, a batch at most.
pub(crate) async fn claim(deps: &WorkerDeps, config: &WorkerConfig, places: &Places) -> Result<Claimed, StoreError> {
    let now = deps.clock.now();
    let limit = config.batch.min(u32::try_from(places.free()).unwrap_or(u32::MAX));
    if limit == 0 {
        return Ok(Claimed { leases: Vec::new(), full: true, next: None, asked_at: now });
    }
    let shares = places.shares();
    let leases = answered(deps.store.claim_due(&config.name, limit, config.lease, now, &shares)).await?;
    let full = u32::try_from(leases.len()).is_ok_and(|count| count >= limit);
    metrics::counter!("mtasts_worker_claims_total").increment(leases.len() as u64);
    let next = answered(deps.store.next_due_at()).await?;
    let late = next.map_or(TimeDelta::zero(), |next| now - next);
    metrics::gauge!("mtasts_worker_queue_age_seconds").set(seconds(late));
    Ok(Claimed { leases, full, next, asked_at: now })
}

/// Waits that grow while the database is away, and one log line when it goes and when it is back.
pub(crate) struct Backoff {
    poll: Duration,
    wait: Option<Duration>,
}

impl Backoff {
    pub(crate) fn new(poll: Duration) -> Self {
        Self { poll, wait: None }
    }

    pub(crate) fn is_away(&self) -> bool {
        self.wait.is_some()
    }

    /// The database answered.
    pub(crate) fn back(&mut self) {
        if self.wait.take().is_some() {
            tracing::info!("the database is back");
        }
    }

    /// It did not. Returns how long to wait.
    pub(crate) fn away(&mut self, error: &StoreError) -> Duration {
        metrics::counter!("mtasts_worker_store_unavailable_total").increment(1);
        if error.is_transient() {
            return self.poll;
        }
        if self.wait.is_none() {
            let error = error as &dyn std::error::Error;
            if error.source().is_some() {
                tracing::warn!(error, "the database cannot be used; waiting");
            } else {
                tracing::warn!(%error, "the database cannot be used; waiting");
            }
        }
        let wait = self.wait.map_or(FIRST_AWAY, |wait| (wait * 2).min(LONGEST_AWAY));
        self.wait = Some(wait);
        wait
    }

    /// A domain's task met a database that was away: said once, by whoever meets it first.
    pub(crate) fn session_lost(&mut self) {
        metrics::counter!("mtasts_worker_store_unavailable_total").increment(1);
        if self.wait.is_none() {
            tracing::warn!("the database went away under a domain's step; waiting");
            self.wait = Some(FIRST_AWAY);
        }
    }
}
