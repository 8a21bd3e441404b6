//! `POST /v1/customers`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::StatusCode, post};
use mtasts_model::TenantId;
use mtasts_store::NewTenant;
use serde::Deserialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{CustomerBody, parent, refused};
use crate::{
    auth::TenantScope,
    extract::{Answer, IdempotencyHeader, IdempotencyKey, Json, Once},
    problem::{Problem, ProblemKind, documented, groups},
    v1::fields::{Faults, name},
};

/// A new customer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Acme Ltd"}))]
pub(crate) struct CreateCustomer {
    /// Its name, for people: 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// Beneath which tenant: a customer of yours, at any level; absent: yours.
    #[schema(pattern = "^ten_[0-9a-f]{32}$")]
    parent: Option<String>,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::BODY, groups::OBJECT, groups::ONCE, &[ProblemKind::CustomerTooDeep]])
    }
}

/// Create a customer
///
/// A tenant beneath yours, or beneath one of your customers, with domains, keys and an audit log of its own. Tenants
/// have five levels, that of the tenant at the root included.
#[utoipa::path(
    tag = "customers",
    operation_id = "create_customer",
    params(IdempotencyHeader),
    request_body = CreateCustomer,
    responses(
        (status = 201, description = "The new customer.", body = CustomerBody, headers(("Location" = String, description = "Where it is."))),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[post("/customers")]
pub(crate) async fn create_customer(
    scope: TenantScope,
    key: IdempotencyKey,
    body: Json<CreateCustomer>,
) -> Result<HttpResponse, Problem> {
    let mut faults = Faults::default();
    let name = faults.keep(name("/name", &body.value.name));
    let parent = faults.keep(body.value.parent.as_deref().map(parent).transpose());
    let (Some(name), Some(parent)) = (name, parent) else { return Err(faults.into_problem()) };
    let now = scope.now();
    let new = NewTenant { id: TenantId::draw(now, &*scope.state().entropy), name, parent };
    let tx = scope.begin().await?;
    let once = Once::new(&key, body.hash, now);
    let answer = once.run(tx, async |tx| {
        let made = tx.create_customer(new, &scope.actor(), now).await.map_err(refused)?;
        let location = format!("/v1/customers/{}", made.id);
        Ok(Answer::new(StatusCode::CREATED, &CustomerBody::from(made))?.location(location))
    });
    Ok(answer.await?.respond())
}
