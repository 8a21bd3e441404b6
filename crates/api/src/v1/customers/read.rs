//! `GET /v1/customers/{tenant_id}`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_model::TenantId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::CustomerBody;
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

/// Read a customer
///
/// A tenant beneath yours, at any level.
#[utoipa::path(
    tag = "customers",
    operation_id = "read_customer",
    params(("tenant_id" = String, Path, description = "The customer's id", pattern = "^ten_[0-9a-f]{32}$")),
    responses((status = 200, description = "The customer.", body = CustomerBody), Errors),
    security(("api_key" = [])),
)]
#[get("/customers/{tenant_id}")]
pub(crate) async fn read_customer(scope: TenantScope, id: PathId<TenantId>) -> Result<HttpResponse, Problem> {
    let mut tx = scope.begin().await?;
    let customer = tx.customer(id.0).await?.ok_or_else(|| Problem::not_found("customer"))?;
    tx.commit().await?;
    Ok(HttpResponse::Ok().json(CustomerBody::from(customer)))
}
