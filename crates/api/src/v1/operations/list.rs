//! `GET /v1/operations`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use serde::Serialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::OperationBody;
use crate::{
    auth::TenantScope,
    extract::{Page, Query, WhichPage},
    problem::{Problem, documented, groups},
};

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
    params(WhichPage),
    responses((status = 200, description = "A page of operations.", body = OperationList), Errors),
    security(("api_key" = [])),
)]
#[get("/operations")]
pub(crate) async fn list_operations(scope: TenantScope, query: Query<WhichPage>) -> Result<HttpResponse, Problem> {
    let (limit, before) = query.0.read()?;
    let tx = scope.begin().await?;
    let page = Page::of(tx.list_operations(before, limit + 1).await?, limit);
    let next_cursor = page.cursor(|operation| operation.id);
    Ok(HttpResponse::Ok().json(OperationList { data: page.map(OperationBody::from), next_cursor }))
}
