//! A tenant's bulk operations.

use mtasts_model::{OperationId, Timestamp};
use sea_orm::FromQueryResult;
use serde_json::{Value as Json, json};

use super::TenantTx;
use crate::{
    Actor, Channel, LineOutcome, NewOperation, Operation, OperationLine, StoreError,
    operation::{COLUMNS, OperationRow},
    sql::{self, MAX_LIST},
    stored::At,
};

/// Bounds the size of one statement.
const LINES_AT_ONCE: usize = 1_000;

#[derive(Debug, FromQueryResult)]
struct ResultRow {
    line: i32,
    failed: bool,
    result: Json,
}

impl TenantTx {
    /// Stores an operation with its lines, to be carried out once this is committed. [`StoreError::QuotaExceeded`] when
    /// as many wait as may: `quota`, unless the operator granted the tenant another number.
    pub async fn create_operation(
        &mut self,
        new: &NewOperation,
        quota: u64,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Operation, StoreError> {
        self.make_room_for_operation(quota).await?;
        let total = i32::try_from(new.lines.len()).unwrap_or(i32::MAX);
        let insert = format!(
            "INSERT INTO operations (id, tenant_id, kind, state, actor, source, request_id, total, created_at,
                not_before) VALUES ($1, $2, $3, 'queued', $4, $5, $6, $7, $8, $8) RETURNING {COLUMNS}"
        );
        let values = vec![
            new.id.as_uuid().into(),
            self.tenant.as_uuid().into(),
            new.kind.as_str().into(),
            by.word(self.tenant).into(),
            by.source.map(|source| source.to_string()).into(),
            by.request_id.clone().into(),
            total.into(),
            now.into(),
        ];
        let row = sql::one::<OperationRow>(&self.tx, &insert, values).await?.ok_or(StoreError::NotFound)?;
        for chunk in new.lines.chunks(LINES_AT_ONCE) {
            self.insert_lines(new.id, chunk).await?;
        }
        let after = json!({ "kind": new.kind.as_str(), "lines": total });
        self.audit(by, "operation.create", new.id.to_string(), (None, Some(after)), now).await?;
        self.nudges.insert(Channel::Operations);
        row.try_into()
    }

    async fn insert_lines(&self, id: OperationId, lines: &[OperationLine]) -> Result<(), StoreError> {
        let insert = r"INSERT INTO operation_lines (operation_id, tenant_id, line, body)
            SELECT $1, $2, l.line, nullif(l.body, '\x') FROM unnest($3::integer[], $4::bytea[]) AS l (line, body)";
        let numbers: Vec<i32> = lines.iter().map(|line| column(line.number)).collect();
        let bodies: Vec<Vec<u8>> = lines.iter().map(|line| line.body.clone().unwrap_or_default()).collect();
        let values = vec![id.as_uuid().into(), self.tenant.as_uuid().into(), numbers.into(), bodies.into()];
        sql::execute(&self.tx, insert, values).await?;
        Ok(())
    }

    /// Operations, newest first, at most 200, with ids below `before`.
    pub async fn list_operations(&self, before: Option<OperationId>, limit: u32) -> Result<Vec<Operation>, StoreError> {
        let list = format!(
            "SELECT {COLUMNS} FROM operations
            WHERE tenant_id = $1 AND id < COALESCE($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
            ORDER BY id DESC LIMIT $3"
        );
        let before = before.map(OperationId::as_uuid);
        let values = vec![self.tenant.as_uuid().into(), before.into(), i64::from(limit.min(MAX_LIST)).into()];
        let rows = sql::all::<OperationRow>(&self.tx, &list, values).await?;
        rows.into_iter().map(Operation::try_from).collect()
    }

    /// One operation; None when there is no such one.
    pub async fn operation(&self, id: OperationId) -> Result<Option<Operation>, StoreError> {
        let find = format!("SELECT {COLUMNS} FROM operations WHERE id = $1 AND tenant_id = $2");
        let values = vec![id.as_uuid().into(), self.tenant.as_uuid().into()];
        sql::one::<OperationRow>(&self.tx, &find, values).await?.map(Operation::try_from).transpose()
    }

    /// What became of the lines so far, in their order, at most 200, from the one after `after` on.
    pub async fn operation_results(
        &self,
        id: OperationId,
        only_failed: bool,
        after: Option<u32>,
        limit: u32,
    ) -> Result<Vec<LineOutcome>, StoreError> {
        let which = if only_failed { "failed" } else { "failed IS NOT NULL" };
        let list = format!(
            "SELECT line, failed, result FROM operation_lines
            WHERE operation_id = $1 AND line > $2 AND {which} ORDER BY line LIMIT $3"
        );
        let after = after.map_or(0, column);
        let values = vec![id.as_uuid().into(), after.into(), i64::from(limit.min(MAX_LIST)).into()];
        let at = At { table: "operation_lines", row: id.as_uuid() };
        let rows = sql::all::<ResultRow>(&self.tx, &list, values).await?;
        rows.into_iter()
            .map(|row| {
                let number = at.number("line", row.line)?;
                Ok(LineOutcome { number, failed: row.failed, result: row.result })
            })
            .collect()
    }

    /// Stops an operation: waits until its chunk that is under way is done, and no other will begin. One that has ended
    /// stays as it is. None when there is no such operation.
    pub async fn cancel_operation(
        &mut self,
        id: OperationId,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Option<Operation>, StoreError> {
        let cancel = format!(
            "UPDATE operations SET state = 'cancelled', finished_at = $1
            WHERE id = $2 AND tenant_id = $3 AND finished_at IS NULL RETURNING {COLUMNS}"
        );
        let values = vec![now.into(), id.as_uuid().into(), self.tenant.as_uuid().into()];
        let Some(row) = sql::one::<OperationRow>(&self.tx, &cancel, values).await? else {
            return self.operation(id).await;
        };
        let operation = Operation::try_from(row)?;
        let after = json!({ "succeeded": operation.succeeded, "failed": operation.failed, "lines": operation.total });
        self.audit(by, "operation.cancel", id.to_string(), (None, Some(after)), now).await?;
        Ok(Some(operation))
    }
}

pub(super) fn column(line: u32) -> i32 {
    i32::try_from(line).unwrap_or(i32::MAX)
}
