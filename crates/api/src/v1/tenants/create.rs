//! `POST /v1/tenants`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::StatusCode, post};
use mtasts_model::TenantId;
use mtasts_store::{NewTenant, StoreError};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::TenantBody;
use crate::{
    auth::Operator,
    extract::{Answer, IdempotencyHeader, IdempotencyKey, Json},
    problem::{Problem, ProblemKind, documented, groups},
    v1::fields::{Faults, name},
};

/// A new tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Acme Ltd"}))]
pub(crate) struct CreateTenant {
    /// Its name, for people: 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::BODY, &[ProblemKind::IdempotencyKeyReused]])
    }
}

/// Create a tenant
///
/// Takes the operator token. With an `Idempotency-Key` a repeated request gives the same tenant, for ever.
#[utoipa::path(
    tag = "tenants",
    operation_id = "create_tenant",
    params(IdempotencyHeader),
    request_body = CreateTenant,
    responses(
        (status = 201, description = "The new tenant.", body = TenantBody, headers(("Location" = String, description = "Where it is."))),
        Errors,
    ),
    security(("operator_token" = [])),
)]
#[post("/tenants")]
pub(crate) async fn create_tenant(
    operator: Operator,
    key: IdempotencyKey,
    body: Json<CreateTenant>,
) -> Result<HttpResponse, Problem> {
    let mut faults = Faults::default();
    let Some(name) = faults.keep(name("/name", &body.value.name)) else { return Err(faults.into_problem()) };
    let state = operator.state();
    let now = operator.now();
    let id = match key.as_deref() {
        Some(key) => id_of(key),
        None => TenantId::draw(now, &*state.entropy),
    };
    let new = NewTenant { id, name: name.clone(), parent: None };
    let tenant = match state.store.create_tenant(new, &operator.actor(), now).await {
        Err(StoreError::Taken { .. }) if key.as_deref().is_some() => {
            let tenant = state.store.tenant(id).await?.filter(|tenant| tenant.name == name);
            tenant.ok_or_else(|| {
                Problem::new(
                    ProblemKind::IdempotencyKeyReused,
                    "This `Idempotency-Key` made a tenant of another name: draw a new one for a new tenant",
                )
            })?
        }
        made => made?,
    };
    Ok(Answer::new(StatusCode::CREATED, &TenantBody::from(tenant))?.location(format!("/v1/tenants/{id}")).respond())
}

/// No tenant's transaction can hold the key of the request that makes the tenant. So the id follows from the key, and
/// the repeated request finds the tenant there (a custom UUID, RFC 9562 §5.8).
fn id_of(key: &str) -> TenantId {
    let digest = Sha256::new().chain_update(b"mtasts tenant v1\0").chain_update(key).finalize();
    let mut octets = [0_u8; 16];
    octets.copy_from_slice(&digest[..16]);
    TenantId::from_uuid(uuid::Builder::from_custom_bytes(octets).into_uuid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_gives_the_same_id_and_another_key_another() {
        assert_eq!(id_of("a"), id_of("a"));
        assert_ne!(id_of("a"), id_of("b"));
        assert_eq!(id_of("a").as_uuid().get_version_num(), 8);
    }
}
