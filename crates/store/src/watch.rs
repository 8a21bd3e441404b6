//! What the daily looks from outside came to.

use chrono::{NaiveDate, TimeDelta};
use mtasts_model::{
    DomainId, PolicyVersionId, Timestamp,
    event::{CheckFailed, CheckRecovered},
    lifecycle::{WatchFacts, WatchProblem},
};
use sea_orm::{ConnectionTrait, FromQueryResult};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::{
    LeaseTx, Store, StoreError, TenantTx,
    sql::{self, MAX_LIST},
    stored::At,
};

/// How long days are remembered.
pub const WATCH_HISTORY_KEPT: TimeDelta = TimeDelta::days(60);

/// The most that one transaction forgets.
const PRUNED_AT_ONCE: i64 = 2_000;

const TABLE: &str = "domain_watches";

/// The latest look from outside, with its report.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchView {
    /// What it came to.
    pub watch: WatchFacts,
    /// The inspector's report of it.
    pub report: Json,
}

/// The looks of one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchDay {
    /// Which day (UTC).
    pub day: NaiveDate,
    /// How many there were.
    pub looks: u32,
    /// How many of them found something wrong.
    pub failed: u32,
    /// When the last one was.
    pub last_looked_at: Timestamp,
    /// When the last one that found something wrong was.
    pub last_failed_at: Option<Timestamp>,
    /// What that one found.
    pub problem: Option<WatchProblem>,
}

#[derive(Debug, FromQueryResult)]
struct Row {
    looked_at: Timestamp,
    version_id: Uuid,
    failures: i32,
    good: Option<bool>,
    code: Option<String>,
    message: Option<String>,
    report: Option<Json>,
}

#[derive(Debug, FromQueryResult)]
struct DayRow {
    day: NaiveDate,
    looks: i32,
    failed: i32,
    last_looked_at: Timestamp,
    last_failed_at: Option<Timestamp>,
    code: Option<String>,
    message: Option<String>,
}

fn problem(code: Option<String>, message: Option<String>) -> Option<WatchProblem> {
    code.zip(message).map(|(code, message)| WatchProblem { code, message })
}

async fn row(db: &impl ConnectionTrait, domain: Uuid, with_report: bool) -> Result<Option<Row>, StoreError> {
    let report = if with_report { "report" } else { "NULL::jsonb AS report" };
    let sql = format!(
        "SELECT looked_at, version_id, failures, good, code, message, {report} FROM {TABLE} WHERE domain_id = $1"
    );
    sql::one::<Row>(db, &sql, vec![domain.into()]).await
}

fn facts(domain: Uuid, row: Row) -> Result<WatchFacts, StoreError> {
    let at = At { table: TABLE, row: domain };
    Ok(WatchFacts {
        at: row.looked_at,
        version: PolicyVersionId::from_uuid(row.version_id),
        failures: at.number("failures", row.failures)?,
        good: row.good,
        problem: problem(row.code, row.message),
    })
}

/// Without the report.
async fn read(db: &impl ConnectionTrait, domain: Uuid) -> Result<Option<WatchFacts>, StoreError> {
    row(db, domain, false).await?.map(|row| facts(domain, row)).transpose()
}

const NOTE: &str = "
    INSERT INTO domain_watches (domain_id, tenant_id, looked_at, version_id, failures, good, code, message, report)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (domain_id) DO UPDATE SET looked_at = excluded.looked_at, version_id = excluded.version_id,
        failures = excluded.failures, good = excluded.good, code = excluded.code, message = excluded.message,
        report = excluded.report";

const NOTE_DAY: &str = "
    INSERT INTO watch_days AS old (domain_id, day, tenant_id, looks, failed, last_looked_at, last_failed_at, code,
        message)
    VALUES ($1, ($3::timestamptz AT TIME ZONE 'UTC')::date, $2, 1, CASE WHEN $4::text IS NULL THEN 0 ELSE 1 END, $3,
        CASE WHEN $4::text IS NOT NULL THEN $3 END, $4, $5)
    ON CONFLICT (domain_id, day) DO UPDATE SET looks = old.looks + 1, failed = old.failed + excluded.failed,
        last_looked_at = GREATEST(old.last_looked_at, excluded.last_looked_at),
        last_failed_at = GREATEST(old.last_failed_at, excluded.last_failed_at),
        code = COALESCE(excluded.code, old.code), message = COALESCE(excluded.message, old.message)";

const OLD_DAYS: &str = "
    DELETE FROM watch_days WHERE (domain_id, day) IN (
        SELECT domain_id, day FROM watch_days WHERE day < $1 ORDER BY day LIMIT $2)";

impl LeaseTx {
    /// Records a conclusive look from outside for this version, and tells of it when the verdict is another one.
    pub async fn watched(
        &mut self,
        at: Timestamp,
        version: PolicyVersionId,
        problem: Option<WatchProblem>,
        report: Json,
    ) -> Result<(), StoreError> {
        let before = read(self.db(), self.id()).await?;
        let after = WatchFacts::after(before.as_ref(), at, version, problem);
        let (code, message) = after.problem.clone().map(|problem| (problem.code, problem.message)).unzip();
        let (id, tenant) = (self.id(), self.lease().tenant_id.as_uuid());
        let values = vec![
            id.into(),
            tenant.into(),
            at.into(),
            version.as_uuid().into(),
            i32::try_from(after.failures).unwrap_or(i32::MAX).into(),
            after.good.into(),
            code.clone().into(),
            message.clone().into(),
            report.into(),
        ];
        sql::execute(self.db(), NOTE, values).await?;
        let values = vec![id.into(), tenant.into(), at.into(), code.into(), message.into()];
        sql::execute(self.db(), NOTE_DAY, values).await?;
        let held = before.and_then(|before| before.good);
        match (held, after.good, after.problem) {
            (None | Some(true), Some(false), Some(WatchProblem { code, message })) => {
                let domain = self.event_domain()?;
                self.emit(CheckFailed { domain, version_id: version, code, message }).await
            }
            (Some(false), Some(true), _) => {
                let domain = self.event_domain()?;
                self.emit(CheckRecovered { domain, version_id: version }).await
            }
            _ => Ok(()),
        }
    }
}

impl TenantTx {
    /// The latest look from outside; None before the first.
    pub async fn watch(&self, domain: DomainId) -> Result<Option<WatchView>, StoreError> {
        let Some(mut row) = row(self.db(), domain.as_uuid(), true).await? else { return Ok(None) };
        let report = row.report.take().unwrap_or_default();
        Ok(Some(WatchView { watch: facts(domain.as_uuid(), row)?, report }))
    }

    /// Days on which the domain was looked at from outside, newest first, at most 201, of before `before`.
    pub async fn watch_days(
        &self,
        domain: DomainId,
        before: Option<NaiveDate>,
        limit: u32,
    ) -> Result<Vec<WatchDay>, StoreError> {
        let sql = "SELECT day, looks, failed, last_looked_at, last_failed_at, code, message FROM watch_days
            WHERE domain_id = $1 AND day < $2 ORDER BY day DESC LIMIT $3";
        // The last day that Postgres and chrono both know.
        let before = before.or_else(|| NaiveDate::from_ymd_opt(9999, 12, 31)).unwrap_or_default();
        let values = vec![domain.as_uuid().into(), before.into(), i64::from(limit.min(MAX_LIST + 1)).into()];
        let at = At { table: "watch_days", row: domain.as_uuid() };
        let rows = sql::all::<DayRow>(self.db(), sql, values).await?;
        rows.into_iter()
            .map(|row| {
                Ok(WatchDay {
                    day: row.day,
                    looks: at.number("looks", row.looks)?,
                    failed: at.number("failed", row.failed)?,
                    last_looked_at: row.last_looked_at,
                    last_failed_at: row.last_failed_at,
                    problem: problem(row.code, row.message),
                })
            })
            .collect()
    }
}

impl Store {
    /// Forgets days that are 60 days old: 2,000 rows at most. Returns how many went: call again while there are any.
    pub async fn prune_watch_history(&self, now: Timestamp) -> Result<u64, StoreError> {
        let before = (now - WATCH_HISTORY_KEPT).date_naive();
        sql::execute(self.db(), OLD_DAYS, vec![before.into(), PRUNED_AT_ONCE.into()]).await
    }
}
