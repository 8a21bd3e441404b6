//! What would happen: a change is made as ever, in a transaction that nobody can commit.

use mtasts_model::{DomainId, Mode, PolicyId, PolicyVersionId, TenantId, Timestamp};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::TenantTx;
use crate::{
    Store, StoreError,
    sql::{self, MAX_LIST},
    stored::At,
};

/// A version that senders may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedVersion {
    /// Which.
    pub id: PolicyVersionId,
    /// The id in its TXT record.
    pub policy_id: PolicyId,
    /// Its mode.
    pub mode: Mode,
    /// Until when.
    pub until: Timestamp,
}

#[derive(FromQueryResult)]
struct Row {
    id: Uuid,
    policy_id: String,
    mode: String,
    until: Timestamp,
}

impl Store {
    /// Lets `act` do what it does within a tenant, and takes all of it back. `act` is lent the transaction, and to commit
    /// one has to own it: whatever it does, nothing of it is kept, and nobody is nudged.
    pub async fn rehearse<T, E: From<StoreError>>(
        &self,
        tenant: TenantId,
        act: impl AsyncFnOnce(&mut TenantTx) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut tx = self.tenant_tx(tenant).await?;
        let outcome = act(&mut tx).await;
        // Waited for, so that whoever rehearses and then acts is not held up by the locks of the rehearsal.
        tx.roll_back().await?;
        outcome
    }
}

impl TenantTx {
    /// The versions that senders may hold at this moment, those that are held longest first: what the edges have reported
    /// to have served, and what they serve now. At most 200; later reports of the edges can add to it.
    pub async fn cached_versions(&self, id: DomainId, now: Timestamp) -> Result<Vec<CachedVersion>, StoreError> {
        // GREATEST passes over NULL.
        let sql = "SELECT * FROM (
                SELECT v.id, v.policy_id, v.mode,
                    GREATEST(l.last_served_at, CASE WHEN v.unfed_at IS NULL THEN $2 END)
                        + v.max_age * interval '1 second' AS until
                FROM policy_versions v LEFT JOIN served_ledger l ON l.version_id = v.id
                WHERE v.domain_id = $1 AND v.fed_at IS NOT NULL
            ) held WHERE until > $2 ORDER BY until DESC, id LIMIT $3";
        let values = vec![id.as_uuid().into(), now.into(), i64::from(MAX_LIST).into()];
        let rows: Vec<Row> = sql::all(&self.tx, sql, values).await?;
        rows.into_iter()
            .map(|row| {
                let at = At { table: "policy_versions", row: row.id };
                Ok(CachedVersion {
                    id: PolicyVersionId::from_uuid(row.id),
                    policy_id: at.parse("policy_id", &row.policy_id)?,
                    mode: at.mode("mode", &row.mode)?,
                    until: row.until,
                })
            })
            .collect()
    }
}
