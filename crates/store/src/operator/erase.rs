//! Erasing a tenant: everything that tells of somebody goes. What stays says nothing of anybody: the row with its id, the
//! counts that bills were made from, the hashes of the audit chain, and the labels, which must not be drawn again.

use mtasts_model::{TenantId, Timestamp};
use sea_orm::Value;
use serde_json::json;

use super::{locked, note};
use crate::{Actor, Store, StoreError, sql};

/// So many rows go in one transaction.
const AT_ONCE: i64 = 5_000;

/// Tables in which rows hang from nothing of the tenant's that goes before them, in this order. Those that bills come
/// from (`usage_days`) and the audit log are not here.
const TABLES: [&str; 40] = [
    "webhook_deliveries",
    "events",
    "webhooks",
    "digest_tokens",
    "digest_mails",
    "digest_recipients",
    "operation_lines",
    "operations",
    "idempotency_keys",
    "dmarc_results",
    "tls_results",
    "reports",
    "report_keys",
    "report_arrivals",
    "report_days",
    "report_months",
    "reporters",
    "failure_kinds",
    "report_alerts",
    "report_alert_queue",
    "report_settings",
    "checks",
    "watch_days",
    "domain_watches",
    "policy_settings",
    "mx_days",
    "mx_migrations",
    "mx_proposals",
    "rollouts",
    "domain_served_days",
    "domain_tags",
    "domain_names",
    "domain_conditions",
    "step_failures",
    "served_ledger",
    "domain_schedule",
    "domain_counts",
    "mail_days",
    "tenant_quotas",
    "dns_credentials",
];

/// Tables with secrets, of which the role cannot read where a row lies: they go at once. A tenant has few such rows.
const WITH_SECRETS: [&str; 4] = ["webhooks", "digest_tokens", "idempotency_keys", "dns_credentials"];

/// What hangs together so closely that it goes at once, in order.
const TOGETHER: [&str; 8] = [
    "DELETE FROM api_keys WHERE tenant_id = $1",
    "UPDATE edge_entries SET domain_id = NULL, tenant_id = NULL
        WHERE tenant_id = $1 AND version_id IS NULL AND challenge IS NULL",
    "UPDATE zone_records SET domain_id = NULL
        WHERE ttl IS NULL AND domain_id IN (SELECT id FROM domains WHERE tenant_id = $1)",
    "UPDATE domains SET version_id = NULL, certificate_id = NULL WHERE tenant_id = $1",
    "DELETE FROM certificates WHERE tenant_id = $1",
    "DELETE FROM acme_orders WHERE tenant_id = $1",
    "DELETE FROM policy_versions WHERE tenant_id = $1",
    "DELETE FROM domains WHERE tenant_id = $1",
];

/// The tables that an erasure empties of the tenant's rows: a table that is made later and forgotten here would keep them.
pub fn erased_tables() -> Vec<&'static str> {
    let together = TOGETHER.iter().filter_map(|statement| statement.strip_prefix("DELETE FROM "));
    let together = together.filter_map(|rest| rest.split(' ').next());
    TABLES.into_iter().chain(together).collect()
}

/// How much there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    /// Rows that are gone.
    pub rows: u64,
    /// Lines of the audit log that say nothing of a person any more.
    pub lines: u64,
}

/// Why a tenant cannot be erased now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotErasable {
    /// It could make something anew meanwhile.
    #[error("the tenant must be suspended first")]
    NotSuspended,
    /// Mail would suffer: each is withdrawn first, and that is done when no sender can need its policy any more.
    #[error("{0} of the tenant's domains are not gone yet: suspend it with --withdraw, and wait until they are")]
    Domains(i64),
    /// They are others'.
    #[error("{0} tenants stand beneath it: move or erase them first")]
    Customers(i64),
}

impl Store {
    /// Erases a tenant; a run that was stopped is taken up by the next. As the operator. [`StoreError::NotFound`] when
    /// there is no such tenant.
    pub async fn erase_tenant(
        &self,
        id: TenantId,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Result<Erased, NotErasable>, StoreError> {
        if let Some(why) = self.not_erasable(id).await? {
            return Ok(Err(why));
        }
        let mut rows = 0;
        for table in TABLES {
            let (forget, at_once) = if WITH_SECRETS.contains(&table) {
                (format!("DELETE FROM {table} WHERE tenant_id = $1"), None)
            } else {
                let batch = format!("SELECT tableoid, ctid FROM {table} WHERE tenant_id = $1 LIMIT $2");
                (format!("DELETE FROM {table} WHERE (tableoid, ctid) IN ({batch})"), Some(AT_ONCE))
            };
            loop {
                let values = [Some(id.as_uuid().into()), at_once.map(Value::from)].into_iter().flatten().collect();
                let gone = sql::execute(self.db(), &forget, values).await?;
                rows += gone;
                if gone == 0 {
                    break;
                }
            }
        }
        let tx = self.begin().await?;
        let tenant = locked(&tx, id).await?;
        for statement in TOGETHER {
            rows += sql::execute(&tx, statement, vec![id.as_uuid().into()]).await?;
        }
        let silence =
            "UPDATE audit_events SET actor = 'erased', source = NULL, request_id = NULL, before = NULL, after = NULL
            WHERE tenant_id = $1 AND actor <> 'erased' AND action <> 'tenant.erase'";
        let lines = sql::execute(&tx, silence, vec![id.as_uuid().into()]).await?;
        let empty =
            "UPDATE tenants SET name = 'erased', suspended_reason = 'erased', erased_at = COALESCE(erased_at, $2)
            WHERE id = $1";
        sql::execute(&tx, empty, vec![id.as_uuid().into(), now.into()]).await?;
        if tenant.erased_at.is_none() {
            let after = Some(json!({ "rows": rows, "lines": lines }));
            // The id is all that is said, here and in the log of the provider above.
            for log in [Some(id), tenant.parent].into_iter().flatten() {
                note(&tx, (log, id), "tenant.erase", (None, after.clone()), by, now).await?;
            }
        }
        tx.commit().await?;
        Ok(Ok(Erased { rows, lines }))
    }

    async fn not_erasable(&self, id: TenantId) -> Result<Option<NotErasable>, StoreError> {
        let tx = self.begin().await?;
        let tenant = locked(&tx, id).await?;
        let count = "SELECT (SELECT count(*) FROM domains WHERE tenant_id = $1 AND state <> 'gone') AS domains,
            (SELECT count(*) FROM tenants WHERE parent_id = $1 AND erased_at IS NULL) AS customers";
        let row = sql::row(&tx, count, vec![id.as_uuid().into()]).await?.ok_or(StoreError::NotFound)?;
        let (domains, customers): (i64, i64) = (row.try_get("", "domains")?, row.try_get("", "customers")?);
        tx.commit().await?;
        Ok(if tenant.suspended.is_none() {
            Some(NotErasable::NotSuspended)
        } else if domains > 0 {
            Some(NotErasable::Domains(domains))
        } else if customers > 0 {
            Some(NotErasable::Customers(customers))
        } else {
            None
        })
    }
}
