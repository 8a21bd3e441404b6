//! Where the service's zones are hosted: what a provider has yet to be told, what is known of its answers, and which
//! worker speaks to it.

mod due;
mod outcome;
mod wanted;

use chrono::TimeDelta;
use mtasts_model::{Revision, Timestamp, ZoneName};
use sea_orm::{ConnectionTrait, FromQueryResult};
use serde_json::Value as Json;

use crate::{Store, StoreError, sql};

pub use self::{
    due::{DueWrite, HostingWork},
    outcome::{WriteKey, WriteOutcome, WriteResult},
    wanted::WantedSet,
};

/// The right to write to one hosting. Whoever claims it after `until` draws a higher token, and fences this one off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostingLease {
    /// The operator's name for the hosting.
    pub id: String,
    /// The zone that is hosted.
    pub zone: ZoneName,
    /// The fencing token.
    pub token: i64,
    /// Until when nobody else claims it.
    pub until: Timestamp,
}

/// One hosting, for operators.
#[derive(Debug, Clone, PartialEq)]
pub struct HostingView {
    /// The operator's name for it.
    pub id: String,
    /// The zone that is hosted.
    pub zone: String,
    /// Wanted changes that the provider has yet to be told, 1,000 at most.
    pub waiting: u64,
    /// Record sets that the provider does not take, 1,000 at most.
    pub failed: u64,
    /// Why it takes nothing at all, and since when.
    pub problem: Option<HostingProblem>,
    /// When the last sweep came to its end.
    pub swept_at: Option<Timestamp>,
    /// What it found.
    pub sweep: Option<Json>,
    /// Which worker writes to it, and until when its lease lasts.
    pub writer: String,
    /// See `writer`.
    pub lease_until: Timestamp,
    /// Domains that are at home in the zone, 1,000 at most.
    pub domains: u64,
    /// Domains that have left the zone, and whose records stay for a while, 1,000 at most.
    pub leaving: u64,
}

/// Why a provider takes nothing at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostingProblem {
    /// A stable word in CamelCase.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Since when.
    pub since: Option<Timestamp>,
}

/// A hosting whose zone is another than before begins anew: the position was the other zone's.
const CLAIM: &str = "
    INSERT INTO zone_hostings AS h (id, zone, writer, lease_token, lease_until)
    VALUES ($1, $2, $3, nextval('lease_tokens'), $4)
    ON CONFLICT (id) DO UPDATE SET
        zone = excluded.zone, writer = excluded.writer, lease_until = excluded.lease_until,
        position = CASE WHEN h.zone = excluded.zone THEN h.position ELSE 0 END,
        lease_token = CASE WHEN h.writer = excluded.writer AND h.lease_until > $5
            THEN h.lease_token ELSE excluded.lease_token END
    WHERE h.writer = excluded.writer OR h.lease_until <= $5
    RETURNING h.lease_token";

const ALL: &str = "
    SELECT h.id, h.zone, h.writer, h.lease_until, h.reason, h.message, h.since, h.swept_at, h.sweep,
        (SELECT count(*) FROM (SELECT FROM zone_records r WHERE r.zone = h.zone AND r.revision > h.position
            LIMIT 1000) w) AS waiting,
        (SELECT count(*) FROM (SELECT FROM zone_writes w WHERE w.hosting = h.id AND w.retry_at IS NOT NULL
            LIMIT 1000) f) AS failed,
        (SELECT count(*) FROM (SELECT FROM domains d WHERE d.zone = h.zone AND d.state <> 'gone' ORDER BY d.id
            LIMIT 1000) d)
            AS domains,
        (SELECT count(*) FROM (SELECT FROM domains d WHERE d.former_zone = h.zone AND d.state <> 'gone'
            ORDER BY d.id LIMIT 1000) l) AS leaving
    FROM zone_hostings h ORDER BY h.id";

#[derive(Debug, FromQueryResult)]
struct Row {
    id: String,
    zone: String,
    writer: String,
    lease_until: Timestamp,
    reason: Option<String>,
    message: Option<String>,
    since: Option<Timestamp>,
    swept_at: Option<Timestamp>,
    sweep: Option<Json>,
    waiting: i64,
    failed: i64,
    domains: i64,
    leaving: i64,
}

impl From<Row> for HostingView {
    fn from(row: Row) -> Self {
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        let problem = match (row.reason, row.message) {
            (Some(reason), Some(message)) => Some(HostingProblem { reason, message, since: row.since }),
            _ => None,
        };
        Self {
            id: row.id,
            zone: row.zone,
            waiting: count(row.waiting),
            failed: count(row.failed),
            problem,
            swept_at: row.swept_at,
            sweep: row.sweep,
            writer: row.writer,
            lease_until: row.lease_until,
            domains: count(row.domains),
            leaving: count(row.leaving),
        }
    }
}

impl Store {
    /// Claims a hosting, or lengthens the claim. None while another worker has it.
    pub async fn claim_hosting(
        &self,
        id: &str,
        zone: &ZoneName,
        worker: &str,
        lease: TimeDelta,
        now: Timestamp,
    ) -> Result<Option<HostingLease>, StoreError> {
        let until = now + lease;
        let values = vec![id.into(), zone.as_str().into(), worker.into(), until.into(), now.into()];
        let row = sql::row(self.db(), CLAIM, values).await?;
        let token = row.map(|row| row.try_get("", "lease_token")).transpose()?;
        Ok(token.map(|token| HostingLease { id: id.to_owned(), zone: zone.clone(), token, until }))
    }

    /// Gives a hosting back, so that another worker need not wait for the lease to end.
    pub async fn release_hosting(&self, lease: &HostingLease, now: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE zone_hostings SET lease_until = $1 WHERE id = $2 AND lease_token = $3";
        sql::execute(self.db(), sql, vec![now.into(), lease.id.as_str().into(), lease.token.into()]).await?;
        Ok(())
    }

    /// Notes why the provider takes nothing at all; None: it does again. The first moment of a problem stays.
    pub async fn hosting_problem(
        &self,
        lease: &HostingLease,
        problem: Option<(&str, &str)>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (reason, message) = problem.unzip();
        let sql = "UPDATE zone_hostings SET reason = $1, message = $2,
                since = CASE WHEN $1::text IS NULL THEN NULL ELSE COALESCE(since, $3) END
            WHERE id = $4 AND lease_token = $5";
        let values = vec![reason.into(), message.into(), now.into(), lease.id.as_str().into(), lease.token.into()];
        touched(sql::execute(self.db(), sql, values).await?)
    }

    /// Notes what a sweep found.
    pub async fn hosting_swept(&self, lease: &HostingLease, found: Json, now: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE zone_hostings SET swept_at = $1, sweep = $2 WHERE id = $3 AND lease_token = $4";
        let values = vec![now.into(), found.into(), lease.id.as_str().into(), lease.token.into()];
        touched(sql::execute(self.db(), sql, values).await?)
    }

    /// When the last sweep came to its end; None: never.
    pub async fn swept_at(&self, lease: &HostingLease) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT swept_at FROM zone_hostings WHERE id = $1 AND lease_token = $2";
        let row = sql::row(self.db(), sql, vec![lease.id.as_str().into(), lease.token.into()]).await?;
        Ok(row.ok_or(StoreError::Fenced)?.try_get("", "swept_at")?)
    }

    /// All hostings that ever were claimed and not forgotten.
    pub async fn hostings(&self) -> Result<Vec<HostingView>, StoreError> {
        let rows = sql::all::<Row>(self.db(), ALL, vec![]).await?;
        Ok(rows.into_iter().map(HostingView::from).collect())
    }

    /// Forgets a hosting that is no longer configured anywhere. [`StoreError::NotFound`] when there is none.
    pub async fn forget_hosting(&self, id: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM zone_hostings WHERE id = $1";
        if sql::execute(self.db(), sql, vec![id.into()]).await? == 0 { Err(StoreError::NotFound) } else { Ok(()) }
    }
}

fn touched(rows: u64) -> Result<(), StoreError> {
    if rows == 0 { Err(StoreError::Fenced) } else { Ok(()) }
}

/// Locks a hosting for the time of a transaction; its position. [`StoreError::Fenced`] when the lease is lost.
async fn locked(db: &impl ConnectionTrait, lease: &HostingLease) -> Result<Revision, StoreError> {
    let sql = "SELECT position FROM zone_hostings WHERE id = $1 AND lease_token = $2 FOR NO KEY UPDATE";
    let row = sql::row(db, sql, vec![lease.id.as_str().into(), lease.token.into()]).await?;
    let position: i64 = row.ok_or(StoreError::Fenced)?.try_get("", "position")?;
    revision(&lease.id, position)
}

fn revision(id: &str, number: i64) -> Result<Revision, StoreError> {
    let read = u64::try_from(number).map(Revision::new);
    read.map_err(|error| StoreError::unreadable("zone_hostings", "position", id, error))
}
