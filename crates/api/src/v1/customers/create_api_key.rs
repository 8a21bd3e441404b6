//! `POST /v1/customers/{tenant_id}/api-keys`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, post};
use mtasts_model::TenantId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use crate::{
    auth::TenantScope,
    extract::{IdempotencyHeader, IdempotencyKey, Json, PathId},
    problem::{Problem, ProblemKind, documented, groups},
    v1::api_keys::{
        create::{CreateApiKey, insert},
        issue::{Issuer, NewApiKeyBody},
    },
};

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::BODY, groups::OBJECT, groups::ONCE, &[ProblemKind::QuotaExceeded]])
    }
}

/// Create an API key for a customer
///
/// A key with which the customer calls by itself, with scopes that your key has too. The key is in this answer only: it
/// is not stored. A repeated request with the same `Idempotency-Key` and the same credential gets it again.
#[utoipa::path(
    tag = "customers",
    operation_id = "create_customer_api_key",
    params(
        ("tenant_id" = String, Path, description = "The customer's id", pattern = "^ten_[0-9a-f]{32}$"),
        IdempotencyHeader,
    ),
    request_body = CreateApiKey,
    responses((status = 201, description = "The new key.", body = NewApiKeyBody), Errors),
    security(("api_key" = [])),
)]
#[post("/customers/{tenant_id}/api-keys")]
pub(crate) async fn create_customer_api_key(
    scope: TenantScope,
    id: PathId<TenantId>,
    key: IdempotencyKey,
    body: Json<CreateApiKey>,
) -> Result<HttpResponse, Problem> {
    let now = scope.now();
    let tx = scope.begin_for_customer(id.0).await?;
    let draft = body.value.parse(now)?.made_by(scope.scopes())?;
    let issuer = Issuer::new(scope.state(), scope.credential(), now);
    let once = issuer.once(&key, body.hash);
    let answer = once.run(tx, async |tx| {
        tx.make_room_for_api_key(scope.state().config.quotas.api_keys, now).await?;
        insert(tx, &issuer, draft, &scope.actor(), now).await
    });
    Ok(issuer.respond(answer.await?))
}
