//! Carries operations out: in each process of the API one chunk at a time, and of all tenants that wait the one whose
//! turn is longest ago.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use actix_web::web::Data;
use chrono::TimeDelta;
use futures_util::FutureExt;
use mtasts_model::Timestamp;
use mtasts_store::{Channel, LineOutcome, Operation, OperationChunk, StoreError};
use tokio::sync::watch;

use super::{
    change::{self, Change, Target},
    outcome::Told,
};
use crate::{auth::TenantScope, problem::Problem, state::State};

/// The most lines of a chunk. Each is a subtransaction, of which Postgres handles 64 well.
const LINES: u32 = 50;
/// No further line is begun after this long: others may wait for what a chunk has locked, the edge feed's among it.
const BUDGET: Duration = Duration::from_millis(200);
/// How often it looks although nobody said that there is something.
const POLL: Duration = Duration::from_secs(2);
/// When it looks again where the database was away.
const RETRY: Duration = Duration::from_millis(500);
/// After so many attempts in a row a line is given up that keeps its chunk from being committed.
const ATTEMPTS: u32 = 8;

/// What carries operations out.
pub(crate) struct Runner {
    state: Data<State>,
}

/// Why a chunk was not committed.
#[derive(Debug, thiserror::Error)]
enum ChunkError {
    /// A line met a fault that is not the caller's.
    #[error("line {line}: {problem:?}")]
    Line { line: u32, problem: Problem },
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing makes operations but keys of tenants.
    #[error("the operation was not asked for by an API key")]
    Actor,
    #[error("a line panicked")]
    Panic,
}

impl Runner {
    pub(crate) fn new(state: Data<State>) -> Self {
        Self { state }
    }

    /// Runs until told to stop, or nobody is left to tell; ends with the chunk that is under way.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut nudges = self.state.store.nudges(Channel::Operations);
        let mut told = false;
        while !*stop.borrow() && stop.has_changed().is_ok() {
            let step = self.step().await;
            match &step {
                Ok(_) => told = false,
                Err(error) if told => tracing::debug!(%error, "operations cannot be looked for"),
                Err(error) => {
                    tracing::warn!(%error, "operations cannot be looked for; it is tried again");
                    told = true;
                }
            }
            let pause = match step {
                Ok(true) => continue,
                Ok(false) => POLL,
                Err(_) => RETRY,
            };
            tokio::select! {
                () = nudges.changed() => {}
                () = tokio::time::sleep(pause) => {}
                _ = stop.changed() => {}
            }
        }
    }

    /// Carries out one chunk; false when nothing waits.
    async fn step(&self) -> Result<bool, StoreError> {
        let store = &self.state.store;
        let Some(chunk) = store.next_chunk(LINES, self.state.now()).await? else { return Ok(false) };
        let (id, failures) = (chunk.operation().id, chunk.failures());
        // A panic ends its chunk and not the runner.
        let carried_out = AssertUnwindSafe(self.carry_out(chunk)).catch_unwind().await;
        match carried_out.unwrap_or(Err(ChunkError::Panic)) {
            Ok(operation) => {
                if operation.state.has_ended() {
                    tracing::info!(operation_id = %id, tenant_id = %operation.tenant_id, succeeded = operation.succeeded,
                        failed = operation.failed, "an operation is done");
                }
                Ok(true)
            }
            // The next attempt is as good as this one, once there is a database.
            Err(ChunkError::Store(error)) if error.is_unavailable() => Err(error),
            Err(error) => {
                tracing::warn!(operation_id = %id, failures, %error, "a chunk of an operation was not committed");
                metrics::counter!("mtasts_api_operation_chunk_failures_total").increment(1);
                store.note_failed_chunk(id, later(self.state.now(), failures)).await?;
                Ok(true)
            }
        }
    }

    async fn carry_out(&self, mut chunk: OperationChunk) -> Result<Operation, ChunkError> {
        let began = Instant::now();
        let scope = TenantScope::deferred(self.state.clone(), chunk.operation()).ok_or(ChunkError::Actor)?;
        let kind = chunk.operation().kind;
        let given_up = chunk.failures() >= ATTEMPTS;
        let lines: Vec<_> =
            chunk.lines().iter().map(|line| (line.number, change::read(kind, line.body.as_deref(), &scope))).collect();
        lock(&mut chunk, lines.iter().filter_map(|(_, (_, change))| change.as_ref().ok())).await?;
        let mut outcomes: Vec<LineOutcome> = Vec::with_capacity(lines.len());
        for (number, (mut told, change)) in lines {
            let refused = match change {
                Err(problem) => Some(problem),
                Ok(_) if given_up => Some(Problem::internal("the line was tried several times in vain")),
                Ok(change) => attempt(&mut chunk, change, &scope, &mut told)
                    .await
                    .map_err(|problem| ChunkError::Line { line: number, problem })?,
            };
            if let Some(problem) = refused {
                told.problem = Some(problem.to_value(&self.state.config.public_url, scope.request_id()));
            }
            outcomes.push(told.outcome(number));
            if began.elapsed() > BUDGET {
                break;
            }
        }
        count(&outcomes);
        Ok(chunk.finish(outcomes, self.state.now()).await?)
    }
}

/// Gives the reason if the caller is at fault; a fault of ours undoes the whole chunk.
async fn attempt(
    chunk: &mut OperationChunk,
    change: Change,
    scope: &TenantScope,
    told: &mut Told,
) -> Result<Option<Problem>, Problem> {
    chunk.begin_line().await?;
    match change.carry_out(chunk.tx(), scope, told).await {
        Ok(()) => {
            chunk.keep_line().await?;
            Ok(None)
        }
        Err(problem) if problem.kind().status().is_client_error() => {
            chunk.undo_line().await?;
            Ok(Some(problem))
        }
        Err(problem) => Err(problem),
    }
}

async fn lock(chunk: &mut OperationChunk, changes: impl Iterator<Item = &Change>) -> Result<(), StoreError> {
    let (mut ids, mut names) = (Vec::new(), Vec::new());
    for target in changes.filter_map(Change::target) {
        match target {
            Target::Id(id) => ids.push(*id),
            Target::Name(name) => names.push(name.as_str().to_owned()),
        }
    }
    chunk.lock_domains(&ids, &names).await
}

/// From a quarter of a second to half a minute.
fn later(now: Timestamp, failures: u32) -> Timestamp {
    now + TimeDelta::milliseconds(250_i64 << failures.min(7))
}

fn count(outcomes: &[LineOutcome]) {
    let failed = outcomes.iter().filter(|outcome| outcome.failed).count();
    for (outcome, lines) in [("succeeded", outcomes.len() - failed), ("failed", failed)] {
        let lines = u64::try_from(lines).unwrap_or(u64::MAX);
        metrics::counter!("mtasts_api_operation_lines_total", "outcome" => outcome).increment(lines);
    }
}
