//! `GET /v1/tenants`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::TenantBody;
use crate::{
    auth::Operator,
    extract::{Cursor, Page, Query, limit},
    problem::{Problem, documented, groups},
};

/// Which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListTenants {
    /// How many, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
}

/// A page of tenants, in the order of their ids.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantList {
    /// The tenants.
    data: Vec<TenantBody>,
    /// The `cursor` of the next page; null on the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL])
    }
}

/// List the tenants
///
/// Takes the operator token.
#[utoipa::path(
    tag = "tenants",
    operation_id = "list_tenants",
    params(ListTenants),
    responses((status = 200, description = "A page of tenants.", body = TenantList), Errors),
    security(("operator_token" = [])),
)]
#[get("/tenants")]
pub(crate) async fn list_tenants(operator: Operator, query: Query<ListTenants>) -> Result<HttpResponse, Problem> {
    let limit = limit(query.0.limit)?;
    let after = Cursor::read(query.0.cursor.as_deref())?;
    let page = Page::of(operator.state().store.list_tenants(after, limit + 1).await?, limit);
    let next_cursor = page.cursor(|tenant| tenant.id);
    Ok(HttpResponse::Ok().json(TenantList { data: page.map(TenantBody::from), next_cursor }))
}
