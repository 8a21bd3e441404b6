//! A host in memory: its opened key and its ready-made answer.

use std::{fmt::Write as _, sync::Arc};

use bytes::Bytes;
use mtasts_model::{DomainId, PolicyVersionId, TenantId};
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::{error::KeyOpenError, feed::KeyOpener, replica::HostRow};

/// Why a row gives no entry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryError {
    #[error("cannot open the key")]
    Sealed(#[from] KeyOpenError),
    #[error("the key is unusable or not the certificate's")]
    Key(#[from] rustls::Error),
}

/// One host, immutable. A change makes another.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) domain: Box<str>,
    pub(crate) tenant_id: TenantId,
    pub(crate) domain_id: DomainId,
    pub(crate) version_id: PolicyVersionId,
    key: Arc<CertifiedKey>,
    /// The end of the HTTP/1.1 header section (`Content-Length` and the empty line), then the body.
    tail: Box<[u8]>,
    body_at: usize,
}

impl Entry {
    pub(crate) fn open(
        domain: &str,
        row: HostRow,
        issuers: impl IntoIterator<Item = CertificateDer<'static>>,
        opener: &dyn KeyOpener,
    ) -> Result<Self, EntryError> {
        let pkcs8 = opener.open(row.tenant_id, row.domain_id, &row.sealed_key)?;
        let pkcs8 = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.as_slice()));
        // Ours are P-256; the second call is for keys that an operator brings.
        let key = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&pkcs8)
            .or_else(|_| rustls::crypto::aws_lc_rs::sign::any_supported_type(&pkcs8))?;
        let mut chain = Vec::with_capacity(1 + row.issuers.len());
        chain.push(CertificateDer::from(row.leaf));
        chain.extend(issuers);
        let key = CertifiedKey::new(chain, key);
        key.keys_match()?;

        let mut head = String::with_capacity(32);
        let _ = write!(head, "Content-Length: {}\r\n\r\n", row.policy_text.len());
        let body_at = head.len();
        let mut tail = head.into_bytes();
        tail.extend_from_slice(&row.policy_text);
        Ok(Self {
            domain: domain.into(),
            tenant_id: row.tenant_id,
            domain_id: row.domain_id,
            version_id: row.version_id,
            key: Arc::new(key),
            tail: tail.into_boxed_slice(),
            body_at,
        })
    }

    /// What follows the common header lines in HTTP/1.1, with the body.
    pub(crate) fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// The same without the body, for HEAD.
    pub(crate) fn tail_without_body(&self) -> &[u8] {
        &self.tail[..self.body_at]
    }

    /// The policy.
    pub(crate) fn body(&self) -> Bytes {
        Bytes::copy_from_slice(&self.tail[self.body_at..])
    }

    /// The policy's length in bytes.
    pub(crate) fn body_len(&self) -> usize {
        self.tail.len() - self.body_at
    }
}

/// A handshake for this host has one possible key: the name was looked up before.
impl ResolvesServerCert for Entry {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.key))
    }
}
