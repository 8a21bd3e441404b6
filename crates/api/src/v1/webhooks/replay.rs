//! `POST /v1/webhooks/{webhook_id}/deliveries/{delivery_id}/replay`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::StatusCode, post};
use mtasts_model::{DeliveryId, WebhookId};
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

/// Deliver again
///
/// Delivers the same event again, at once, with the same `webhook-id`, and retries as if it were new: whether it was
/// delivered, given up or still waits.
#[utoipa::path(
    tag = "webhooks",
    operation_id = "replay_webhook_delivery",
    params(
        ("webhook_id" = String, Path, description = "The webhook's id", pattern = "^whk_[0-9a-f]{32}$"),
        ("delivery_id" = String, Path, description = "The delivery's id", pattern = "^dlv_[0-9a-f]{32}$"),
        IdempotencyHeader,
    ),
    responses((status = 202, description = "The delivery, on its way.", body = DeliveryBody), Errors),
    security(("api_key" = [])),
)]
#[post("/webhooks/{webhook_id}/deliveries/{delivery_id}/replay")]
pub(crate) async fn replay_webhook_delivery(
    scope: TenantScope,
    id: PathId<WebhookId>,
    delivery: PathId<DeliveryId>,
    key: IdempotencyKey,
    body: NoBody,
) -> Result<HttpResponse, Problem> {
    let now = scope.now();
    let answer = Once::new(&key, body.hash, now)
        .run(scope.begin().await?, async |tx| {
            must_be_on(tx, id.0).await?;
            tx.delivery(id.0, delivery.0).await?.ok_or_else(|| Problem::not_found("delivery"))?;
            let again = tx.replay_delivery((id.0, delivery.0), &scope.actor(), now).await?;
            Answer::new(StatusCode::ACCEPTED, &DeliveryBody::from(again))
        })
        .await?;
    Ok(answer.respond())
}
