//! How much of what a tenant may have.

use mtasts_model::{TenantId, Timestamp};
use sea_orm::{ConnectionTrait, FromQueryResult};
use serde_json::{Value as Json, json};

use crate::{Actor, Store, StoreError, audit, sql};

/// The quotas that can be set for a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Domains that are not gone.
    pub domains: u64,
    /// Bulk operations that have not ended.
    pub operations: u64,
    /// API keys that work.
    pub api_keys: u64,
    /// Mails and POSTs with reports that are taken on a day (UTC).
    pub reports_a_day: u64,
}

impl Default for Quotas {
    fn default() -> Self {
        Self { domains: 1_000_000, operations: 20, api_keys: 1_000, reports_a_day: 20_000 }
    }
}

/// What the operator granted a tenant; where it is None, the installation's default holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GrantedQuotas {
    /// Domains that are not gone.
    pub domains: Option<u64>,
    /// Bulk operations that have not ended.
    pub operations: Option<u64>,
    /// API keys that work.
    pub api_keys: Option<u64>,
    /// Mails and POSTs with reports that are taken on a day (UTC).
    pub reports_a_day: Option<u64>,
    /// For how many days reports, and what they add up to, are kept at most.
    pub report_retention_days: Option<u32>,
}

impl GrantedQuotas {
    /// What holds for the tenant.
    pub fn over(self, defaults: Quotas) -> Quotas {
        Quotas {
            domains: self.domains.unwrap_or(defaults.domains),
            operations: self.operations.unwrap_or(defaults.operations),
            api_keys: self.api_keys.unwrap_or(defaults.api_keys),
            reports_a_day: self.reports_a_day.unwrap_or(defaults.reports_a_day),
        }
    }

    fn to_json(self) -> Json {
        json!({
            "domains": self.domains,
            "operations": self.operations,
            "api_keys": self.api_keys,
            "reports_a_day": self.reports_a_day,
            "report_retention_days": self.report_retention_days,
        })
    }
}

/// What a tenant has of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QuotaUse {
    /// Domains that are not gone.
    pub domains: u64,
    /// Bulk operations that have not ended.
    pub operations: u64,
    /// API keys that work.
    pub api_keys: u64,
    /// Mails and POSTs with reports that were taken on this day (UTC).
    pub reports_today: u64,
}

#[derive(Debug, FromQueryResult)]
struct Granted {
    domains: Option<i64>,
    operations: Option<i64>,
    api_keys: Option<i64>,
    reports_a_day: Option<i64>,
    report_retention_days: Option<i32>,
}

pub(crate) async fn granted(db: &impl ConnectionTrait, tenant: TenantId) -> Result<GrantedQuotas, StoreError> {
    let find = "SELECT domains, operations, api_keys, reports_a_day, report_retention_days FROM tenant_quotas
        WHERE tenant_id = $1";
    let row = sql::one::<Granted>(db, find, vec![tenant.as_uuid().into()]).await?;
    // The table holds nothing below zero.
    let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
    Ok(row.map_or_else(GrantedQuotas::default, |row| GrantedQuotas {
        domains: number(row.domains),
        operations: number(row.operations),
        api_keys: number(row.api_keys),
        reports_a_day: number(row.reports_a_day),
        report_retention_days: row.report_retention_days.and_then(|days| u32::try_from(days).ok()),
    }))
}

impl Store {
    /// Grants a tenant these quotas in place of those that it had. A number that is smaller than what the tenant has takes
    /// nothing away: no more can be added. [`StoreError::NotFound`] when there is no such tenant.
    pub async fn set_quotas(
        &self,
        tenant: TenantId,
        quotas: GrantedQuotas,
        by: &Actor,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let tx = self.operator_tx().await?;
        let exists = "SELECT 1 FROM tenants WHERE id = $1";
        sql::row(&tx, exists, vec![tenant.as_uuid().into()]).await?.ok_or(StoreError::NotFound)?;
        let before = granted(&tx, tenant).await?;
        if before == quotas {
            return Ok(());
        }
        let set = "INSERT INTO tenant_quotas (tenant_id, domains, operations, api_keys, changed_at, reports_a_day,
                report_retention_days)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (tenant_id) DO UPDATE SET domains = excluded.domains, operations = excluded.operations,
                api_keys = excluded.api_keys, changed_at = excluded.changed_at, reports_a_day = excluded.reports_a_day,
                report_retention_days = excluded.report_retention_days";
        let column = |value: Option<u64>| value.map(|value| i64::try_from(value).unwrap_or(i64::MAX));
        let values = vec![
            tenant.as_uuid().into(),
            column(quotas.domains).into(),
            column(quotas.operations).into(),
            column(quotas.api_keys).into(),
            now.into(),
            column(quotas.reports_a_day).into(),
            quotas.report_retention_days.map(|days| i32::try_from(days).unwrap_or(i32::MAX)).into(),
        ];
        sql::execute(&tx, set, values).await?;
        let entry = audit::Entry {
            tenant,
            action: "tenant.quotas",
            object: tenant.to_string(),
            before: Some(before.to_json()),
            after: Some(quotas.to_json()),
        };
        audit::record(&tx, by, entry, now).await?;
        tx.commit().await?;
        Ok(())
    }
}
