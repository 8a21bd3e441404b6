//! One domain under one lease: plan, do, record, until nothing is left to do now.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures_util::FutureExt;
use mtasts_model::{
    PolicyVersionId, Timestamp, TraceParent,
    lifecycle::{DomainFacts, Plan, Step, StepKind, plan},
};
use mtasts_store::{Lease, StoreError};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, field};

use crate::{
    WorkerConfig, WorkerDeps,
    deadline::answered,
    executor::Context,
    outcome::{Failure, Finding, StepError},
    places::Place,
    record::{Outcome, measure, record, record_settled},
};

/// More steps than any domain needs in a row. Whoever comes here goes to the end of the queue.
const MAX_STEPS: usize = 60;

/// How often the database is tried while it is away or busy. What a step has brought about, such as an order's URL,
/// should not be lost to a short restart of the database.
const PAUSE: Duration = Duration::from_millis(100);

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The domain was given back.
    Settled,
    /// Another worker has it now; nothing of ours was recorded.
    Fenced,
    /// The store is away; the lease runs out by itself.
    StoreUnavailable,
    /// The store refused what it should not; the lease runs out by itself.
    StoreFailed,
}

/// What one step came to.
enum Progress {
    Recorded,
    /// The domain is gone, and the lease with it.
    Ended,
    /// The worker is to stop and the step was abandoned.
    Stopped,
}

pub(crate) struct Session {
    pub(crate) config: Arc<WorkerConfig>,
    pub(crate) deps: Arc<WorkerDeps>,
    pub(crate) lease: Lease,
    /// Free for others when the session ends.
    pub(crate) place: Place,
    pub(crate) stop: CancellationToken,
}

impl Session {
    /// Works on the domain until nothing is to be done now, the lease is lost, or the worker is to stop. A short absence
    /// of the database is waited out.
    pub(crate) async fn run(&self) -> End {
        tokio::select! {
            end = self.work_through() => end,
            () = self.keep_lease() => self.fenced(),
        }
    }

    async fn work_through(&self) -> End {
        loop {
            let error = match self.work().await {
                Ok(()) => return End::Settled,
                Err(error) => error,
            };
            if matches!(error, StoreError::Fenced) {
                return self.fenced();
            }
            if !is_passing(&error) {
                let error = &error as &dyn std::error::Error;
                tracing::error!(domain = %self.lease.domain_id, error, "the store refused; the lease runs out");
                return End::StoreFailed;
            }
            if self.stop.is_cancelled() {
                return End::StoreUnavailable;
            }
            sleep(PAUSE).await;
        }
    }

    fn fenced(&self) -> End {
        tracing::info!(domain = %self.lease.domain_id, "the lease was lost to another worker");
        End::Fenced
    }

    /// Lengthens the lease for as long as the session lives. Resolves when it is lost.
    async fn keep_lease(&self) {
        let pause = (self.config.lease / 3).to_std().unwrap_or_default();
        let mut held_until = self.lease.until;
        loop {
            sleep(pause).await;
            let now = self.deps.clock.now();
            let until = now + self.config.lease;
            match answered(self.deps.store.extend_lease(&self.lease, until, now)).await {
                Ok(()) => held_until = until,
                Err(StoreError::Fenced) => return,
                // While the database is away nobody else can claim the domain either; but once the lease has run out
                // on our side, another may be first when it is back.
                Err(_) if self.deps.clock.now() >= held_until => return,
                Err(_) => {}
            }
        }
    }

    async fn work(&self) -> Result<(), StoreError> {
        let mut change = None;
        for _ in 0..MAX_STEPS {
            let now = self.deps.clock.now();
            let facts = self.facts(now).await?;
            let Plan { step, conditions, wake_at } = plan(&facts, now);
            let Some(step) = step else {
                return record_settled(&self.deps.store, &self.lease, &conditions, wake_at, now).await;
            };
            if self.stop.is_cancelled() {
                return record_settled(&self.deps.store, &self.lease, &conditions, Some(now), now).await;
            }
            let probe = if looks_at_mx(step) { self.place.probe() } else { None };
            if looks_at_mx(step) && probe.is_none() {
                metrics::counter!("mtasts_worker_probes_deferred_total").increment(1);
                // What else the plan waits for may be due sooner.
                let again = now + probe_pause(self.lease.token);
                let wake_at = wake_at.map_or(again, |at| at.min(again));
                return record_settled(&self.deps.store, &self.lease, &conditions, Some(wake_at), now).await;
            }
            let span = self.span(&facts, step, &mut change).await?;
            let progress = self.step(&facts, &conditions, step).instrument(span).await?;
            drop(probe);
            match progress {
                Progress::Recorded => {}
                Progress::Ended => return Ok(()),
                Progress::Stopped => {
                    let now = self.deps.clock.now();
                    return record_settled(&self.deps.store, &self.lease, &conditions, Some(now), now).await;
                }
            }
        }
        tracing::warn!(domain = %self.lease.domain_id, steps = MAX_STEPS, "the domain has no end of steps; others go first");
        let now = self.deps.clock.now();
        let facts = self.facts(now).await?;
        let conditions = plan(&facts, now).conditions;
        record_settled(&self.deps.store, &self.lease, &conditions, Some(now + TimeDelta::seconds(1)), now).await
    }

    async fn facts(&self, now: Timestamp) -> Result<DomainFacts, StoreError> {
        answered(self.deps.store.facts(&self.lease, now, self.config.edge_grace, &self.deps.zones.gates())).await
    }

    /// The span of a step: in the trace of the change that it carries to the world, if it does and there is one.
    async fn span(
        &self,
        facts: &DomainFacts,
        step: Step,
        change: &mut Option<(PolicyVersionId, Option<TraceParent>)>,
    ) -> Result<Span, StoreError> {
        let lease = &self.lease;
        let span = tracing::info_span!("step", step = step.kind().as_str(), domain_id = %lease.domain_id,
            tenant_id = %lease.tenant_id, trace_id = field::Empty);
        if !mtasts_telemetry::is_enabled() {
            return Ok(span);
        }
        let waiting = facts.version.as_ref().filter(|version| version.published_at.is_none() && carries_change(step));
        if let Some(version) = waiting {
            let trace = match *change {
                Some((known, trace)) if known == version.id => trace,
                _ => answered(self.deps.store.trace_of(version.id)).await?,
            };
            *change = Some((version.id, trace));
            if let Some(trace) = trace {
                mtasts_telemetry::join(&span, &trace);
            }
        }
        if let Some(trace) = mtasts_telemetry::exported_trace(&span) {
            span.record("trace_id", trace);
        }
        Ok(span)
    }

    async fn step(
        &self,
        facts: &DomainFacts,
        conditions: &[mtasts_model::Condition],
        step: Step,
    ) -> Result<Progress, StoreError> {
        let started = Instant::now();
        let kind = step.kind();
        let context = Context { config: &self.config, deps: &self.deps, lease: &self.lease, facts };
        let outcome = tokio::select! {
            outcome = execute(&context, step, self.config.step_deadline) => outcome,
            () = self.patience() => {
                tracing::info!(domain = %facts.domain_id, name = %facts.name, step = kind.as_str(), "abandoned to stop");
                return Ok(Progress::Stopped);
            }
        };
        let elapsed = started.elapsed();
        metrics::histogram!("mtasts_worker_step_seconds", "step" => kind.as_str()).record(elapsed.as_secs_f64());
        let refusal = match outcome {
            Ok(finding) => match self.record(kind, &Outcome::Done { finding: &finding, conditions }).await {
                Ok(()) => {
                    self.note_finding(facts, kind, &finding, elapsed);
                    count(kind, finding.outcome());
                    let ended = matches!(finding, Finding::Finished);
                    return Ok(if ended { Progress::Ended } else { Progress::Recorded });
                }
                Err(error) => error,
            },
            Err(StepError::Failed(failure)) => {
                self.record(kind, &Outcome::Failed(&failure)).await?;
                note_failure(facts, kind, &failure, elapsed);
                count(kind, "failed");
                return Ok(Progress::Recorded);
            }
            Err(StepError::Store(error)) => error,
        };
        if is_passing(&refusal) || matches!(refusal, StoreError::Fenced) {
            return Err(refusal);
        }
        // The world has moved between plan and record, such as a version superseded by the tenant; or it is a defect
        // of ours. Either way this domain backs off and plans anew, and no other notices.
        let failure = Failure::caused("Refused", &refusal);
        self.record(kind, &Outcome::Failed(&failure)).await?;
        note_failure(facts, kind, &failure, elapsed);
        count(kind, "refused");
        Ok(Progress::Recorded)
    }

    /// Records an outcome, through short absences of the database as well, for as long as the lease is held.
    async fn record(&self, kind: StepKind, outcome: &Outcome<'_>) -> Result<(), StoreError> {
        loop {
            let now = self.deps.clock.now();
            match record(&self.deps.store, &self.lease, kind, outcome, now).await {
                Err(error) if is_passing(&error) => sleep(PAUSE).await,
                other => return other,
            }
        }
    }

    /// Resolves when a step under way is to be abandoned.
    async fn patience(&self) {
        self.stop.cancelled().await;
        sleep(self.config.stop_grace).await;
    }

    fn note_finding(&self, facts: &DomainFacts, kind: StepKind, finding: &Finding, elapsed: Duration) {
        measure(facts, finding, self.deps.clock.now());
        let (domain, name, step) = (facts.domain_id, &facts.name, kind.as_str());
        let elapsed_ms = millis(elapsed);
        match finding {
            Finding::OrderClosed { problem, .. } => {
                tracing::warn!(%domain, %name, step, elapsed_ms, problem, "the order was closed without a certificate");
            }
            // A CA at work is asked a few times a second at first.
            Finding::MxPutOff { until } => tracing::debug!(%domain, %name, step, elapsed_ms, %until, "no room yet"),
            Finding::OrderWait { .. } => tracing::debug!(%domain, %name, step, elapsed_ms, "nothing new yet"),
            _ => tracing::info!(%domain, %name, step, elapsed_ms, "step done"),
        }
    }
}

/// Whether a stranger's hosts decide how long the step takes.
fn looks_at_mx(step: Step) -> bool {
    matches!(step, Step::DiscoverMx | Step::ProbeMx)
}

/// Whether the step brings a version nearer to senders.
fn carries_change(step: Step) -> bool {
    matches!(
        step.kind(),
        StepKind::ServeHost
            | StepKind::MarkServed
            | StepKind::VerifyServed
            | StepKind::WriteRecords
            | StepKind::ConfirmRecords
    )
}

/// When a domain whose look at its MX hosts found no place tries again: two to four seconds, not all at once.
fn probe_pause(token: i64) -> TimeDelta {
    TimeDelta::seconds(2) + TimeDelta::milliseconds(token.rem_euclid(8) * 250)
}

/// Does the step within its time; a panic in it is a failure of this domain alone.
async fn execute(context: &Context<'_>, step: Step, allowed: Duration) -> Result<Finding, StepError> {
    let guarded = AssertUnwindSafe(context.execute(step)).catch_unwind();
    match timeout(allowed, guarded).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => {
            let message = panic_message(&*panic);
            tracing::error!(domain = %context.facts.domain_id, step = step.kind().as_str(), message, "a step panicked");
            Err(Failure::new("InternalError", "A fault in the service; it is logged, and the step is tried again.")
                .into())
        }
        Err(_) => {
            let message = format!("The step was not done within {} s.", allowed.as_secs());
            Err(Failure::new("TooSlow", message).into())
        }
    }
}

/// Whether the store may well do the same later.
fn is_passing(error: &StoreError) -> bool {
    error.is_unavailable() || error.is_transient()
}

fn count(kind: StepKind, outcome: &'static str) {
    metrics::counter!("mtasts_worker_steps_total", "step" => kind.as_str(), "outcome" => outcome).increment(1);
}

fn note_failure(facts: &DomainFacts, kind: StepKind, failure: &Failure, elapsed: Duration) {
    let (domain, name, step) = (facts.domain_id, &facts.name, kind.as_str());
    let Failure { reason, message, .. } = failure;
    tracing::warn!(%domain, %name, step, elapsed_ms = millis(elapsed), reason, message, "step failed");
}

fn millis(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
