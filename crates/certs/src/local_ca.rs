//! A CA of our own for development: signs at once, asks for no challenge.

mod files;

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta};
use mtasts_model::{Clock, Entropy, HostName, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
    SerialNumber,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivatePkcs8KeyDer, pem::PemObject};
use zeroize::Zeroizing;

use crate::{
    chain::{ChainError, IssuedChain},
    challenge::ChallengeKind,
    issuer::{CaaIdentity, IssueError, Issuer, OrderState, PlacedOrder},
    renewal::{RenewalInfo, RenewalKey},
};

const ROOT_KEY: &str = "root-key.pem";
const ROOT_CERTIFICATE: &str = "root.pem";
const ORDERS: &str = "orders";
/// How long an order can be carried on, and its certificate be fetched.
const ORDER_LIFETIME: TimeDelta = TimeDelta::days(7);
const ROOT_LIFETIME: TimeDelta = TimeDelta::days(3650);
/// Clocks of peers may be behind ours.
const BACKDATING: TimeDelta = TimeDelta::hours(1);

/// How the local CA issues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalCaConfig {
    /// The root's common name, used when the root is made.
    pub name: String,
    /// How long a certificate is valid.
    pub lifetime: TimeDelta,
}

impl Default for LocalCaConfig {
    /// 90 days.
    fn default() -> Self {
        Self { name: "mtasts local CA".to_owned(), lifetime: TimeDelta::days(90) }
    }
}

/// Why the local CA cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LocalCaError {
    /// A file or folder cannot be read or written.
    #[error("{}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of the CA does not hold what it should.
    #[error("{} does not hold what it should", .path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The root's certificate is for another key.
    #[error("{ROOT_CERTIFICATE} and {ROOT_KEY} in {} do not belong together", .dir.display())]
    OtherRoot {
        /// Where.
        dir: PathBuf,
    },
    /// Something could not be signed.
    #[error("the local CA could not sign")]
    Sign(#[source] rcgen::Error),
}

/// A CA whose root key lies in a folder. Several processes may use the same folder.
///
/// An order's URL says which name it is for and when it was placed; what was issued lies in the folder under the
/// order's id. So an order needs nothing kept between [`Issuer::place`] and [`Issuer::finalize`], and a restart at any
/// point carries it on.
#[derive(Clone)]
pub struct LocalCa(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    key: String,
    lifetime: TimeDelta,
    root_pem: String,
    root_not_after: Timestamp,
    issuer: rcgen::Issuer<'static, KeyPair>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl LocalCa {
    /// Opens the CA in this folder, or makes it: `root-key.pem` (mode 0600), `root.pem`, and a folder for orders.
    pub fn open_or_create(
        dir: &Path,
        config: &LocalCaConfig,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, LocalCaError> {
        files::make_private_folder(&dir.join(ORDERS))?;
        let key_path = dir.join(ROOT_KEY);
        let key_pem = files::read_or_create(&key_path, || {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(LocalCaError::Sign)?;
            Ok(Zeroizing::new(key.serialize_pem()))
        })?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(key_pem.as_bytes())
            .map_err(|source| content(&key_path, source))
            .and_then(|der| KeyPair::try_from(&der).map_err(|source| content(&key_path, source)))?;

        let certificate_path = dir.join(ROOT_CERTIFICATE);
        let root_pem = files::read_or_create(&certificate_path, || {
            root(&config.name, &key, clock.now(), &*entropy).map(Zeroizing::new)
        })?;
        files::make_readable(&certificate_path)?;
        let root_der =
            CertificateDer::from_pem_slice(root_pem.as_bytes()).map_err(|source| content(&certificate_path, source))?;
        let (_, root) = x509_parser::parse_x509_certificate(&root_der)
            .map_err(|source| content(&certificate_path, ChainError::Certificate { index: 0, source }))?;
        if root.public_key().raw != key.subject_public_key_info() {
            return Err(LocalCaError::OtherRoot { dir: dir.to_owned() });
        }
        let root_not_after = DateTime::from_timestamp(root.validity().not_after.timestamp(), 0)
            .ok_or_else(|| content(&certificate_path, ChainError::Validity))?;
        let fingerprint = data_encoding::HEXLOWER.encode(&root.public_key().subject_public_key.data[1..9]);
        let issuer = rcgen::Issuer::from_ca_cert_der(&root_der, key).map_err(LocalCaError::Sign)?;
        let ca = Self(Arc::new(Inner {
            dir: dir.to_owned(),
            key: format!("local-ca:{fingerprint}"),
            lifetime: config.lifetime,
            root_pem: root_pem.as_str().to_owned(),
            root_not_after,
            issuer,
            clock,
            entropy,
        }));
        ca.0.sweep()?;
        Ok(ca)
    }

    /// The root certificate, for those who are to trust it.
    pub fn root_pem(&self) -> &str {
        &self.0.root_pem
    }

    /// Files are small and local, but a disk can hang.
    async fn blocking<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Inner) -> Result<T, IssueError> + Send + 'static,
    ) -> Result<T, IssueError> {
        let inner = Arc::clone(&self.0);
        let joined = tokio::task::spawn_blocking(move || step(&inner)).await;
        joined.unwrap_or_else(|error| Err(IssueError::State(error.into())))
    }
}

#[async_trait]
impl Issuer for LocalCa {
    fn key(&self) -> &str {
        &self.0.key
    }

    fn challenge_kinds(&self) -> &[ChallengeKind] {
        &[]
    }

    /// It does not look at CAA.
    async fn caa_identity(&self) -> Result<CaaIdentity, IssueError> {
        Ok(CaaIdentity::default())
    }

    async fn place(&self, host: &HostName, _replaces: Option<&RenewalKey>) -> Result<PlacedOrder, IssueError> {
        let mut id = [0; 16];
        self.0.entropy.fill(&mut id);
        let placed_at = self.0.clock.now();
        let order = OrderUrl { id: data_encoding::HEXLOWER.encode(&id), placed_at, host: host.clone() };
        Ok(PlacedOrder { url: order.to_string(), expires_at: Some(placed_at + ORDER_LIFETIME) })
    }

    async fn state(&self, url: &str) -> Result<OrderState, IssueError> {
        let order = self.0.order(url)?;
        let issued = self.blocking(move |inner| inner.issued(&order)).await?;
        Ok(if issued.is_some() { OrderState::Valid } else { OrderState::Ready })
    }

    /// There is nothing to answer.
    async fn answer(&self, url: &str, _kind: ChallengeKind) -> Result<(), IssueError> {
        self.0.order(url).map(drop)
    }

    async fn finalize(&self, url: &str, csr_der: &[u8]) -> Result<(), IssueError> {
        let order = self.0.order(url)?;
        let csr_der = csr_der.to_owned();
        self.blocking(move |inner| inner.issue(&order, &csr_der)).await
    }

    async fn download(&self, url: &str) -> Result<IssuedChain, IssueError> {
        let order = self.0.order(url)?;
        let issued = self.blocking(move |inner| inner.issued(&order)).await?;
        issued.ok_or(IssueError::NotReady { status: "ready" })
    }

    /// It has no opinion.
    async fn renewal_info(&self, _chain: &IssuedChain) -> Result<Option<RenewalInfo>, IssueError> {
        Ok(None)
    }
}

impl Inner {
    fn order(&self, url: &str) -> Result<OrderUrl, IssueError> {
        let order: OrderUrl = url.parse()?;
        if self.clock.now() > order.placed_at + ORDER_LIFETIME {
            return Err(IssueError::OrderGone);
        }
        Ok(order)
    }

    fn path_of(&self, order: &OrderUrl) -> PathBuf {
        self.dir.join(ORDERS).join(format!("{}.pem", order.id))
    }

    fn issued(&self, order: &OrderUrl) -> Result<Option<IssuedChain>, IssueError> {
        let path = self.path_of(order);
        let Some(pem) = files::read(&path).map_err(state)? else { return Ok(None) };
        IssuedChain::from_pem(pem.as_bytes()).map(Some).map_err(|source| state(content(&path, source)))
    }

    fn issue(&self, order: &OrderUrl, csr_der: &[u8]) -> Result<(), IssueError> {
        let bad_csr =
            |detail: String| IssueError::Rejected { problem: "urn:ietf:params:acme:error:badCSR".to_owned(), detail };
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr_der))
            .map_err(|error| bad_csr(error.to_string()))?;
        let [SanType::DnsName(name)] = request.params.subject_alt_names.as_slice() else {
            return Err(bad_csr("the request must name the order's host and nothing else".to_owned()));
        };
        if !name.as_str().eq_ignore_ascii_case(order.host.as_str()) {
            return Err(bad_csr(format!("the order is for {}, the request for {}", order.host, name.as_str())));
        }
        // Nothing but the name and the key is taken from the request.
        let now = self.clock.now();
        let mut params = CertificateParams::new([order.host.as_str().to_owned()])
            .map_err(|error| state(LocalCaError::Sign(error)))?;
        params.distinguished_name = DistinguishedName::new();
        set_validity(&mut params, now - BACKDATING, (now + self.lifetime).min(self.root_not_after));
        params.serial_number = Some(serial(&*self.entropy));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate =
            params.signed_by(&request.public_key, &self.issuer).map_err(|error| state(LocalCaError::Sign(error)))?;
        // What an earlier call issued for this order stays.
        files::read_or_create(&self.path_of(order), || Ok(Zeroizing::new(certificate.pem()))).map_err(state)?;
        Ok(())
    }

    /// Removes what was issued for orders that nobody can ask for any more.
    fn sweep(&self) -> Result<(), LocalCaError> {
        let oldest = self.clock.now() - ORDER_LIFETIME - TimeDelta::days(1);
        files::remove_older(&self.dir.join(ORDERS), oldest)
    }
}

/// `local-ca:<id>:<seconds since 1970>:<host>`
#[derive(Debug, Clone, PartialEq, Eq)]
struct OrderUrl {
    /// 32 hex digits.
    id: String,
    placed_at: Timestamp,
    host: HostName,
}

impl std::fmt::Display for OrderUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "local-ca:{}:{}:{}", self.id, self.placed_at.timestamp(), self.host)
    }
}

impl FromStr for OrderUrl {
    type Err = IssueError;

    /// Strict: the id becomes the name of a file.
    fn from_str(url: &str) -> Result<Self, IssueError> {
        let mut parts = url.splitn(4, ':');
        let (Some("local-ca"), Some(id), Some(placed_at), Some(host)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(IssueError::OrderGone);
        };
        if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(IssueError::OrderGone);
        }
        let placed_at = placed_at.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        let placed_at = placed_at.ok_or(IssueError::OrderGone)?;
        let host = HostName::parse(host).map_err(|_| IssueError::OrderGone)?;
        Ok(Self { id: id.to_owned(), placed_at, host })
    }
}

fn root(name: &str, key: &KeyPair, now: Timestamp, entropy: &dyn Entropy) -> Result<String, LocalCaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, now - BACKDATING, now + ROOT_LIFETIME);
    params.serial_number = Some(serial(entropy));
    params.self_signed(key).map(|certificate| certificate.pem()).map_err(LocalCaError::Sign)
}

/// 127 bits: positive, and never the same twice (RFC 5280 §4.1.2.2).
fn serial(entropy: &dyn Entropy) -> SerialNumber {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

/// Sets the validity. No clock stands before 1970.
fn set_validity(params: &mut CertificateParams, not_before: Timestamp, not_after: Timestamp) {
    let since_epoch = |at: Timestamp| Duration::from_secs(u64::try_from(at.timestamp()).unwrap_or(0));
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(not_before);
    params.not_after = epoch + since_epoch(not_after);
}

fn content(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> LocalCaError {
    LocalCaError::Content { path: path.to_owned(), source: source.into() }
}

fn state(error: LocalCaError) -> IssueError {
    IssueError::State(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_url_reads_back_as_itself_and_its_id_cannot_leave_the_folder() {
        let url = "local-ca:00112233445566778899aabbccddeeff:1767225600:mta-sts.example.com";
        assert_eq!(url.parse::<OrderUrl>().unwrap().to_string(), url);
        for bad in [
            "",
            "https://ca.example/order/1",
            "local-ca:../../../../../../../../etc/passwd:1767225600:mta-sts.example.com",
            "local-ca:00112233445566778899AABBCCDDEEFF:1767225600:mta-sts.example.com",
            "local-ca:00112233445566778899aabbccddeeff:now:mta-sts.example.com",
            "local-ca:00112233445566778899aabbccddeeff:1767225600:not a host",
            "local-ca:00112233445566778899aabbccddeeff:9223372036854775807:mta-sts.example.com",
        ] {
            assert!(matches!(bad.parse::<OrderUrl>(), Err(IssueError::OrderGone)), "{bad}");
        }
    }
}
