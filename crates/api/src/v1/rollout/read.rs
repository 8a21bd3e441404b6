//! `GET /v1/domains/{domain_id}/rollout`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_model::DomainId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::RolloutBody;
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

/// Read a rollout plan
///
/// How far it has come, when the next step follows, and what it waits for.
#[utoipa::path(
    tag = "policy",
    operation_id = "read_rollout",
    params(("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$")),
    responses((status = 200, description = "The plan.", body = RolloutBody), Errors),
    security(("api_key" = [])),
)]
#[get("/domains/{domain_id}/rollout")]
pub(crate) async fn read_rollout(scope: TenantScope, id: PathId<DomainId>) -> Result<HttpResponse, Problem> {
    let tx = scope.begin().await?;
    let domain = tx.domain(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
    Ok(HttpResponse::Ok().json(RolloutBody::existing(&tx, &domain, scope.now()).await?))
}
