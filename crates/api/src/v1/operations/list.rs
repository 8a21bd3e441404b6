//! `GET /v1/operations`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::OperationBody;
use crate::{
    auth::TenantScope,
    extract::{Cursor, Page, Query, limit},
    problem::{Problem, documented, groups},
};

/// Which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListOperations {
    /// How many, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
}

/// A page of operations, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OperationList {
    /// The operations.
    data: Vec<OperationBody>,
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

/// List the bulk operations
///
/// Newest first. Those that ended more than 7 days ago are forgotten.
#[utoipa::path(
    tag = "operations",
    operation_id = "list_operations",
    params(ListOperations),
    responses((status = 200, description = "A page of operations.", body = OperationList), Errors),
    security(("api_key" = [])),
)]
#[get("/operations")]
pub(crate) async fn list_operations(scope: TenantScope, query: Query<ListOperations>) -> Result<HttpResponse, Problem> {
    let limit = limit(query.0.limit)?;
    let before = Cursor::read(query.0.cursor.as_deref())?;
    let tx = scope.begin().await?;
    let page = Page::of(tx.list_operations(before, limit + 1).await?, limit);
    let next_cursor = page.cursor(|operation| operation.id);
    Ok(HttpResponse::Ok().json(OperationList { data: page.map(OperationBody::from), next_cursor }))
}
