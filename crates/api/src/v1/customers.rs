//! The tenants beneath a tenant, as their provider handles them.

pub(crate) mod create;
pub(crate) mod create_api_key;
pub(crate) mod list;
pub(crate) mod read;
pub(crate) mod update;

use chrono::{DateTime, Utc};
use mtasts_model::TenantId;
use mtasts_store::{StoreError, Tenant};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{FieldError, Problem, ProblemKind};

/// A tenant beneath yours.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Customer)]
pub(crate) struct CustomerBody {
    /// Its id.
    #[schema(example = "ten_0190c3a0b1c27d3e8f4051627384950a")]
    id: String,
    /// Its name, for people.
    #[schema(example = "Acme Ltd")]
    name: String,
    /// The tenant directly above it: yours, or a customer of yours.
    #[schema(required, example = "ten_0190c3a0b1c27d3e8f4051627384950b")]
    parent_id: Option<String>,
    /// Since when.
    created_at: DateTime<Utc>,
}

impl From<Tenant> for CustomerBody {
    fn from(tenant: Tenant) -> Self {
        Self {
            id: tenant.id.to_string(),
            name: tenant.name,
            parent_id: tenant.parent.map(|parent| parent.to_string()),
            created_at: tenant.created_at,
        }
    }
}

/// The parent that a field names.
fn parent(text: &str) -> Result<TenantId, FieldError> {
    text.parse().map_err(|error: mtasts_model::ids::IdError| FieldError::at("/parent", "invalid-id", error.to_string()))
}

/// What a refusal to make a customer means.
fn refused(error: StoreError) -> Problem {
    match error {
        StoreError::NotFound => Problem::field(
            "/parent",
            "parent-unknown",
            "there is no such tenant beneath yours: name a customer of yours, or leave the field out",
        ),
        StoreError::TooDeep => Problem::new(
            ProblemKind::CustomerTooDeep,
            "The parent stands at the lowest level: make the customer beneath a tenant further up",
        ),
        other => other.into(),
    }
}
