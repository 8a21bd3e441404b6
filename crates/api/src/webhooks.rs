//! What the API needs for webhooks. Who implements [`WebhookSealer`] keeps the keys; workers open what it sealed.

use std::sync::Arc;

use data_encoding::BASE64;
use mtasts_model::{TenantId, WebhookId};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::problem::{Problem, ProblemKind};

/// What every secret begins with (Standard Webhooks, "Signature scheme").
const PREFIX: &str = "whsec_";

/// Seals the secrets that deliveries are signed with.
pub trait WebhookSealer: Send + Sync {
    /// Seals the secret of a tenant's webhook. What comes out opens for this webhook alone.
    fn seal(&self, tenant: TenantId, webhook: WebhookId, secret: &[u8]) -> Vec<u8>;
}

/// How webhooks are offered.
#[derive(Clone)]
pub struct WebhookSettings {
    /// Seals their secrets.
    pub sealer: Arc<dyn WebhookSealer>,
    /// Whether `http://` will do: in private networks alone.
    pub allow_http: bool,
}

/// A secret in the clear. It is shown once, in the answer that makes it.
pub(crate) struct WebhookSecret(Zeroizing<[u8; 32]>);

impl WebhookSecret {
    /// The secret that follows from the caller's own credential and a salt drawn at random, for the reasons of
    /// [`crate::token::ApiKeySecret::derive`].
    pub(crate) fn derive(salt: &[u8; 32], credential: &SecretString) -> Self {
        let digest = Sha256::new()
            .chain_update(b"mtasts webhook secret v1\0")
            .chain_update(salt)
            .chain_update(credential.expose_secret().as_bytes())
            .finalize();
        Self(Zeroizing::new(digest.into()))
    }

    pub(crate) fn sealed(&self, settings: &WebhookSettings, tenant: TenantId, webhook: WebhookId) -> Vec<u8> {
        settings.sealer.seal(tenant, webhook, &*self.0)
    }

    /// As receivers are given it.
    pub(crate) fn reveal(&self) -> String {
        format!("{PREFIX}{}", BASE64.encode(&*self.0))
    }
}

/// That this installation does not do it.
pub(crate) fn off() -> Problem {
    Problem::new(ProblemKind::WebhooksOff, "This service has no key ring to seal secrets with, and so no webhooks")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_needs_both_salt_and_credential_and_has_32_octets() {
        let reveal = |salt, credential: &str| WebhookSecret::derive(&[salt; 32], &credential.into()).reveal();
        let secret = reveal(1, "a");
        assert_eq!(secret, reveal(1, "a"));
        assert!(secret != reveal(2, "a") && secret != reveal(1, "b"));
        assert_eq!(BASE64.decode(secret.strip_prefix("whsec_").unwrap().as_bytes()).unwrap().len(), 32);
    }
}
