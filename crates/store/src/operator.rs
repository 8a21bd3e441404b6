//! What only an operator does with tenants, as the role `mtasts_operator` (ADR 17).

mod erase;
mod export;

use std::collections::BTreeSet;

use mtasts_model::{TenantId, Timestamp};
use sea_orm::{ConnectionTrait, DatabaseTransaction, FromQueryResult};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::{Actor, Channel, Store, StoreError, audit, nudge, sql};

pub use self::{
    erase::{Erased, NotErasable, erased_tables},
    export::Export,
};

/// A tenant, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantStanding {
    /// Its id.
    pub id: TenantId,
    /// Its name, for people.
    pub name: String,
    /// The provider that manages it.
    pub parent: Option<TenantId>,
    /// Since when, and why, its credentials open nothing.
    pub suspended: Option<(Timestamp, String)>,
    /// Since when nothing is left of it.
    pub erased_at: Option<Timestamp>,
}

/// A line of anybody's log.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
pub struct OperatorAuditLine {
    /// Its id: the order is that of time.
    pub id: Uuid,
    /// Whose log it is in.
    pub tenant_id: Uuid,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// From where.
    pub source: Option<String>,
    /// By which request.
    pub request_id: Option<String>,
    /// What.
    pub action: String,
    /// To what.
    pub object: String,
    /// What it was before.
    pub before: Option<Json>,
    /// What it is since then.
    pub after: Option<Json>,
}

/// Which lines are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperatorAuditFilter {
    /// Of this tenant's log.
    pub tenant: Option<TenantId>,
    /// By this actor, as the log says it.
    pub actor: Option<String>,
    /// From this moment on.
    pub from: Option<Timestamp>,
    /// Before this moment.
    pub to: Option<Timestamp>,
}

/// What a tenant used on a day.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct TenantUsage {
    /// Whose.
    pub tenant_id: Uuid,
    /// UTC.
    pub day: chrono::NaiveDate,
    /// Domains that were registered, as last counted on that day.
    pub domains: Option<i64>,
    /// Those with mode `none`.
    pub mode_none: Option<i64>,
    /// Those with mode `testing`.
    pub mode_testing: Option<i64>,
    /// Those with mode `enforce`.
    pub mode_enforce: Option<i64>,
    /// Those whose policy was asked for.
    pub served_domains: i64,
    /// How often policies were asked for.
    pub policy_fetches: i64,
    /// Reports that came in.
    pub reports: i64,
}

#[derive(Debug, FromQueryResult)]
struct StandingRow {
    id: Uuid,
    name: String,
    parent_id: Option<Uuid>,
    suspended_at: Option<Timestamp>,
    suspended_reason: Option<String>,
    erased_at: Option<Timestamp>,
}

impl From<StandingRow> for TenantStanding {
    fn from(row: StandingRow) -> Self {
        Self {
            id: TenantId::from_uuid(row.id),
            name: row.name,
            parent: row.parent_id.map(TenantId::from_uuid),
            suspended: row.suspended_at.zip(row.suspended_reason),
            erased_at: row.erased_at,
        }
    }
}

const STANDING: &str = "
    SELECT id, name, parent_id, suspended_at, suspended_reason, erased_at FROM tenants WHERE id = $1";

const STANDING_LOCKED: &str = "
    SELECT id, name, parent_id, suspended_at, suspended_reason, erased_at FROM tenants WHERE id = $1 FOR NO KEY UPDATE";

/// `$1` tenant, `$2` its new parent, `$3` that one's ancestors and itself. What is beneath keeps its place beneath.
const MOVE: &str = "
    UPDATE tenants SET
        parent_id = CASE WHEN id = $1 THEN $2 ELSE parent_id END,
        ancestors = $3::uuid[] || CASE WHEN id = $1 THEN '{}' ELSE ancestors[array_position(ancestors, $1):] END
    WHERE id = $1 OR $1 = ANY (ancestors)";

impl Store {
    /// How a tenant stands. As the operator, like all that follows.
    pub async fn tenant_standing(&self, id: TenantId) -> Result<Option<TenantStanding>, StoreError> {
        let row = sql::one::<StandingRow>(self.db(), STANDING, vec![id.as_uuid().into()]).await?;
        Ok(row.map(TenantStanding::from))
    }

    /// From now on the tenant's credentials open nothing, nor those of providers above within it. What is served goes on
    /// being served, renewed and published; what it asked for in bulk waits. [`StoreError::NotFound`] when there is no such tenant.
    pub async fn suspend_tenant(
        &self,
        id: TenantId,
        reason: &str,
        by: &Actor,
        now: Timestamp,
    ) -> Result<TenantStanding, StoreError> {
        let tx = self.begin().await?;
        let before = locked(&tx, id).await?;
        let set = "UPDATE tenants SET suspended_at = COALESCE(suspended_at, $2), suspended_reason = $3 WHERE id = $1";
        sql::execute(&tx, set, vec![id.as_uuid().into(), now.into(), reason.into()]).await?;
        let (told, after) = (before.suspended.map(|(_, reason)| reason), json!({ "suspended": reason }));
        note(&tx, (id, id), "tenant.suspend", (Some(json!({ "suspended": told })), Some(after)), by, now).await?;
        let after = locked(&tx, id).await?;
        tx.commit().await?;
        Ok(after)
    }

    /// Takes that back. [`StoreError::NotFound`] when there is no such tenant, or it was erased.
    pub async fn resume_tenant(&self, id: TenantId, by: &Actor, now: Timestamp) -> Result<TenantStanding, StoreError> {
        let tx = self.begin().await?;
        let before = locked(&tx, id).await?;
        if before.erased_at.is_some() {
            return Err(StoreError::NotFound);
        }
        if let Some((_, reason)) = &before.suspended {
            let set = "UPDATE tenants SET suspended_at = NULL, suspended_reason = NULL WHERE id = $1";
            sql::execute(&tx, set, vec![id.as_uuid().into()]).await?;
            let change = (Some(json!({ "suspended": reason })), Some(json!({ "suspended": null })));
            note(&tx, (id, id), "tenant.resume", change, by, now).await?;
            // What it had asked for in bulk has waited.
            nudge::notify(&tx, &BTreeSet::from([Channel::Operations])).await?;
        }
        let after = locked(&tx, id).await?;
        tx.commit().await?;
        Ok(after)
    }

    /// Moves a tenant, with all beneath it, beneath another, or to the top. Providers above lose their reach from the
    /// next call on, and the new ones get it. [`StoreError::NotFound`] when either does not exist, or the new parent
    /// stands beneath the tenant; [`StoreError::TooDeep`] when something would stand too low.
    pub async fn move_tenant(
        &self,
        id: TenantId,
        parent: Option<TenantId>,
        by: &Actor,
        now: Timestamp,
    ) -> Result<TenantStanding, StoreError> {
        let tx = self.begin().await?;
        // A customer that is being made at this moment takes its ancestors from its parent's row.
        tx.execute_unprepared("LOCK TABLE tenants IN SHARE ROW EXCLUSIVE MODE").await?;
        let before = locked(&tx, id).await?;
        let mut above: Vec<Uuid> = Vec::new();
        if let Some(parent) = parent {
            let look = "SELECT ancestors || id AS above FROM tenants WHERE id = $1 AND erased_at IS NULL";
            let row = sql::row(&tx, look, vec![parent.as_uuid().into()]).await?.ok_or(StoreError::NotFound)?;
            above = row.try_get("", "above")?;
            if above.contains(&id.as_uuid()) {
                return Err(StoreError::NotFound);
            }
        }
        let values = vec![id.as_uuid().into(), parent.map(TenantId::as_uuid).into(), above.into()];
        match sql::execute(&tx, MOVE, values).await {
            // Check violation: `tenants_depth`.
            Err(error) if error.sqlstate().as_deref() == Some("23514") => return Err(StoreError::TooDeep),
            moved => moved?,
        };
        let change = || (Some(json!({ "parent": before.parent })), Some(json!({ "parent": parent })));
        // Whoever loses or gets a customer finds it in its own log.
        let mut logs = vec![id];
        logs.extend([before.parent, parent].into_iter().flatten());
        logs.dedup();
        for log in logs {
            note(&tx, (log, id), "tenant.move", change(), by, now).await?;
        }
        let after = locked(&tx, id).await?;
        tx.commit().await?;
        Ok(after)
    }

    /// Lines of all logs, or of one, oldest first, after `after`.
    pub async fn operator_audit(
        &self,
        filter: &OperatorAuditFilter,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<OperatorAuditLine>, StoreError> {
        let by_tenant = if filter.tenant.is_some() { "AND tenant_id = $5" } else { "AND $5::uuid IS NULL" };
        let list = format!(
            "SELECT id, tenant_id, at, actor, source, request_id, action, object, before, after FROM audit_events
             WHERE id > $1 AND ($2::text IS NULL OR actor = $2) AND ($3::timestamptz IS NULL OR at >= $3)
                AND ($4::timestamptz IS NULL OR at < $4) {by_tenant} ORDER BY id LIMIT $6"
        );
        let values = vec![
            after.unwrap_or(Uuid::nil()).into(),
            filter.actor.clone().into(),
            filter.from.into(),
            filter.to.into(),
            filter.tenant.map(TenantId::as_uuid).into(),
            i64::from(limit).into(),
        ];
        sql::all(self.db(), &list, values).await
    }

    /// What tenants used, by tenant and day, from one day to another, both included, after a row. For bills.
    pub async fn operator_usage(
        &self,
        (from, to): (chrono::NaiveDate, chrono::NaiveDate),
        after: Option<(TenantId, chrono::NaiveDate)>,
        limit: u32,
    ) -> Result<Vec<TenantUsage>, StoreError> {
        let list = "SELECT tenant_id, day, domains::bigint AS domains, mode_none::bigint AS mode_none,
                mode_testing::bigint AS mode_testing, mode_enforce::bigint AS mode_enforce,
                served_domains::bigint AS served_domains, policy_fetches::bigint AS policy_fetches,
                reports::bigint AS reports
            FROM usage_days WHERE day BETWEEN $1 AND $2 AND (tenant_id, day) > ($3, $4) ORDER BY tenant_id, day LIMIT $5";
        let (tenant, day) = after.unwrap_or((TenantId::from_uuid(Uuid::nil()), from));
        let values = vec![from.into(), to.into(), tenant.as_uuid().into(), day.into(), i64::from(limit).into()];
        sql::all(self.db(), list, values).await
    }
}

/// The tenant, locked until the transaction ends.
async fn locked(tx: &DatabaseTransaction, id: TenantId) -> Result<TenantStanding, StoreError> {
    let row = sql::one::<StandingRow>(tx, STANDING_LOCKED, vec![id.as_uuid().into()]).await?;
    Ok(row.ok_or(StoreError::NotFound)?.into())
}

/// A line in the first tenant's log, about the second.
async fn note(
    tx: &DatabaseTransaction,
    (log, about): (TenantId, TenantId),
    action: &'static str,
    (before, after): (Option<Json>, Option<Json>),
    by: &Actor,
    now: Timestamp,
) -> Result<(), StoreError> {
    audit::record(tx, by, audit::Entry { tenant: log, action, object: about.to_string(), before, after }, now).await
}
