//! The edge opens certificates' keys with the key ring.

use mtasts_certs::{KeyRing, Purpose};
use mtasts_edge::{KeyOpenError, KeyOpener};
use mtasts_model::{DomainId, TenantId};
use zeroize::Zeroizing;

pub(crate) struct CertificateKeys(pub(crate) KeyRing);

impl KeyOpener for CertificateKeys {
    fn open(
        &self,
        tenant_id: TenantId,
        domain_id: DomainId,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyOpenError> {
        self.0.open(Purpose::CertificateKey, Some(tenant_id), Some(domain_id), sealed).map_err(KeyOpenError::new)
    }
}
