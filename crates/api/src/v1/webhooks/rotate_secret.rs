//! `POST /v1/webhooks/{webhook_id}/rotate-secret`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::StatusCode, post};
use chrono::TimeDelta;
use mtasts_model::WebhookId;
use serde::Deserialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{
    NewWebhookBody, WebhookBody,
    create::{draw_salt, respond, secret_once},
    not_found,
};
use crate::{
    auth::TenantScope,
    extract::{Answer, IdempotencyHeader, IdempotencyKey, Json, PathId},
    problem::{Problem, ProblemKind, documented, groups},
    webhooks::WebhookSecret,
};

/// The longest overlap, in seconds: a week.
const LONGEST_OVERLAP: u32 = 604_800;
/// The overlap where none is given, in seconds: a day.
const DEFAULT_OVERLAP: u32 = 86_400;

/// How a secret is rotated.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"overlap_seconds": 3600}))]
pub(crate) struct RotateWebhookSecret {
    /// How long the old secret signs along, in seconds: at most a week; 0: not at all.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 604_800, default = 86_400)]
    overlap_seconds: Option<u64>,
}

impl RotateWebhookSecret {
    fn overlap(&self) -> Result<TimeDelta, Problem> {
        let seconds = self.overlap_seconds.unwrap_or(DEFAULT_OVERLAP.into());
        match u32::try_from(seconds) {
            Ok(seconds) if seconds <= LONGEST_OVERLAP => Ok(TimeDelta::seconds(seconds.into())),
            _ => Err(Problem::field("/overlap_seconds", "out-of-range", format!("must be 0 to {LONGEST_OVERLAP}"))),
        }
    }
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let own = &[ProblemKind::WebhooksOff];
        documented(&[groups::CALL, groups::BODY, groups::OBJECT, groups::ONCE, own])
    }
}

/// Rotate a webhook's secret
///
/// Deliveries are signed with the new secret from now on, and with the old one as well until the overlap is over: so
/// receivers can be changed one after the other. The secret before the old one signs no more. The new secret is in this
/// answer only; a repeated request with the same `Idempotency-Key` and the same credential gets it again.
#[utoipa::path(
    tag = "webhooks",
    operation_id = "rotate_webhook_secret",
    params(
        ("webhook_id" = String, Path, description = "The webhook's id", pattern = "^whk_[0-9a-f]{32}$"),
        IdempotencyHeader,
    ),
    request_body = RotateWebhookSecret,
    responses((status = 201, description = "The webhook and its new secret.", body = NewWebhookBody), Errors),
    security(("api_key" = [])),
)]
#[post("/webhooks/{webhook_id}/rotate-secret")]
pub(crate) async fn rotate_webhook_secret(
    scope: TenantScope,
    id: PathId<WebhookId>,
    key: IdempotencyKey,
    body: Json<RotateWebhookSecret>,
) -> Result<HttpResponse, Problem> {
    let now = scope.now();
    let until = now + body.value.overlap()?;
    let settings = scope.state().webhooks()?;
    let salt = draw_salt(&scope);
    let sealed = WebhookSecret::derive(&salt, scope.credential()).sealed(settings, scope.tenant_id(), id.0);
    let answer = secret_once(&key, body.hash, &scope)
        .run(scope.begin().await?, async |tx| {
            tx.webhook(id.0).await?.ok_or_else(not_found)?;
            let webhook = tx.rotate_webhook_secret(id.0, (sealed, until), &scope.actor(), now).await?;
            let body = NewWebhookBody { webhook: WebhookBody::of(webhook, now), secret: None };
            Ok(Answer::new(StatusCode::CREATED, &body)?.salt(salt))
        })
        .await?;
    Ok(respond(answer, &scope))
}
