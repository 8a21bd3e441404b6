//! The three ways in which a CA convinces itself, and what to publish for each.

use std::{fmt, str::FromStr};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use mtasts_model::{HostName, feed};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A way of validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChallengeKind {
    /// RFC 8555 §8.3: the edges answer on port 80.
    #[serde(rename = "http-01")]
    Http01,
    /// RFC 8737: the edges answer a handshake with ALPN `acme-tls/1`.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// RFC 8555 §8.4: a TXT record at the delegated `_acme-challenge` name.
    #[serde(rename = "dns-01")]
    Dns01,
}

impl ChallengeKind {
    /// The name that ACME gives it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Dns01 => "dns-01",
        }
    }
}

impl fmt::Display for ChallengeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why no answer can be made, or a kind is unknown.
#[derive(Debug, thiserror::Error)]
pub enum ChallengeError {
    /// Not `http-01`, `tls-alpn-01` or `dns-01`.
    #[error("unknown kind of challenge `{0}`: expected http-01, tls-alpn-01 or dns-01")]
    UnknownKind(String),
    /// The challenge certificate could not be made.
    #[error("the challenge certificate could not be made")]
    Certificate(#[source] rcgen::Error),
}

impl FromStr for ChallengeKind {
    type Err = ChallengeError;

    fn from_str(text: &str) -> Result<Self, ChallengeError> {
        [Self::Http01, Self::TlsAlpn01, Self::Dns01]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| ChallengeError::UnknownKind(text.chars().take(40).collect()))
    }
}

/// One challenge that a CA offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedChallenge {
    /// How.
    pub kind: ChallengeKind,
    /// Its URL at the CA, for logs.
    pub url: String,
    /// Base64url, as drawn by the CA.
    pub token: String,
    /// `token.thumbprint` (RFC 8555 §8.1).
    pub key_authorization: String,
    /// SHA-256 of the key authorization.
    pub digest: [u8; 32],
}

impl OfferedChallenge {
    /// The challenge with this token for the account with this key thumbprint (RFC 8555 §8.1).
    pub fn new(kind: ChallengeKind, url: String, token: String, thumbprint: &str) -> Self {
        let key_authorization = format!("{token}.{thumbprint}");
        let digest = Sha256::digest(&key_authorization).into();
        Self { kind, url, token, key_authorization, digest }
    }

    /// The answer for the edges (RFC 8555 §8.3).
    pub fn http_01(&self) -> feed::Challenge {
        feed::Challenge::Http01 { token: self.token.clone(), key_authorization: self.key_authorization.clone() }
    }

    /// The answer for the edges: a fresh self-signed certificate for `host` with the acmeIdentifier extension
    /// (RFC 8737 §3).
    pub fn tls_alpn_01(&self, host: &HostName) -> Result<feed::Challenge, ChallengeError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(ChallengeError::Certificate)?;
        let mut params = CertificateParams::new([host.as_str().to_owned()]).map_err(ChallengeError::Certificate)?;
        params.distinguished_name = DistinguishedName::new();
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(&self.digest)];
        let certificate = params.self_signed(&key).map_err(ChallengeError::Certificate)?;
        Ok(feed::Challenge::TlsAlpn01 { certificate: certificate.der().to_vec(), key: key.serialize_der() })
    }

    /// The value of the TXT record (RFC 8555 §8.4).
    pub fn dns_01_value(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.digest)
    }

    /// What the edges are to answer; None for dns-01, which goes into the zone ([`OfferedChallenge::dns_01_value`]).
    pub fn for_edges(&self, host: &HostName) -> Result<Option<feed::Challenge>, ChallengeError> {
        match self.kind {
            ChallengeKind::Http01 => Ok(Some(self.http_01())),
            ChallengeKind::TlsAlpn01 => self.tls_alpn_01(host).map(Some),
            ChallengeKind::Dns01 => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::parse_x509_certificate;

    use super::*;
    use crate::chain::Leaf;

    fn offered(kind: ChallengeKind) -> OfferedChallenge {
        // The thumbprint of RFC 7638 §3.1.
        let thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
        OfferedChallenge::new(kind, String::new(), "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA".to_owned(), thumbprint)
    }

    #[test]
    fn kinds_read_back_as_themselves() {
        for kind in [ChallengeKind::Http01, ChallengeKind::TlsAlpn01, ChallengeKind::Dns01] {
            assert_eq!(kind.to_string().parse::<ChallengeKind>().unwrap(), kind);
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
        assert!("http-02".parse::<ChallengeKind>().is_err());
    }

    #[test]
    fn the_certificate_for_tls_alpn_01_has_the_name_and_the_critical_digest_only() {
        let (offered, host) = (offered(ChallengeKind::TlsAlpn01), HostName::parse("mta-sts.example.com").unwrap());
        let Some(feed::Challenge::TlsAlpn01 { certificate, key }) = offered.for_edges(&host).unwrap() else {
            panic!("not tls-alpn-01");
        };
        assert!(crate::OrderKey::from_pkcs8_der(&key).is_ok());
        assert_eq!(Leaf::parse(&certificate).unwrap().dns_names, ["mta-sts.example.com"]);
        let (_, parsed) = parse_x509_certificate(&certificate).unwrap();
        let extension = parsed.iter_extensions().find(|e| e.oid.to_id_string() == "1.3.6.1.5.5.7.1.31").unwrap();
        assert!(extension.critical);
        // RFC 8737 §3: an OCTET STRING of 32 bytes.
        assert_eq!(extension.value, [&[0x04, 0x20], offered.digest.as_slice()].concat());
    }

    #[test]
    fn the_value_for_dns_01_is_the_digest_in_base64url() {
        let offered = offered(ChallengeKind::Dns01);
        assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(offered.dns_01_value()).unwrap(), offered.digest);
        assert_eq!(offered.digest, <[u8; 32]>::from(Sha256::digest(offered.key_authorization.as_bytes())));
        assert!(offered.for_edges(&HostName::parse("mta-sts.example.com").unwrap()).unwrap().is_none());
    }
}
