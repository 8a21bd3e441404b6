//! `DELETE /v1/api-keys/{key_id}`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, delete};
use mtasts_model::ApiKeyId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::ApiKeyBody;
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

/// Revoke an API key
///
/// For good, and at once. A key may revoke itself. To revoke a key again changes nothing.
#[utoipa::path(
    tag = "api-keys",
    operation_id = "revoke_api_key",
    params(("key_id" = String, Path, description = "The key's id", pattern = "^key_[0-9a-f]{32}$")),
    responses((status = 200, description = "The key, now revoked.", body = ApiKeyBody), Errors),
    security(("api_key" = [])),
)]
#[delete("/api-keys/{key_id}")]
pub(crate) async fn revoke_api_key(scope: TenantScope, id: PathId<ApiKeyId>) -> Result<HttpResponse, Problem> {
    let mut tx = scope.begin().await?;
    let key = tx.revoke_api_key(id.0, &scope.actor(), scope.now()).await?;
    let key = key.ok_or_else(|| Problem::not_found("API key"))?;
    tx.commit().await?;
    Ok(HttpResponse::Ok().json(ApiKeyBody::from(key)))
}
