//! A private CA, and server configurations with all that can be wrong with a certificate.

use std::sync::Arc;

use chrono::{DateTime, Datelike};
use mtasts_model::{Clock, SystemClock};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType, date_time_ymd};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

pub(crate) struct Pki {
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "probe test root");
        Self { ca: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub(crate) fn root(&self) -> CertificateDer<'static> {
        self.ca.der().clone()
    }

    pub(crate) fn valid(&self, name: &str) -> Arc<ServerConfig> {
        self.signed(&CertificateParams::new([name.to_owned()]).unwrap())
    }

    pub(crate) fn expired(&self, name: &str) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.signed(&params)
    }

    pub(crate) fn not_yet_valid(&self, name: &str) -> Arc<ServerConfig> {
        let now: DateTime<_> = SystemClock.now();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(now.year() + 2, 1, 1);
        params.not_after = date_time_ymd(now.year() + 3, 1, 1);
        self.signed(&params)
    }

    /// Valid from 2020 until the midnight (UTC) that begins the day so many days from now.
    pub(crate) fn ends_in(&self, name: &str, days: i64) -> Arc<ServerConfig> {
        let end = SystemClock.now() + chrono::TimeDelta::days(days);
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(end.year(), end.month().try_into().unwrap(), end.day().try_into().unwrap());
        self.signed(&params)
    }

    /// With the host as its common name, and no subject alternative name.
    pub(crate) fn common_name_only(&self, name: &str) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        self.signed(&params)
    }

    /// For a host, and for names that would steer a terminal.
    pub(crate) fn hostile(&self, name: &str) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::DnsName("\u{1b}[2Jevil.test".try_into().unwrap()));
        params.distinguished_name.push(DnType::CommonName, "\u{1b}]0;evil\u{7}\u{202e}");
        self.signed(&params)
    }

    /// Issued by an intermediate CA, whose certificate is sent or not.
    pub(crate) fn by_an_intermediate(&self, name: &str, sent: bool) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "probe test intermediate");
        let intermediate = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.ca).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &intermediate).unwrap();
        let mut chain = vec![leaf.der().clone()];
        if sent {
            chain.push(intermediate.der().clone());
        }
        server(chain, &key, rustls::DEFAULT_VERSIONS)
    }

    pub(crate) fn tls_1_2_only(&self, name: &str) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.ca).unwrap();
        server(vec![leaf.der().clone()], &key, &[&rustls::version::TLS12])
    }

    fn signed(&self, params: &CertificateParams) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.ca).unwrap();
        server(vec![leaf.der().clone()], &key, rustls::DEFAULT_VERSIONS)
    }
}

pub(crate) fn self_signed(name: &str, is_ca: bool) -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    if is_ca {
        // As `openssl req -x509` makes them.
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    server(vec![params.self_signed(&key).unwrap().der().clone()], &key, rustls::DEFAULT_VERSIONS)
}

fn server(
    chain: Vec<CertificateDer<'static>>,
    key: &KeyPair,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Arc::new(config)
}
