//! `GET /v1/reports/{report_id}/results`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_model::{ReportId, ReportKind};
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::{read::not_found, results::ResultList, rows::ResultBody};
use crate::{
    auth::TenantScope,
    extract::{Page, PathId, Query, WhichPage},
    problem::{Problem, documented, groups},
};

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT])
    }
}

/// List a report's rows
///
/// In the report's order: failures of TLS, or records of DMARC. They are kept for a shorter time than the report's sums.
#[utoipa::path(
    tag = "reports",
    operation_id = "list_report_results",
    params(("report_id" = String, Path, description = "The report's id", pattern = "^rpt_[0-9a-f]{32}$"), WhichPage),
    responses((status = 200, description = "A page of rows.", body = ResultList), Errors),
    security(("api_key" = [])),
)]
#[get("/reports/{report_id}/results")]
pub(crate) async fn list_report_results(
    scope: TenantScope,
    id: PathId<ReportId>,
    query: Query<WhichPage>,
) -> Result<HttpResponse, Problem> {
    let (limit, after) = query.0.read::<u32>()?;
    let tx = scope.begin().await?;
    let report = tx.report(id.0).await?.ok_or_else(not_found)?;
    let list = match report.kind {
        ReportKind::TlsRpt => {
            let page = Page::of(tx.tls_results_of(report.id, after, limit + 1).await?, limit);
            let next_cursor = page.cursor(|row| row.position.seq);
            ResultList { data: page.map(ResultBody::from), next_cursor }
        }
        ReportKind::Dmarc => {
            let page = Page::of(tx.dmarc_results_of(report.id, after, limit + 1).await?, limit);
            let next_cursor = page.cursor(|row| row.position.seq);
            ResultList { data: page.map(ResultBody::from), next_cursor }
        }
    };
    Ok(HttpResponse::Ok().json(list))
}
