//! What a tenant's reports add up to, by day. A view reads the rows of its one dimension, within its days.

use chrono::{Datelike, Days, Months, NaiveDate};
use mtasts_model::{DomainId, Mode, PolicyVersionId, ReportGrade, ReportKind, TenantId, Timestamp};
use sea_orm::{FromQueryResult, Value};
use uuid::Uuid;

use super::TenantTx;
use crate::{StoreError, sql, stored::At};

/// Parts of a value that speaks of several things stand apart by this.
const APART: char = '\t';

/// Which sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportRange {
    /// Of one domain; None: over all of the tenant's.
    pub domain: Option<DomainId>,
    /// Of which kind of report.
    pub kind: ReportKind,
    /// The first day (UTC).
    pub from: NaiveDate,
    /// The last day (UTC), included.
    pub to: NaiveDate,
    /// Of reports with these grades; empty: with any.
    pub grades: Vec<ReportGrade>,
}

macro_rules! dimensions {
    ($($(#[$doc:meta])* $variant:ident = $word:literal;)+) => {
        /// By what reports are added up.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ReportDimension {
            $($(#[$doc])* $variant,)+
        }

        impl ReportDimension {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in the store and in the API.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}

dimensions! {
    /// All together: the value is empty.
    Total = "total";
    /// Who sent them.
    Organization = "organization";
    /// TLS: result types of failures.
    Result = "result";
    /// TLS: receiving MX hosts of failures.
    Mx = "mx";
    /// TLS: sending addresses of failures.
    SendingIp = "sending_ip";
    /// Networks of the sending addresses.
    Network = "network";
    /// Countries of the sending addresses.
    Country = "country";
    /// TLS: the policy as the sender saw it.
    Policy = "policy";
    /// Over all domains: which.
    Domain = "domain";
    /// DMARC: sending addresses.
    SourceIp = "source_ip";
    /// DMARC: what the receiver did.
    Disposition = "disposition";
    /// DMARC: what DKIM and SPF came to, aligned.
    Alignment = "alignment";
    /// DMARC: the domain in From.
    HeaderFrom = "header_from";
    /// TLS: a result type and, behind a tab, the receiving MX host, empty if none is named.
    Failure = "failure";
    /// TLS: of failures at the policy host the result type, whose fault, and why it is thought so, with tabs between.
    Edge = "edge";
}

impl ReportDimension {
    /// Whether reports of this kind are added up by it, within one domain or over all.
    pub fn is_of(self, kind: ReportKind, one_domain: bool) -> bool {
        match self {
            Self::Total | Self::Organization | Self::Network | Self::Country => true,
            Self::Domain => !one_domain,
            Self::Result | Self::Mx | Self::SendingIp | Self::Policy | Self::Failure | Self::Edge => {
                kind == ReportKind::TlsRpt
            }
            Self::SourceIp | Self::Disposition | Self::Alignment | Self::HeaderFrom => kind == ReportKind::Dmarc,
        }
    }
}

/// What came from reports with one grade. TLS: sessions; DMARC: messages that passed, and that did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GradeSum {
    /// The grade.
    pub grade: ReportGrade,
    /// Reports, or rows of them.
    pub reports: u64,
    /// What went well.
    pub good: u64,
    /// What did not.
    pub bad: u64,
}

/// What one day adds up to, of one grade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaySum {
    /// The day (UTC).
    pub day: NaiveDate,
    /// What it adds up to.
    pub sum: GradeSum,
}

/// A row of the sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SumRow {
    /// The day (UTC).
    pub day: NaiveDate,
    /// The value; empty in the dimension `total`.
    pub value: String,
    /// What it adds up to.
    pub sum: GradeSum,
}

/// By what the values of a dimension are put in order; the largest come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReportOrder {
    /// By what did not go well.
    #[default]
    Bad,
    /// By all.
    Total,
}

/// One value of a dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueSums {
    /// The value.
    pub value: String,
    /// By grade.
    pub sums: Vec<GradeSum>,
    /// The first day within the range on which it is seen.
    pub first_day: NaiveDate,
    /// The last.
    pub last_day: NaiveDate,
}

/// The largest values of a dimension.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Breakdown {
    /// The largest first.
    pub values: Vec<ValueSums>,
    /// How many values there are.
    pub number: u64,
    /// What went well, over all values.
    pub good: u64,
    /// What did not.
    pub bad: u64,
}

/// A kind of failure, with what is known of it besides the range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureSums {
    /// The result type (RFC 8460 §4.3).
    pub result: String,
    /// The receiving MX host; empty: none was named.
    pub mx: String,
    /// What the range adds up to.
    pub within: ValueSums,
    /// The first day ever; None if that has been forgotten.
    pub first_day: Option<NaiveDate>,
    /// The last day ever.
    pub last_day: Option<NaiveDate>,
    /// When the service first learned of it.
    pub first_seen_at: Option<Timestamp>,
}

/// Failures at the policy host that have one verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerdictSums {
    /// The result type.
    pub result: String,
    /// Whether it was the service's fault.
    pub verdict: String,
    /// Why it is thought so.
    pub reason: String,
    /// What the range adds up to.
    pub within: ValueSums,
}

/// What a policy version is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionSeen {
    /// Which.
    pub id: PolicyVersionId,
    /// Its number within its domain.
    pub seq: u32,
    /// Its mode.
    pub mode: Mode,
    /// Its `max_age`, in seconds.
    pub max_age: u32,
}

#[derive(FromQueryResult)]
struct DayRow {
    day: NaiveDate,
    grade: String,
    reports: i64,
    good: i64,
    bad: i64,
}

#[derive(FromQueryResult)]
struct DayValueRow {
    value: String,
    #[sea_orm(nested)]
    of_day: DayRow,
}

#[derive(FromQueryResult)]
struct ValueRow {
    value: String,
    grade: String,
    reports: i64,
    good: i64,
    bad: i64,
    first_day: NaiveDate,
    last_day: NaiveDate,
    number: i64,
    all_good: i64,
    all_bad: i64,
}

#[derive(FromQueryResult)]
struct KindRow {
    result: String,
    mx: String,
    first_day: Option<NaiveDate>,
    last_day: Option<NaiveDate>,
    first_seen_at: Option<Timestamp>,
}

#[derive(FromQueryResult)]
struct VersionRow {
    id: Uuid,
    seq: i32,
    mode: String,
    max_age: i32,
}

#[derive(FromQueryResult)]
struct NameRow {
    id: Uuid,
    name: String,
}

/// Anybody can claim any number: what is beyond is shown as the largest that there is.
fn sum(column: &str) -> String {
    format!("least(sum({column}), 9223372036854775807)::bigint")
}

/// The columns hold nothing below zero, or only while a sum is taken back.
pub(super) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

const WHICH: &str = "tenant_id = $1 AND domain_id = $2 AND kind = $3 AND dimension = $4 AND day BETWEEN $5 AND $6
    AND grade = ANY ($7)";

const BY_DAY: &str = "SELECT value, grade, reports, good, bad, day AS first_day, day AS last_day FROM report_days";

/// Fewer days are read by day.
const FEWEST_DAYS_BY_MONTH: i64 = 62;

impl ReportRange {
    fn values(&self, tenant: TenantId, dimension: ReportDimension) -> Vec<Value> {
        let grades = if self.grades.is_empty() { ReportGrade::ALL } else { &self.grades };
        vec![
            tenant.as_uuid().into(),
            self.domain.map_or(Uuid::nil(), DomainId::as_uuid).into(),
            self.kind.as_str().into(),
            dimension.as_str().into(),
            self.from.into(),
            self.to.into(),
            grades.iter().map(|grade| grade.as_str().to_owned()).collect::<Vec<_>>().into(),
        ]
    }
}

impl TenantTx {
    /// Whether it is one of the tenant's domains.
    pub async fn has_domain(&self, id: DomainId) -> Result<bool, StoreError> {
        let find = "SELECT 1 FROM domains WHERE id = $1 AND tenant_id = $2";
        let values = vec![id.as_uuid().into(), self.tenant.as_uuid().into()];
        Ok(sql::row(&self.tx, find, values).await?.is_some())
    }

    /// What each day adds up to, the earliest first: at most four rows a day. Days without reports have none.
    pub async fn report_days(&self, range: &ReportRange) -> Result<Vec<DaySum>, StoreError> {
        let read = format!("SELECT day, grade, reports, good, bad FROM report_days WHERE {WHICH} ORDER BY day, grade");
        let rows: Vec<DayRow> = sql::all(&self.tx, &read, range.values(self.tenant, ReportDimension::Total)).await?;
        let read =
            |row: DayRow| Ok(DaySum { day: row.day, sum: self.grade_sum(&row.grade, row.reports, row.good, row.bad)? });
        rows.into_iter().map(read).collect()
    }

    /// Rows of one dimension in order of day, value and grade, at most 1,000 behind `after`.
    pub async fn report_sum_rows(
        &self,
        range: &ReportRange,
        dimension: ReportDimension,
        after: Option<(NaiveDate, &str, ReportGrade)>,
    ) -> Result<Vec<SumRow>, StoreError> {
        let mut values = range.values(self.tenant, dimension);
        let mut behind = "";
        if let Some((day, value, grade)) = after {
            behind = " AND (day, value, grade) > ($8, $9, $10)";
            values.extend([day.into(), value.into(), grade.as_str().into()]);
        }
        let read = format!(
            "SELECT day, value, grade, reports, good, bad FROM report_days WHERE {WHICH}{behind}
            ORDER BY day, value, grade LIMIT 1000"
        );
        let rows: Vec<DayValueRow> = sql::all(&self.tx, &read, values).await?;
        let read = |DayValueRow { value, of_day: row }| {
            let sum = self.grade_sum(&row.grade, row.reports, row.good, row.bad)?;
            Ok(SumRow { day: row.day, value, sum })
        };
        rows.into_iter().map(read).collect()
    }

    /// Where sums of a range stand, with `value`, `grade`, the figures, `first_day` and `last_day`, and the parameters: by
    /// day, and whole months by month.
    async fn report_sums(
        &self,
        range: &ReportRange,
        dimension: ReportDimension,
    ) -> Result<(String, Vec<Value>), StoreError> {
        let mut values = range.values(self.tenant, dimension);
        let mut rows = format!("{BY_DAY} WHERE {WHICH}");
        if let Some((first, behind)) = self.whole_months(range).await? {
            values.extend([first.into(), behind.into()]);
            rows = format!(
                "{BY_DAY} WHERE {WHICH} AND day < $8 UNION ALL {BY_DAY} WHERE {WHICH} AND day >= $9
                UNION ALL SELECT value, grade, reports, good, bad, first_day, last_day FROM report_months
                WHERE tenant_id = $1 AND domain_id = $2 AND kind = $3 AND dimension = $4 AND month >= $8 AND month < $9 AND grade = ANY ($7)"
            );
        }
        Ok((format!("({rows}) AS sums_of_range"), values))
    }

    /// The first of the months that lie within the range, and the one behind the last. A month of
    /// which days have been forgotten already is not whole: it has their figures still.
    async fn whole_months(&self, range: &ReportRange) -> Result<Option<(NaiveDate, NaiveDate)>, StoreError> {
        if (range.to - range.from).num_days() < FEWEST_DAYS_BY_MONTH {
            return Ok(None);
        }
        let oldest = "SELECT min(day) AS day FROM report_days
            WHERE tenant_id = $1 AND domain_id = $2 AND kind = $3 AND dimension = $4";
        let mut values = range.values(self.tenant, ReportDimension::Total);
        values.truncate(4);
        let row = sql::row(&self.tx, oldest, values).await?.ok_or(StoreError::NotFound)?;
        let oldest: Option<NaiveDate> = row.try_get("", "day")?;
        let start = |day: NaiveDate| day.with_day(1).unwrap_or(day);
        let from = range.from.max(oldest.unwrap_or(range.to));
        let first = if from.day() == 1 { from } else { start(from + Months::new(1)) };
        let behind = start(range.to + Days::new(1));
        Ok((first < behind).then_some((first, behind)))
    }

    /// How many organisations have reported.
    pub async fn report_organizations(&self, range: &ReportRange) -> Result<u64, StoreError> {
        let (from, values) = self.report_sums(range, ReportDimension::Organization).await?;
        let read = format!("SELECT count(*) AS number FROM (SELECT FROM {from} GROUP BY value) v");
        let row = sql::row(&self.tx, &read, values).await?.ok_or(StoreError::NotFound)?;
        Ok(count(row.try_get("", "number")?))
    }

    /// The largest values of a dimension.
    pub async fn report_breakdown(
        &self,
        range: &ReportRange,
        dimension: ReportDimension,
        order: ReportOrder,
        limit: u32,
    ) -> Result<Breakdown, StoreError> {
        let order = match order {
            ReportOrder::Bad => "sum(bad) DESC, sum(good) DESC, value",
            ReportOrder::Total => "sum(good) + sum(bad) DESC, value",
        };
        let (from, mut values) = self.report_sums(range, dimension).await?;
        values.push(i64::from(limit).into());
        let limit = values.len();
        let (reports, good, bad) = (sum("reports"), sum("good"), sum("bad"));
        let read = format!(
            "WITH sums AS MATERIALIZED (
                SELECT value, grade, {reports} AS reports, {good} AS good, {bad} AS bad,
                    min(first_day) AS first_day, max(last_day) AS last_day
                FROM {from} GROUP BY value, grade
            ), ranked AS (
                SELECT value, row_number() OVER (ORDER BY {order}) AS place, count(*) OVER () AS number,
                    least(sum(sum(good)) OVER (), 9223372036854775807)::bigint AS all_good,
                    least(sum(sum(bad)) OVER (), 9223372036854775807)::bigint AS all_bad
                FROM sums GROUP BY value
            )
            SELECT s.*, r.number, r.all_good, r.all_bad FROM ranked r JOIN sums s ON s.value = r.value
            WHERE r.place <= ${limit} ORDER BY r.place, s.grade"
        );
        let rows: Vec<ValueRow> = sql::all(&self.tx, &read, values).await?;
        let mut breakdown = rows.first().map_or_else(Breakdown::default, |row| Breakdown {
            values: Vec::new(),
            number: count(row.number),
            good: count(row.all_good),
            bad: count(row.all_bad),
        });
        for row in rows {
            let sum = self.grade_sum(&row.grade, row.reports, row.good, row.bad)?;
            match breakdown.values.last_mut().filter(|last| last.value == row.value) {
                Some(last) => {
                    last.sums.push(sum);
                    last.first_day = last.first_day.min(row.first_day);
                    last.last_day = last.last_day.max(row.last_day);
                }
                None => breakdown.values.push(ValueSums {
                    value: row.value,
                    sums: vec![sum],
                    first_day: row.first_day,
                    last_day: row.last_day,
                }),
            }
        }
        Ok(breakdown)
    }

    /// The kinds of failure with most sessions, with since when and until when they are known.
    pub async fn report_failures(&self, range: &ReportRange, limit: u32) -> Result<Vec<FailureSums>, StoreError> {
        let found = self.report_breakdown(range, ReportDimension::Failure, ReportOrder::Bad, limit).await?;
        let parts = |sums: &ValueSums| match sums.value.split_once(APART) {
            Some((result, mx)) => (result.to_owned(), mx.to_owned()),
            None => (sums.value.clone(), String::new()),
        };
        let (results, hosts): (Vec<String>, Vec<String>) = found.values.iter().map(parts).unzip();
        let known = self.failure_kinds(range.domain, results.clone(), hosts.clone()).await?;
        let failures = found.values.into_iter().zip(results.into_iter().zip(hosts)).map(|(within, (result, mx))| {
            let kind = known.iter().find(|kind| kind.result == result && kind.mx == mx);
            FailureSums {
                first_day: kind.and_then(|kind| kind.first_day),
                last_day: kind.and_then(|kind| kind.last_day),
                first_seen_at: kind.and_then(|kind| kind.first_seen_at),
                result,
                mx,
                within,
            }
        });
        Ok(failures.collect())
    }

    /// Of one domain by the key; over all domains by one step into an index for each fact.
    async fn failure_kinds(
        &self,
        domain: Option<DomainId>,
        results: Vec<String>,
        hosts: Vec<String>,
    ) -> Result<Vec<KindRow>, StoreError> {
        let wanted = "unnest($2::text[], $3::text[]) AS w (result, mx)";
        let mut wheres =
            "k.tenant_id = $1 AND k.result = w.result COLLATE \"C\" AND k.receiving_mx = w.mx COLLATE \"C\"".to_owned();
        let mut values = vec![self.tenant.as_uuid().into(), results.into(), hosts.into()];
        if let Some(domain) = domain {
            wheres.push_str(" AND k.domain_id = $4");
            values.push(domain.as_uuid().into());
        }
        let one = |column: &str, order: &str| {
            format!("(SELECT k.{column} FROM failure_kinds k WHERE {wheres} ORDER BY k.{order} LIMIT 1) AS {column}")
        };
        let read = format!(
            "SELECT w.result, w.mx, {}, {}, {} FROM {wanted}",
            one("first_day", "first_seen_at"),
            one("last_day", "last_day DESC"),
            one("first_seen_at", "first_seen_at")
        );
        sql::all(&self.tx, &read, values).await
    }

    /// Whose fault the failures at the policy host were.
    pub async fn report_verdicts(&self, range: &ReportRange, limit: u32) -> Result<Vec<VerdictSums>, StoreError> {
        let found = self.report_breakdown(range, ReportDimension::Edge, ReportOrder::Bad, limit).await?;
        let verdict = |within: ValueSums| {
            let mut parts = within.value.splitn(3, APART).map(str::to_owned);
            let mut part = || parts.next().unwrap_or_default();
            let (result, verdict, reason) = (part(), part(), part());
            VerdictSums { result, verdict, reason, within }
        };
        Ok(found.values.into_iter().map(verdict).collect())
    }

    /// The names of these domains, as far as they are the tenant's.
    pub async fn domain_names(&self, ids: &[DomainId]) -> Result<Vec<(DomainId, String)>, StoreError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        let read = "SELECT id, name FROM domains WHERE id = ANY ($1) AND tenant_id = $2";
        let rows: Vec<NameRow> = sql::all(&self.tx, read, vec![ids.into(), self.tenant.as_uuid().into()]).await?;
        Ok(rows.into_iter().map(|row| (DomainId::from_uuid(row.id), row.name)).collect())
    }

    /// What these policy versions are about, as far as they are the tenant's.
    pub async fn versions_seen(&self, ids: &[PolicyVersionId]) -> Result<Vec<VersionSeen>, StoreError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        let read = "SELECT id, seq, mode, max_age FROM policy_versions WHERE id = ANY ($1) AND tenant_id = $2";
        let rows: Vec<VersionRow> = sql::all(&self.tx, read, vec![ids.into(), self.tenant.as_uuid().into()]).await?;
        let version = |row: VersionRow| {
            let at = At { table: "policy_versions", row: row.id };
            Ok(VersionSeen {
                id: PolicyVersionId::from_uuid(row.id),
                seq: at.number("seq", row.seq)?,
                mode: at.mode("mode", &row.mode)?,
                max_age: at.number("max_age", row.max_age)?,
            })
        };
        rows.into_iter().map(version).collect()
    }

    fn grade_sum(&self, grade: &str, reports: i64, good: i64, bad: i64) -> Result<GradeSum, StoreError> {
        let at = At { table: "report_days", row: self.tenant.as_uuid() };
        let grade = at.parse("grade", grade)?;
        Ok(GradeSum { grade, reports: count(reports), good: count(good), bad: count(bad) })
    }
}
