//! `GET /v1/reports/{report_id}`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_model::ReportId;
use mtasts_store::{ArrivalView, RawAccess};
use serde::Serialize;
use serde_json::Value;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::list::ReportBody;
use crate::{
    auth::TenantScope,
    extract::PathId,
    problem::{Problem, documented, groups},
};

/// A report with all that it says of the domain.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Report)]
struct WholeReportBody {
    #[serde(flatten)]
    report: ReportBody,
    /// Where it came from; null once that has been forgotten, and where it came to somebody else's address.
    #[schema(required)]
    origin: Option<OriginBody>,
    /// Whether `GET /v1/reports/{report_id}/raw` has its octets.
    has_raw: bool,
    /// Its normal form, as `mtasts reports read --json` prints it: what it says of this domain alone, with each way in which
    /// it departs from its RFC under `deviations`. Of very long reports rows are left out; `/results` has all of them.
    #[schema(value_type = Object, example = json!({
        "organization": "Google Inc.",
        "report_id": "2026-11-21T00:00:00Z_example.com",
        "policies": [],
        "deviations": [],
    }))]
    body: Value,
}

/// Where something came from.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReportOrigin)]
pub(crate) struct OriginBody {
    /// The address that delivered it.
    #[schema(example = "192.0.2.17")]
    peer: String,
    /// Its name in EHLO, or its user agent.
    #[schema(required, example = "mail-sor-f69.google.com")]
    client_name: Option<String>,
    /// The sender of the envelope.
    #[schema(required, example = "noreply-smtp-tls-reporting@google.com")]
    envelope_from: Option<String>,
    /// The media type that was declared.
    #[schema(required, example = "application/tlsrpt+gzip")]
    content_type: Option<String>,
    /// The version of TLS; null: it came without.
    #[schema(required, example = "TLSv1.3")]
    tls_version: Option<String>,
}

impl From<&ArrivalView> for OriginBody {
    fn from(arrival: &ArrivalView) -> Self {
        Self {
            peer: arrival.peer.clone(),
            client_name: arrival.client_name.clone(),
            envelope_from: arrival.envelope_from.clone(),
            content_type: arrival.content_type.clone(),
            tls_version: arrival.tls_version.clone(),
        }
    }
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT])
    }
}

/// Read a report
///
/// What it says of the domain, in one form whatever the sender made of it, with what is known of who sent it and where it
/// came from.
#[utoipa::path(
    tag = "reports",
    operation_id = "read_report",
    params(("report_id" = String, Path, description = "The report's id", pattern = "^rpt_[0-9a-f]{32}$")),
    responses((status = 200, description = "The report.", body = WholeReportBody), Errors),
    security(("api_key" = [])),
)]
#[get("/reports/{report_id}")]
pub(crate) async fn read_report(scope: TenantScope, id: PathId<ReportId>) -> Result<HttpResponse, Problem> {
    let tx = scope.begin().await?;
    let (report, body) = tx.report_body(id.0).await?.ok_or_else(not_found)?;
    let arrival = tx.report_arrival(report.arrival).await?;
    let access = tx.arrival_raw(report.arrival).await?;
    Ok(HttpResponse::Ok().json(WholeReportBody {
        has_raw: !report.shared && matches!(access, RawAccess::Open { .. }),
        origin: arrival.as_ref().map(OriginBody::from),
        report: report.into(),
        body,
    }))
}

pub(super) fn not_found() -> Problem {
    Problem::not_found("report")
}
