//! `GET /v1/report-arrivals/{arrival_id}`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_model::ArrivalId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::{ArrivalBody, not_found};
use crate::{
    auth::TenantScope,
    extract::PathId,
    problem::{Problem, documented, groups},
};

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT])
    }
}

/// Read an arrival
///
/// A mail or a POST to an address of your domain for reports, and what became of it.
#[utoipa::path(
    tag = "reports",
    operation_id = "read_report_arrival",
    params(("arrival_id" = String, Path, description = "The arrival's id", pattern = "^arr_[0-9a-f]{32}$")),
    responses((status = 200, description = "The arrival.", body = ArrivalBody), Errors),
    security(("api_key" = [])),
)]
#[get("/report-arrivals/{arrival_id}")]
pub(crate) async fn read_report_arrival(scope: TenantScope, id: PathId<ArrivalId>) -> Result<HttpResponse, Problem> {
    let tx = scope.begin().await?;
    let arrival = tx.report_arrival(id.0).await?.ok_or_else(not_found)?;
    Ok(HttpResponse::Ok().json(ArrivalBody::from(arrival)))
}
