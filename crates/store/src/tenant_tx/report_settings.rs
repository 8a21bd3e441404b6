//! What the tenant wants to be told of reports.

use mtasts_model::Timestamp;
use serde_json::{Value as Json, json};

use super::TenantTx;
use crate::{Actor, ReportSettings, StoreError, report_settings, sql};

impl TenantTx {
    /// What the tenant wants to be told of, and when; the defaults where it has set nothing.
    pub async fn report_settings(&self) -> Result<ReportSettings, StoreError> {
        report_settings::read(&self.tx, self.tenant, false).await
    }

    /// The same, and until the transaction ends nobody else sets them.
    pub async fn lock_report_settings(&self) -> Result<ReportSettings, StoreError> {
        // There may be no row to lock so far.
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended('report settings ' || $1, 0))";
        sql::execute(&self.tx, lock, vec![self.tenant.to_string().into()]).await?;
        report_settings::read(&self.tx, self.tenant, true).await
    }

    /// Sets all of them. They hold from the next look at a domain on.
    pub async fn set_report_settings(
        &mut self,
        new: &ReportSettings,
        by: &Actor,
        now: Timestamp,
    ) -> Result<ReportSettings, StoreError> {
        let before = self.lock_report_settings().await?;
        let sql =
            "INSERT INTO report_settings AS old (tenant_id, alerts, threshold_percent, least_sessions, silence_days,
                count_unverified, changed_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (tenant_id) DO UPDATE SET alerts = excluded.alerts,
                threshold_percent = excluded.threshold_percent, least_sessions = excluded.least_sessions,
                silence_days = excluded.silence_days, count_unverified = excluded.count_unverified,
                changed_at = excluded.changed_at";
        let values = vec![
            self.tenant.as_uuid().into(),
            words(new).into(),
            i32::try_from(new.threshold_percent).unwrap_or(i32::MAX).into(),
            i64::try_from(new.least_sessions).unwrap_or(i64::MAX).into(),
            i32::try_from(new.silence_days).unwrap_or(i32::MAX).into(),
            new.count_unverified.into(),
            now.into(),
        ];
        sql::execute(&self.tx, sql, values).await?;
        let after = self.report_settings().await?;
        let change = (Some(described(&before)), Some(described(&after)));
        self.audit(by, "report-settings.set", self.tenant.to_string(), change, now).await?;
        Ok(after)
    }
}

fn words(settings: &ReportSettings) -> Vec<String> {
    settings.alerts.iter().map(|alert| alert.as_str().to_owned()).collect()
}

fn described(settings: &ReportSettings) -> Json {
    json!({ "alerts": words(settings), "threshold_percent": settings.threshold_percent,
        "least_sessions": settings.least_sessions, "silence_days": settings.silence_days,
        "count_unverified": settings.count_unverified })
}
