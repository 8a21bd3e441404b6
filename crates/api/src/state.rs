//! What every request may use.

use std::sync::Arc;

use mtasts_model::{Clock, Entropy, Timestamp};
use mtasts_oidc::Verifier;
use mtasts_store::Store;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    config::ApiConfig,
    customer_dns::{self, CustomerDns, Places},
    domain_connect::DomainConnect,
    limits::Limits,
    problem::Problem,
    routes::Routes,
    webhooks::{self, WebhookSettings},
};

/// Shared by all workers.
pub(crate) struct State {
    pub(crate) config: ApiConfig,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) routes: Routes,
    pub(crate) operator_hash: [u8; 32],
    /// None where the installation does not write into customers' zones.
    pub(crate) customer_dns: Option<Arc<dyn CustomerDns>>,
    /// None where the installation does not offer it.
    pub(crate) domain_connect: Option<DomainConnect>,
    /// None where the installation has none.
    pub(crate) webhooks: Option<WebhookSettings>,
    /// None where no issuer of tokens is configured.
    pub(crate) oidc: Option<Arc<Verifier>>,
    /// None where calls are not limited.
    pub(crate) limits: Option<Limits>,
    /// For requests that call customers' DNS.
    pub(crate) places: Places,
    /// For bodies of bulk requests.
    pub(crate) bulk_places: Places,
}

impl State {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The way to customers' DNS.
    pub(crate) fn customer_dns(&self) -> Result<&dyn CustomerDns, Problem> {
        self.customer_dns.as_deref().ok_or_else(customer_dns::off)
    }

    /// How webhooks are offered.
    pub(crate) fn webhooks(&self) -> Result<&WebhookSettings, Problem> {
        self.webhooks.as_ref().ok_or_else(webhooks::off)
    }

    /// Compares hashes, in constant time: neither content nor length of the operator token shows in the time.
    pub(crate) fn is_operator(&self, token: &str) -> bool {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        hash.ct_eq(&self.operator_hash).into()
    }
}
