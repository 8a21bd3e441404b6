//! Tenants, as the operator handles them.

pub(crate) mod create;
pub(crate) mod create_api_key;
pub(crate) mod force_removal;
pub(crate) mod list;
pub(crate) mod own;
pub(crate) mod read;

use chrono::{DateTime, Utc};
use mtasts_store::Tenant;
use serde::Serialize;
use utoipa::ToSchema;

/// A customer account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tenant)]
pub(crate) struct TenantBody {
    /// Its id.
    #[schema(example = "ten_0190c3a0b1c27d3e8f4051627384950a")]
    id: String,
    /// Its name, for people.
    #[schema(example = "Acme Ltd")]
    name: String,
    /// Since when.
    created_at: DateTime<Utc>,
}

impl From<Tenant> for TenantBody {
    fn from(tenant: Tenant) -> Self {
        Self { id: tenant.id.to_string(), name: tenant.name, created_at: tenant.created_at }
    }
}
