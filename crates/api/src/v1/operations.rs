//! Bulk operations: how far they have come.

pub(crate) mod cancel;
pub(crate) mod list;
pub(crate) mod read;
pub(crate) mod results;

use chrono::{DateTime, Utc};
use mtasts_store::{Operation, OperationKind, OperationState};
use serde::Serialize;
use utoipa::ToSchema;

/// Many changes that were asked for in one request.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Operation)]
pub(crate) struct OperationBody {
    /// Its id.
    #[schema(example = "op_0190c3a0b1c27d3e8f4051627384950a")]
    id: String,
    /// What its lines are.
    #[schema(value_type = KindSchema)]
    kind: &'static str,
    /// How far it has come.
    #[schema(value_type = StateSchema)]
    state: &'static str,
    /// How many lines it has.
    #[schema(example = 10_000)]
    total: u32,
    /// How many of them had their effect.
    #[schema(example = 4_196)]
    succeeded: u32,
    /// How many of them were refused.
    #[schema(example = 4)]
    failed: u32,
    /// How much of it is done, in percent.
    #[schema(example = 42, maximum = 100)]
    progress: u32,
    /// Who asked for it: the id of an API key.
    #[schema(example = "key_0190c3a0b1c27d3e8f4051627384950a")]
    created_by: String,
    /// When it was asked for.
    created_at: DateTime<Utc>,
    /// When its first lines were done; null until they are.
    #[schema(required)]
    started_at: Option<DateTime<Utc>>,
    /// When it was done or cancelled; null until it is. It is kept for 7 days from then on.
    #[schema(required)]
    finished_at: Option<DateTime<Utc>>,
}

/// What the lines of an operation are.
#[derive(ToSchema)]
#[schema(as = OperationKind, rename_all = "lowercase")]
#[expect(dead_code, reason = "the schema of `OperationKind`, which knows nothing of OpenAPI")]
enum KindSchema {
    /// Changes of several kinds.
    Batch,
    /// Domains to register.
    Import,
}

/// How far an operation has come.
#[derive(ToSchema)]
#[schema(as = OperationState, rename_all = "lowercase")]
#[expect(dead_code, reason = "the schema of `OperationState`, which knows nothing of OpenAPI")]
enum StateSchema {
    /// It waits.
    Queued,
    /// Some of its lines are done.
    Running,
    /// All lines are done.
    Done,
    /// It was stopped; what was done until then stays done.
    Cancelled,
}

impl From<Operation> for OperationBody {
    fn from(operation: Operation) -> Self {
        let done = u64::from(operation.succeeded) + u64::from(operation.failed);
        let progress = done * 100 / u64::from(operation.total.max(1));
        Self {
            id: operation.id.to_string(),
            kind: OperationKind::as_str(operation.kind),
            state: OperationState::as_str(operation.state),
            total: operation.total,
            succeeded: operation.succeeded,
            failed: operation.failed,
            progress: u32::try_from(progress).unwrap_or(100),
            created_by: operation.actor.word(operation.tenant_id),
            created_at: operation.created_at,
            started_at: operation.started_at,
            finished_at: operation.finished_at,
        }
    }
}
