//! `GET /v1/domains/{domain_id}/migrations`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_model::DomainId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::{MigrationBody, MigrationList};
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

/// Read the MX migration
///
/// The latest one: how it stands, and when what is safe.
#[utoipa::path(
    tag = "policy",
    operation_id = "list_migrations",
    params(("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$")),
    responses((status = 200, description = "The migration, if there is one.", body = MigrationList), Errors),
    security(("api_key" = [])),
)]
#[get("/domains/{domain_id}/migrations")]
pub(crate) async fn list_migrations(scope: TenantScope, id: PathId<DomainId>) -> Result<HttpResponse, Problem> {
    let tx = scope.begin().await?;
    let domain = tx.domain(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
    let found = tx.migration(domain.id).await?;
    let data = found.map(|view| MigrationBody::of(&view, scope.now())).into_iter().collect();
    Ok(HttpResponse::Ok().json(MigrationList { data }))
}
