//! `GET /v1/checks/{check_id}`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_model::CheckId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::CheckBody;
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

/// Read a check
///
/// With its report, once the look is over.
#[utoipa::path(
    tag = "checks",
    operation_id = "read_check",
    params(("check_id" = String, Path, description = "The check's id", pattern = "^chk_[0-9a-f]{32}$")),
    responses((status = 200, description = "The check.", body = CheckBody), Errors),
    security(("api_key" = [])),
)]
#[get("/checks/{check_id}")]
pub(crate) async fn read_check(scope: TenantScope, id: PathId<CheckId>) -> Result<HttpResponse, Problem> {
    let check = scope.begin().await?.check(id.0).await?.ok_or_else(|| Problem::not_found("check"))?;
    Ok(HttpResponse::Ok().json(CheckBody::from(check)))
}
