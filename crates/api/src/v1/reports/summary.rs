//! `GET /v1/reports/summary` and `GET /v1/domains/{domain_id}/reports/summary`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use chrono::NaiveDate;
use mtasts_model::{DomainId, ReportKind};
use mtasts_store::DaySum;
use serde::Serialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{KindSchema, begin, figures::Figures, kind, range, report_query};
use crate::{
    auth::TenantScope,
    extract::{PathId, Query},
    problem::{Problem, documented, groups},
};

report_query! {
    /// Which reports.
    ReadSummary {
        /// Of which kind; `tls-rpt` where absent.
        #[param(value_type = Option<KindSchema>, inline)]
        kind: Option<String>,
    }
}

/// What reports add up to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReportSummary)]
struct SummaryBody {
    /// Of which kind of report.
    #[schema(value_type = KindSchema)]
    kind: &'static str,
    /// The first day (UTC) that was asked for.
    #[schema(value_type = String, format = Date, example = "2026-11-01")]
    from: NaiveDate,
    /// The last.
    #[schema(value_type = String, format = Date, example = "2026-11-30")]
    to: NaiveDate,
    /// All days together.
    totals: Figures,
    /// Organisations that have reported; of a day with more than 200, those beyond are one.
    #[schema(example = 7)]
    organizations: u64,
    /// The first day with reports; null where there are none.
    #[schema(required, value_type = Option<String>, format = Date, example = "2026-11-02")]
    first_day: Option<NaiveDate>,
    /// The last.
    #[schema(required, value_type = Option<String>, format = Date, example = "2026-11-29")]
    last_day: Option<NaiveDate>,
    /// Each day with reports, the earliest first.
    #[schema(max_items = 400)]
    days: Vec<DayBody>,
}

/// What one day adds up to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReportDay)]
struct DayBody {
    /// The day (UTC).
    #[schema(value_type = String, format = Date, example = "2026-11-21")]
    day: NaiveDate,
    #[serde(flatten)]
    figures: Figures,
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

/// Read what reports add up to
///
/// Over all of your domains, day by day: what went well and what did not, split by what is known of who reported it.
/// Reports count for the day in the middle of their period, and arrive up to some days later.
#[utoipa::path(
    tag = "reports",
    operation_id = "read_reports_summary",
    params(ReadSummary),
    responses((status = 200, description = "The sums.", body = SummaryBody), Errors),
    security(("api_key" = [])),
)]
#[get("/reports/summary")]
pub(crate) async fn read_reports_summary(
    scope: TenantScope,
    query: Query<ReadSummary>,
) -> Result<HttpResponse, Problem> {
    summary(&scope, None, &query.0).await
}

/// Read what reports on a domain add up to
///
/// Day by day: what went well and what did not, split by what is known of who reported it. Reports count for the day in the
/// middle of their period, and arrive up to some days later.
#[utoipa::path(
    tag = "reports",
    operation_id = "read_domain_reports_summary",
    params(("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"), ReadSummary),
    responses((status = 200, description = "The sums.", body = SummaryBody), ErrorsOfDomain),
    security(("api_key" = [])),
)]
#[get("/domains/{domain_id}/reports/summary")]
pub(crate) async fn read_domain_reports_summary(
    scope: TenantScope,
    id: PathId<DomainId>,
    query: Query<ReadSummary>,
) -> Result<HttpResponse, Problem> {
    summary(&scope, Some(id.0), &query.0).await
}

async fn summary(scope: &TenantScope, domain: Option<DomainId>, query: &ReadSummary) -> Result<HttpResponse, Problem> {
    let (kind, days, grades) = (kind(query.kind.as_deref())?, query.days(scope.now())?, query.grades()?);
    let range = range(domain, kind, days, grades);
    let tx = begin(scope, domain).await?;
    let sums = tx.report_days(&range).await?;
    let organizations = tx.report_organizations(&range).await?;
    Ok(HttpResponse::Ok().json(SummaryBody {
        kind: ReportKind::as_str(range.kind),
        from: range.from,
        to: range.to,
        totals: Figures::of(sums.iter().map(|day| &day.sum)),
        organizations,
        first_day: sums.first().map(|first| first.day),
        last_day: sums.last().map(|last| last.day),
        days: by_day(&sums),
    }))
}

fn by_day(sums: &[DaySum]) -> Vec<DayBody> {
    let days = sums.chunk_by(|one, next| one.day == next.day);
    days.filter_map(|day| Some(DayBody { day: day.first()?.day, figures: Figures::of(day.iter().map(|sum| &sum.sum)) }))
        .collect()
}
