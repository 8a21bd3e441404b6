//! `POST /v1/webhooks/{webhook_id}/test`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::StatusCode, post};
use mtasts_model::WebhookId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::{DeliveryBody, must_be_on};
use crate::{
    auth::TenantScope,
    extract::{Answer, IdempotencyHeader, IdempotencyKey, NoBody, Once, PathId},
    problem::{Problem, ProblemKind, documented, groups},
};

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let own = &[ProblemKind::WebhookDisabled];
        documented(&[groups::CALL, groups::BODY, groups::OBJECT, groups::ONCE, own])
    }
}

/// Send a test event
///
/// An event of the type `webhook.test`, delivered to this webhook alone, whatever types it wants. What became of it is in
/// the list of deliveries.
#[utoipa::path(
    tag = "webhooks",
    operation_id = "test_webhook",
    params(
        ("webhook_id" = String, Path, description = "The webhook's id", pattern = "^whk_[0-9a-f]{32}$"),
        IdempotencyHeader,
    ),
    responses((status = 202, description = "The delivery, on its way.", body = DeliveryBody), Errors),
    security(("api_key" = [])),
)]
#[post("/webhooks/{webhook_id}/test")]
pub(crate) async fn test_webhook(
    scope: TenantScope,
    id: PathId<WebhookId>,
    key: IdempotencyKey,
    body: NoBody,
) -> Result<HttpResponse, Problem> {
    let now = scope.now();
    let answer = Once::new(&key, body.hash, now)
        .run(scope.begin().await?, async |tx| {
            must_be_on(tx, id.0).await?;
            let delivery = tx.test_webhook(id.0, &scope.actor(), now).await?;
            Answer::new(StatusCode::ACCEPTED, &DeliveryBody::from(delivery))
        })
        .await?;
    Ok(answer.respond())
}
