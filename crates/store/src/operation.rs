//! Bulk operations: many changes that were asked for at once, and are carried out in chunks.

use chrono::TimeDelta;
use mtasts_model::{OperationId, TenantId, Timestamp};
use sea_orm::FromQueryResult;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::{Actor, ActorKind, Store, StoreError, sql, stored::At};

/// How long an operation that has ended is kept, with the results of its lines.
const KEPT: TimeDelta = TimeDelta::days(7);

/// The most rows that one statement forgets.
const PRUNED_AT_ONCE: i64 = 10_000;

/// What its lines are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationKind {
    /// Changes of several kinds: each line says which.
    Batch,
    /// Domains to register.
    Import,
}

impl OperationKind {
    const ALL: [Self; 2] = [Self::Batch, Self::Import];

    /// The word in the API and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Import => "import",
        }
    }
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationState {
    /// It waits.
    Queued,
    /// Some of its lines are done.
    Running,
    /// All lines are done.
    Done,
    /// It was stopped; what was done until then stays done.
    Cancelled,
}

impl OperationState {
    const ALL: [Self; 4] = [Self::Queued, Self::Running, Self::Done, Self::Cancelled];

    /// The word in the API and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing of it is to be done any more.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled)
    }
}

/// An operation, without its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its id.
    pub id: OperationId,
    /// Whose.
    pub tenant_id: TenantId,
    /// What its lines are.
    pub kind: OperationKind,
    /// How far it has come.
    pub state: OperationState,
    /// Who asked for it, by which request.
    pub actor: Actor,
    /// How many lines it has.
    pub total: u32,
    /// How many of them had their effect.
    pub succeeded: u32,
    /// How many of them were refused.
    pub failed: u32,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When its first chunk was committed.
    pub started_at: Option<Timestamp>,
    /// When it was done or cancelled.
    pub finished_at: Option<Timestamp>,
}

/// What an operation is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOperation {
    /// Drawn by the caller.
    pub id: OperationId,
    /// What its lines are.
    pub kind: OperationKind,
    /// In ascending order of their numbers; at least one.
    pub lines: Vec<OperationLine>,
}

/// One line as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationLine {
    /// Its number; the first is 1.
    pub number: u32,
    /// Its octets; none if it was too long to be kept.
    pub body: Option<Vec<u8>>,
}

/// What became of a line.
#[derive(Debug, Clone, PartialEq)]
pub struct LineOutcome {
    /// The line.
    pub number: u32,
    /// Whether it was refused.
    pub failed: bool,
    /// What the API tells of it.
    pub result: Json,
}

pub use crate::tenant_tx::OperationChunk;

/// All columns that [`OperationRow`] reads.
pub(crate) const COLUMNS: &str =
    "id, tenant_id, kind, state, actor, source, request_id, total, succeeded, failed, last_line, created_at,
    started_at, finished_at, failures";

/// The condition that the operator has suspended an operation's tenant, or the provider above who asked for it, whose id
/// then stands in the actor's word ([`Actor::word`]). The operation's table is named so in the statement. Two look-ups by
/// primary key: a join would read all tenants.
macro_rules! suspended {
    ($operation:literal) => {
        concat!(
            "((SELECT t.suspended_at FROM tenants t WHERE t.id = ",
            $operation,
            ".tenant_id) IS NOT NULL OR (SELECT t.suspended_at FROM tenants t WHERE t.id = substring(",
            $operation,
            ".actor FROM '^(?:key_[0-9a-f]+|oidc) of ten_([0-9a-f]{32})')::uuid) IS NOT NULL)"
        )
    };
}
pub(crate) use suspended;

#[derive(Debug, FromQueryResult)]
pub(crate) struct OperationRow {
    id: Uuid,
    tenant_id: Uuid,
    kind: String,
    state: String,
    actor: String,
    source: Option<String>,
    request_id: Option<String>,
    total: i32,
    succeeded: i32,
    failed: i32,
    pub(crate) last_line: i32,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    pub(crate) failures: i32,
}

/// Why an actor cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the actor is of a kind that is not known here")]
struct UnknownActor;

impl TryFrom<OperationRow> for Operation {
    type Error = StoreError;

    fn try_from(row: OperationRow) -> Result<Self, StoreError> {
        let at = At { table: "operations", row: row.id };
        let tenant_id = TenantId::from_uuid(row.tenant_id);
        let actor = ActorKind::read(&row.actor, tenant_id).ok_or_else(|| at.unreadable("actor", UnknownActor))?;
        let source = row.source.map(|source| source.parse().map_err(|error| at.unreadable("source", error)));
        Ok(Self {
            id: OperationId::from_uuid(row.id),
            tenant_id,
            kind: at.word("kind", &row.kind, &OperationKind::ALL, OperationKind::as_str)?,
            state: at.word("state", &row.state, &OperationState::ALL, OperationState::as_str)?,
            actor: Actor { kind: actor, source: source.transpose()?, request_id: row.request_id },
            total: at.number("total", row.total)?,
            succeeded: at.number("succeeded", row.succeeded)?,
            failed: at.number("failed", row.failed)?,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        })
    }
}

impl Store {
    /// Notes that a chunk of this operation could not be committed, and that the next is to be tried at `not_before`.
    pub async fn note_failed_chunk(&self, id: OperationId, not_before: Timestamp) -> Result<(), StoreError> {
        let tx = self.runner_tx().await?;
        let note = "UPDATE operations SET failures = failures + 1, not_before = $1
            WHERE id = $2 AND finished_at IS NULL";
        sql::execute(&tx, note, vec![not_before.into(), id.as_uuid().into()]).await?;
        tx.commit().await?;
        Ok(())
    }

    /// A transaction that sees all tenants' operations, and nothing of what their lines say.
    pub(crate) async fn runner_tx(&self) -> Result<sea_orm::DatabaseTransaction, StoreError> {
        let tx = self.begin().await?;
        let set = "SELECT set_config('role', 'mtasts_api', true), set_config('app.runner', 'on', true)";
        sql::execute(&tx, set, vec![]).await?;
        Ok(tx)
    }

    /// Forgets operations that ended a week ago, with their lines; 10,000 rows at most. Returns how many rows went: call
    /// again while there are any.
    pub async fn prune_operations(&self, now: Timestamp) -> Result<u64, StoreError> {
        let values = || vec![(now - KEPT).into(), PRUNED_AT_ONCE.into()];
        let lines = sql::execute(self.db(), OLD_LINES, values()).await?;
        // An operation stays until its last line has gone, so that none is ever left without it.
        Ok(lines + sql::execute(self.db(), OLD_OPERATIONS, values()).await?)
    }
}

/// Operation for operation, oldest first, each by its index: never a walk through all lines.
const OLD_LINES: &str = "
    DELETE FROM operation_lines WHERE (operation_id, line) IN (
        SELECT l.operation_id, l.line
        FROM (SELECT id FROM operations WHERE finished_at < $1 ORDER BY finished_at LIMIT 100) o
        CROSS JOIN LATERAL (SELECT operation_id, line FROM operation_lines WHERE operation_id = o.id LIMIT $2) l
        LIMIT $2)";

const OLD_OPERATIONS: &str = "
    DELETE FROM operations WHERE id = ANY (ARRAY(
        SELECT o.id FROM operations o
        WHERE o.finished_at < $1
            AND (SELECT true FROM operation_lines l WHERE l.operation_id = o.id LIMIT 1) IS NULL
        ORDER BY o.finished_at LIMIT $2))";
