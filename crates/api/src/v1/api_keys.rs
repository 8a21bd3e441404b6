//! A tenant's own API keys.

pub(crate) mod create;
pub(crate) mod issue;
pub(crate) mod list;
pub(crate) mod revoke;
pub(crate) mod rotate;

use chrono::{DateTime, TimeDelta, Utc};
use mtasts_model::Scope;
use mtasts_store::ApiKey;
use serde::Serialize;
use utoipa::ToSchema;

/// How long a key with an end may live: five years.
const LONGEST_LIFE: TimeDelta = TimeDelta::days(5 * 366);

/// What an API key may do. None contains another.
#[derive(ToSchema)]
#[schema(as = Scope)]
#[expect(dead_code, reason = "the schema of `mtasts_model::Scope`, which knows nothing of OpenAPI")]
pub(crate) enum ScopeSchema {
    /// Read domains, their policies and their delegation.
    #[schema(rename = "domains:read")]
    DomainsRead,
    /// Register, change and remove domains, and set their delegation.
    #[schema(rename = "domains:write")]
    DomainsWrite,
    /// Change policies.
    #[schema(rename = "policy:write")]
    PolicyWrite,
    /// Read what senders report.
    #[schema(rename = "reports:read")]
    ReportsRead,
    /// See, make, rotate and revoke API keys.
    #[schema(rename = "keys:write")]
    KeysWrite,
    /// See and change webhooks.
    #[schema(rename = "webhooks:write")]
    WebhooksWrite,
    /// Read the audit log.
    #[schema(rename = "audit:read")]
    AuditRead,
    /// See the tenants beneath, and act for them by `X-Tenant`, within the key's other scopes.
    #[schema(rename = "customers:act")]
    CustomersAct,
    /// Make and rename tenants beneath, and make API keys for them.
    #[schema(rename = "customers:write")]
    CustomersWrite,
}

/// An API key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub(crate) struct ApiKeyBody {
    /// Its id.
    #[schema(example = "key_0190c3a0b1c27d3e8f4051627384950a")]
    id: String,
    /// Its name, for people.
    #[schema(example = "deployment")]
    name: String,
    /// How its text begins.
    #[schema(example = "mts_live_5pzk7q")]
    prefix: String,
    /// What it may do.
    #[schema(value_type = Vec<ScopeSchema>, example = json!(["domains:read", "domains:write"]))]
    scopes: Vec<&'static str>,
    /// Since when.
    created_at: DateTime<Utc>,
    /// Until when it works; null: until it is revoked.
    #[schema(required)]
    expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    #[schema(required)]
    revoked_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    #[schema(required)]
    last_used_at: Option<DateTime<Utc>>,
    /// The id of the key that a rotation put in its place.
    #[schema(required)]
    successor_id: Option<String>,
}

impl From<ApiKey> for ApiKeyBody {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name,
            prefix: key.prefix,
            scopes: key.scopes.iter().map(Scope::as_str).collect(),
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
            last_used_at: key.last_used_at,
            successor_id: key.successor.map(|id| id.to_string()),
        }
    }
}
