//! `POST /v1/webhooks`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::StatusCode, post};
use mtasts_model::WebhookId;
use mtasts_store::{NewWebhook, WEBHOOKS_PER_TENANT};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{
    NewWebhookBody, WebhookBody,
    fields::{description, event_types, url},
};
use crate::{
    auth::TenantScope,
    extract::{Answer, IdempotencyHeader, IdempotencyKey, Json, Once},
    problem::{Problem, ProblemKind, documented, groups},
    v1::{events::EventTypeSchema, fields::Faults},
    webhooks::{WebhookSecret, WebhookSettings},
};

/// A new webhook.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "url": "https://hooks.example.com/mtasts",
    "description": "our alerting",
    "event_types": ["domain.condition_changed", "drift.found"],
}))]
pub(crate) struct CreateWebhook {
    /// Where events are posted to: `https`, a host name, port 443 or one above 1023, no credentials.
    #[schema(min_length = 1, max_length = 2048)]
    url: String,
    /// For people: at most 200 characters.
    #[serde(default)]
    #[schema(max_length = 200)]
    description: Option<String>,
    /// Of which types; null or absent: of all, those that later versions add as well.
    #[serde(default)]
    #[schema(value_type = Option<Vec<EventTypeSchema>>, min_items = 1, max_items = 100)]
    event_types: Option<Vec<String>>,
    /// Whether events are delivered.
    #[serde(default)]
    #[schema(default = true)]
    enabled: Option<bool>,
}

impl CreateWebhook {
    fn parse(self, settings: &WebhookSettings, id: WebhookId) -> Result<NewWebhook, Problem> {
        let mut faults = Faults::default();
        let url = faults.keep(url(&self.url, settings.allow_http));
        let description = faults.keep(description(self.description.as_deref().unwrap_or_default()));
        let event_types = match self.event_types {
            Some(words) => event_types(&words, &mut faults).map(Some),
            None => Some(None),
        };
        match (url, description, event_types) {
            (Some(url), Some(description), Some(event_types)) => Ok(NewWebhook {
                id,
                url,
                description,
                event_types,
                enabled: self.enabled.unwrap_or(true),
                sealed: Vec::new(),
            }),
            _ => Err(faults.into_problem()),
        }
    }
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let own = &[ProblemKind::WebhookQuota, ProblemKind::WebhooksOff];
        documented(&[groups::CALL, groups::BODY, groups::ONCE, own])
    }
}

/// Create a webhook
///
/// Events of your domains are posted to it from now on, each signed by the Standard Webhooks specification. The secret is
/// in this answer only. A repeated request with the same `Idempotency-Key` and the same credential gets it again.
#[utoipa::path(
    tag = "webhooks",
    operation_id = "create_webhook",
    params(IdempotencyHeader),
    request_body = CreateWebhook,
    responses(
        (status = 201, description = "The webhook and its secret.", body = NewWebhookBody,
            headers(("Location" = String, description = "Where it is."))),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[post("/webhooks")]
pub(crate) async fn create_webhook(
    scope: TenantScope,
    key: IdempotencyKey,
    body: Json<CreateWebhook>,
) -> Result<HttpResponse, Problem> {
    let (now, tenant, state) = (scope.now(), scope.tenant_id(), scope.state());
    let settings = state.webhooks()?;
    let once = secret_once(&key, body.hash, &scope);
    let mut new = body.value.parse(settings, WebhookId::draw(now, &*state.entropy))?;
    let salt = draw_salt(&scope);
    new.sealed = WebhookSecret::derive(&salt, scope.credential()).sealed(settings, tenant, new.id);
    let answer = once
        .run(scope.begin().await?, async |tx| {
            let made = tx.create_webhook(new, &scope.actor(), now).await?.ok_or_else(quota)?;
            let location = format!("/v1/webhooks/{}", made.id);
            let body = NewWebhookBody { webhook: WebhookBody::of(made, now), secret: None };
            Ok(Answer::new(StatusCode::CREATED, &body)?.salt(salt).location(location))
        })
        .await?;
    Ok(respond(answer, &scope))
}

fn quota() -> Problem {
    let detail = format!("There are {WEBHOOKS_PER_TENANT} webhooks already: delete one first");
    Problem::new(ProblemKind::WebhookQuota, detail)
}

pub(super) fn draw_salt(scope: &TenantScope) -> [u8; 32] {
    let mut salt = [0; 32];
    scope.state().entropy.fill(&mut salt);
    salt
}

/// Once for this body and this credential: with another one a repeated request would be answered with a secret that
/// verifies nothing, so that it counts as another request.
pub(super) fn secret_once<'k>(key: &'k IdempotencyKey, body_hash: [u8; 32], scope: &TenantScope) -> Once<'k> {
    use secrecy::ExposeSecret;

    let credential = scope.credential().expose_secret();
    let hash = Sha256::new().chain_update(body_hash).chain_update(credential.as_bytes()).finalize();
    Once::new(key, hash.into(), scope.now())
}

/// The answer with the secret in it, which is stored nowhere in the clear.
pub(super) fn respond(answer: Answer, scope: &TenantScope) -> HttpResponse {
    answer.reveal("secret", |salt| WebhookSecret::derive(salt, scope.credential()).reveal()).respond()
}
