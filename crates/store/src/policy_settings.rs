//! How much proof for `enforce` a tenant wants, where it wants another than the installation's.

use mtasts_model::{Timestamp, readiness::Demands};
use sea_orm::FromQueryResult;
use serde_json::{Value as Json, json};

use crate::{Actor, StoreError, TenantTx, sql, stored::At};

/// What a tenant has chosen; None: as the installation has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PolicySettings {
    /// For how many days each MX host is to have passed at every look.
    pub mx_days: Option<u32>,
    /// For how many days the policy is to have been published in mode `testing`.
    pub testing_days: Option<u32>,
    /// How many sessions verified reports are to have told of.
    pub sessions: Option<u64>,
    /// How many organisations are to have sent them.
    pub reporters: Option<u32>,
    /// How many of 1,000 of these sessions may have failed.
    pub failures_per_thousand: Option<u32>,
    /// When the tenant set them; None: it never did.
    pub changed_at: Option<Timestamp>,
}

impl PolicySettings {
    /// What holds for the tenant.
    pub fn over(self, defaults: Demands) -> Demands {
        Demands {
            mx_days: self.mx_days.unwrap_or(defaults.mx_days),
            testing_days: self.testing_days.unwrap_or(defaults.testing_days),
            sessions: self.sessions.unwrap_or(defaults.sessions),
            reporters: self.reporters.unwrap_or(defaults.reporters),
            failures_per_thousand: self.failures_per_thousand.unwrap_or(defaults.failures_per_thousand),
        }
    }

    fn to_json(self) -> Json {
        json!({ "mx_days": self.mx_days, "testing_days": self.testing_days, "sessions": self.sessions,
            "reporters": self.reporters, "failures_per_thousand": self.failures_per_thousand })
    }
}

#[derive(Debug, FromQueryResult)]
struct Row {
    mx_days: Option<i32>,
    testing_days: Option<i32>,
    sessions: Option<i64>,
    reporters: Option<i32>,
    failures_per_thousand: Option<i32>,
    changed_at: Timestamp,
}

impl TenantTx {
    /// What the tenant has chosen.
    pub async fn policy_settings(&self) -> Result<PolicySettings, StoreError> {
        let sql = "SELECT mx_days, testing_days, sessions, reporters, failures_per_thousand, changed_at
            FROM policy_settings WHERE tenant_id = $1";
        let tenant = self.tenant().as_uuid();
        let Some(row) = sql::one::<Row>(self.db(), sql, vec![tenant.into()]).await? else {
            return Ok(PolicySettings::default());
        };
        let at = At { table: "policy_settings", row: tenant };
        let small = |column, value: Option<i32>| value.map(|value| at.number::<u32>(column, value)).transpose();
        Ok(PolicySettings {
            mx_days: small("mx_days", row.mx_days)?,
            testing_days: small("testing_days", row.testing_days)?,
            sessions: row.sessions.map(|value| at.number("sessions", value)).transpose()?,
            reporters: small("reporters", row.reporters)?,
            failures_per_thousand: small("failures_per_thousand", row.failures_per_thousand)?,
            changed_at: Some(row.changed_at),
        })
    }

    /// The same, and until the transaction ends nobody else sets them.
    pub async fn lock_policy_settings(&self) -> Result<PolicySettings, StoreError> {
        // There may be no row to lock so far.
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended('policy settings ' || $1, 0))";
        sql::execute(self.db(), lock, vec![self.tenant().to_string().into()]).await?;
        self.policy_settings().await
    }

    /// Sets all of them. They hold from now on; what was decided by others stands.
    pub async fn set_policy_settings(
        &mut self,
        new: PolicySettings,
        by: &Actor,
        now: Timestamp,
    ) -> Result<PolicySettings, StoreError> {
        let before = self.lock_policy_settings().await?;
        let sql = "INSERT INTO policy_settings (tenant_id, mx_days, testing_days, sessions, reporters,
                failures_per_thousand, changed_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (tenant_id) DO UPDATE SET mx_days = excluded.mx_days, testing_days = excluded.testing_days,
                sessions = excluded.sessions, reporters = excluded.reporters,
                failures_per_thousand = excluded.failures_per_thousand, changed_at = excluded.changed_at";
        let column = |value: Option<u32>| value.map(|value| i32::try_from(value).unwrap_or(i32::MAX));
        let values = vec![
            self.tenant().as_uuid().into(),
            column(new.mx_days).into(),
            column(new.testing_days).into(),
            new.sessions.map(|sessions| i64::try_from(sessions).unwrap_or(i64::MAX)).into(),
            column(new.reporters).into(),
            column(new.failures_per_thousand).into(),
            now.into(),
        ];
        sql::execute(self.db(), sql, values).await?;
        let after = self.policy_settings().await?;
        let change = (Some(before.to_json()), Some(after.to_json()));
        self.audit(by, "policy-settings.set", self.tenant().to_string(), change, now).await?;
        Ok(after)
    }
}
