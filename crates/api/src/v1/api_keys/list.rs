//! `GET /v1/api-keys`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use serde::Serialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::ApiKeyBody;
use crate::{
    auth::TenantScope,
    extract::{Page, Query, WhichPage},
    problem::{Problem, documented, groups},
};

/// A page of API keys, in the order of their ids, revoked ones included.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApiKeyList {
    /// The keys.
    data: Vec<ApiKeyBody>,
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

/// List the API keys
///
/// The keys of your tenant, without their secrets.
#[utoipa::path(
    tag = "api-keys",
    operation_id = "list_api_keys",
    params(WhichPage),
    responses((status = 200, description = "A page of keys.", body = ApiKeyList), Errors),
    security(("api_key" = [])),
)]
#[get("/api-keys")]
pub(crate) async fn list_api_keys(scope: TenantScope, query: Query<WhichPage>) -> Result<HttpResponse, Problem> {
    let (limit, after) = query.0.read()?;
    let tx = scope.begin().await?;
    let page = Page::of(tx.list_api_keys(after, limit + 1).await?, limit);
    let next_cursor = page.cursor(|key| key.id);
    Ok(HttpResponse::Ok().json(ApiKeyList { data: page.map(ApiKeyBody::from), next_cursor }))
}
