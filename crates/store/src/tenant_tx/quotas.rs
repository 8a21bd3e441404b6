//! A tenant's quotas, and what it has of them.

use sea_orm::FromQueryResult;

use super::TenantTx;
use crate::{GrantedQuotas, QuotaUse, StoreError, quota, sql};

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
    pub async fn quota_use(&self) -> Result<QuotaUse, StoreError> {
        let count = "SELECT
            COALESCE((SELECT domains FROM domain_counts WHERE tenant_id = $1), 0) AS domains,
            (SELECT count(*) FROM operations WHERE tenant_id = $1 AND finished_at IS NULL) AS operations";
        let row = sql::row(&self.tx, count, vec![self.tenant.as_uuid().into()]).await?.ok_or(StoreError::NotFound)?;
        let number = |column| Ok::<_, StoreError>(u64::try_from(row.try_get::<i64>("", column)?).unwrap_or(0));
        Ok(QuotaUse { domains: number("domains")?, operations: number("operations")? })
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
