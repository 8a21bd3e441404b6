//! `POST /v1/tenants/{tenant_id}/api-keys`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, post};
use mtasts_model::{Scopes, TenantId};
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use crate::{
    auth::Operator,
    extract::{IdempotencyHeader, IdempotencyKey, Json, PathId},
    problem::{Problem, documented, groups},
    v1::api_keys::{
        create::{CreateApiKey, insert},
        issue::{Issuer, NewApiKeyBody},
    },
};

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::BODY, groups::OBJECT, groups::ONCE])
    }
}

/// Create an API key for a tenant
///
/// Takes the operator token. Without `scopes` the key has all that a tenant may have, but those on customers. The key
/// itself is in this answer only: it is not stored.
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
    let draft = body.value.parse(now)?.made_by(Scopes::ALL)?;
    let issuer = Issuer::new(operator.state(), operator.credential(), now);
    let once = issuer.once(&key, body.hash);
    let tx = operator.begin(id.0).await?;
    let answer = once.run(tx, async |tx| insert(tx, &issuer, draft, &operator.actor(), now).await).await?;
    Ok(issuer.respond(answer))
}
