//! `GET /v1/webhooks`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use serde::Serialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::WebhookBody;
use crate::{
    auth::TenantScope,
    problem::{Problem, documented, groups},
};

/// All webhooks, in the order of their ids: there are ten at most.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookList {
    /// The webhooks.
    #[schema(max_items = 10)]
    data: Vec<WebhookBody>,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL])
    }
}

/// List the webhooks
///
/// All those of your tenant, without their secrets.
#[utoipa::path(
    tag = "webhooks",
    operation_id = "list_webhooks",
    responses((status = 200, description = "The webhooks.", body = WebhookList), Errors),
    security(("api_key" = [])),
)]
#[get("/webhooks")]
pub(crate) async fn list_webhooks(scope: TenantScope) -> Result<HttpResponse, Problem> {
    let now = scope.now();
    let webhooks = scope.begin().await?.list_webhooks().await?;
    let data = webhooks.into_iter().map(|webhook| WebhookBody::of(webhook, now)).collect();
    Ok(HttpResponse::Ok().json(WebhookList { data }))
}
