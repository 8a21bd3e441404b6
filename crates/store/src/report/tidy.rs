//! Forgetting reports that have had their time: by the month with their partitions, and by the row where a tenant keeps
//! them for less.

use chrono::TimeDelta;
use mtasts_model::Timestamp;
use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::{Store, StoreError, sql};

/// Rows that one statement forgets.
const AT_ONCE: i64 = 5_000;
/// How long octets are known again.
const DIGESTS_KEPT: TimeDelta = TimeDelta::days(30);
/// How long reports are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportRetention {
    /// What arrived, as it came.
    pub raw: TimeDelta,
    /// Reports and their results.
    pub results: TimeDelta,
    /// The sums by day, kinds of failure, who reports, and what reports are known again by.
    pub sums: TimeDelta,
}

impl Default for ReportRetention {
    fn default() -> Self {
        Self { raw: TimeDelta::days(30), results: TimeDelta::days(90), sums: TimeDelta::days(400) }
    }
}

/// What was forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReportsForgotten {
    /// Partitions that were made.
    pub made: u64,
    /// Partitions that were dropped.
    pub dropped: u64,
    /// Rows that were deleted.
    pub rows: u64,
}

#[derive(Debug, FromQueryResult)]
struct CountRow {
    number: i32,
}

#[derive(Debug, FromQueryResult)]
struct ShortRow {
    tenant_id: Uuid,
    days: i32,
}

/// Rows of all tenants that are older than `$1`, each by an index on the time. `$2`: how many.
const OLD: [&str; 6] = [
    "DELETE FROM report_digests WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM report_digests WHERE at < $1 ORDER BY at LIMIT $2))",
    "DELETE FROM report_days WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM report_days WHERE day < $1::timestamptz::date ORDER BY day LIMIT $2))",
    "DELETE FROM report_months WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM report_months WHERE month <= ($1::timestamptz - interval '1 month')::date ORDER BY month LIMIT $2))",
    "DELETE FROM report_keys WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM report_keys WHERE at < $1 ORDER BY at LIMIT $2))",
    "DELETE FROM failure_kinds WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM failure_kinds WHERE last_day < $1::timestamptz::date ORDER BY last_day LIMIT $2))",
    "DELETE FROM reporters WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM reporters WHERE last_day < $1::timestamptz::date ORDER BY last_day LIMIT $2))",
];

/// Rows of one tenant, `$3`, that keeps them for less: by an index, day by day from `$4`, when those of all go, to `$1`.
/// Kept longer is only what reports are known again by, which says nothing of what was in them.
const OLD_OF_TENANT: [&str; 8] = [
    "DELETE FROM tls_results WHERE (report_id, seq) IN (SELECT report_id, seq FROM tls_results
        WHERE tenant_id = $3 AND day < $1::timestamptz::date AND $4::timestamptz IS NOT NULL ORDER BY day LIMIT $2)",
    "DELETE FROM dmarc_results WHERE (report_id, seq) IN (SELECT report_id, seq FROM dmarc_results
        WHERE tenant_id = $3 AND day < $1::timestamptz::date AND $4::timestamptz IS NOT NULL ORDER BY day LIMIT $2)",
    "DELETE FROM reports WHERE id IN (SELECT id FROM reports
        WHERE tenant_id = $3 AND id < first_uuid_at($1) AND $4::timestamptz IS NOT NULL ORDER BY id LIMIT $2)",
    "DELETE FROM report_arrivals WHERE id IN (SELECT id FROM report_arrivals
        WHERE tenant_id = $3 AND id < first_uuid_at($1) AND state <> 'waiting' AND $4::timestamptz IS NOT NULL
        ORDER BY id LIMIT $2)",
    "DELETE FROM report_days WHERE ctid = ANY (ARRAY(SELECT r.ctid
        FROM generate_series($4::timestamptz::date, $1::timestamptz::date - 1, interval '1 day') AS d (day)
        CROSS JOIN LATERAL (SELECT ctid FROM report_days WHERE day = d.day::date AND tenant_id = $3 LIMIT $2) r LIMIT $2))",
    // By the months that have gone as a whole; what is left of one is read from its days.
    "DELETE FROM report_months WHERE ctid = ANY (ARRAY(SELECT r.ctid
        FROM generate_series(date_trunc('month', $4::timestamptz AT TIME ZONE 'UTC'),
            ($1::timestamptz AT TIME ZONE 'UTC') - interval '1 month', interval '1 month') AS d (month)
        CROSS JOIN LATERAL (SELECT ctid FROM report_months WHERE month = d.month::date AND tenant_id = $3 LIMIT $2) r
        LIMIT $2))",
    "DELETE FROM failure_kinds WHERE ctid = ANY (ARRAY(SELECT r.ctid
        FROM generate_series($4::timestamptz::date, $1::timestamptz::date - 1, interval '1 day') AS d (day)
        CROSS JOIN LATERAL (SELECT ctid FROM failure_kinds WHERE last_day = d.day::date AND tenant_id = $3 LIMIT $2) r
        LIMIT $2))",
    "DELETE FROM reporters WHERE ctid = ANY (ARRAY(SELECT r.ctid
        FROM generate_series($4::timestamptz::date, $1::timestamptz::date - 1, interval '1 day') AS d (day)
        CROSS JOIN LATERAL (SELECT ctid FROM reporters WHERE last_day = d.day::date AND tenant_id = $3 LIMIT $2) r
        LIMIT $2))",
];

impl Store {
    /// Forgets one batch of what has had its time: call again while there are rows. Partitions are seen to as well.
    pub async fn prune_reports(&self, kept: &ReportRetention, now: Timestamp) -> Result<ReportsForgotten, StoreError> {
        let mut forgotten =
            ReportsForgotten { made: self.ensure_report_partitions(now).await?.into(), ..Default::default() };
        let drops = [
            ("report_arrivals", kept.raw),
            ("reports", kept.results),
            ("tls_results", kept.results),
            ("dmarc_results", kept.results),
        ];
        for (table, kept) in drops {
            let sql = "SELECT drop_report_partitions($1, $2) AS number";
            let row = sql::one::<CountRow>(self.db(), sql, vec![table.into(), (now - kept).into()]).await?;
            forgotten.dropped += row.map_or(0, |row| u64::try_from(row.number).unwrap_or_default());
        }
        for (index, sql) in OLD.into_iter().enumerate() {
            let before = if index == 0 { now - DIGESTS_KEPT } else { now - kept.sums };
            forgotten.rows += sql::execute(self.db(), sql, vec![before.into(), AT_ONCE.into()]).await?;
        }
        forgotten.rows += self.prune_reports_of_tenants(kept, now).await?;
        Ok(forgotten)
    }

    /// Of the tenants that keep reports for a number of days of their own.
    async fn prune_reports_of_tenants(&self, kept: &ReportRetention, now: Timestamp) -> Result<u64, StoreError> {
        let sql = "SELECT tenant_id, report_retention_days AS days FROM tenant_quotas
            WHERE report_retention_days IS NOT NULL ORDER BY tenant_id";
        let mut rows = 0;
        for short in sql::all::<ShortRow>(self.db(), sql, vec![]).await? {
            // At midnight: a day goes as a whole.
            let before = midnight(now - TimeDelta::days(short.days.into()));
            for sql in OLD_OF_TENANT {
                let values = vec![before.into(), AT_ONCE.into(), short.tenant_id.into(), (now - kept.sums).into()];
                rows += sql::execute(self.db(), sql, values).await?;
            }
        }
        Ok(rows)
    }
}

fn midnight(at: Timestamp) -> Timestamp {
    at.date_naive().and_time(chrono::NaiveTime::MIN).and_utc()
}
