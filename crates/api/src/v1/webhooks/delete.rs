//! `DELETE /v1/webhooks/{webhook_id}`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, delete};
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

/// Delete a webhook
///
/// Nothing is delivered to it any more, but for what is under way at this moment; its secret is forgotten, and so is what
/// became of its deliveries.
#[utoipa::path(
    tag = "webhooks",
    operation_id = "delete_webhook",
    params(("webhook_id" = String, Path, description = "The webhook's id", pattern = "^whk_[0-9a-f]{32}$")),
    responses((status = 200, description = "The webhook that is no more.", body = WebhookBody), Errors),
    security(("api_key" = [])),
)]
#[delete("/webhooks/{webhook_id}")]
pub(crate) async fn delete_webhook(scope: TenantScope, id: PathId<WebhookId>) -> Result<HttpResponse, Problem> {
    let now = scope.now();
    let mut tx = scope.begin().await?;
    let webhook = tx.delete_webhook(id.0, &scope.actor(), now).await?.ok_or_else(not_found)?;
    tx.commit().await?;
    Ok(HttpResponse::Ok().json(WebhookBody::of(webhook, now)))
}
