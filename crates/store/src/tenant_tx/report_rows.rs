//! Rows of reports in order of their days, in pages: never more work for a page than a bound.

use chrono::{Days, NaiveDate, NaiveTime};
use mtasts_model::{DomainId, ReportId};
use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use uuid::Uuid;

use super::TenantTx;
use crate::{
    StoreError,
    sql::{self, MAX_LIST},
};

/// Rows that are looked at for one page, which may then be short and yet have a next one. A few milliseconds.
pub(super) const SCAN: u32 = 1_000;

/// The longest page, and one more, by which the last page is known as such.
const MOST: u32 = 5 * MAX_LIST;

/// A report is read after it arrived, and speaks of days up to two days after that (clocks differ).
const AHEAD: Days = Days::new(3);

/// A place in the order of days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReportPosition {
    /// The day (UTC).
    pub day: NaiveDate,
    /// The report.
    pub report: ReportId,
    /// Which of its rows; 0 in a list of reports.
    pub seq: u32,
}

/// Which rows, and which page of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportPageQuery {
    /// Of one domain; None: of all.
    pub domain: Option<DomainId>,
    /// The first day (UTC).
    pub from: NaiveDate,
    /// The last day, included.
    pub to: NaiveDate,
    /// Behind which place; None: from the beginning.
    pub after: Option<ReportPosition>,
    /// The latest day first.
    pub descending: bool,
    /// How many: 1 to 1,000.
    pub limit: u32,
}

/// A page.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportPage<T> {
    /// The rows: fewer than were asked for, even none, where few among many match.
    pub rows: Vec<T>,
    /// Behind which place it goes on; None: this was the end.
    pub next: Option<ReportPosition>,
}

/// A table whose rows have a day.
pub(super) struct Source {
    pub(super) table: &'static str,
    /// The column with the report's id.
    pub(super) id: &'static str,
    /// The column with the row's number, if a report has several.
    pub(super) seq: Option<&'static str>,
    /// What is read, of a row `s`.
    pub(super) columns: &'static str,
}

/// What is read of a row.
pub(super) trait Row: FromQueryResult {
    fn position(&self) -> ReportPosition;
}

/// Conditions on a row `s`, and the values in them.
#[derive(Default)]
pub(super) struct Filters {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Filters {
    /// `{}` in the condition stands for the value.
    pub(super) fn add(&mut self, condition: &str, value: impl Into<Value>) {
        let place = self.place(value);
        self.conditions.push(condition.replace("{}", &place));
    }

    /// The same, where there is a value.
    pub(super) fn add_some(&mut self, condition: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.add(condition, value);
        }
    }

    pub(super) fn add_plain(&mut self, condition: &str) {
        self.conditions.push(condition.to_owned());
    }

    fn place(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }
}

impl Source {
    fn key(&self, row: &str, end: &str) -> String {
        let columns = ["day", self.id].into_iter().chain(self.seq);
        columns.map(|column| format!("{row}.{column}{end}")).collect::<Vec<_>>().join(", ")
    }

    /// The rows in order, from behind the query's place on.
    fn scanned(&self, tx: &TenantTx, query: &ReportPageQuery, limit: u32, filters: &mut Filters) -> String {
        let tenant = filters.place(tx.tenant.as_uuid());
        let domain = query.domain.map(|id| format!("r.domain_id = {} AND ", filters.place(id.as_uuid())));
        let (from, to) = (filters.place(query.from), filters.place(query.to));
        // Whole partitions are passed over by this.
        let least = filters.place(least_id(query.from));
        let (beyond, direction) = if query.descending { ('<', " DESC") } else { ('>', "") };
        let behind = query.after.map(|after| {
            let mut places = vec![filters.place(after.day), filters.place(after.report.as_uuid())];
            if self.seq.is_some() {
                places.push(filters.place(i32::try_from(after.seq).unwrap_or(i32::MAX)));
            }
            format!(" AND ({}) {beyond} ({})", self.key("r", ""), places.join(", "))
        });
        format!(
            "SELECT r.* FROM {} r WHERE {}r.tenant_id = {tenant} AND r.day BETWEEN {from} AND {to}
                AND r.{} >= {least}{} ORDER BY {} LIMIT {limit}",
            self.table,
            domain.unwrap_or_default(),
            self.id,
            behind.unwrap_or_default(),
            self.key("r", direction)
        )
    }
}

/// Nothing that speaks of this day was read before.
fn least_id(day: NaiveDate) -> Uuid {
    let moment = day.checked_sub_days(AHEAD).unwrap_or(day).and_time(NaiveTime::MIN).and_utc();
    // 48 bits of milliseconds come first (RFC 9562 §5.7).
    Uuid::from_u128(u128::try_from(moment.timestamp_millis()).unwrap_or(0).min((1 << 48) - 1) << 80)
}

/// One page.
pub(super) async fn page<T: Row>(
    tx: &TenantTx,
    source: &Source,
    query: &ReportPageQuery,
    mut filters: Filters,
) -> Result<ReportPage<T>, StoreError> {
    keep_to_order(&tx.tx).await?;
    let limit = query.limit.clamp(1, MOST);
    let is_filtered = !filters.conditions.is_empty();
    let wheres = if is_filtered { format!("WHERE {}", filters.conditions.join(" AND ")) } else { String::new() };
    let scanned = source.scanned(tx, query, if is_filtered { SCAN } else { limit + 1 }, &mut filters);
    let read = format!(
        "SELECT {} FROM ({scanned}) s {wheres} ORDER BY {} LIMIT {}",
        source.columns,
        source.key("s", if query.descending { " DESC" } else { "" }),
        limit + 1
    );
    let mut rows: Vec<T> = sql::all(&tx.tx, &read, filters.values).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if rows.len() > limit {
        rows.truncate(limit);
        let next = rows.last().map(Row::position);
        return Ok(ReportPage { rows, next });
    }
    let next = if is_filtered { bound(tx, source, query).await? } else { None };
    Ok(ReportPage { rows, next })
}

/// The last row within the bound, where there are more.
async fn bound(tx: &TenantTx, source: &Source, query: &ReportPageQuery) -> Result<Option<ReportPosition>, StoreError> {
    let mut filters = Filters::default();
    let scanned = source.scanned(tx, query, SCAN, &mut filters);
    let (id, seq) = (source.id, source.seq.unwrap_or("0"));
    let read = format!("SELECT s.day, s.{id} AS report, {seq} AS seq FROM ({scanned}) s OFFSET {}", SCAN - 1);
    let row = sql::row(&tx.tx, &read, filters.values).await?;
    row.map(|row| {
        let seq: i32 = row.try_get("", "seq")?;
        Ok(ReportPosition {
            day: row.try_get("", "day")?,
            report: ReportId::from_uuid(row.try_get("", "report")?),
            seq: u32::try_from(seq).unwrap_or(0),
        })
    })
    .transpose()
}

/// Each order has its index. Where statistics make something else look cheaper, they are old, or the domain is most of the
/// table: the bound would be lost.
async fn keep_to_order(db: &impl ConnectionTrait) -> Result<(), StoreError> {
    let set = "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
        set_config('enable_sort', 'off', true), set_config('enable_incremental_sort', 'off', true)";
    sql::execute(db, set, vec![]).await?;
    Ok(())
}
