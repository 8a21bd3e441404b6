//! Hands what is wanted of one hosting to its provider, while the hosting is this worker's.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use mtasts_dns::{Known, ProviderError, RecordChange};
use mtasts_model::Timestamp;
use mtasts_store::{
    Channel, DueWrite, HostingLease, HostingWork, NudgeReceiver, StoreError, WriteKey, WriteOutcome, WriteResult,
};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Hosting;
use crate::{WorkerConfig, WorkerDeps, deadline::answered, outcome::causes};

/// For one batch, however slow the provider's answers are: longer than any provider's own deadlines.
const BATCH_DEADLINE: Duration = Duration::from_mins(2);
/// How long a provider that takes nothing is left alone, at first and at most. Its own wish counts more.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(2));
/// How soon one refused record set is tried again, at first and at most: what could pass, and what somebody must mend.
const AGAIN_PASSING: (TimeDelta, TimeDelta) = (TimeDelta::seconds(2), TimeDelta::minutes(5));
const AGAIN_REFUSED: (TimeDelta, TimeDelta) = (TimeDelta::seconds(30), TimeDelta::minutes(15));

/// One hosting's task.
pub(crate) struct Writer {
    pub(crate) config: Arc<WorkerConfig>,
    pub(crate) deps: Arc<WorkerDeps>,
    pub(crate) hosting: Hosting,
}

/// Why a batch did not go through.
pub(super) enum Trouble {
    Store(StoreError),
    /// The provider takes nothing, or nobody knows what it took.
    Provider(ProviderError),
    /// It did not answer in time.
    Silent,
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Writer {
    /// Writes whenever the hosting is free, until `stop` is cancelled.
    pub(crate) async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.claim().await {
                Ok(Some(lease)) => {
                    tracing::info!(hosting = self.hosting.id, zone = %lease.zone, "this worker writes to the hosting");
                    tokio::select! {
                        () = self.keep(&lease) => {
                            tracing::info!(hosting = self.hosting.id, "another worker writes to the hosting");
                        }
                        () = self.work(&lease) => {}
                        () = self.upkeep(&lease) => {}
                        () = stop.cancelled() => {}
                    }
                    // Whoever was fenced off releases nothing.
                    let released = self.deps.store.release_hosting(&lease, self.now());
                    if let Err(error) = answered(released).await {
                        tracing::debug!(hosting = self.hosting.id, %error, "the hosting could not be given back");
                    }
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(hosting = self.hosting.id, %error, "the hosting could not be claimed"),
            }
            let _ = timeout(self.config.poll, stop.cancelled()).await;
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.deps.clock.now()
    }

    async fn claim(&self) -> Result<Option<HostingLease>, StoreError> {
        let (id, zone) = (&self.hosting.id, self.hosting.provider.zone());
        answered(self.deps.store.claim_hosting(id, zone, &self.config.name, self.config.lease, self.now())).await
    }

    /// Lengthens the claim. Resolves when it is lost.
    async fn keep(&self, lease: &HostingLease) {
        let pause = (self.config.lease / 3).to_std().unwrap_or_default();
        let mut held_until = lease.until;
        loop {
            sleep(pause).await;
            match self.claim().await {
                Ok(Some(renewed)) if renewed.token == lease.token => held_until = renewed.until,
                Ok(_) => return,
                Err(_) if self.now() >= held_until => return,
                Err(_) => {}
            }
        }
    }

    /// Hands over what is wanted, for ever. Returns when another worker has the hosting.
    async fn work(&self, lease: &HostingLease) {
        if self.hosting.provider.follows_feed() {
            return std::future::pending().await;
        }
        let mut nudges = self.deps.store.nudges(Channel::Zone);
        let mut failures = 0_u32;
        loop {
            let pause = match self.hand_over(lease).await {
                Ok(true) => {
                    failures = 0;
                    continue;
                }
                Ok(false) => {
                    failures = 0;
                    self.rest(lease, &mut nudges).await;
                    continue;
                }
                Err(Trouble::Store(StoreError::Fenced)) => return,
                Err(Trouble::Store(error)) => {
                    tracing::debug!(hosting = self.hosting.id, %error, "the store is away");
                    BACKOFF.0
                }
                Err(Trouble::Provider(error)) => {
                    failures = failures.saturating_add(1);
                    self.note_problem(lease, error.reason(), &causes(&error)).await;
                    error.retry_after().unwrap_or_default().max(growing(BACKOFF, failures))
                }
                Err(Trouble::Silent) => {
                    failures = failures.saturating_add(1);
                    let message = format!("The DNS provider did not answer within {} s.", BATCH_DEADLINE.as_secs());
                    self.note_problem(lease, "DnsProviderUnavailable", &message).await;
                    growing(BACKOFF, failures)
                }
            };
            sleep(pause).await;
        }
    }

    /// Until there may be something to hand over.
    async fn rest(&self, lease: &HostingLease, nudges: &mut NudgeReceiver) {
        let poll = self.config.poll.max(Duration::from_secs(1)) * 5;
        let pause = match answered(self.deps.store.hosting_retry_at(lease)).await {
            Ok(Some(at)) => (at - self.now()).to_std().unwrap_or_default().clamp(Duration::from_millis(50), poll),
            _ => poll,
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = nudges.changed() => {}
        }
    }

    /// Hands one batch over. True when more may be waiting.
    async fn hand_over(&self, lease: &HostingLease) -> Result<bool, Trouble> {
        let provider = &*self.hosting.provider;
        let limit = u32::try_from(provider.batch_size()).unwrap_or(u32::MAX).max(1);
        let HostingWork { writes, position, more } =
            answered(self.deps.store.hosting_due(lease, limit, self.now())).await?;
        if writes.is_empty() {
            return Ok(false);
        }
        // A removal of what the provider never heard of is done.
        let (idle, handed): (Vec<_>, Vec<_>) = writes.iter().partition(|write| write.set.is_none() && !write.attempted);
        let mut outcomes: Vec<_> =
            idle.into_iter().map(|write| WriteOutcome { key: key(write), result: WriteResult::Removed }).collect();
        if !handed.is_empty() {
            let keys: Vec<_> = handed.iter().map(|write| key(write)).collect();
            answered(self.deps.store.hosting_begins(lease, &keys)).await?;
            let changes: Vec<_> = handed.iter().map(|write| change(write)).collect();
            let started = Instant::now();
            let answer = timeout(BATCH_DEADLINE, provider.apply(&changes)).await;
            let id = self.hosting.id.clone();
            metrics::histogram!("mtasts_zone_batch_seconds", "hosting" => id).record(started.elapsed().as_secs_f64());
            let results = match answer {
                Ok(Ok(results)) => results,
                Ok(Err(error)) => return Err(Trouble::Provider(error)),
                Err(_) => return Err(Trouble::Silent),
            };
            if results.len() != changes.len() {
                return Err(Trouble::Provider(ProviderError::Other(
                    "a provider that gives no outcome for each change".into(),
                )));
            }
            let now = self.now();
            for (write, result) in handed.iter().zip(results) {
                outcomes.push(WriteOutcome { key: key(write), result: self.result(write, result, now) });
            }
        }
        self.record(lease, &outcomes, position).await?;
        Ok(more)
    }

    /// Notes what the provider answered, also through a short absence of the database: it would be asked again.
    async fn record(
        &self,
        lease: &HostingLease,
        outcomes: &[WriteOutcome],
        position: mtasts_model::Revision,
    ) -> Result<(), StoreError> {
        loop {
            let recorded = self.deps.store.hosting_outcomes(lease, outcomes, position, self.now());
            match answered(recorded).await {
                Err(error) if error.is_unavailable() || error.is_transient() => sleep(BACKOFF.0).await,
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        // A batch of which nothing got through says nothing good of the provider.
        if outcomes.iter().all(|outcome| matches!(outcome.result, WriteResult::Failed { .. })) {
            return Ok(());
        }
        let id = &self.hosting.id;
        metrics::gauge!("mtasts_zone_provider_up", "hosting" => id.clone()).set(1.0);
        answered(self.deps.store.hosting_problem(lease, None, self.now())).await
    }

    fn result(
        &self,
        write: &DueWrite,
        result: Result<mtasts_dns::Applied, ProviderError>,
        now: Timestamp,
    ) -> WriteResult {
        let (id, name, record_type) = (&self.hosting.id, &write.name, write.record_type);
        let outcome = result.as_ref().map_or_else(ProviderError::reason, |_| "done");
        metrics::counter!("mtasts_zone_writes_total", "hosting" => id.clone(), "outcome" => outcome).increment(1);
        match result {
            Ok(_) if write.set.is_none() => WriteResult::Removed,
            Ok(applied) => WriteResult::Arrived { reference: applied.reference },
            Err(error) => {
                let (reason, message) = (error.reason(), causes(&error));
                tracing::warn!(hosting = id, name, %record_type, reason, message, "the DNS provider does not take a record set");
                let (least, most) = if error.is_passing() { AGAIN_PASSING } else { AGAIN_REFUSED };
                let wait = (least * 2_i32.saturating_pow(write.tries.min(20))).clamp(least, most);
                let asked = error.retry_after().and_then(|wait| TimeDelta::from_std(wait).ok());
                let retry_at = now + asked.unwrap_or_default().max(wait);
                WriteResult::Failed { reason: reason.to_owned(), message, retry_at }
            }
        }
    }

    pub(super) async fn note_problem(&self, lease: &HostingLease, reason: &'static str, message: &str) {
        let id = &self.hosting.id;
        tracing::warn!(hosting = id, reason, message, "the DNS provider does not take what it should");
        metrics::counter!("mtasts_zone_provider_failures_total", "hosting" => id.clone(), "reason" => reason)
            .increment(1);
        metrics::gauge!("mtasts_zone_provider_up", "hosting" => id.clone()).set(0.0);
        let noted = self.deps.store.hosting_problem(lease, Some((reason, message)), self.now());
        if let Err(error) = answered(noted).await {
            tracing::debug!(hosting = id, %error, "the problem could not be noted");
        }
    }
}

fn key(write: &DueWrite) -> WriteKey {
    WriteKey { name: write.name.clone(), record_type: write.record_type }
}

fn change(write: &DueWrite) -> RecordChange {
    let known = match &write.reference {
        Some(reference) => Known::At(reference.clone()),
        None if write.attempted => Known::Perhaps,
        None => Known::Never,
    };
    RecordChange { name: write.name.clone(), record_type: write.record_type, set: write.set.clone(), known }
}

fn growing((least, most): (Duration, Duration), failures: u32) -> Duration {
    least.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(16))).min(most)
}
