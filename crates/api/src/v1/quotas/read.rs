//! `GET /v1/tenants/{tenant_id}/quotas`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_model::TenantId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::QuotasBody;
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

/// Read a tenant's quotas
///
/// What the tenant may have, and what it has of it. Takes the operator token.
#[utoipa::path(
    tag = "tenants",
    operation_id = "read_tenant_quotas",
    params(("tenant_id" = String, Path, description = "The tenant's id", pattern = "^ten_[0-9a-f]{32}$")),
    responses((status = 200, description = "The quotas.", body = QuotasBody), Errors),
    security(("operator_token" = [])),
)]
#[get("/tenants/{tenant_id}/quotas")]
pub(crate) async fn read_tenant_quotas(operator: Operator, id: PathId<TenantId>) -> Result<HttpResponse, Problem> {
    let tx = operator.begin(id.0).await?;
    Ok(HttpResponse::Ok().json(QuotasBody::of(&tx, operator.state().config.quotas, operator.now()).await?))
}
