//! Which domains' reports somebody has to look at, and when.

use chrono::{NaiveDate, TimeDelta};
use mtasts_model::{ArrivalId, DomainId, TenantId, Timestamp};
use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use crate::{Store, StoreError, sql};

/// So many reports of a domain are looked at together.
const GATHERED: TimeDelta = TimeDelta::seconds(20);

/// What a replay says of days long gone is no news.
const NEWS: TimeDelta = TimeDelta::days(40);

/// A look that failed is repeated after this.
const AGAIN: TimeDelta = TimeDelta::minutes(10);

/// How long it is remembered what was told: longer than anything that it is told of is kept.
const KEPT: TimeDelta = TimeDelta::days(800);

/// The most that one transaction forgets.
const PRUNED_AT_ONCE: i64 = 2_000;

/// Says that a domain's sums of this day have changed, within the transaction that changes them. One upsert; whoever does
/// so for several domains in a transaction does it in the order of their ids. It waits for a look at the domain that is
/// under way, and is then followed by another look.
pub(crate) async fn touched(
    db: &impl ConnectionTrait,
    domain: DomainId,
    tenant: TenantId,
    day: NaiveDate,
    now: Timestamp,
) -> Result<(), StoreError> {
    if day < (now - NEWS).date_naive() {
        return Ok(());
    }
    let sql = "INSERT INTO report_alert_queue AS old (domain_id, tenant_id, due_at) VALUES ($1, $2, $3)
        ON CONFLICT (domain_id) DO UPDATE SET due_at = LEAST(old.due_at, excluded.due_at)
        WHERE old.due_at > excluded.due_at";
    sql::execute(db, sql, vec![domain.as_uuid().into(), tenant.as_uuid().into(), (now + GATHERED).into()]).await?;
    Ok(())
}

/// Says that an arrival for this domain could not be read, within the transaction that puts it aside. As [`touched`].
pub(crate) async fn quarantined(
    db: &impl ConnectionTrait,
    (domain, tenant): (DomainId, TenantId),
    (arrival, reason): (ArrivalId, &str),
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO report_alert_queue AS old (domain_id, tenant_id, due_at, quarantined, quarantined_arrival,
            quarantined_reason)
        VALUES ($1, $2, $3, 1, $4, $5)
        ON CONFLICT (domain_id) DO UPDATE SET due_at = LEAST(old.due_at, excluded.due_at),
            quarantined = LEAST(old.quarantined, 1000000000) + 1,
            quarantined_arrival = excluded.quarantined_arrival, quarantined_reason = excluded.quarantined_reason";
    let values = vec![
        domain.as_uuid().into(),
        tenant.as_uuid().into(),
        (now + GATHERED).into(),
        arrival.as_uuid().into(),
        reason.into(),
    ];
    sql::execute(db, sql, values).await?;
    Ok(())
}

/// Domains that are due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueAlerts {
    /// Which, the longest due first.
    pub domains: Vec<DomainId>,
    /// Since when the first of them is.
    pub since: Option<Timestamp>,
}

#[derive(Debug, FromQueryResult)]
struct DueRow {
    domain_id: Uuid,
    due_at: Timestamp,
}

impl Store {
    /// Has a domain looked at soon, because its sums of this day have changed: for whoever changed them before.
    pub async fn look_at_reports(
        &self,
        domain: DomainId,
        tenant: TenantId,
        day: NaiveDate,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        touched(self.db(), domain, tenant, day, now).await
    }

    /// Has the tenant told that an arrival could not be read: for whoever put it aside before.
    pub async fn tell_of_quarantine(
        &self,
        domain: (DomainId, TenantId),
        arrival: (ArrivalId, &str),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        quarantined(self.db(), domain, arrival, now).await
    }

    /// Domains that are due, at most `limit`. Nothing is claimed: see [`Store::alert_tx`].
    pub async fn due_alerts(&self, limit: u32, now: Timestamp) -> Result<DueAlerts, StoreError> {
        let sql = "SELECT domain_id, due_at FROM report_alert_queue WHERE due_at <= $1 ORDER BY due_at LIMIT $2";
        let rows = sql::all::<DueRow>(self.db(), sql, vec![now.into(), i64::from(limit).into()]).await?;
        Ok(DueAlerts {
            since: rows.first().map(|row| row.due_at),
            domains: rows.into_iter().map(|row| DomainId::from_uuid(row.domain_id)).collect(),
        })
    }

    /// Puts a domain off at which the look failed, so that it does not hold up the others.
    pub async fn put_off_alerts(&self, domain: DomainId, now: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE report_alert_queue SET due_at = $2 WHERE domain_id = $1 AND due_at <= $3";
        sql::execute(self.db(), sql, vec![domain.as_uuid().into(), (now + AGAIN).into(), now.into()]).await?;
        Ok(())
    }

    /// Forgets what was told long ago, 2,000 at most. Returns how many went: call again while there are any.
    pub async fn prune_alerts(&self, now: Timestamp) -> Result<u64, StoreError> {
        sql::execute(self.db(), OLD_ALERTS, vec![(now - KEPT).into(), PRUNED_AT_ONCE.into()]).await
    }
}

const OLD_ALERTS: &str = "
    DELETE FROM report_alerts WHERE ctid = ANY (ARRAY(SELECT ctid FROM report_alerts WHERE at < $1 ORDER BY at LIMIT $2))";
