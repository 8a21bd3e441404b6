//! TLS as senders of mail speak it: with whoever answers.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs as provider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio_rustls::TlsConnector;

/// Takes any certificate, and does not even look whether its signatures hold.
#[derive(Debug)]
pub struct Anybody {
    schemes: Vec<SignatureScheme>,
}

impl Anybody {
    /// For `ClientConfig::dangerous()`.
    pub fn verifier() -> Arc<Self> {
        Arc::new(Self { schemes: provider::default_provider().signature_verification_algorithms.supported_schemes() })
    }

    /// A client of TLS 1.2 and 1.3 without a protocol in ALPN.
    pub fn connector() -> TlsConnector {
        let config = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap_or_else(|error| panic!("the provider knows TLS 1.2 and 1.3: {error}"))
            .dangerous()
            .with_custom_certificate_verifier(Self::verifier())
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
