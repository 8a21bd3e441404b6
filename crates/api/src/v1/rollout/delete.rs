//! `DELETE /v1/domains/{domain_id}/rollout`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, delete};
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

/// End a rollout plan
///
/// Nothing follows from it any more. The policy stays as it is: where it is in `enforce`, it stays so.
#[utoipa::path(
    tag = "policy",
    operation_id = "delete_rollout",
    params(("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$")),
    responses((status = 200, description = "The plan that is no more.", body = RolloutBody), Errors),
    security(("api_key" = [])),
)]
#[delete("/domains/{domain_id}/rollout")]
pub(crate) async fn delete_rollout(scope: TenantScope, id: PathId<DomainId>) -> Result<HttpResponse, Problem> {
    let (mut tx, now) = (scope.begin().await?, scope.now());
    let domain = tx.domain_locked(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
    let body = RolloutBody::existing(&tx, &domain, now).await?;
    tx.delete_rollout(id.0, &scope.actor(), now).await?;
    tx.commit().await?;
    Ok(HttpResponse::Ok().json(body))
}
