//! `GET /v1/reports` and `GET /v1/domains/{domain_id}/reports`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use chrono::{DateTime, NaiveDate, Utc};
use mtasts_model::DomainId;
use mtasts_store::{ReportFilter, ReportPageQuery, ReportView};
use serde::Serialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{GradeSchema, KindSchema, ViaSchema, begin, kind, place::Place, report_query, text, words};
use crate::{
    auth::TenantScope,
    extract::{Cursor, PathId, Query, limit},
    problem::{Problem, documented, groups},
};

report_query! {
    /// Which reports, and which page.
    ListReports {
        /// Of which kind; both where absent.
        #[param(value_type = Option<KindSchema>, inline)]
        kind: Option<String>,
        /// Only those of this organisation, as reports name it.
        #[param(example = "Google Inc.", min_length = 1, max_length = 300)]
        organization: Option<String>,
        /// Only those that speak of failures, or only those that do not.
        failures: Option<bool>,
        /// How many, 1 to 100.
        #[param(minimum = 1, maximum = 100, default = 50)]
        limit: Option<u32>,
        /// `next_cursor` of the page before. Goes with the same filters.
        #[param(pattern = "^[A-Za-z0-9_-]+$")]
        cursor: Option<String>,
    }
}

/// What one document says of one domain.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReportListed)]
pub(super) struct ReportBody {
    /// Its id.
    #[schema(example = "rpt_0190c3a0b1c27d3e8f4051627384950a")]
    id: String,
    /// Of which kind.
    #[schema(value_type = KindSchema)]
    kind: &'static str,
    /// The domain that it is about.
    #[schema(example = "dom_0190c3a0b1c27d3e8f4051627384950a")]
    domain_id: String,
    /// Its name; null once nothing is known of the domain any more.
    #[schema(required, example = "example.com")]
    domain_name: Option<String>,
    /// The day (UTC) that its figures count for: the middle of its period.
    #[schema(value_type = String, format = Date, example = "2026-11-21")]
    day: NaiveDate,
    /// Who says to have sent it; empty: it does not say.
    #[schema(example = "Google Inc.")]
    organization: String,
    /// How the sender can be reached, as it says.
    #[schema(required, example = "smtp-tls-reporting@google.com")]
    contact: Option<String>,
    /// The sender's id of it.
    #[schema(example = "2026-11-21T00:00:00Z_example.com")]
    report_id: String,
    /// The beginning of its period.
    #[schema(required)]
    begins_at: Option<DateTime<Utc>>,
    /// The end of its period.
    #[schema(required)]
    ends_at: Option<DateTime<Utc>>,
    /// What went well: sessions, or messages that passed.
    #[schema(example = 990)]
    good: u64,
    /// What did not.
    #[schema(example = 10)]
    bad: u64,
    /// What is known of who sent it.
    #[schema(value_type = GradeSchema)]
    grade: &'static str,
    /// Why: a stable word for programs.
    #[schema(example = "dkim-pass")]
    grade_reason: String,
    /// The same for people.
    #[schema(example = "A valid DKIM signature of the reporting organisation.")]
    grade_explanation: &'static str,
    /// The domain that signed.
    #[schema(required, example = "google.com")]
    signer: Option<String>,
    /// False: it speaks of hosts that receive reports, and its figures are in no sum.
    counts: bool,
    /// False: the document breaks off.
    complete: bool,
    /// In how many ways it departs from its RFC.
    #[schema(example = 0)]
    deviations: u32,
    /// By which way it came.
    #[schema(value_type = ViaSchema)]
    via: &'static str,
    /// When it came.
    received_at: DateTime<Utc>,
    /// What it came in.
    #[schema(example = "arr_0190c3a0b1c27d3e8f4051627384950a")]
    arrival_id: String,
    /// Which document of that, from 0.
    #[schema(example = 0)]
    document: u32,
}

impl From<ReportView> for ReportBody {
    fn from(report: ReportView) -> Self {
        Self {
            id: report.id.to_string(),
            kind: report.kind.as_str(),
            domain_id: report.domain.to_string(),
            domain_name: report.domain_name,
            day: report.day,
            organization: report.organization,
            contact: report.contact,
            report_id: report.report_id,
            begins_at: report.begins_at,
            ends_at: report.ends_at,
            good: report.good,
            bad: report.bad,
            grade: report.grade.as_str(),
            grade_explanation: words::grade(report.grade, &report.grade_reason),
            grade_reason: report.grade_reason,
            signer: report.signer,
            counts: report.counts,
            complete: report.complete,
            deviations: report.deviations,
            via: report.via.as_str(),
            received_at: report.received_at,
            arrival_id: report.arrival.to_string(),
            document: report.document,
        }
    }
}

/// A page of reports, the latest day first.
#[derive(Debug, Serialize, ToSchema)]
struct ReportList {
    /// The reports: fewer than asked for, even none, where few among many match.
    #[schema(max_items = 100)]
    data: Vec<ReportBody>,
    /// The `cursor` of the next page; null on the last.
    #[schema(required)]
    next_cursor: Option<String>,
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

/// List reports
///
/// On all of your domains, the latest day first. The filters can be combined. A page looks at 1,000 reports at most: where
/// few among many match it may be short, even empty, and yet have a next one.
#[utoipa::path(
    tag = "reports",
    operation_id = "list_reports",
    params(ListReports),
    responses((status = 200, description = "A page of reports.", body = ReportList), Errors),
    security(("api_key" = [])),
)]
#[get("/reports")]
pub(crate) async fn list_reports(scope: TenantScope, query: Query<ListReports>) -> Result<HttpResponse, Problem> {
    list(&scope, None, &query.0).await
}

/// List a domain's reports
///
/// The latest day first. The filters can be combined. A page looks at 1,000 reports at most: where few among many match it
/// may be short, even empty, and yet have a next one.
#[utoipa::path(
    tag = "reports",
    operation_id = "list_domain_reports",
    params(("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"), ListReports),
    responses((status = 200, description = "A page of reports.", body = ReportList), ErrorsOfDomain),
    security(("api_key" = [])),
)]
#[get("/domains/{domain_id}/reports")]
pub(crate) async fn list_domain_reports(
    scope: TenantScope,
    id: PathId<DomainId>,
    query: Query<ListReports>,
) -> Result<HttpResponse, Problem> {
    list(&scope, Some(id.0), &query.0).await
}

async fn list(scope: &TenantScope, domain: Option<DomainId>, query: &ListReports) -> Result<HttpResponse, Problem> {
    let filter = ReportFilter {
        kind: kind(query.kind.as_deref())?,
        organization: text("organization", query.organization.as_deref())?,
        grades: query.grades()?,
        failures: query.failures,
    };
    let (from, to) = query.days(scope.now())?;
    let after = Cursor::read::<Place>(query.cursor.as_deref())?.map(|place| place.0);
    let page = ReportPageQuery { domain, from, to, after, descending: true, limit: limit(query.limit)? };
    let tx = begin(scope, domain).await?;
    let page = tx.reports(&filter, &page).await?;
    Ok(HttpResponse::Ok().json(ReportList {
        data: page.rows.into_iter().map(ReportBody::from).collect(),
        next_cursor: page.next.map(|next| Cursor::after(&Place(next))),
    }))
}
