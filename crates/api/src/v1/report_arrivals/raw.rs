//! `GET /v1/report-arrivals/{arrival_id}/raw`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_model::ArrivalId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::not_found;
use crate::{
    auth::TenantScope,
    extract::PathId,
    problem::{Problem, ProblemKind, documented, groups},
    v1::reports::raw::{Octets, answer},
};

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT, &[ProblemKind::RawWithheld]])
    }
}

/// Read an arrival's octets
///
/// As they were delivered: of a mail all of it, with its headers. They are kept for a limited time, and then answer 404.
/// What also speaks of somebody else's domain is shown to nobody.
#[utoipa::path(
    tag = "reports",
    operation_id = "read_report_arrival_raw",
    params(("arrival_id" = String, Path, description = "The arrival's id", pattern = "^arr_[0-9a-f]{32}$")),
    responses(
        (status = 200, description = "The octets.", body = inline(Octets), content_type = "application/octet-stream",
            example = "{\"organization-name\":\"Google Inc.\"}"),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[get("/report-arrivals/{arrival_id}/raw")]
pub(crate) async fn read_report_arrival_raw(
    scope: TenantScope,
    id: PathId<ArrivalId>,
) -> Result<HttpResponse, Problem> {
    let tx = scope.begin().await?;
    tx.report_arrival(id.0).await?.ok_or_else(not_found)?;
    let access = tx.arrival_raw(id.0).await?;
    tx.commit().await?;
    answer(&scope, id.0, access, &id.0.to_string()).await
}
