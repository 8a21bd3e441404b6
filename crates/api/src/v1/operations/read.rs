//! `GET /v1/operations/{operation_id}`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_model::OperationId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::OperationBody;
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

/// Read a bulk operation
///
/// How far it has come.
#[utoipa::path(
    tag = "operations",
    operation_id = "read_operation",
    params(("operation_id" = String, Path, description = "The operation's id", pattern = "^op_[0-9a-f]{32}$")),
    responses((status = 200, description = "The operation.", body = OperationBody), Errors),
    security(("api_key" = [])),
)]
#[get("/operations/{operation_id}")]
pub(crate) async fn read_operation(scope: TenantScope, id: PathId<OperationId>) -> Result<HttpResponse, Problem> {
    let operation = scope.begin().await?.operation(id.0).await?;
    let operation = operation.ok_or_else(|| Problem::not_found("operation"))?;
    Ok(HttpResponse::Ok().json(OperationBody::from(operation)))
}
