//! `GET /v1/tenants/{tenant_id}`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_model::TenantId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::TenantBody;
use crate::{
    auth::Operator,
    extract::PathId,
    problem::{Problem, documented, groups},
};

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT])
    }
}

/// Read a tenant
///
/// Takes the operator token.
#[utoipa::path(
    tag = "tenants",
    operation_id = "read_tenant",
    params(("tenant_id" = String, Path, description = "The tenant's id", pattern = "^ten_[0-9a-f]{32}$")),
    responses((status = 200, description = "The tenant.", body = TenantBody), Errors),
    security(("operator_token" = [])),
)]
#[get("/tenants/{tenant_id}")]
pub(crate) async fn read_tenant(operator: Operator, id: PathId<TenantId>) -> Result<HttpResponse, Problem> {
    let tenant = operator.state().store.tenant(id.0).await?.ok_or_else(|| Problem::not_found("tenant"))?;
    Ok(HttpResponse::Ok().json(TenantBody::from(tenant)))
}
