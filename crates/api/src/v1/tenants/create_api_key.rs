//! `POST /v1/tenants/{tenant_id}/api-keys`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, post};
use mtasts_model::TenantId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use crate::{
    auth::Operator,
    extract::{IdempotencyHeader, IdempotencyKey, Json, Once, PathId},
    problem::{Problem, documented, groups},
    token::ApiKeySecret,
    v1::api_keys::create::{CreateApiKey, NewApiKeyBody, insert},
};

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::BODY, groups::OBJECT, groups::ONCE])
    }
}

/// Create an API key for a tenant
///
/// Takes the operator token. The key itself is in this answer only: it is not stored.
#[utoipa::path(
    tag = "tenants",
    operation_id = "create_tenant_api_key",
    params(
        ("tenant_id" = String, Path, description = "The tenant's id", pattern = "^ten_[0-9a-f]{32}$"),
        IdempotencyHeader,
    ),
    request_body = CreateApiKey,
    responses((status = 201, description = "The new key.", body = NewApiKeyBody), Errors),
    security(("operator_token" = [])),
)]
#[post("/tenants/{tenant_id}/api-keys")]
pub(crate) async fn create_tenant_api_key(
    operator: Operator,
    id: PathId<TenantId>,
    key: IdempotencyKey,
    body: Json<CreateApiKey>,
) -> Result<HttpResponse, Problem> {
    let now = operator.now();
    let wanted = body.value.parse(now)?;
    let tx = operator.begin(id.0).await?;
    let credential = operator.credential();
    let answer = Once::new(&key, body.hash, now)
        .run(tx, async |tx| insert(tx, wanted, operator.state(), credential, &operator.actor(), now).await)
        .await?;
    Ok(answer.reveal("key", |salt| ApiKeySecret::derive(salt, credential).reveal().to_owned()).respond())
}
