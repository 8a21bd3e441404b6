//! Issuers' certificates, one copy each in memory.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};
use parking_lot::RwLock;
use rustls_pki_types::CertificateDer;

/// The SHA-256 of a certificate.
pub(crate) type Fingerprint = [u8; 32];

/// More than all public CAs have together. What comes beyond is copied per host instead.
const CAP: usize = 4_096;

/// The fingerprint of these bytes.
pub(crate) fn fingerprint(der: &[u8]) -> Fingerprint {
    let mut fingerprint = Fingerprint::default();
    for (to, from) in fingerprint.iter_mut().zip(digest(&SHA256, der).as_ref()) {
        *to = *from;
    }
    fingerprint
}

/// A million hosts share a handful of intermediates. They are kept for the life of the process (leaked on purpose, at
/// most [`CAP`] of them), because `CertificateDer` can borrow only what is `'static`.
#[derive(Default)]
pub(crate) struct Intermediates(RwLock<HashMap<Fingerprint, &'static [u8]>>);

impl Intermediates {
    pub(crate) fn get(&self, fingerprint: &Fingerprint) -> Option<CertificateDer<'static>> {
        self.0.read().get(fingerprint).map(|der| CertificateDer::from(*der))
    }

    /// All that are kept.
    pub(crate) fn all(&self) -> Vec<(Fingerprint, Vec<u8>)> {
        self.0.read().iter().map(|(fingerprint, der)| (*fingerprint, der.to_vec())).collect()
    }

    /// Keeps one copy and gives it back as often as asked.
    pub(crate) fn intern(&self, fingerprint: Fingerprint, der: &[u8]) -> CertificateDer<'static> {
        if let Some(shared) = self.get(&fingerprint) {
            return shared;
        }
        let mut map = self.0.write();
        if map.len() >= CAP {
            return CertificateDer::from(der.to_vec());
        }
        let shared = map.entry(fingerprint).or_insert_with(|| Box::leak(der.to_vec().into_boxed_slice()));
        CertificateDer::from(*shared)
    }
}
