//! TLS settings: aws-lc-rs, 1.2 and 1.3, and what is cheapest among what is safe.

use std::sync::Arc;

use rustls::{
    CipherSuite, ServerConfig, SupportedCipherSuite,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{NoServerSessionStorage, ResolvesServerCert, ResolvesServerCertUsingSni},
};

/// ALPN of HTTP/2 (RFC 9113 §3.2).
pub(crate) const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";
/// ALPN of the CA's validation (RFC 8737 §4).
pub(crate) const ACME_TLS: &[u8] = b"acme-tls/1";

/// A fatal `unrecognized_name` (RFC 6066 §3) as a whole record: sent before any TLS state exists, so that an unknown
/// name costs next to nothing.
pub(crate) const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
/// A fatal `internal_error` (RFC 8446 §6.2).
pub(crate) const INTERNAL_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// The settings that all connections share.
pub(crate) struct Settings {
    policy: ServerConfig,
    validation: ServerConfig,
}

impl Settings {
    pub(crate) fn new(send_tickets: bool) -> Result<Self, rustls::Error> {
        let mut policy = base()?;
        policy.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
        if send_tickets {
            policy.ticketer = aws_lc_rs::Ticketer::new()?;
            policy.send_tls13_tickets = 1;
        }
        let mut validation = base()?;
        validation.alpn_protocols = vec![ACME_TLS.to_vec()];
        Ok(Self { policy, validation })
    }

    /// For a connection to this host.
    pub(crate) fn policy(&self, key: Arc<dyn ResolvesServerCert>) -> Arc<ServerConfig> {
        // A clone is a dozen reference counts: 0.2 % of a handshake, and it spares a second lookup within rustls.
        let mut config = self.policy.clone();
        config.cert_resolver = key;
        Arc::new(config)
    }

    /// For the CA's validation.
    pub(crate) fn validation(&self, key: Arc<dyn ResolvesServerCert>) -> Arc<ServerConfig> {
        let mut config = self.validation.clone();
        config.cert_resolver = key;
        Arc::new(config)
    }
}

fn base() -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
    config.ignore_client_order = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// AES-128 before AES-256: OpenSSL's clients list the latter first, and it costs the key schedule SHA-384.
/// No ML-KEM: a policy is public, so there is nothing to hide from a later quantum computer, and rustls takes the first
/// group that the *client* lists.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| preference(*suite));
    provider.kx_groups =
        vec![aws_lc_rs::kx_group::X25519, aws_lc_rs::kx_group::SECP256R1, aws_lc_rs::kx_group::SECP384R1];
    provider
}

fn preference(suite: SupportedCipherSuite) -> u8 {
    match suite.suite() {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => 0,
        CipherSuite::TLS13_AES_256_GCM_SHA384 => 1,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => 2,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aes_128_comes_first_and_every_suite_of_the_provider_stays() {
        let ours = provider();
        assert_eq!(ours.cipher_suites[0].suite(), CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert_eq!(ours.cipher_suites.len(), aws_lc_rs::default_provider().cipher_suites.len());
    }
}
