//! Tells tenants what their reports say: looks at each domain whose sums have changed, and at those whose reporters may
//! have fallen silent. What is told and that it was told are one transaction, so that nothing is told twice.

mod rules;

use std::{sync::Arc, time::Duration};

use mtasts_model::{Clock, DomainId};
use mtasts_store::{AlertTx, Store, StoreError};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::rules::Decision;
use crate::deadline::answered;

/// Domains that are asked for at once.
const BATCH: u32 = 100;

/// What looks are made with.
pub struct AlertDeps {
    /// The database, as [`mtasts_store::Role::Worker`].
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The longest wait between looks for domains that are due.
    pub poll: Duration,
}

/// Tells of reports. Any number of them share the domains of one database.
pub struct AlertWorker {
    deps: AlertDeps,
}

impl AlertWorker {
    /// A worker that does nothing until it is run.
    pub fn new(deps: AlertDeps) -> Self {
        Self { deps }
    }

    /// Looks until `stop` is cancelled. Waits while the database is away. Dropped in a look, that look told nothing.
    pub async fn run(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let more = match self.round(&stop).await {
                Ok(more) => more,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "reports cannot be looked at");
                    false
                }
            };
            if !more {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = sleep(self.deps.poll) => {}
                }
            }
        }
    }

    /// One batch. True: there are more.
    async fn round(&self, stop: &CancellationToken) -> Result<bool, StoreError> {
        let now = self.deps.clock.now();
        let due = answered(self.deps.store.due_alerts(BATCH, now)).await?;
        let late = due.since.map_or(0, |since| (now - since).num_seconds());
        metrics::gauge!("mtasts_alerts_waiting_seconds").set(f64::from(i32::try_from(late).unwrap_or(i32::MAX)));
        let mut looked = false;
        for domain in &due.domains {
            if stop.is_cancelled() {
                return Ok(false);
            }
            match answered(self.look(*domain)).await {
                Ok(done) => looked |= done,
                Err(error) if error.is_unavailable() => return Err(error),
                Err(error) => {
                    tracing::error!(%domain, error = &error as &dyn std::error::Error, "the look at a domain's reports failed");
                    metrics::counter!("mtasts_alert_looks_total", "outcome" => "failed").increment(1);
                    answered(self.deps.store.put_off_alerts(*domain, self.deps.clock.now())).await?;
                }
            }
        }
        // Where others are at all of them there is no hurry.
        Ok(looked && due.domains.len() >= usize::try_from(BATCH).unwrap_or(usize::MAX))
    }

    async fn look(&self, domain: DomainId) -> Result<bool, StoreError> {
        let now = self.deps.clock.now();
        let Some(mut tx) = self.deps.store.alert_tx(domain, now).await? else { return Ok(false) };
        let decision = rules::decide(&tx.facts().await?, now);
        let told: Vec<_> = decision.events.iter().map(|event| event.event_type().as_str()).collect();
        carry_out(&mut tx, &decision).await?;
        tx.settle(decision.next, decision.quarantine_told).await?;
        metrics::counter!("mtasts_alert_looks_total", "outcome" => "done").increment(1);
        for event_type in told {
            metrics::counter!("mtasts_alerts_told_total", "type" => event_type).increment(1);
        }
        Ok(true)
    }
}

async fn carry_out(tx: &mut AlertTx, decision: &Decision) -> Result<(), StoreError> {
    for event in &decision.events {
        tx.tell(event.clone()).await?;
    }
    for memory in &decision.remember {
        tx.remember(memory).await?;
    }
    for (alert, subject) in &decision.forget {
        tx.forget(*alert, subject).await?;
    }
    Ok(())
}
