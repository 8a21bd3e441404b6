//! Answers to the CA's validations (RFC 8555 §8.3, RFC 8737). Few at a time, so all in memory.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use mtasts_model::feed::Challenge;
use parking_lot::RwLock;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

#[derive(Default)]
struct Slots {
    http01: Option<(String, String)>,
    tls_alpn01: Option<Arc<CertifiedKey>>,
}

/// By mail domain.
#[derive(Default)]
pub(crate) struct Challenges(RwLock<HashMap<String, Slots>>);

impl Challenges {
    /// Takes over a validation; the other kind's stays.
    pub(crate) fn set(&self, domain: &str, challenge: &Challenge) {
        let mut map = self.0.write();
        let slots = map.entry(domain.to_owned()).or_default();
        match challenge {
            Challenge::Http01 { token, key_authorization } => {
                slots.http01 = Some((token.clone(), key_authorization.clone()));
            }
            Challenge::TlsAlpn01 { certificate, key } => match certified_key(certificate, key) {
                Ok(key) => slots.tls_alpn01 = Some(Arc::new(key)),
                Err(error) => tracing::error!(domain, %error, "the tls-alpn-01 challenge has an unusable key"),
            },
        }
    }

    /// Forgets both kinds.
    pub(crate) fn remove(&self, domain: &str) {
        self.0.write().remove(domain);
    }

    /// The domains that have a challenge here but are not in `wanted`.
    pub(crate) fn unwanted(&self, wanted: &HashSet<String>) -> Vec<String> {
        self.0.read().keys().filter(|domain| !wanted.contains(*domain)).cloned().collect()
    }

    /// The key authorization for this token.
    pub(crate) fn http01(&self, domain: &str, token: &str) -> Option<String> {
        let map = self.0.read();
        let (expected, answer) = map.get(domain)?.http01.as_ref()?;
        (expected == token).then(|| answer.clone())
    }

    /// The certificate for `acme-tls/1`.
    pub(crate) fn tls_alpn01(&self, domain: &str) -> Option<Arc<CertifiedKey>> {
        self.0.read().get(domain)?.tls_alpn01.clone()
    }
}

fn certified_key(certificate: &[u8], key: &[u8]) -> Result<CertifiedKey, rustls::Error> {
    let key = Zeroizing::new(key.to_vec());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.as_slice()));
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)?;
    Ok(CertifiedKey::new(vec![CertificateDer::from(certificate.to_vec())], key))
}
