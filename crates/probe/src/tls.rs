//! Verified TLS, and its failures in the words of RFC 8460 §4.3.

use std::{io, sync::Arc, time::Duration};

use chrono::DateTime;
use mtasts_model::{Clock, HostName, Timestamp};
use rustls::{CertificateError, ClientConfig, client::Resumption, time_provider::TimeProvider};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::ProbeConfig;

/// How many names of a certificate are kept for people to read.
const SHOWN_NAMES: usize = 10;

/// Why no verified TLS session came about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFailure {
    /// The chain leads to no trusted root: self-signed, an intermediate missing, or a broken chain.
    #[error("the certificate chain is not trusted ({0})")]
    NotTrusted(String),
    /// The leaf or an intermediate has expired.
    #[error("a certificate of the chain has expired")]
    Expired,
    /// The leaf or an intermediate is not valid yet.
    #[error("a certificate of the chain is not valid yet")]
    NotValidYet,
    /// No subjectAltName covers the host. The common name does not count (RFC 8461 §3.3, §4.2).
    #[error("the certificate is not for this host, but for: {}", .presented.join(", "))]
    HostMismatch {
        /// The names that it is for, at most ten.
        presented: Vec<String>,
    },
    /// The handshake failed: an alert, no common version or cipher suite, not TLS at all.
    #[error("the TLS handshake failed: {0}")]
    Handshake(String),
    /// The handshake was not done in time.
    #[error("the TLS handshake took longer than {} s", .0.as_secs_f32())]
    Deadline(Duration),
}

impl TlsFailure {
    /// RFC 8460 §4.3's name for it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotTrusted(_) => "certificate-not-trusted",
            // RFC 8460 has no word for "not yet valid"; senders count it with the expired.
            Self::Expired | Self::NotValidYet => "certificate-expired",
            Self::HostMismatch { .. } => "certificate-host-mismatch",
            Self::Handshake(_) | Self::Deadline(_) => "validation-failure",
        }
    }

    /// Whether the certificate is at fault, rather than the connection.
    pub fn is_certificate(&self) -> bool {
        !matches!(self, Self::Handshake(_) | Self::Deadline(_))
    }

    fn from_io(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(certificate)) => Self::from_certificate(certificate),
            Some(rustls::Error::NoCertificatesPresented) => Self::NotTrusted("no certificate was presented".to_owned()),
            Some(other) => Self::Handshake(other.to_string()),
            None => Self::Handshake(error.to_string()),
        }
    }

    fn from_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotValidYet,
            CertificateError::NotValidForName => Self::HostMismatch { presented: Vec::new() },
            CertificateError::NotValidForNameContext { presented, .. } => {
                Self::HostMismatch { presented: presented.iter().take(SHOWN_NAMES).cloned().collect() }
            }
            other => Self::NotTrusted(other.to_string()),
        }
    }
}

/// What is worth knowing of a verified leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSeen {
    /// DNS names of its subjectAltName, at most ten.
    pub names: Vec<String>,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// The serial number, lower-case hexadecimal.
    pub serial: String,
    /// From when it is valid.
    pub not_before: Timestamp,
    /// Until when it is valid.
    pub not_after: Timestamp,
}

impl CertificateSeen {
    /// Reads a leaf; `None` when the parser cannot (rustls verified it all the same).
    fn read(leaf: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
        let names = certificate.subject_alternative_name().ok().flatten().map_or_else(Vec::new, |extension| {
            let names = extension.value.general_names.iter().filter_map(|name| match name {
                GeneralName::DNSName(name) => Some((*name).to_owned()),
                _ => None,
            });
            names.take(SHOWN_NAMES).collect()
        });
        let validity = certificate.validity();
        Some(Self {
            names,
            issuer: certificate.issuer().to_string(),
            serial: format!("{:x}", certificate.serial),
            not_before: DateTime::from_timestamp(validity.not_before.timestamp(), 0)?,
            not_after: DateTime::from_timestamp(validity.not_after.timestamp(), 0)?,
        })
    }
}

/// Opens verified TLS sessions, TLS 1.2 and 1.3 (RFC 8461 §3.3, §4.2).
#[derive(Clone)]
pub(crate) struct Verifier {
    connector: TlsConnector,
    handshake: Duration,
}

impl Verifier {
    /// `alpn` is empty for SMTP.
    ///
    /// # Errors
    /// Only when the provider does not know TLS 1.2 or 1.3.
    pub(crate) fn new(config: &ProbeConfig, alpn: &[&[u8]]) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let time = Arc::new(ModelTime::new(Arc::clone(&config.clock)));
        let mut tls = ClientConfig::builder_with_details(provider, time)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_root_certificates(Arc::clone(&config.roots))
            .with_no_client_auth();
        // A resumed session is not verified again; a probe must see the certificate that is there now.
        tls.resumption = Resumption::disabled();
        tls.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self { connector: TlsConnector::from(Arc::new(tls)), handshake: config.timeouts.handshake })
    }

    /// A session in which the peer has proved to be `host`, and the leaf that it showed.
    pub(crate) async fn open<S>(
        &self,
        host: &HostName,
        stream: S,
    ) -> Result<(TlsStream<S>, Option<CertificateSeen>), TlsFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.as_str().to_owned())
            .map_err(|error| TlsFailure::Handshake(format!("{host} cannot be sent as SNI: {error}")))?;
        let stream = timeout(self.handshake, self.connector.connect(name, stream))
            .await
            .map_err(|_| TlsFailure::Deadline(self.handshake))?
            .map_err(|error| TlsFailure::from_io(&error))?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let seen = leaf.and_then(CertificateSeen::read);
        Ok((stream, seen))
    }
}

/// The model's clock for rustls.
pub(crate) struct ModelTime(Arc<dyn Clock>);

impl ModelTime {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self(clock)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.now()
    }
}

impl std::fmt::Debug for ModelTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ModelTime")
    }
}

impl TimeProvider for ModelTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().timestamp()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}
