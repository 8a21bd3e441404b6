//! What a CA gave us: parsed, and proved before it is used.

use chrono::DateTime;
use mtasts_model::{HostName, Timestamp};
use rcgen::{KeyPair, PublicKeyData};
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};
use x509_parser::{
    certificate::X509Certificate,
    error::X509Error,
    extensions::{GeneralName, ParsedExtension},
    nom, parse_x509_certificate,
};

/// More certificates than any chain has.
const MAX_CERTIFICATES: usize = 10;

/// Why bytes are no chain.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// No certificate, or more than a chain has.
    #[error("expected 1 to {MAX_CERTIFICATES} certificates, found {0}")]
    Length(usize),
    /// Not PEM.
    #[error("not a chain in PEM")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// One of them cannot be read.
    #[error("certificate {index} of the chain cannot be read")]
    Certificate {
        /// 0 is the leaf.
        index: usize,
        /// What is wrong.
        #[source]
        source: nom::Err<X509Error>,
    },
    /// A time in it does not exist.
    #[error("the leaf's validity is not a time")]
    Validity,
    /// Not two base64url parts with a dot between.
    #[error("not a renewal key (RFC 9773 §4.1)")]
    RenewalKey,
}

/// DER certificates, leaf first; each can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedChain(Vec<Vec<u8>>);

impl IssuedChain {
    /// Takes certificates in DER.
    pub fn from_der(certificates: Vec<Vec<u8>>) -> Result<Self, ChainError> {
        parse_all(&certificates)?;
        Ok(Self(certificates))
    }

    /// Reads `application/pem-certificate-chain` (RFC 8555 §9.1).
    pub fn from_pem(pem: &[u8]) -> Result<Self, ChainError> {
        let mut certificates = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem).take(MAX_CERTIFICATES + 1) {
            certificates.push(certificate.map_err(ChainError::Pem)?.to_vec());
        }
        Self::from_der(certificates)
    }

    /// DER, leaf first.
    pub fn certificates(&self) -> &[Vec<u8>] {
        &self.0
    }

    /// DER of the leaf.
    pub fn leaf(&self) -> &[u8] {
        &self.0[0]
    }

    /// Gives the certificates away, leaf first.
    pub fn into_der(self) -> Vec<Vec<u8>> {
        self.0
    }
}

/// What the service knows of a leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// From when it is valid.
    pub not_before: Timestamp,
    /// Until when (inclusive, RFC 5280 §4.1.2.5).
    pub not_after: Timestamp,
    /// Lower-case hex, as CAs and log monitors print it.
    pub serial: String,
    /// The dNSName entries of its subjectAltName, lower-case.
    pub dns_names: Vec<String>,
}

impl Leaf {
    /// Reads a certificate in DER.
    pub fn parse(der: &[u8]) -> Result<Self, ChainError> {
        let (_, certificate) =
            parse_x509_certificate(der).map_err(|source| ChainError::Certificate { index: 0, source })?;
        Self::of(&certificate)
    }

    fn of(certificate: &X509Certificate<'_>) -> Result<Self, ChainError> {
        let time = |seconds| DateTime::from_timestamp(seconds, 0).ok_or(ChainError::Validity);
        let validity = certificate.validity();
        let dns_names = certificate.iter_extensions().filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(san) => Some(&san.general_names),
            _ => None,
        });
        let dns_names = dns_names.flatten().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        Ok(Self {
            not_before: time(validity.not_before.timestamp())?,
            not_after: time(validity.not_after.timestamp())?,
            serial: data_encoding::HEXLOWER.encode(certificate.raw_serial()),
            dns_names: dns_names.collect(),
        })
    }

    /// Whether a name in its subjectAltName covers the host; a wildcard is the whole leftmost label and covers one
    /// label (RFC 6125 §6.4.3).
    pub fn covers(&self, host: &HostName) -> bool {
        let parent = host.as_str().split_once('.').map(|(_, parent)| parent);
        self.dns_names
            .iter()
            .any(|name| name == host.as_str() || name.strip_prefix("*.").is_some_and(|suffix| Some(suffix) == parent))
    }
}

/// Why a chain and key are not to be used.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// It cannot be read.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Strict parsers, such as those of senders, do not take the leaf.
    #[error("the leaf is not strict DER")]
    Strict(#[source] rustls::Error),
    /// The private key cannot be read.
    #[error("the private key cannot be read")]
    Key(#[source] rcgen::Error),
    /// The certificate is for another key.
    #[error("the certificate is for another key")]
    OtherKey,
    /// The certificate is for other names.
    #[error("the certificate does not cover the host, only: {}", .names.join(", "))]
    OtherName {
        /// Its names.
        names: Vec<String>,
    },
    /// It is not valid yet.
    #[error("the certificate is valid only from {not_before}")]
    NotYetValid {
        /// From when.
        not_before: Timestamp,
    },
    /// It is not valid any more.
    #[error("the certificate expired at {not_after}")]
    Expired {
        /// Since when.
        not_after: Timestamp,
    },
    /// It is not for servers (extendedKeyUsage without serverAuth).
    #[error("the certificate is not for TLS servers")]
    NotForServers,
    /// The next certificate did not sign this one, or is not that of a CA.
    #[error("certificate {index} of the chain is not signed by the next one")]
    BrokenChain {
        /// 0 is the leaf.
        index: usize,
    },
}

/// A chain that was shown to be usable for a host with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    leaf: Leaf,
}

impl Proven {
    /// Facts on the leaf.
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }
}

/// Shows that a chain (DER, leaf first) can be served for `host` with this private key (PKCS #8 DER) `now`: the leaf is
/// for the key and the host, valid and for servers, and each certificate is signed by the next. Whether senders trust
/// the root is not asked here: that is found by fetching the policy as a sender does.
pub fn prove(
    chain_der: &[impl AsRef<[u8]>],
    key_pkcs8: &[u8],
    host: &HostName,
    now: Timestamp,
) -> Result<Proven, ProofError> {
    let chain = parse_all(chain_der)?;
    let certificate = &chain[0];
    // x509-parser lets slips pass that senders' TLS stacks do not.
    ParsedCertificate::try_from(&CertificateDer::from(chain_der[0].as_ref())).map_err(ProofError::Strict)?;
    let key = KeyPair::try_from(&PrivatePkcs8KeyDer::from(key_pkcs8)).map_err(ProofError::Key)?;
    if key.subject_public_key_info() != certificate.public_key().raw {
        return Err(ProofError::OtherKey);
    }
    let leaf = Leaf::of(certificate)?;
    if !leaf.covers(host) {
        return Err(ProofError::OtherName { names: leaf.dns_names });
    }
    if now < leaf.not_before {
        return Err(ProofError::NotYetValid { not_before: leaf.not_before });
    }
    if now > leaf.not_after {
        return Err(ProofError::Expired { not_after: leaf.not_after });
    }
    if !is_for_servers(certificate) {
        return Err(ProofError::NotForServers);
    }
    for (index, pair) in chain.windows(2).enumerate() {
        let [signed, signer] = pair else { continue };
        let follows = signed.issuer().as_raw() == signer.subject().as_raw()
            && signer.is_ca()
            && signed.verify_signature(Some(signer.public_key())).is_ok();
        if !follows {
            return Err(ProofError::BrokenChain { index });
        }
    }
    Ok(Proven { leaf })
}

fn parse_all(chain: &[impl AsRef<[u8]>]) -> Result<Vec<X509Certificate<'_>>, ChainError> {
    if !(1..=MAX_CERTIFICATES).contains(&chain.len()) {
        return Err(ChainError::Length(chain.len()));
    }
    let parse = |(index, der)| match parse_x509_certificate(AsRef::<[u8]>::as_ref(der)) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(ChainError::Certificate { index, source: nom::Err::Error(X509Error::InvalidCertificate) }),
        Err(source) => Err(ChainError::Certificate { index, source }),
    };
    chain.iter().enumerate().map(parse).collect()
}

/// Without the extension a certificate is for anything (RFC 5280 §4.2.1.12).
fn is_for_servers(certificate: &X509Certificate<'_>) -> bool {
    certificate
        .extended_key_usage()
        .is_ok_and(|usage| usage.is_none_or(|usage| usage.value.server_auth || usage.value.any))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, PKCS_ECDSA_P256_SHA256,
    };

    use super::*;

    /// A leaf under an intermediate under a root, valid from 2026-01-01 to 2026-04-01.
    struct Fixture {
        chain: Vec<Vec<u8>>,
        key: Vec<u8>,
    }

    fn at(month: u32, day: u32) -> Timestamp {
        chrono::NaiveDate::from_ymd_opt(2026, month, day).unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc()
    }

    fn authority(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn fixture(names: &[&str], usage: ExtendedKeyUsagePurpose) -> Fixture {
        let (root_key, middle_key, key) = (new_key(), new_key(), new_key());
        let middle = authority("middle").signed_by(&middle_key, &Issuer::new(authority("root"), root_key)).unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 4, 1);
        params.extended_key_usages = vec![usage];
        let leaf = params.signed_by(&key, &Issuer::new(authority("middle"), middle_key)).unwrap();
        Fixture { chain: vec![leaf.der().to_vec(), middle.der().to_vec()], key: key.serialize_der() }
    }

    fn new_key() -> KeyPair {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
    }

    fn host(name: &str) -> HostName {
        HostName::parse(name).unwrap()
    }

    fn good() -> Fixture {
        fixture(&["mta-sts.example.com"], ExtendedKeyUsagePurpose::ServerAuth)
    }

    #[test]
    fn a_sound_chain_is_proved_and_its_leaf_read() {
        let Fixture { chain, key } = good();
        let proven = prove(&chain, &key, &host("mta-sts.example.com"), at(2, 1)).unwrap();
        assert_eq!((proven.leaf().not_before, proven.leaf().not_after), (at(1, 1), at(4, 1)));
        assert_eq!(proven.leaf().dns_names, ["mta-sts.example.com"]);
        assert!(!proven.leaf().serial.is_empty());
    }

    #[test]
    fn another_key_is_refused() {
        let refused = prove(&good().chain, &good().key, &host("mta-sts.example.com"), at(2, 1));
        assert!(matches!(refused, Err(ProofError::OtherKey)));
        let no_key = prove(&good().chain, b"no key", &host("mta-sts.example.com"), at(2, 1));
        assert!(matches!(no_key, Err(ProofError::Key(_))));
    }

    #[test]
    fn a_name_counts_when_it_is_the_host_or_a_wildcard_of_its_parent() {
        for (name, covers) in [
            ("mta-sts.example.com", true),
            ("*.example.com", true),
            ("MTA-STS.example.com", true),
            ("example.com", false),
            ("*.com", false),
            ("*.mta-sts.example.com", false),
            ("mta-sts.example.org", false),
        ] {
            let Fixture { chain, key } = fixture(&[name], ExtendedKeyUsagePurpose::ServerAuth);
            let proof = prove(&chain, &key, &host("mta-sts.example.com"), at(2, 1));
            assert_eq!(proof.is_ok(), covers, "{name}: {proof:?}");
        }
    }

    #[test]
    fn the_present_must_lie_in_the_validity_both_ends_included() {
        let Fixture { chain, key } = good();
        let proof = |now| prove(&chain, &key, &host("mta-sts.example.com"), now);
        assert!(proof(at(1, 1)).is_ok() && proof(at(4, 1)).is_ok());
        assert!(matches!(proof(at(1, 1) - TimeDelta::seconds(1)), Err(ProofError::NotYetValid { .. })));
        assert!(matches!(proof(at(4, 1) + TimeDelta::seconds(1)), Err(ProofError::Expired { .. })));
    }

    #[test]
    fn a_certificate_for_clients_is_refused() {
        let Fixture { chain, key } = fixture(&["mta-sts.example.com"], ExtendedKeyUsagePurpose::ClientAuth);
        let refused = prove(&chain, &key, &host("mta-sts.example.com"), at(2, 1));
        assert!(matches!(refused, Err(ProofError::NotForServers)));
    }

    #[test]
    fn each_certificate_must_be_signed_by_the_next() {
        let Fixture { mut chain, key } = good();
        chain[1] = good().chain[1].clone();
        let refused = prove(&chain, &key, &host("mta-sts.example.com"), at(2, 1));
        assert!(matches!(refused, Err(ProofError::BrokenChain { index: 0 })), "{refused:?}");
    }

    #[test]
    fn what_is_no_chain_is_refused() {
        let none: [Vec<u8>; 0] = [];
        assert!(matches!(IssuedChain::from_der(none.to_vec()), Err(ChainError::Length(0))));
        assert!(matches!(IssuedChain::from_pem(b"nothing"), Err(ChainError::Length(0))));
        let eleven = vec![good().chain[0].clone(); 11];
        assert!(matches!(IssuedChain::from_der(eleven), Err(ChainError::Length(11))));
        let mut longer = good().chain;
        longer[1].push(0);
        assert!(matches!(IssuedChain::from_der(longer), Err(ChainError::Certificate { index: 1, .. })));
    }

    #[test]
    fn no_cut_or_flipped_certificate_makes_it_panic() {
        let Fixture { chain, key } = good();
        for at_byte in 0..chain[0].len() {
            let mut flipped = chain.clone();
            flipped[0][at_byte] ^= 0x41;
            let flipped = prove(&flipped, &key, &host("mta-sts.example.com"), at(2, 1));
            assert!(flipped.is_err(), "byte {at_byte}");
            let cut = [chain[0][..at_byte].to_vec()];
            assert!(prove(&cut, &key, &host("mta-sts.example.com"), at(2, 1)).is_err());
        }
    }
}
