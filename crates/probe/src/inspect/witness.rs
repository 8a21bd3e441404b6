//! TLS sessions that look at the certificate whatever it is like. Nothing secret is sent over one, and nothing that
//! comes over one that is not verified is used but to tell what is wrong.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mtasts_model::HostName;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    certificate,
    seen::{CertificateFault, TlsSeen},
};
use crate::{ProbeConfig, TlsFailure, tls::ModelTime};

/// Opens such sessions.
#[derive(Clone)]
pub(crate) struct Witness {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    time: Arc<ModelTime>,
    alpn: Vec<Vec<u8>>,
    handshake: Duration,
}

impl Witness {
    pub(crate) fn new(config: &ProbeConfig, alpn: &[&[u8]]) -> Self {
        Self {
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            roots: Arc::clone(&config.roots),
            time: Arc::new(ModelTime::new(Arc::clone(&config.clock))),
            alpn: alpn.iter().map(|protocol| protocol.to_vec()).collect(),
            handshake: config.timeouts.handshake,
        }
    }

    /// A session, and what it and the certificate are like.
    pub(crate) async fn open<S>(&self, host: &HostName, stream: S) -> Result<(TlsStream<S>, TlsSeen), TlsFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.as_str().to_owned())
            .map_err(|error| TlsFailure::Handshake(format!("{host} cannot be sent as SNI: {error}")))?;
        let judge = Arc::new(Judge {
            provider: Arc::clone(&self.provider),
            roots: Arc::clone(&self.roots),
            judgement: Mutex::default(),
        });
        let handshake = |error: rustls::Error| TlsFailure::Handshake(error.to_string());
        let mut tls = ClientConfig::builder_with_details(Arc::clone(&self.provider), self.time.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(handshake)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&judge) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        tls.resumption = Resumption::disabled();
        tls.alpn_protocols.clone_from(&self.alpn);
        let stream = timeout(self.handshake, TlsConnector::from(Arc::new(tls)).connect(name, stream))
            .await
            .map_err(|_| TlsFailure::Deadline(self.handshake))?
            .map_err(|error| failure(&error))?;
        let session = stream.get_ref().1;
        let judgement = judge.judgement.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        let chain = session.peer_certificates().unwrap_or_default();
        let seen = TlsSeen {
            version: session.protocol_version().and_then(|version| version.as_str()).unwrap_or("?").replace('_', "."),
            cipher: session
                .negotiated_cipher_suite()
                .map_or("?", |suite| suite.suite().as_str().unwrap_or("?"))
                .to_owned(),
            ..certificate::read(host, chain, &judgement, self.time.now())
        };
        Ok((stream, seen))
    }
}

fn failure(error: &io::Error) -> TlsFailure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    TlsFailure::Handshake(inner.map_or_else(|| error.to_string(), ToString::to_string))
}

/// What rustls says of a chain, each point for itself.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    pub(crate) chain: Option<CertificateFault>,
    pub(crate) name: bool,
    pub(crate) verified: bool,
}

/// Lets every certificate pass, and remembers what a verifier would have said.
#[derive(Debug)]
struct Judge {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    judgement: Mutex<Option<Judgement>>,
}

impl Judge {
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Judgement {
        let Ok(parsed) = ParsedCertificate::try_from(leaf) else {
            return Judgement { chain: Some(CertificateFault::Untrusted), ..Judgement::default() };
        };
        let algorithms = self.provider.signature_verification_algorithms.all;
        let chain =
            verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms).err();
        let name = verify_server_name(&parsed, name).is_ok();
        let verified = chain.is_none() && name;
        Judgement { chain: chain.as_ref().map(fault), name, verified }
    }
}

fn fault(error: &rustls::Error) -> CertificateFault {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            CertificateFault::Expired
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => CertificateFault::NotYetValid,
        _ => CertificateFault::Untrusted,
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judgement = self.judge(leaf, intermediates, name, now);
        *self.judgement.lock().unwrap_or_else(PoisonError::into_inner) = Some(judgement);
        Ok(ServerCertVerified::assertion())
    }

    // The peer must hold the key of what it shows, or the certificate would say nothing about the peer.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
