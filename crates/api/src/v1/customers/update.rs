//! `PATCH /v1/customers/{tenant_id}`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, patch};
use mtasts_model::TenantId;
use serde::Deserialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::CustomerBody;
use crate::{
    auth::TenantScope,
    extract::{Json, PathId},
    problem::{Problem, documented, groups},
    v1::fields::{Faults, name},
};

/// What to change; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Acme Holding"}))]
pub(crate) struct UpdateCustomer {
    /// Its name, for people: 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::BODY, groups::OBJECT])
    }
}

/// Rename a customer
///
/// A tenant beneath yours, at any level.
#[utoipa::path(
    tag = "customers",
    operation_id = "update_customer",
    params(("tenant_id" = String, Path, description = "The customer's id", pattern = "^ten_[0-9a-f]{32}$")),
    request_body = UpdateCustomer,
    responses((status = 200, description = "The customer.", body = CustomerBody), Errors),
    security(("api_key" = [])),
)]
#[patch("/customers/{tenant_id}")]
pub(crate) async fn update_customer(
    scope: TenantScope,
    id: PathId<TenantId>,
    body: Json<UpdateCustomer>,
) -> Result<HttpResponse, Problem> {
    let mut faults = Faults::default();
    let new_name = faults.keep(body.value.name.as_deref().map(|text| name("/name", text)).transpose());
    let Some(new_name) = new_name else { return Err(faults.into_problem()) };
    let Some(new_name) = new_name else {
        let mut tx = scope.begin().await?;
        let customer = tx.customer(id.0).await?.ok_or_else(|| Problem::not_found("customer"))?;
        tx.commit().await?;
        return Ok(HttpResponse::Ok().json(CustomerBody::from(customer)));
    };
    let mut tx = scope.begin_for_customer(id.0).await?;
    let customer = tx.rename(&new_name, &scope.actor(), scope.now()).await?;
    tx.commit().await?;
    Ok(HttpResponse::Ok().json(CustomerBody::from(customer)))
}
