//! Secrets on their way into the store and out of it.

use mtasts_model::{DnsCredentialId, TenantId};
use mtasts_store::SealedDnsCredential;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{BoxError, CustomerDns, ZoneAccess};

/// The sealed text is bound to its tenant by its key ring, and to its row by the id that it holds.
const ID_LEN: usize = 16;

/// Why a sealed secret is not used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("the sealed secret is that of another credential")]
    OtherRow,
    #[error("the sealed secret is no text")]
    NoText,
}

/// Seals the secret of this credential.
pub(crate) fn seal(dns: &dyn CustomerDns, tenant: TenantId, id: DnsCredentialId, secret: &SecretString) -> Vec<u8> {
    let mut plain = Zeroizing::new(Vec::with_capacity(ID_LEN + secret.expose_secret().len()));
    plain.extend_from_slice(id.as_uuid().as_bytes());
    plain.extend_from_slice(secret.expose_secret().as_bytes());
    dns.seal(tenant, &plain)
}

/// Opens a credential.
pub(crate) fn open(
    dns: &dyn CustomerDns,
    tenant: TenantId,
    sealed: SealedDnsCredential,
) -> Result<ZoneAccess, BoxError> {
    let SealedDnsCredential { credential, sealed } = sealed;
    let plain = dns.open(tenant, &sealed)?;
    let (id, secret) = plain.split_at_checked(ID_LEN).ok_or(Unusable::OtherRow)?;
    if id != credential.id.as_uuid().as_bytes() {
        return Err(Unusable::OtherRow.into());
    }
    let secret = str::from_utf8(secret).map_err(|_| Unusable::NoText)?;
    Ok(ZoneAccess { provider: credential.provider, zone: credential.zone, secret: secret.into() })
}
