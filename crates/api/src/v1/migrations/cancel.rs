//! `DELETE /v1/domains/{domain_id}/migrations`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, delete};
use mtasts_model::DomainId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::{MigrationBody, under_way};
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

/// Cancel the MX migration
///
/// The policy keeps the old hosts and the new ones: mail may be on its way to both. To take some out, begin another
/// migration, or set a policy.
#[utoipa::path(
    tag = "policy",
    operation_id = "cancel_migration",
    params(("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$")),
    responses((status = 200, description = "The migration.", body = MigrationBody), Errors),
    security(("api_key" = [])),
)]
#[delete("/domains/{domain_id}/migrations")]
pub(crate) async fn cancel_migration(scope: TenantScope, id: PathId<DomainId>) -> Result<HttpResponse, Problem> {
    let (mut tx, now) = (scope.begin().await?, scope.now());
    let domain = tx.domain_locked(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
    under_way(&tx, &domain).await?;
    tx.cancel_migration(id.0, &scope.actor(), now).await?;
    let over = tx.migration(id.0).await?.ok_or_else(|| Problem::not_found("migration"))?;
    tx.commit().await?;
    Ok(HttpResponse::Ok().json(MigrationBody::of(&over, now)))
}
