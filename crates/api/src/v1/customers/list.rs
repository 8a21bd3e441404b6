//! `GET /v1/customers`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_model::{TenantId, ids::IdError};
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::CustomerBody;
use crate::{
    auth::TenantScope,
    extract::{Cursor, Page, Query, limit},
    problem::{Problem, documented, groups},
};

/// Whose customers, and which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListCustomers {
    /// How many, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// Those directly beneath this customer of yours; absent: directly beneath your tenant.
    #[param(pattern = "^ten_[0-9a-f]{32}$")]
    parent: Option<String>,
}

impl ListCustomers {
    fn parent(&self) -> Result<Option<TenantId>, Problem> {
        let parent = self.parent.as_deref().map(str::parse).transpose();
        parent.map_err(|error: IdError| Problem::parameter("parent", "invalid-id", error.to_string()))
    }
}

/// A page of customers, in the order of their ids.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CustomerList {
    /// The customers.
    data: Vec<CustomerBody>,
    /// The `cursor` of the next page; null on the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT])
    }
}

/// List the customers
///
/// Those directly beneath your tenant, or beneath the customer that `parent` names.
#[utoipa::path(
    tag = "customers",
    operation_id = "list_customers",
    params(ListCustomers),
    responses((status = 200, description = "A page of customers.", body = CustomerList), Errors),
    security(("api_key" = [])),
)]
#[get("/customers")]
pub(crate) async fn list_customers(scope: TenantScope, query: Query<ListCustomers>) -> Result<HttpResponse, Problem> {
    let limit = limit(query.0.limit)?;
    let after = Cursor::read(query.0.cursor.as_deref())?;
    let parent = query.0.parent()?.unwrap_or_else(|| scope.tenant_id());
    let mut tx = scope.begin().await?;
    let customers = tx.list_customers(parent, after, limit + 1).await?.ok_or_else(|| Problem::not_found("customer"))?;
    tx.commit().await?;
    let page = Page::of(customers, limit);
    let next_cursor = page.cursor(|customer| customer.id);
    Ok(HttpResponse::Ok().json(CustomerList { data: page.map(CustomerBody::from), next_cursor }))
}
