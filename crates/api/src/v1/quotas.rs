//! What a tenant may have, and what it has of it.

pub(crate) mod read;
pub(crate) mod replace;

use mtasts_model::Timestamp;
use mtasts_store::{GrantedQuotas, QuotaUse, Quotas, TenantTx};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::Problem;

/// What a tenant may have.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Quotas)]
pub(crate) struct QuotasBody {
    /// Domains that are not gone.
    domains: QuotaBody,
    /// Bulk operations that have not ended.
    operations: QuotaBody,
    /// API keys that work.
    api_keys: QuotaBody,
    /// Mails and POSTs with reports that are taken on a day (UTC); `used` is that of this day.
    reports_a_day: QuotaBody,
    /// For how many days reports, and what they add up to, are kept at most; null: as long as this service keeps them.
    #[schema(required, example = 365)]
    report_retention_days: Option<u32>,
}

/// One quota.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Quota)]
struct QuotaBody {
    /// How many there may be.
    #[schema(example = 1_000_000)]
    limit: u64,
    /// How many there are.
    #[schema(example = 1_234)]
    used: u64,
    /// Whether the operator granted this limit to the tenant, instead of that which all have.
    granted: bool,
}

impl QuotasBody {
    pub(crate) async fn of(tx: &TenantTx, defaults: Quotas, now: Timestamp) -> Result<Self, Problem> {
        Ok(Self::from(tx.granted_quotas().await?, defaults, tx.quota_use(now).await?))
    }

    fn from(granted: GrantedQuotas, defaults: Quotas, used: QuotaUse) -> Self {
        let limits = granted.over(defaults);
        Self {
            domains: QuotaBody { limit: limits.domains, used: used.domains, granted: granted.domains.is_some() },
            operations: QuotaBody {
                limit: limits.operations,
                used: used.operations,
                granted: granted.operations.is_some(),
            },
            api_keys: QuotaBody { limit: limits.api_keys, used: used.api_keys, granted: granted.api_keys.is_some() },
            reports_a_day: QuotaBody {
                limit: limits.reports_a_day,
                used: used.reports_today,
                granted: granted.reports_a_day.is_some(),
            },
            report_retention_days: granted.report_retention_days,
        }
    }
}
