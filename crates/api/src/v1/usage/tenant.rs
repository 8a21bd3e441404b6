//! `GET /v1/tenants/{tenant_id}/usage`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_model::TenantId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::{UsageBody, UsageDays, usage};
use crate::{
    auth::Operator,
    extract::{PathId, Query},
    problem::{Problem, documented, groups},
};

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT])
    }
}

/// Read a tenant's usage
///
/// What the tenant itself reads by `GET /v1/usage`. Takes the operator token.
#[utoipa::path(
    tag = "tenants",
    operation_id = "read_tenant_usage",
    params(
        ("tenant_id" = String, Path, description = "The tenant's id", pattern = "^ten_[0-9a-f]{32}$"),
        UsageDays,
    ),
    responses((status = 200, description = "The days, and the quotas.", body = UsageBody), Errors),
    security(("operator_token" = [])),
)]
#[get("/tenants/{tenant_id}/usage")]
pub(crate) async fn read_tenant_usage(
    operator: Operator,
    id: PathId<TenantId>,
    query: Query<UsageDays>,
) -> Result<HttpResponse, Problem> {
    let days = query.0.read(operator.now())?;
    let tx = operator.begin(id.0).await?;
    Ok(HttpResponse::Ok().json(usage(&tx, days, operator.state().config.quotas, operator.now()).await?))
}
