//! `GET /v1/reports/export` and `GET /v1/domains/{domain_id}/reports/export`

use std::{collections::BTreeMap, time::Duration};

use actix_web::{HttpResponse, get, http::header, web::Bytes};
use chrono::NaiveDate;
use futures_util::stream;
use mtasts_model::{DomainId, ReportGrade, ReportKind, TenantId};
use mtasts_store::{
    DmarcResultFilter, ReportDimension, ReportPageQuery, ReportPosition, ReportRange, Store, TlsResultFilter,
};
use tokio::time::Instant;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{
    KindSchema, begin,
    cells::{Exported, Format, SumBody},
    kind,
    place::Place,
    range, report_query,
    rows::{DmarcResultBody, TlsResultBody},
};
use crate::{
    auth::TenantScope,
    extract::{Cursor, PathId, Query},
    problem::{Problem, documented, groups},
    v1::bulk::import::{Lines, NDJSON},
};

const CSV: &str = "text/csv; charset=utf-8; header=present";
/// Rows that are read at once, which is all that is held in memory.
const AT_ONCE: u32 = 1_000;
/// Rows of one export; the next goes on behind them.
const MOST_ROWS: u64 = 1_000_000;
/// An export that takes longer ends early, and the next goes on.
const DEADLINE: Duration = Duration::from_mins(10);

report_query! {
    /// What to export.
    ExportReports {
        /// Of which kind of report; `tls-rpt` where absent.
        #[param(value_type = Option<KindSchema>, inline)]
        kind: Option<String>,
        /// What; `results` where absent.
        #[param(value_type = Option<WhatSchema>, inline)]
        what: Option<String>,
        /// In which form; `ndjson` where absent.
        #[param(value_type = Option<FormatSchema>, inline)]
        format: Option<String>,
        /// `next_cursor` at the end of the export before. Goes with the same parameters.
        #[param(pattern = "^[A-Za-z0-9_-]+$")]
        cursor: Option<String>,
    }
}

/// What is exported.
#[derive(ToSchema)]
#[schema(as = ReportExportWhat, rename_all = "lowercase")]
#[expect(dead_code, reason = "for the OpenAPI document")]
enum WhatSchema {
    /// The rows of reports, as `/results` lists them.
    Results,
    /// The sums by day: each row is what one value of one dimension adds up to.
    Days,
}

/// In which form.
#[derive(ToSchema)]
#[schema(as = ReportExportFormat, rename_all = "lowercase")]
#[expect(dead_code, reason = "for the OpenAPI document")]
enum FormatSchema {
    /// RFC 4180, with a line of heads.
    Csv,
    /// One JSON object a line.
    Ndjson,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL])
    }
}

struct ErrorsOfDomain;

impl IntoResponses for ErrorsOfDomain {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT])
    }
}

/// Export reports
///
/// Of all of your domains, the earliest day first: rows of reports, or their sums by day, as CSV or as lines of JSON. The
/// last line says that it is the last: `{"end":true,"count":n,"next_cursor":…}`, or in CSV a record `#end,n,…`. An export
/// without it broke off. After a million rows or ten minutes it ends with a cursor, with which the next goes on. In CSV a
/// text that begins like a formula has an apostrophe before it. What arrives meanwhile may or may not be in it.
#[utoipa::path(
    tag = "reports",
    operation_id = "export_reports",
    params(ExportReports),
    responses(
        (status = 200, description = "The rows.", content(
            (inline(Lines) = "application/x-ndjson", example = "{\"day\":\"2026-11-21\",\"result\":\"certificate-expired\",\"sessions\":10}\n{\"end\":true,\"count\":1,\"next_cursor\":null}\n"),
            (inline(Lines) = "text/csv", example = "kind,by,day,value,grade,reports,good,bad\r\ntls-rpt,total,2026-11-21,,verified,1,990,10\r\n#end,1,,,,,,\r\n"),
        )),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[get("/reports/export")]
pub(crate) async fn export_reports(scope: TenantScope, query: Query<ExportReports>) -> Result<HttpResponse, Problem> {
    export(&scope, None, &query.0).await
}

/// Export a domain's reports
///
/// The earliest day first: rows of reports, or their sums by day, as CSV or as lines of JSON. The last line says that it is
/// the last, and where the next export goes on, as with `GET /v1/reports/export`.
#[utoipa::path(
    tag = "reports",
    operation_id = "export_domain_reports",
    params(("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"), ExportReports),
    responses(
        (status = 200, description = "The rows.", content(
            (inline(Lines) = "application/x-ndjson", example = "{\"day\":\"2026-11-21\",\"result\":\"certificate-expired\",\"sessions\":10}\n{\"end\":true,\"count\":1,\"next_cursor\":null}\n"),
            (inline(Lines) = "text/csv", example = "kind,by,day,value,grade,reports,good,bad\r\ntls-rpt,total,2026-11-21,,verified,1,990,10\r\n#end,1,,,,,,\r\n"),
        )),
        ErrorsOfDomain,
    ),
    security(("api_key" = [])),
)]
#[get("/domains/{domain_id}/reports/export")]
pub(crate) async fn export_domain_reports(
    scope: TenantScope,
    id: PathId<DomainId>,
    query: Query<ExportReports>,
) -> Result<HttpResponse, Problem> {
    export(&scope, Some(id.0), &query.0).await
}

/// What the rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Tls,
    Dmarc,
    Days,
}

/// A row of the sums, in a cursor: `day grade dimension value`. The value may be any text, and so comes last.
#[derive(Debug, Clone)]
struct SumPlace {
    day: NaiveDate,
    grade: ReportGrade,
    dimension: ReportDimension,
    value: String,
}

impl std::fmt::Display for SumPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { day, grade, dimension, value } = self;
        write!(f, "{day} {} {} {value}", grade.as_str(), dimension.as_str())
    }
}

impl std::str::FromStr for SumPlace {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(4, ' ');
        let mut part = || parts.next().ok_or(());
        let (day, grade, dimension, value) = (part()?, part()?, part()?, part()?.to_owned());
        let plain = day.len() == 10 && day.bytes().all(|octet| octet.is_ascii_digit() || octet == b'-');
        let dimension = ReportDimension::ALL.iter().copied().find(|known| known.as_str() == dimension).ok_or(())?;
        let day = day.parse().map_err(|_| ())?;
        let grade = grade.parse().map_err(|_| ())?;
        if plain && !value.contains('\0') { Ok(Self { day, grade, dimension, value }) } else { Err(()) }
    }
}

/// Where an export stands.
#[derive(Debug, Clone)]
enum At {
    Row(Option<ReportPosition>),
    /// In a dimension, behind a row.
    Sum(ReportDimension, Option<SumPlace>),
    Ended,
}

impl At {
    fn cursor(&self) -> Option<String> {
        match self {
            Self::Row(Some(position)) => Some(Cursor::after(&Place(*position))),
            Self::Sum(_, Some(place)) => Some(Cursor::after(place)),
            // Behind the last row of the dimension before: nothing is behind its end.
            Self::Sum(..) | Self::Row(None) | Self::Ended => None,
        }
    }
}

struct Export {
    store: Store,
    tenant: TenantId,
    range: ReportRange,
    what: What,
    format: Format,
    at: At,
    /// The last place that has a cursor.
    cursor: Option<String>,
    count: u64,
    begun: bool,
    deadline: Instant,
}

async fn export(scope: &TenantScope, domain: Option<DomainId>, query: &ExportReports) -> Result<HttpResponse, Problem> {
    let range = range(domain, kind(query.kind.as_deref())?, query.days(scope.now())?, query.grades()?);
    let format = match query.format.as_deref() {
        None | Some("ndjson") => Format::Ndjson,
        Some("csv") => Format::Csv,
        Some(_) => return Err(Problem::parameter("format", "format-unknown", "must be `csv` or `ndjson`")),
    };
    let what = match (query.what.as_deref(), range.kind) {
        (None | Some("results"), ReportKind::TlsRpt) => What::Tls,
        (None | Some("results"), ReportKind::Dmarc) => What::Dmarc,
        (Some("days"), _) => What::Days,
        _ => return Err(Problem::parameter("what", "what-unknown", "must be `results` or `days`")),
    };
    let cursor = query.cursor.as_deref();
    let at = match what {
        What::Tls | What::Dmarc => At::Row(Cursor::read::<Place>(cursor)?.map(|place| place.0)),
        What::Days => match Cursor::read::<SumPlace>(cursor)? {
            Some(place) => At::Sum(place.dimension, Some(place)),
            None => At::Sum(ReportDimension::Total, None),
        },
    };
    begin(scope, domain).await?.commit().await?;
    let export = Export {
        store: scope.state().store.clone(),
        tenant: scope.tenant_id(),
        range,
        what,
        format,
        at,
        cursor: None,
        count: 0,
        begun: false,
        deadline: Instant::now() + DEADLINE,
    };
    let (media_type, name) = match format {
        Format::Csv => (CSV, "reports.csv"),
        Format::Ndjson => (NDJSON, "reports.ndjson"),
    };
    // The first lines before the answer begins, so that a database that is away is told by its status.
    let Some((first, rest)) = export.next().await? else { return Err(Problem::internal("an export without an end")) };
    let lines = stream::try_unfold((Some(first), rest), async |(first, rest): (Option<Bytes>, Export)| match first {
        Some(first) => Ok(Some((first, (None, rest)))),
        None => match rest.next().await {
            Ok(more) => Ok(more.map(|(lines, rest)| (lines, (None, rest)))),
            Err(problem) => {
                tracing::warn!(%problem, cause = problem.cause().map(tracing::field::display), "an export broke off");
                Err(problem)
            }
        },
    });
    Ok(HttpResponse::Ok()
        .content_type(media_type)
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .streaming(lines))
}

impl Export {
    /// The next lines; none after the last. A transaction of its own: nothing is held while the client reads.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Problem> {
        if matches!(self.at, At::Ended) {
            return Ok(None);
        }
        let mut lines = Vec::new();
        match self.what {
            What::Tls => self.results::<TlsResultBody>(&mut lines).await?,
            What::Dmarc => self.results::<DmarcResultBody>(&mut lines).await?,
            What::Days => self.sums(&mut lines).await?,
        }
        Ok(Some((lines.into(), self)))
    }

    fn lines<T: Exported>(&mut self, out: &mut Vec<u8>, rows: &[T], at: At) -> Result<(), Problem> {
        if !self.begun {
            self.format.head::<T>(out);
            self.begun = true;
        }
        for row in rows {
            self.format.row(out, row)?;
            self.count += 1;
        }
        self.at = at;
        self.cursor = self.at.cursor().or(self.cursor.take());
        let ended = matches!(self.at, At::Ended);
        if ended || self.count >= MOST_ROWS || Instant::now() >= self.deadline {
            let next = self.cursor.as_deref().filter(|_| !ended);
            self.format.end::<T>(out, self.count, next);
            self.at = At::Ended;
        }
        Ok(())
    }

    async fn results<T: Exported + FromResults>(&mut self, out: &mut Vec<u8>) -> Result<(), Problem> {
        let At::Row(after) = self.at else { return Ok(()) };
        let ReportRange { domain, from, to, .. } = self.range;
        let query = ReportPageQuery { domain, from, to, after, descending: false, limit: AT_ONCE };
        let tx = self.store.tenant_tx(self.tenant).await?;
        let (rows, next) = T::read(&tx, &self.range.grades, &query).await?;
        tx.commit().await?;
        let at = next.map_or(At::Ended, |next| At::Row(Some(next)));
        self.lines(out, &rows, at)
    }

    async fn sums(&mut self, out: &mut Vec<u8>) -> Result<(), Problem> {
        let At::Sum(dimension, after) = self.at.clone() else { return Ok(()) };
        let tx = self.store.tenant_tx(self.tenant).await?;
        let behind = after.as_ref().map(|place| (place.day, place.value.as_str(), place.grade));
        let found = tx.report_sum_rows(&self.range, dimension, behind).await?;
        tx.commit().await?;
        let is_full = found.len() >= usize::try_from(AT_ONCE).unwrap_or(usize::MAX);
        let last = found.last().map(|last| SumPlace {
            day: last.day,
            grade: last.sum.grade,
            dimension,
            value: last.value.clone(),
        });
        self.cursor = last.as_ref().map(Cursor::after).or(self.cursor.take());
        let at = if is_full { At::Sum(dimension, last) } else { self.after(dimension) };
        let body = |row: mtasts_store::SumRow| SumBody {
            kind: self.range.kind.as_str(),
            by: dimension.as_str(),
            day: row.day.to_string(),
            value: row.value,
            grade: row.sum.grade.as_str(),
            reports: row.sum.reports,
            good: row.sum.good,
            bad: row.sum.bad,
        };
        let rows: Vec<_> = found.into_iter().map(body).collect();
        self.lines(out, &rows, at)
    }

    /// The next dimension, if there is one.
    fn after(&self, dimension: ReportDimension) -> At {
        let one_domain = self.range.domain.is_some();
        let mut all = ReportDimension::ALL.iter().copied().skip_while(|known| *known != dimension).skip(1);
        let next = all.find(|next| next.is_of(self.range.kind, one_domain));
        next.map_or(At::Ended, |next| At::Sum(next, None))
    }
}

/// Rows that are read page by page.
trait FromResults: Sized {
    async fn read(
        tx: &mtasts_store::TenantTx,
        grades: &[ReportGrade],
        query: &ReportPageQuery,
    ) -> Result<(Vec<Self>, Option<ReportPosition>), Problem>;
}

impl FromResults for TlsResultBody {
    async fn read(
        tx: &mtasts_store::TenantTx,
        grades: &[ReportGrade],
        query: &ReportPageQuery,
    ) -> Result<(Vec<Self>, Option<ReportPosition>), Problem> {
        let filter = TlsResultFilter { grades: grades.to_vec(), ..TlsResultFilter::default() };
        let page = tx.tls_results(&filter, query).await?;
        Ok((page.rows.into_iter().map(Self::from).collect(), page.next))
    }
}

impl FromResults for DmarcResultBody {
    async fn read(
        tx: &mtasts_store::TenantTx,
        grades: &[ReportGrade],
        query: &ReportPageQuery,
    ) -> Result<(Vec<Self>, Option<ReportPosition>), Problem> {
        let filter = DmarcResultFilter { grades: grades.to_vec(), ..DmarcResultFilter::default() };
        let page = tx.dmarc_results(&filter, query).await?;
        Ok((page.rows.into_iter().map(Self::from).collect(), page.next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_sums_reads_back_as_itself() {
        for value in ["", "Google Inc.", "certificate-expired\tmx.a.test", " two  spaces "] {
            let place = SumPlace {
                day: NaiveDate::from_ymd_opt(2026, 11, 21).unwrap(),
                grade: ReportGrade::Verified,
                dimension: ReportDimension::Failure,
                value: value.to_owned(),
            };
            let text = place.to_string();
            assert_eq!(text.parse::<SumPlace>().unwrap().to_string(), text);
        }
        for bad in ["", "2026-11-21 verified", "2026-11-21 verified colour x", "+2026-1-1 verified total ", "a\0"] {
            assert!(bad.parse::<SumPlace>().is_err(), "{bad:?}");
        }
    }
}
