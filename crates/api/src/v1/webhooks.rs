//! Webhooks: where a tenant wants to be told of events, by the Standard Webhooks specification.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod deliveries;
pub(crate) mod fields;
pub(crate) mod list;
pub(crate) mod read;
pub(crate) mod replay;
pub(crate) mod rotate_secret;
pub(crate) mod test;
pub(crate) mod update;

use chrono::{DateTime, Utc};
use mtasts_model::{EventType, WebhookId};
use mtasts_store::{Delivery, TenantTx, Webhook};
use serde::Serialize;
use utoipa::ToSchema;

use super::events::EventTypeSchema;
use crate::problem::{Problem, ProblemKind};

/// A webhook, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(crate) struct WebhookBody {
    /// Its id.
    #[schema(example = "whk_0190c3a0b1c27d3e8f4051627384950a")]
    id: String,
    /// Where events are posted to.
    #[schema(example = "https://hooks.example.com/mtasts")]
    url: String,
    /// For people.
    #[schema(example = "our alerting")]
    description: String,
    /// Of which types; null: of all, those that later versions add as well.
    #[schema(required, value_type = Option<Vec<EventTypeSchema>>)]
    event_types: Option<Vec<&'static str>>,
    /// Whether events are delivered.
    enabled: bool,
    /// Why the service itself switched it off; null where it did not.
    #[schema(required, example = "It answered 410 (Gone)")]
    disabled_reason: Option<String>,
    /// When the service itself switched it off.
    #[schema(required)]
    disabled_at: Option<DateTime<Utc>>,
    /// Until when the secret before the last rotation signs along; null where none does.
    #[schema(required)]
    former_secret_until: Option<DateTime<Utc>>,
    /// Since when it is there.
    created_at: DateTime<Utc>,
    /// When you last changed it.
    changed_at: DateTime<Utc>,
}

impl WebhookBody {
    /// As it is at this moment.
    fn of(webhook: Webhook, now: DateTime<Utc>) -> Self {
        let (disabled_reason, disabled_at) = webhook.disabled.unzip();
        Self {
            id: webhook.id.to_string(),
            url: webhook.url,
            description: webhook.description,
            event_types: webhook.event_types.map(|types| types.into_iter().map(EventType::as_str).collect()),
            enabled: webhook.enabled,
            disabled_reason,
            disabled_at,
            former_secret_until: webhook.former_secret_until.filter(|until| *until > now),
            created_at: webhook.created_at,
            changed_at: webhook.changed_at,
        }
    }
}

/// A webhook and its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NewWebhook)]
pub(crate) struct NewWebhookBody {
    #[serde(flatten)]
    webhook: WebhookBody,
    /// The secret that deliveries are signed with. Keep it: it is shown in this answer only.
    #[schema(required, value_type = String, example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDazkb0YJZj4U=")]
    secret: Option<String>,
}

/// One event on its way to one webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub(crate) struct DeliveryBody {
    /// Its id.
    #[schema(example = "dlv_0190c3a0b1c27d3e8f4051627384950a")]
    id: String,
    /// The event: the `webhook-id` of the request, the same in every attempt.
    #[schema(example = "evt_0190c3a0b1c27d3e8f4051627384950a")]
    event_id: String,
    /// The event's type.
    #[schema(value_type = EventTypeSchema)]
    event_type: &'static str,
    /// What has become of it.
    #[schema(value_type = StatusSchema)]
    status: &'static str,
    /// How often it was tried, since it was made or last replayed.
    #[schema(minimum = 0)]
    attempts: u32,
    /// When it is tried next, at the earliest; null where it is not tried any more.
    #[schema(required)]
    next_attempt_at: Option<DateTime<Utc>>,
    /// When it was last tried.
    #[schema(required)]
    last_attempt_at: Option<DateTime<Utc>>,
    /// When it was taken, or given up.
    #[schema(required)]
    settled_at: Option<DateTime<Utc>>,
    /// The status of the last answer; null: there was no answer.
    #[schema(required, example = 503)]
    response_status: Option<u16>,
    /// The beginning of the last answer's body, at most 1,024 octets.
    #[schema(required)]
    response_excerpt: Option<String>,
    /// What was wrong at the last attempt; null where nothing was.
    #[schema(required, example = "It answered 503")]
    problem: Option<String>,
    /// Since when it is there.
    created_at: DateTime<Utc>,
}

/// What has become of a delivery.
#[derive(ToSchema)]
#[schema(as = DeliveryStatus, rename_all = "lowercase")]
#[expect(dead_code, reason = "the schema of `DeliveryState`, which knows nothing of OpenAPI")]
enum StatusSchema {
    Pending,
    Delivered,
    Failed,
}

impl From<Delivery> for DeliveryBody {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id.to_string(),
            event_id: delivery.event.to_string(),
            event_type: delivery.event_type.as_str(),
            status: delivery.state.as_str(),
            attempts: delivery.attempts,
            next_attempt_at: delivery.next_attempt_at,
            last_attempt_at: delivery.last_attempt_at,
            settled_at: delivery.settled_at,
            response_status: delivery.response_status,
            response_excerpt: delivery.response_excerpt,
            problem: delivery.problem,
            created_at: delivery.created_at,
        }
    }
}

fn not_found() -> Problem {
    Problem::not_found("webhook")
}

/// That there is such a webhook, and that it is switched on.
async fn must_be_on(tx: &TenantTx, id: WebhookId) -> Result<(), Problem> {
    if tx.webhook(id).await?.ok_or_else(not_found)?.enabled {
        return Ok(());
    }
    let detail = "The webhook is switched off: switch it on by `PATCH` with `{\"enabled\": true}` first";
    Err(Problem::new(ProblemKind::WebhookDisabled, detail))
}
