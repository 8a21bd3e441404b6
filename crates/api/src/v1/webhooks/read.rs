//! `GET /v1/webhooks/{webhook_id}`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_model::WebhookId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::{WebhookBody, not_found};
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

/// Read a webhook
///
/// Without its secret.
#[utoipa::path(
    tag = "webhooks",
    operation_id = "read_webhook",
    params(("webhook_id" = String, Path, description = "The webhook's id", pattern = "^whk_[0-9a-f]{32}$")),
    responses((status = 200, description = "The webhook.", body = WebhookBody), Errors),
    security(("api_key" = [])),
)]
#[get("/webhooks/{webhook_id}")]
pub(crate) async fn read_webhook(scope: TenantScope, id: PathId<WebhookId>) -> Result<HttpResponse, Problem> {
    let webhook = scope.begin().await?.webhook(id.0).await?.ok_or_else(not_found)?;
    Ok(HttpResponse::Ok().json(WebhookBody::of(webhook, scope.now())))
}
