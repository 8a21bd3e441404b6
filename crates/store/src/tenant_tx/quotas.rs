//! A tenant's quotas, and what it has of them.

use mtasts_model::Timestamp;
use sea_orm::{FromQueryResult, Value};

use super::TenantTx;
use crate::{GrantedQuotas, QuotaUse, StoreError, quota, sql};

/// Bulk operations of a tenant ($1) that have not ended.
const OPERATIONS: &str = "SELECT count(*) FROM operations WHERE tenant_id = $1 AND finished_at IS NULL";

/// API keys of a tenant ($1) that work now ($2).
const API_KEYS: &str = "SELECT count(*) FROM api_keys WHERE tenant_id = $1 AND revoked_at IS NULL
    AND (expires_at IS NULL OR expires_at > $2)";

#[derive(Debug, FromQueryResult)]
struct Room {
    quota: i64,
    used: i64,
}

impl TenantTx {
    /// What the operator granted.
    pub async fn granted_quotas(&self) -> Result<GrantedQuotas, StoreError> {
        quota::granted(&self.tx, self.tenant).await
    }

    /// What there is of that which has a quota.
    pub async fn quota_use(&self, now: Timestamp) -> Result<QuotaUse, StoreError> {
        let count = format!(
            "SELECT
            COALESCE((SELECT domains FROM domain_counts WHERE tenant_id = $1), 0) AS domains,
            ({OPERATIONS}) AS operations, ({API_KEYS}) AS api_keys,
            COALESCE((SELECT reports FROM usage_days WHERE tenant_id = $1 AND day = $3), 0) AS reports_today"
        );
        let values = vec![self.tenant.as_uuid().into(), now.into(), now.date_naive().into()];
        let row = sql::row(&self.tx, &count, values).await?.ok_or(StoreError::NotFound)?;
        let number = |column| Ok::<_, StoreError>(u64::try_from(row.try_get::<i64>("", column)?).unwrap_or(0));
        Ok(QuotaUse {
            domains: number("domains")?,
            operations: number("operations")?,
            api_keys: number("api_keys")?,
            reports_today: number("reports_today")?,
        })
    }

    /// Looks whether one more API key is possible: [`StoreError::QuotaExceeded`] if not. A rotation needs no room: the key
    /// that it replaces ends.
    pub async fn make_room_for_api_key(&mut self, default: u64, now: Timestamp) -> Result<(), StoreError> {
        let count = format!("SELECT ({API_KEYS}) AS used");
        self.count_alone("api_keys", &count, vec![self.tenant.as_uuid().into(), now.into()], |granted| {
            granted.api_keys.unwrap_or(default)
        })
        .await
    }

    /// The same for a bulk operation.
    pub(super) async fn make_room_for_operation(&mut self, default: u64) -> Result<(), StoreError> {
        let count = format!("SELECT ({OPERATIONS}) AS used");
        self.count_alone("operations", &count, vec![self.tenant.as_uuid().into()], |granted| {
            granted.operations.unwrap_or(default)
        })
        .await
    }

    /// Under a lock, so that requests that come at the same time are counted one after the other.
    async fn count_alone(
        &self,
        quota: &'static str,
        count: &str,
        values: Vec<Value>,
        limit: impl FnOnce(GrantedQuotas) -> u64,
    ) -> Result<(), StoreError> {
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
        sql::execute(&self.tx, lock, vec![format!("{quota} of {}", self.tenant.as_uuid()).into()]).await?;
        let row = sql::row(&self.tx, count, values).await?.ok_or(StoreError::NotFound)?;
        let used = u64::try_from(row.try_get::<i64>("", "used")?).unwrap_or(0);
        let limit = limit(self.granted_quotas().await?);
        if used < limit { Ok(()) } else { Err(StoreError::QuotaExceeded { quota, limit, used }) }
    }

    /// Looks whether one more domain is possible: [`StoreError::QuotaExceeded`] if not. `default` holds unless the operator
    /// granted another number. Nobody waits for anybody here; if others add domains at the same time and there is not room
    /// for all, the commit of the last ones fails with [`StoreError::Busy`].
    pub async fn make_room_for_domain(&mut self, default: u64) -> Result<(), StoreError> {
        let look = "SELECT quota, used, set_config('app.domain_limit', quota::text, true) FROM (
            SELECT COALESCE((SELECT domains FROM tenant_quotas WHERE tenant_id = $1), $2) AS quota,
                COALESCE((SELECT domains FROM domain_counts WHERE tenant_id = $1), 0) AS used) AS room";
        let values = vec![self.tenant.as_uuid().into(), i64::try_from(default).unwrap_or(i64::MAX).into()];
        let room = sql::one::<Room>(&self.tx, look, values).await?.ok_or(StoreError::NotFound)?;
        let limit = u64::try_from(room.quota).unwrap_or(0);
        // What this transaction has made is counted when it commits.
        let used = u64::try_from(room.used).unwrap_or(0).saturating_add(self.domains_made);
        if used < limit { Ok(()) } else { Err(StoreError::QuotaExceeded { quota: "domains", limit, used }) }
    }
}
