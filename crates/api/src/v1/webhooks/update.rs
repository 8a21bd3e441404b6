//! `PATCH /v1/webhooks/{webhook_id}`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, patch};
use mtasts_model::WebhookId;
use mtasts_store::WebhookChange;
use serde::{Deserialize, Deserializer};
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{
    WebhookBody,
    fields::{description, event_types, url},
    not_found,
};
use crate::{
    auth::TenantScope,
    extract::{Json, PathId},
    problem::{Problem, ProblemKind, documented, groups},
    v1::{events::EventTypeSchema, fields::Faults},
};

/// What to change; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"enabled": true, "event_types": null}))]
pub(crate) struct UpdateWebhook {
    /// Where events are posted to.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 2048)]
    url: Option<String>,
    /// For people: at most 200 characters.
    #[serde(default)]
    #[schema(max_length = 200)]
    description: Option<String>,
    /// Of which types; null: of all.
    #[serde(default)]
    #[schema(value_type = Option<Vec<EventTypeSchema>>, min_items = 1, max_items = 100)]
    event_types: Types,
    /// Whether events are delivered. What waited while it was off goes out when it is on again.
    #[serde(default)]
    enabled: Option<bool>,
}

/// Tells null from absent.
#[derive(Debug, Default)]
enum Types {
    #[default]
    Unchanged,
    All,
    These(Vec<String>),
}

impl<'de> Deserialize<'de> for Types {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(|words| words.map_or(Self::All, Self::These))
    }
}

impl UpdateWebhook {
    fn parse(self, allow_http: bool) -> Result<WebhookChange, Problem> {
        let mut faults = Faults::default();
        let url = self.url.map(|text| faults.keep(url(&text, allow_http)));
        let description = self.description.map(|text| faults.keep(description(&text)));
        let event_types = match self.event_types {
            Types::Unchanged => None,
            Types::All => Some(Some(None)),
            Types::These(words) => Some(event_types(&words, &mut faults).map(Some)),
        };
        // Each is absent, or without a fault.
        let fits = |faulty: bool| if faulty { None } else { Some(()) };
        let all = fits(url == Some(None)).and(fits(description == Some(None))).and(fits(event_types == Some(None)));
        if all.is_none() {
            return Err(faults.into_problem());
        }
        Ok(WebhookChange {
            url: url.flatten(),
            description: description.flatten(),
            event_types: event_types.flatten(),
            enabled: self.enabled,
        })
    }
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::BODY, groups::OBJECT, &[ProblemKind::WebhooksOff]])
    }
}

/// Change a webhook
///
/// Also how a webhook that the service switched off is switched on again.
#[utoipa::path(
    tag = "webhooks",
    operation_id = "update_webhook",
    params(("webhook_id" = String, Path, description = "The webhook's id", pattern = "^whk_[0-9a-f]{32}$")),
    request_body = UpdateWebhook,
    responses((status = 200, description = "The webhook.", body = WebhookBody), Errors),
    security(("api_key" = [])),
)]
#[patch("/webhooks/{webhook_id}")]
pub(crate) async fn update_webhook(
    scope: TenantScope,
    id: PathId<WebhookId>,
    body: Json<UpdateWebhook>,
) -> Result<HttpResponse, Problem> {
    let now = scope.now();
    let change = body.value.parse(scope.state().webhooks()?.allow_http)?;
    let mut tx = scope.begin().await?;
    tx.webhook(id.0).await?.ok_or_else(not_found)?;
    let webhook = tx.update_webhook(id.0, change, &scope.actor(), now).await?;
    tx.commit().await?;
    Ok(HttpResponse::Ok().json(WebhookBody::of(webhook, now)))
}
