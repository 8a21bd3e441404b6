//! The secrets that deliveries are signed with, sealed at rest: bound to the tenant by the key ring, and to the webhook
//! by the id within.

use mtasts_certs::{KeyRing, Purpose, SealError};
use mtasts_model::{TenantId, WebhookId};
use zeroize::Zeroizing;

const ID_LEN: usize = 16;

/// Why a sealed secret is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretError {
    #[error("the secret does not open")]
    Sealed(#[from] SealError),
    #[error("the secret is another webhook's")]
    OtherWebhook,
}

/// Seals the secret of a webhook, for [`crate::WebhookWorker`] to open.
pub fn seal_webhook_secret(ring: &KeyRing, tenant: TenantId, webhook: WebhookId, secret: &[u8]) -> Vec<u8> {
    let mut plain = Zeroizing::new(Vec::with_capacity(ID_LEN + secret.len()));
    plain.extend_from_slice(webhook.as_uuid().as_bytes());
    plain.extend_from_slice(secret);
    ring.seal(Purpose::WebhookSecret, Some(tenant), None, &plain)
}

/// Opens what [`seal_webhook_secret`] made for the same tenant and webhook.
pub(super) fn open(
    ring: &KeyRing,
    (tenant, webhook): (TenantId, WebhookId),
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let plain = ring.open(Purpose::WebhookSecret, Some(tenant), None, sealed)?;
    let (id, secret) = plain.split_at_checked(ID_LEN).ok_or(SecretError::OtherWebhook)?;
    if id != webhook.as_uuid().as_bytes() {
        return Err(SecretError::OtherWebhook);
    }
    Ok(Zeroizing::new(secret.to_vec()))
}

#[cfg(test)]
mod tests {
    use mtasts_model::{Clock, SystemEntropy, clock::ManualClock};

    use super::*;

    #[test]
    fn a_secret_opens_for_its_own_webhook_and_tenant_alone() {
        let (ring, _) = KeyRing::generate(&SystemEntropy);
        let now = ManualClock::default().now();
        let (tenant, webhook) = (TenantId::draw(now, &SystemEntropy), WebhookId::draw(now, &SystemEntropy));
        let sealed = seal_webhook_secret(&ring, tenant, webhook, b"secret");
        assert_eq!(**open(&ring, (tenant, webhook), &sealed).unwrap(), *b"secret");
        let other = WebhookId::draw(now, &SystemEntropy);
        assert!(matches!(open(&ring, (tenant, other), &sealed), Err(SecretError::OtherWebhook)));
        let other = TenantId::draw(now, &SystemEntropy);
        assert!(matches!(open(&ring, (other, webhook), &sealed), Err(SecretError::Sealed(_))));
    }
}
