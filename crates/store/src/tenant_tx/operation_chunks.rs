//! Carrying out operations, chunk by chunk: one transaction for the effects of some lines and their results.

use mtasts_model::{DomainId, TenantId, Timestamp};
use sea_orm::{ConnectionTrait, FromQueryResult};
use serde_json::Value as Json;
use uuid::Uuid;

use super::{TenantTx, operations::column};
use crate::{
    LineOutcome, Operation, OperationLine, Store, StoreError,
    operation::{COLUMNS, OperationRow, suspended},
    sql,
    stored::At,
};

/// The operation whose tenant was served longest ago. A tenant's operations run one after the other, in the order in
/// which they came, whatever other processes do: the oldest that has not ended is the only one to be locked. Those that
/// wait for the end of a suspension are passed over, also by later ones.
const CLAIM: &str = concat!(
    "FROM operations o
    WHERE o.finished_at IS NULL AND o.not_before <= $1 AND NOT ",
    suspended!("o"),
    " AND NOT EXISTS (SELECT FROM operations e
            WHERE e.tenant_id = o.tenant_id AND e.finished_at IS NULL AND e.id < o.id AND NOT ",
    suspended!("e"),
    ")
    ORDER BY o.turn LIMIT 1
    FOR NO KEY UPDATE OF o SKIP LOCKED"
);

/// Some lines of one operation, to be carried out in one transaction. The operation's row is locked until it ends, so
/// that nobody else has the same lines. Dropped, nothing of it was done.
#[derive(Debug)]
pub struct OperationChunk {
    tx: TenantTx,
    operation: Operation,
    failures: u32,
    lines: Vec<OperationLine>,
}

#[derive(Debug, FromQueryResult)]
struct LineRow {
    line: i32,
    body: Option<Vec<u8>>,
}

impl Store {
    /// Begins the next chunk, of `most` lines, or of one where the last attempts failed; None when nothing waits, or what
    /// waits is of tenants that are suspended.
    pub async fn next_chunk(&self, most: u32, now: Timestamp) -> Result<Option<OperationChunk>, StoreError> {
        let tx = self.runner_tx().await?;
        let claim = format!("SELECT {COLUMNS} {CLAIM}");
        let Some(row) = sql::one::<OperationRow>(&tx, &claim, vec![now.into()]).await? else { return Ok(None) };
        let (last_line, failures) = (row.last_line, u32::try_from(row.failures).unwrap_or(0));
        let operation = Operation::try_from(row)?;
        let tx = TenantTx::adopt(self.clone(), tx, operation.tenant_id).await?;
        let most = if failures > 0 { 1 } else { most };
        let select = "SELECT line, body FROM operation_lines WHERE operation_id = $1 AND line > $2
            ORDER BY line LIMIT $3";
        let values = vec![operation.id.as_uuid().into(), last_line.into(), i64::from(most).into()];
        let at = At { table: "operation_lines", row: operation.id.as_uuid() };
        let rows = sql::all::<LineRow>(&tx.tx, select, values).await?;
        let lines = rows
            .into_iter()
            .map(|row| Ok(OperationLine { number: at.number("line", row.line)?, body: row.body }))
            .collect::<Result<_, StoreError>>()?;
        Ok(Some(OperationChunk { tx, operation, failures, lines }))
    }
}

impl TenantTx {
    /// From here on the transaction is the tenant's, and sees no other operation any more.
    async fn adopt(store: Store, tx: sea_orm::DatabaseTransaction, tenant: TenantId) -> Result<Self, StoreError> {
        let set = "SELECT set_config('app.tenant', $1, true), set_config('app.runner', 'off', true)";
        sql::execute(&tx, set, vec![tenant.as_uuid().to_string().into()]).await?;
        Ok(Self { store, tx, tenant, nudges: [].into(), idempotent: None, domains_made: 0 })
    }
}

impl OperationChunk {
    /// The operation, as it was before this chunk.
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    /// How often in a row a chunk could not be committed that began with the same line.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The lines, in their order. None are left when the last chunk was the last one.
    pub fn lines(&self) -> &[OperationLine] {
        &self.lines
    }

    /// The transaction of the lines' effects.
    pub fn tx(&mut self) -> &mut TenantTx {
        &mut self.tx
    }

    /// Locks these domains, if they are there, before the first effect. Effects draw revisions of the edge feed under a
    /// lock that workers wait for while they hold a domain, so nobody may wait for a domain while holding that lock.
    pub async fn lock_domains(&mut self, ids: &[DomainId], names: &[String]) -> Result<(), StoreError> {
        if ids.is_empty() && names.is_empty() {
            return Ok(());
        }
        // The names first, as another query: a join of both would not be looked up by index.
        let find = "SELECT id FROM domains WHERE tenant_id = $1 AND name = ANY ($2::text[]) AND state <> 'gone'";
        let values = vec![self.tx.tenant.as_uuid().into(), names.to_vec().into()];
        let rows = sql::rows(&self.tx.tx, find, values).await?;
        let mut all: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        for row in rows {
            all.push(row.try_get("", "id")?);
        }
        let lock = "SELECT 1 FROM domain_schedule s JOIN domains d ON d.id = s.domain_id
            WHERE s.domain_id = ANY ($1::uuid[]) ORDER BY s.domain_id FOR NO KEY UPDATE OF s, d";
        sql::execute(&self.tx.tx, lock, vec![all.into()]).await?;
        Ok(())
    }

    /// Marks where the next line begins.
    pub async fn begin_line(&mut self) -> Result<(), StoreError> {
        Ok(self.tx.tx.execute_unprepared("SAVEPOINT line").await.map(drop)?)
    }

    /// Keeps what the line did.
    pub async fn keep_line(&mut self) -> Result<(), StoreError> {
        Ok(self.tx.tx.execute_unprepared("RELEASE SAVEPOINT line").await.map(drop)?)
    }

    /// Undoes what the line did: the others stay.
    pub async fn undo_line(&mut self) -> Result<(), StoreError> {
        let undo = "ROLLBACK TO SAVEPOINT line; RELEASE SAVEPOINT line";
        Ok(self.tx.tx.execute_unprepared(undo).await.map(drop)?)
    }

    /// Commits the effects of the first lines together with their outcomes, which are in the order of the lines. Gives
    /// the operation as it is then.
    pub async fn finish(mut self, outcomes: Vec<LineOutcome>, now: Timestamp) -> Result<Operation, StoreError> {
        let last = outcomes.last().map_or(0, |outcome| column(outcome.number));
        let failed = i32::try_from(outcomes.iter().filter(|outcome| outcome.failed).count()).unwrap_or(i32::MAX);
        let all = i32::try_from(outcomes.len()).unwrap_or(i32::MAX);
        self.write(outcomes).await?;
        let set = format!(
            "UPDATE operations SET last_line = GREATEST(last_line, $1), succeeded = succeeded + $2,
                failed = failed + $3, failures = 0, started_at = COALESCE(started_at, $4),
                state = CASE WHEN $5 = 0 OR succeeded + failed + $5 >= total THEN 'done' ELSE 'running' END,
                finished_at = CASE WHEN $5 = 0 OR succeeded + failed + $5 >= total THEN $4 END
            WHERE id = $6 AND finished_at IS NULL RETURNING {COLUMNS}"
        );
        let values = vec![
            last.into(),
            (all - failed).into(),
            failed.into(),
            now.into(),
            all.into(),
            self.operation.id.as_uuid().into(),
        ];
        let row = sql::one::<OperationRow>(&self.tx.tx, &set, values).await?.ok_or(StoreError::Fenced)?;
        let operation = Operation::try_from(row)?;
        // All others come first now.
        let turn = "UPDATE operations SET turn = (SELECT nextval('operation_turns'))
            WHERE tenant_id = $1 AND finished_at IS NULL";
        sql::execute(&self.tx.tx, turn, vec![self.tx.tenant.as_uuid().into()]).await?;
        self.tx.commit().await?;
        Ok(operation)
    }

    async fn write(&mut self, outcomes: Vec<LineOutcome>) -> Result<(), StoreError> {
        let numbers: Vec<i32> = outcomes.iter().map(|outcome| column(outcome.number)).collect();
        let failed: Vec<bool> = outcomes.iter().map(|outcome| outcome.failed).collect();
        let results: Vec<Json> = outcomes.into_iter().map(|outcome| outcome.result).collect();
        let set = "UPDATE operation_lines l SET body = NULL, failed = o.failed, result = o.result
            FROM unnest($2::integer[], $3::boolean[], $4::jsonb[]) AS o (line, failed, result)
            WHERE l.operation_id = $1 AND l.line = o.line AND l.failed IS NULL";
        let values = vec![self.operation.id.as_uuid().into(), numbers.clone().into(), failed.into(), results.into()];
        let written = sql::execute(&self.tx.tx, set, values).await?;
        // A line has one outcome for ever; that one has it already would mean that its effect was repeated.
        if written == u64::try_from(numbers.len()).unwrap_or(u64::MAX) { Ok(()) } else { Err(StoreError::Fenced) }
    }
}
