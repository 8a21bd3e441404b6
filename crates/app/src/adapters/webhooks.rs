//! Where the API seals the secrets of webhooks that workers open.

use mtasts_api::WebhookSealer;
use mtasts_certs::KeyRing;
use mtasts_model::{TenantId, WebhookId};
use mtasts_worker::seal_webhook_secret;

/// Seals with the key ring.
pub(crate) struct WebhookSecrets {
    pub(crate) key_ring: KeyRing,
}

impl WebhookSealer for WebhookSecrets {
    fn seal(&self, tenant: TenantId, webhook: WebhookId, secret: &[u8]) -> Vec<u8> {
        seal_webhook_secret(&self.key_ring, tenant, webhook, secret)
    }
}
