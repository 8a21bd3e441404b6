//! `GET /v1/api-keys`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::ApiKeyBody;
use crate::{
    auth::TenantScope,
    extract::{Cursor, Page, Query, limit},
    problem::{Problem, documented, groups},
};

/// Which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListApiKeys {
    /// How many, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
}

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
    params(ListApiKeys),
    responses((status = 200, description = "A page of keys.", body = ApiKeyList), Errors),
    security(("api_key" = [])),
)]
#[get("/api-keys")]
pub(crate) async fn list_api_keys(scope: TenantScope, query: Query<ListApiKeys>) -> Result<HttpResponse, Problem> {
    let limit = limit(query.0.limit)?;
    let after = Cursor::read(query.0.cursor.as_deref())?;
    let tx = scope.begin().await?;
    let page = Page::of(tx.list_api_keys(after, limit + 1).await?, limit);
    let next_cursor = page.cursor(|key| key.id);
    Ok(HttpResponse::Ok().json(ApiKeyList { data: page.map(ApiKeyBody::from), next_cursor }))
}
