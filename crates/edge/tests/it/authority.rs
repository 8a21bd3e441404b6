//! A CA with an intermediate, and hosts with certificates of it.

use std::sync::atomic::{AtomicU64, Ordering};

use chrono::TimeDelta;
use mtasts_edge::{KeyOpenError, KeyOpener};
use mtasts_model::{
    CertificateId, Clock, DomainId, Mode, PolicyVersionId, SystemClock, TenantId,
    clock::{ManualClock, SeededEntropy},
    feed::HostContent,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

pub(crate) struct Authority {
    pub(crate) root: CertificateDer<'static>,
    pub(crate) root_pem: String,
    intermediate_der: CertificateDer<'static>,
    intermediate: Issuer<'static, KeyPair>,
    ids: AtomicU64,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let ca = |name: &str| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(DnType::CommonName, name);
            params
        };
        let root_key = KeyPair::generate().unwrap();
        let root = ca("root").self_signed(&root_key).unwrap();
        let issuer = Issuer::new(ca("root"), root_key);
        let key = KeyPair::generate().unwrap();
        let intermediate = ca("intermediate").signed_by(&key, &issuer).unwrap();
        Self {
            root: root.der().clone(),
            root_pem: root.pem(),
            intermediate_der: intermediate.der().clone(),
            intermediate: Issuer::new(ca("intermediate"), key),
            ids: AtomicU64::new(1),
        }
    }

    /// A host with a new key, certificate and policy version. Each call for a domain keeps its tenant and domain ids.
    pub(crate) fn host(&self, domain: &str, mode: Mode) -> HostContent {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![format!("mta-sts.{domain}")]).unwrap();
        let leaf = params.signed_by(&key, &self.intermediate).unwrap();
        let of_domain =
            SeededEntropy::new(domain.bytes().fold(7, |seed, byte| u64::wrapping_mul(seed, 31) ^ u64::from(byte)));
        let unique = SeededEntropy::new(self.ids.fetch_add(1, Ordering::Relaxed));
        let epoch = ManualClock::default().now();
        let (tenant_id, domain_id) = (TenantId::draw(epoch, &of_domain), DomainId::draw(epoch, &of_domain));
        let version_id = PolicyVersionId::draw(epoch, &unique);
        HostContent {
            tenant_id,
            domain_id,
            version_id,
            mode,
            max_age: 86_400,
            policy_text: format!("version: STSv1\r\nmode: {mode}\r\nmx: mx.{domain}\r\nmax_age: 86400\r\n"),
            certificate_id: CertificateId::draw(epoch, &unique),
            chain: vec![leaf.der().to_vec(), self.intermediate_der.to_vec()],
            sealed_key: seal(tenant_id, domain_id, &key.serialize_der()),
            not_after: SystemClock.now() + TimeDelta::days(90),
        }
    }
}

/// "Sealed" for its tenant and domain: the ids are in front, and every byte is turned over.
fn seal(tenant_id: TenantId, domain_id: DomainId, key: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{tenant_id}{domain_id}").into_bytes();
    bytes.extend(key.iter().map(|byte| !byte));
    bytes
}

/// Opens what [`seal`] made, for the same tenant and domain only.
pub(crate) struct Opener;

impl KeyOpener for Opener {
    fn open(&self, tenant: TenantId, domain: DomainId, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyOpenError> {
        let prefix = format!("{tenant}{domain}");
        let bytes = sealed.strip_prefix(prefix.as_bytes()).ok_or_else(|| KeyOpenError::new("sealed for another"))?;
        Ok(Zeroizing::new(bytes.iter().map(|byte| !byte).collect()))
    }
}
