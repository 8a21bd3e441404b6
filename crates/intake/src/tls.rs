//! The certificate, from files that are read again when they change, or drawn at the start; and the TLS settings.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use chrono::TimeDelta;
use mtasts_model::{HostName, Timestamp};
use parking_lot::Mutex;
use rustls::{
    ProtocolVersion, ServerConfig,
    crypto::aws_lc_rs as provider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::time::sleep;

use crate::{
    config::CertificateFiles,
    error::{IntakeError, causes},
};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(10);
/// A self-signed certificate is drawn at each start, and nobody looks at its time.
const SELF_SIGNED: TimeDelta = TimeDelta::days(3_650);

/// What is shown to clients.
#[derive(Debug)]
pub(crate) struct Certificate {
    current: ArcSwap<CertifiedKey>,
    files: Option<Watched>,
}

#[derive(Debug)]
struct Watched {
    files: CertificateFiles,
    /// SHA-256 of both, as they were when last looked at.
    seen: Mutex<[u8; 32]>,
}

impl Certificate {
    pub(crate) fn from_files(files: CertificateFiles) -> Result<Self, IntakeError> {
        let (key, seen) = read(&files)?;
        Ok(Self { current: ArcSwap::from_pointee(key), files: Some(Watched { files, seen: Mutex::new(seen) }) })
    }

    /// Mail is sent by opportunistic TLS: that there is a certificate matters, and not by whom.
    pub(crate) fn self_signed(host: &HostName, now: Timestamp) -> Result<Self, IntakeError> {
        let mut params = rcgen::CertificateParams::new([host.as_str().to_owned()])?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, host.as_str());
        let since_epoch = |at: Timestamp| Duration::from_secs(u64::try_from(at.timestamp()).unwrap_or(0));
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_before = epoch + since_epoch(now - TimeDelta::days(1));
        params.not_after = epoch + since_epoch(now + SELF_SIGNED);
        let key = rcgen::KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = CertifiedKey::from_der(vec![certificate.der().clone()], key, &provider::default_provider())?;
        Ok(Self { current: ArcSwap::from_pointee(key), files: None })
    }

    /// Reads the files whenever they have changed. What cannot be used leaves the one in use as it is.
    pub(crate) async fn follow(self: Arc<Self>) {
        if self.files.is_none() {
            return;
        }
        loop {
            sleep(LOOK).await;
            self.look();
        }
    }

    fn look(&self) {
        let Some(watched) = &self.files else { return };
        let mut seen = watched.seen.lock();
        match read(&watched.files) {
            Ok((_, now)) if now == *seen => {}
            Ok((key, now)) => {
                self.current.store(Arc::new(key));
                *seen = now;
                tracing::info!(path = %watched.files.certificate.display(), "the certificate was read again");
            }
            Err(error) => {
                tracing::warn!(error = %causes(&error), "the certificate cannot be read; the one in use stays");
            }
        }
    }

    /// TLS 1.2 and 1.3. `alpn`: what is spoken, the best first.
    pub(crate) fn settings(self: &Arc<Self>, alpn: &[&[u8]]) -> Result<ServerConfig, IntakeError> {
        let mut settings = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        settings.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(settings)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn read(files: &CertificateFiles) -> Result<(CertifiedKey, [u8; 32]), IntakeError> {
    let load = |path: &Path| fs::read(path).map_err(|source| IntakeError::File { path: path.to_owned(), source });
    let (mut certificate, key) = (load(&files.certificate)?, load(&files.key)?);
    let pem = |path: &PathBuf, what| IntakeError::Pem { path: path.clone(), what };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&certificate)
        .collect::<Result<_, _>>()
        .map_err(|_| pem(&files.certificate, "certificates"))?;
    if chain.is_empty() {
        return Err(pem(&files.certificate, "certificate"));
    }
    let private = PrivateKeyDer::from_pem_slice(&key).map_err(|_| pem(&files.key, "private key"))?;
    // Refuses a key that is not the certificate's.
    let made = CertifiedKey::from_der(chain, private, &provider::default_provider())?;
    certificate.extend_from_slice(&key);
    let mut seen = [0; 32];
    seen.copy_from_slice(digest(&SHA256, &certificate).as_ref());
    Ok((made, seen))
}

/// The version as it is stored with what came by it.
pub(crate) fn version_name(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLS",
    }
}

#[cfg(test)]
mod tests {
    use mtasts_model::{Clock, SystemClock, clock::ManualClock};

    use super::*;

    fn write(dir: &Path, host: &str) -> (CertificateFiles, Vec<u8>) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new([host.to_owned()]).unwrap().self_signed(&key).unwrap();
        let files = CertificateFiles { certificate: dir.join("cert.pem"), key: dir.join("key.pem") };
        fs::write(&files.certificate, certificate.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        (files, certificate.der().to_vec())
    }

    fn shown(certificate: &Certificate) -> Vec<u8> {
        certificate.current.load().cert[0].to_vec()
    }

    #[test]
    fn files_are_read_again_when_they_change_and_what_is_broken_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (files, first) = write(dir.path(), "a.test");
        let certificate = Certificate::from_files(files.clone()).unwrap();
        assert_eq!(shown(&certificate), first);
        fs::write(&files.key, "half written").unwrap();
        certificate.look();
        assert_eq!(shown(&certificate), first);
        let (_, second) = write(dir.path(), "b.test");
        certificate.look();
        assert_eq!(shown(&certificate), second);
        let other = rcgen::KeyPair::generate().unwrap();
        fs::write(&files.key, other.serialize_pem()).unwrap();
        certificate.look();
        assert_eq!(shown(&certificate), second, "a key of another certificate");
        assert!(Certificate::from_files(files).is_err());
    }

    #[test]
    fn without_files_there_is_a_certificate_for_the_host() {
        let host = HostName::parse("reports.example.net").unwrap();
        let certificate = Certificate::self_signed(&host, ManualClock::default().now()).unwrap();
        assert!(certificate.current.load().keys_match().is_ok());
        let _ = Certificate::self_signed(&host, SystemClock.now()).unwrap();
    }
}
