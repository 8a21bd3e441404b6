//! Webhooks: where a tenant wants to be told of events, and what became of each of them. The secret itself is sealed
//! before it comes to the store.

use std::fmt;

use mtasts_model::{DeliveryId, EventId, EventType, Timestamp, WebhookId};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::{StoreError, WebhookUrl, stored::At};

/// How many a tenant may have.
pub const WEBHOOKS_PER_TENANT: u32 = 10;

/// What a new webhook is made from.
#[derive(Clone)]
pub struct NewWebhook {
    /// Drawn by the caller.
    pub id: WebhookId,
    /// Where to.
    pub url: WebhookUrl,
    /// For people, at most 200 characters.
    pub description: String,
    /// Of what; None: of everything, what later versions add as well.
    pub event_types: Option<Vec<EventType>>,
    /// Whether anything is delivered.
    pub enabled: bool,
    /// The sealed secret.
    pub sealed: Vec<u8>,
}

impl fmt::Debug for NewWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewWebhook").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What to change of a webhook; None: stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookChange {
    /// Where to.
    pub url: Option<WebhookUrl>,
    /// For people.
    pub description: Option<String>,
    /// Of what; Some(None): of everything.
    pub event_types: Option<Option<Vec<EventType>>>,
    /// Whether anything is delivered. To switch it on forgets why the service switched it off.
    pub enabled: Option<bool>,
}

/// A webhook, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Where to.
    pub url: String,
    /// For people.
    pub description: String,
    /// Of what; None: of everything.
    pub event_types: Option<Vec<EventType>>,
    /// Whether anything is delivered.
    pub enabled: bool,
    /// Why the service itself switched it off, and when.
    pub disabled: Option<(String, Timestamp)>,
    /// Until when the secret before the last rotation signs along.
    pub former_secret_until: Option<Timestamp>,
    /// Since when.
    pub created_at: Timestamp,
    /// When the tenant last changed it.
    pub changed_at: Timestamp,
}

/// What has become of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// It is tried, now or later.
    Pending,
    /// The receiver took it.
    Delivered,
    /// Given up.
    Failed,
}

impl DeliveryState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Failed];

    /// The word in the API and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

/// One event on its way to one webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its id, ordered by time.
    pub id: DeliveryId,
    /// Where to.
    pub webhook: WebhookId,
    /// What: the `webhook-id` of the request.
    pub event: EventId,
    /// What kind of thing.
    pub event_type: EventType,
    /// What has become of it.
    pub state: DeliveryState,
    /// How often it was tried, since it was made or asked for again.
    pub attempts: u32,
    /// When it is tried next, at the earliest.
    pub next_attempt_at: Option<Timestamp>,
    /// When it was tried last.
    pub last_attempt_at: Option<Timestamp>,
    /// When it was taken or given up.
    pub settled_at: Option<Timestamp>,
    /// The status of the last answer; None: there was none.
    pub response_status: Option<u16>,
    /// The beginning of the last answer's body.
    pub response_excerpt: Option<String>,
    /// What was wrong at the last attempt.
    pub problem: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
}

/// Which deliveries to list. Empty: all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Only those.
    pub state: Option<DeliveryState>,
}

/// All but the secrets.
pub(crate) const COLUMNS: &str = "id, url, description, event_types, enabled, disabled_reason, disabled_at, \
    former_until, created_at, changed_at";

#[derive(Debug, FromQueryResult)]
pub(crate) struct WebhookRow {
    id: Uuid,
    url: String,
    description: String,
    event_types: Option<Vec<String>>,
    enabled: bool,
    disabled_reason: Option<String>,
    disabled_at: Option<Timestamp>,
    former_until: Option<Timestamp>,
    created_at: Timestamp,
    changed_at: Timestamp,
}

impl TryFrom<WebhookRow> for Webhook {
    type Error = StoreError;

    fn try_from(row: WebhookRow) -> Result<Self, StoreError> {
        let at = At { table: "webhooks", row: row.id };
        let parse = |words: Vec<String>| words.iter().map(|word| at.parse("event_types", word)).collect();
        Ok(Self {
            id: WebhookId::from_uuid(row.id),
            url: row.url,
            description: row.description,
            event_types: row.event_types.map(parse).transpose()?,
            enabled: row.enabled,
            disabled: row.disabled_reason.zip(row.disabled_at),
            former_secret_until: row.former_until,
            created_at: row.created_at,
            changed_at: row.changed_at,
        })
    }
}

/// Goes with `FROM webhook_deliveries d JOIN events e ON e.id = d.event_id`.
pub(crate) const DELIVERY_COLUMNS: &str = "d.id, d.webhook_id, d.event_id, e.type, d.state, d.attempts, d.due_at, \
    d.last_attempt_at, d.settled_at, d.response_status, d.response_excerpt, d.problem, d.created_at";

#[derive(Debug, FromQueryResult)]
pub(crate) struct DeliveryRow {
    id: Uuid,
    webhook_id: Uuid,
    event_id: Uuid,
    #[sea_orm(from_alias = "type")]
    event_type: String,
    state: String,
    attempts: i32,
    due_at: Option<Timestamp>,
    last_attempt_at: Option<Timestamp>,
    settled_at: Option<Timestamp>,
    response_status: Option<i32>,
    response_excerpt: Option<String>,
    problem: Option<String>,
    created_at: Timestamp,
}

impl TryFrom<DeliveryRow> for Delivery {
    type Error = StoreError;

    fn try_from(row: DeliveryRow) -> Result<Self, StoreError> {
        let at = At { table: "webhook_deliveries", row: row.id };
        let state = DeliveryState::ALL.into_iter().find(|state| state.as_str() == row.state);
        Ok(Self {
            id: DeliveryId::from_uuid(row.id),
            webhook: WebhookId::from_uuid(row.webhook_id),
            event: EventId::from_uuid(row.event_id),
            event_type: at.parse("type", &row.event_type)?,
            state: state.ok_or_else(|| at.unreadable("state", format!("unknown word {:?}", row.state)))?,
            attempts: at.number("attempts", row.attempts)?,
            next_attempt_at: row.due_at,
            last_attempt_at: row.last_attempt_at,
            settled_at: row.settled_at,
            response_status: row.response_status.map(|status| at.number("response_status", status)).transpose()?,
            response_excerpt: row.response_excerpt,
            problem: row.problem,
            created_at: row.created_at,
        })
    }
}
