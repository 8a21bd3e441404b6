//! `GET /v1/tenant`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::TenantBody;
use crate::{
    auth::TenantScope,
    problem::{Problem, documented, groups},
};

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT])
    }
}

/// Read your own tenant
///
/// The tenant that the credential belongs to, or the one within which `X-Tenant` makes the call act.
#[utoipa::path(
    tag = "tenants",
    operation_id = "read_own_tenant",
    responses((status = 200, description = "Your tenant.", body = TenantBody), Errors),
    security(("api_key" = [])),
)]
#[get("/tenant")]
pub(crate) async fn read_own_tenant(scope: TenantScope) -> Result<HttpResponse, Problem> {
    let tenant = scope.state().store.tenant(scope.tenant_id()).await?.ok_or_else(|| Problem::not_found("tenant"))?;
    Ok(HttpResponse::Ok().json(TenantBody::from(tenant)))
}
