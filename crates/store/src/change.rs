//! The trace of whoever made a version.

use mtasts_model::{PolicyVersionId, TraceParent};

use crate::{Store, StoreError, sql};

impl Store {
    /// None where it was not exported. For the worker, whose spans join it.
    pub async fn trace_of(&self, version: PolicyVersionId) -> Result<Option<TraceParent>, StoreError> {
        let sql = "SELECT traceparent FROM policy_versions WHERE id = $1";
        let Some(row) = sql::row(self.db(), sql, vec![version.as_uuid().into()]).await? else { return Ok(None) };
        let trace: Option<String> = row.try_get("", "traceparent")?;
        Ok(trace.and_then(|trace| trace.parse().ok()))
    }
}
