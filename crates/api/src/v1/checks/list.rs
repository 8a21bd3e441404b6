//! `GET /v1/checks`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use serde::Serialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::CheckBody;
use crate::{
    auth::TenantScope,
    extract::{Page, Query, WhichPage},
    problem::{Problem, documented, groups},
};

/// A page of checks, newest first, without their reports.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckList {
    /// The checks.
    data: Vec<CheckBody>,
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

/// List the checks that were asked for
///
/// Of the last 7 days, newest first, without their reports.
#[utoipa::path(
    tag = "checks",
    operation_id = "list_checks",
    params(WhichPage),
    responses((status = 200, description = "A page of checks.", body = CheckList), Errors),
    security(("api_key" = [])),
)]
#[get("/checks")]
pub(crate) async fn list_checks(scope: TenantScope, query: Query<WhichPage>) -> Result<HttpResponse, Problem> {
    let (limit, before) = query.0.read()?;
    let tx = scope.begin().await?;
    let page = Page::of(tx.checks(before, limit + 1).await?, limit);
    let next_cursor = page.cursor(|check| check.id);
    Ok(HttpResponse::Ok().json(CheckList { data: page.map(CheckBody::from), next_cursor }))
}
