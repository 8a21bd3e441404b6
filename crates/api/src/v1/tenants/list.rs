//! `GET /v1/tenants`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use serde::Serialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::TenantBody;
use crate::{
    auth::Operator,
    extract::{Page, Query, WhichPage},
    problem::{Problem, documented, groups},
};

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
    params(WhichPage),
    responses((status = 200, description = "A page of tenants.", body = TenantList), Errors),
    security(("operator_token" = [])),
)]
#[get("/tenants")]
pub(crate) async fn list_tenants(operator: Operator, query: Query<WhichPage>) -> Result<HttpResponse, Problem> {
    let (limit, after) = query.0.read()?;
    let page = Page::of(operator.state().store.list_tenants(after, limit + 1).await?, limit);
    let next_cursor = page.cursor(|tenant| tenant.id);
    Ok(HttpResponse::Ok().json(TenantList { data: page.map(TenantBody::from), next_cursor }))
}
