//! What a digest speaks of: sums that are kept anyway, in a handful of bounded looks.

use chrono::{Days, NaiveDate, NaiveTime};
use mtasts_model::{DomainId, Mode, ReportKind, TenantId};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::{Store, StoreError, sql, stored::At};

/// The most that is read of each list; the digest names fewer.
const MOST: i64 = 201;

/// Failures that are named.
const FAILURES: i64 = 10;

/// Of which tenant and days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigestPeriod {
    /// Whose.
    pub tenant: TenantId,
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
    /// Days of the chart, the last one included.
    pub chart_days: u32,
}

/// Sums over a tenant's domains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DigestFigures {
    /// Good and bad in the period. TLS: sessions; DMARC: messages.
    pub good: u64,
    /// See `good`.
    pub bad: u64,
    /// Of both, those of reports that have not proved where they come from.
    pub unverified: u64,
    /// Good and bad in the period before, which is as long.
    pub good_before: u64,
    /// See `good_before`.
    pub bad_before: u64,
    /// Reports in the period.
    pub reports: u64,
    /// Day by day, oldest first, without a gap.
    pub days: Vec<(NaiveDate, u64, u64)>,
}

/// Failed sessions of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestFailure {
    /// The result type.
    pub result: String,
    /// How many.
    pub sessions: u64,
}

/// A kind of failure that a domain had for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestNewFailure {
    /// Which domain.
    pub domain: String,
    /// The result type.
    pub result: String,
    /// The MX host; empty: none is named.
    pub receiving_mx: String,
    /// How many sessions.
    pub sessions: u64,
    /// Whether a verified report says so.
    pub verified: bool,
}

/// Somebody who has fallen silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestSilence {
    /// Which domain it reported on.
    pub domain: String,
    /// Reports of this kind.
    pub kind: ReportKind,
    /// Who.
    pub organization: String,
    /// The last day that it reported on.
    pub last_day: NaiveDate,
}

/// A domain with something to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestDomain {
    /// Its name.
    pub name: String,
    /// The mode of its policy.
    pub mode: Option<Mode>,
    /// Good and bad in the period.
    pub good: u64,
    /// See `good`.
    pub bad: u64,
}

/// Some of a list, and whether there are more than were looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestList<T> {
    /// Those that were looked at, the first ones first.
    pub items: Vec<T>,
    /// Whether there are more.
    pub more: bool,
}

impl<T> Default for DigestList<T> {
    fn default() -> Self {
        Self { items: Vec::new(), more: false }
    }
}

#[derive(Debug, FromQueryResult)]
struct DayRow {
    day: NaiveDate,
    good: i64,
    bad: i64,
    unverified: i64,
    reports: i64,
}

#[derive(Debug, FromQueryResult)]
struct FailureRow {
    value: String,
    bad: i64,
}

#[derive(Debug, FromQueryResult)]
struct NewFailureRow {
    name: String,
    result: String,
    receiving_mx: String,
    sessions: i64,
    verified: bool,
}

#[derive(Debug, FromQueryResult)]
struct SilenceRow {
    domain_id: Uuid,
    name: String,
    subject: String,
    day: NaiveDate,
}

#[derive(Debug, FromQueryResult)]
struct DomainSumRow {
    value: String,
    good: i64,
    bad: i64,
}

#[derive(Debug, FromQueryResult)]
struct DomainRow {
    id: Uuid,
    name: String,
    mode: Option<String>,
}

/// At most four grades for each day.
const DAYS: &str = "
    SELECT day, least(sum(good), 4e18)::bigint AS good, least(sum(bad), 4e18)::bigint AS bad,
        least(COALESCE(sum(good + bad) FILTER (WHERE grade <> 'verified'), 0), 4e18)::bigint AS unverified,
        least(sum(reports), 4e18)::bigint AS reports
    FROM report_days
    WHERE tenant_id = $1 AND domain_id = '00000000-0000-0000-0000-000000000000' AND kind = $2 AND dimension = 'total'
        AND day BETWEEN $3 AND $4
    GROUP BY day ORDER BY day";

/// Of a dimension there are 200 values a day at most.
const FAILED: &str = "
    SELECT value, least(sum(bad), 4e18)::bigint AS bad FROM report_days
    WHERE tenant_id = $1 AND domain_id = '00000000-0000-0000-0000-000000000000' AND kind = 'tls-rpt'
        AND dimension = 'result' AND day BETWEEN $2 AND $3
    GROUP BY value HAVING sum(bad) > 0 ORDER BY 2 DESC, 1 LIMIT $4";

const BY_DOMAIN: &str = "
    SELECT value, least(sum(good), 4e18)::bigint AS good, least(sum(bad), 4e18)::bigint AS bad FROM report_days
    WHERE tenant_id = $1 AND domain_id = '00000000-0000-0000-0000-000000000000' AND kind = $2
        AND dimension = 'domain' AND day BETWEEN $3 AND $4
    GROUP BY value HAVING sum(bad) > 0 ORDER BY 3 DESC, 1 LIMIT $5";

const NEW_FAILURES: &str = "
    SELECT d.name, k.result, k.receiving_mx, k.sessions, k.verified FROM (
        SELECT * FROM failure_kinds WHERE tenant_id = $1 AND first_seen_at >= $2 AND first_seen_at < $3
        ORDER BY first_seen_at LIMIT $4) k
    JOIN domains d ON d.id = k.domain_id AND d.tenant_id = $1 AND d.state <> 'gone'
    ORDER BY k.verified DESC, k.sessions DESC, d.name, k.result, k.receiving_mx";

const SILENT: &str = "
    SELECT a.domain_id, d.name, a.subject, a.day FROM (
        SELECT * FROM report_alerts WHERE tenant_id = $1 AND alert = 'reporter_silent' AND raised
        ORDER BY at DESC LIMIT $2) a
    JOIN domains d ON d.id = a.domain_id AND d.tenant_id = $1 AND d.state <> 'gone'
    ORDER BY a.at DESC, d.name, a.subject";

impl Store {
    /// The sums of a kind of report.
    pub async fn digest_figures(&self, period: DigestPeriod, kind: ReportKind) -> Result<DigestFigures, StoreError> {
        let length = Days::new(u64::try_from((period.to - period.from).num_days()).unwrap_or(0) + 1);
        let first_of_chart = period.to - Days::new(u64::from(period.chart_days.saturating_sub(1)));
        let since = first_of_chart.min(period.from - length);
        let values = vec![tenant(period), kind.as_str().into(), since.into(), period.to.into()];
        let rows = sql::all::<DayRow>(self.db(), DAYS, values).await?;
        let mut figures = DigestFigures::default();
        for row in &rows {
            if row.day >= period.from {
                figures.good = figures.good.saturating_add(count(row.good));
                figures.bad = figures.bad.saturating_add(count(row.bad));
                figures.unverified = figures.unverified.saturating_add(count(row.unverified));
                figures.reports = figures.reports.saturating_add(count(row.reports));
            } else if row.day >= period.from - length {
                figures.good_before = figures.good_before.saturating_add(count(row.good));
                figures.bad_before = figures.bad_before.saturating_add(count(row.bad));
            }
        }
        let of_day = |day: NaiveDate| {
            let row = rows.iter().find(|row| row.day == day);
            (day, row.map_or(0, |row| count(row.good)), row.map_or(0, |row| count(row.bad)))
        };
        figures.days = first_of_chart.iter_days().take_while(|day| *day <= period.to).map(of_day).collect();
        Ok(figures)
    }

    /// What failed most, over all of the tenant's domains.
    pub async fn digest_failures(&self, period: DigestPeriod) -> Result<Vec<DigestFailure>, StoreError> {
        let values = vec![tenant(period), period.from.into(), period.to.into(), FAILURES.into()];
        let rows = sql::all::<FailureRow>(self.db(), FAILED, values).await?;
        Ok(rows.into_iter().map(|row| DigestFailure { result: row.value, sessions: count(row.bad) }).collect())
    }

    /// Domains with something bad, the worst first.
    pub async fn digest_domains(
        &self,
        period: DigestPeriod,
        kind: ReportKind,
    ) -> Result<DigestList<DigestDomain>, StoreError> {
        let values = vec![tenant(period), kind.as_str().into(), period.from.into(), period.to.into(), MOST.into()];
        let sums = sql::all::<DomainSumRow>(self.db(), BY_DOMAIN, values).await?;
        let known = |sum: &DomainSumRow| sum.value.parse::<DomainId>().ok();
        let ids: Vec<Uuid> = sums.iter().filter_map(known).map(DomainId::as_uuid).collect();
        let sql = "SELECT id, name, mode FROM domains WHERE id = ANY ($1) AND tenant_id = $2 AND state <> 'gone'";
        let rows = sql::all::<DomainRow>(self.db(), sql, vec![ids.into(), tenant(period)]).await?;
        // What comes beyond the values of a day counts as `(others)`.
        let more =
            sums.len() >= usize::try_from(MOST).unwrap_or(usize::MAX) || sums.iter().any(|sum| known(sum).is_none());
        let mut items = Vec::new();
        for sum in &sums {
            let row = known(sum).and_then(|id| rows.iter().find(|row| row.id == id.as_uuid()));
            let Some(row) = row else { continue };
            let at = At { table: "domains", row: row.id };
            items.push(DigestDomain {
                name: row.name.clone(),
                mode: row.mode.as_deref().map(|mode| at.mode("mode", mode)).transpose()?,
                good: count(sum.good),
                bad: count(sum.bad),
            });
        }
        Ok(DigestList { items, more })
    }

    /// Kinds of failure of which the service has learned in the days of the period.
    pub async fn digest_new_failures(&self, period: DigestPeriod) -> Result<DigestList<DigestNewFailure>, StoreError> {
        let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
        let end = midnight(period.to + Days::new(1));
        let values = vec![tenant(period), midnight(period.from).into(), end.into(), MOST.into()];
        let rows = sql::all::<NewFailureRow>(self.db(), NEW_FAILURES, values).await?;
        let more = rows.len() >= usize::try_from(MOST).unwrap_or(usize::MAX);
        let read = |row: NewFailureRow| DigestNewFailure {
            domain: row.name,
            result: row.result,
            receiving_mx: row.receiving_mx,
            sessions: count(row.sessions),
            verified: row.verified,
        };
        Ok(DigestList { items: rows.into_iter().map(read).collect(), more })
    }

    /// Who is silent now, the newest first.
    pub async fn digest_silence(&self, period: DigestPeriod) -> Result<DigestList<DigestSilence>, StoreError> {
        let rows = sql::all::<SilenceRow>(self.db(), SILENT, vec![tenant(period), MOST.into()]).await?;
        let more = rows.len() >= usize::try_from(MOST).unwrap_or(usize::MAX);
        let mut items = Vec::new();
        for row in rows {
            let Some((kind, organization)) = row.subject.split_once('\n') else { continue };
            let at = At { table: "report_alerts", row: row.domain_id };
            items.push(DigestSilence {
                domain: row.name,
                kind: at.parse("subject", kind)?,
                organization: organization.to_owned(),
                last_day: row.day,
            });
        }
        Ok(DigestList { items, more })
    }
}

fn tenant(period: DigestPeriod) -> sea_orm::Value {
    period.tenant.as_uuid().into()
}

/// Never below 0 in the table.
fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
