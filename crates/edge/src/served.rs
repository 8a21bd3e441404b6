//! What an edge serves, for an operator who asks.

use mtasts_model::{DomainId, Mode, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

/// One host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedHost {
    /// The mail domain.
    pub domain: String,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// Which registration.
    pub domain_id: DomainId,
    /// The policy's mode.
    pub mode: Mode,
    /// When the certificate expires.
    pub not_after: Timestamp,
}

/// Some of them, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedPage {
    /// Since the name after which was asked.
    pub hosts: Vec<ServedHost>,
    /// The name after which to go on; None: these were the last.
    pub next: Option<String>,
}
