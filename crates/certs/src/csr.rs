//! The key of an order, and the request that carries it to the CA.

use mtasts_model::HostName;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::PrivatePkcs8KeyDer;
use zeroize::Zeroizing;

/// Why a key cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No key could be drawn.
    #[error("no key could be drawn")]
    Generate(#[source] rcgen::Error),
    /// The bytes are no P-256 key in PKCS #8.
    #[error("not a P-256 private key in PKCS #8")]
    Malformed(#[source] rcgen::Error),
    /// The certificate request could not be made.
    #[error("the certificate request could not be made")]
    Request(#[source] rcgen::Error),
}

/// A P-256 private key that waits for its certificate.
pub struct OrderKey(KeyPair);

impl OrderKey {
    /// Draws a key.
    pub fn generate() -> Result<Self, KeyError> {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map(Self).map_err(KeyError::Generate)
    }

    /// Takes a persisted key up again.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(der), &PKCS_ECDSA_P256_SHA256)
            .map(Self)
            .map_err(KeyError::Malformed)
    }

    /// For sealing.
    pub fn to_pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.serialize_der())
    }

    /// A certificate request (PKCS #10 DER) for this one name, without a common name, which CAs ignore or limit to
    /// 64 characters.
    pub fn csr(&self, host: &HostName) -> Result<Vec<u8>, KeyError> {
        let mut params = CertificateParams::new([host.as_str().to_owned()]).map_err(KeyError::Request)?;
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&self.0).map_err(KeyError::Request)?;
        Ok(request.der().to_vec())
    }
}

impl std::fmt::Debug for OrderKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OrderKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateSigningRequestParams, PublicKeyData, SanType};

    use super::*;

    #[test]
    fn a_key_that_was_kept_asks_for_the_same_public_key() {
        let key = OrderKey::generate().unwrap();
        let again = OrderKey::from_pkcs8_der(&key.to_pkcs8_der()).unwrap();
        let host = HostName::parse("mta-sts.example.com").unwrap();
        let request = CertificateSigningRequestParams::from_der(&again.csr(&host).unwrap().into()).unwrap();
        assert_eq!(request.public_key.der_bytes(), key.0.der_bytes());
        assert_eq!(request.params.subject_alt_names, [SanType::DnsName("mta-sts.example.com".try_into().unwrap())]);
    }

    #[test]
    fn debug_does_not_show_the_key_and_other_bytes_are_none() {
        assert_eq!(format!("{:?}", OrderKey::generate().unwrap()), "OrderKey(..)");
        assert!(matches!(OrderKey::from_pkcs8_der(b"not a key"), Err(KeyError::Malformed(_))));
    }
}
