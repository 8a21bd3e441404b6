//! What `[nameserver]` says of secondaries, rate limits and signing.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use data_encoding::BASE64;
use mtasts_certs::{KeyRing, Purpose};
use mtasts_dns::tsig::{TsigKey, TsigKeyError};
use mtasts_nameserver::{
    DnssecConfig, KeyKind, KeyRole, ParentSignal, RateLimit, SigningKey, TransferLimits, TransferPeer,
};
use secrecy::SecretString;
use serde::Deserialize;

use super::{ConfigError, NameserverSection, data_dir::configured};
use crate::startup::{StartupError, causes};

/// `[[nameserver.transfers]]`: a secondary that may transfer the zone.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransferConfig {
    /// What logs call it.
    pub(crate) name: String,
    /// The TSIG key that its requests must carry.
    pub(crate) key_name: Option<String>,
    /// `hmac-sha256` (if not given) or `hmac-sha512`.
    pub(crate) key_algorithm: Option<String>,
    pub(crate) secret: Option<SecretString>,
    pub(crate) secret_file: Option<PathBuf>,
    /// Where its requests must come from; empty: anywhere, and the key is needed.
    #[serde(default)]
    pub(crate) networks: Vec<String>,
    /// Where it is told of changes (RFC 1996).
    #[serde(default)]
    pub(crate) notify: Vec<SocketAddr>,
}

/// `[[nameserver.dnssec_keys]]`: a key that the zone is signed with.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DnssecKeyConfig {
    /// The sealed key, as `mtasts admin dnssec draw-key` wrote it.
    pub(crate) file: PathBuf,
    pub(crate) kind: DnssecKeyKind,
    #[serde(default)]
    pub(crate) role: DnssecKeyRole,
}

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DnssecKeyKind {
    /// Everything
    Csk,
    /// The keys, and the parent's DS names it
    Ksk,
    /// All but the keys
    Zsk,
}

/// Whether a key signs already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DnssecKeyRole {
    /// It signs.
    #[default]
    Active,
    /// It is only shown, before or after its time.
    Published,
}

/// What the parent is told by CDS and CDNSKEY (RFC 7344, RFC 8078).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DnssecParent {
    Publish,
    Delete,
    Silent,
}

impl From<DnssecKeyKind> for KeyKind {
    fn from(kind: DnssecKeyKind) -> Self {
        match kind {
            DnssecKeyKind::Csk => Self::Csk,
            DnssecKeyKind::Ksk => Self::Ksk,
            DnssecKeyKind::Zsk => Self::Zsk,
        }
    }
}

impl TransferConfig {
    fn peer(&self) -> Result<TransferPeer, ConfigError> {
        let wrong = |problem: String| ConfigError::value("nameserver.transfers", format!("{}: {problem}", self.name));
        let networks =
            self.networks.iter().map(|text| text.parse().map_err(|error| wrong(format!("{text:?}: {error}"))));
        let networks: Vec<_> = networks.collect::<Result<_, _>>()?;
        let key = match &self.key_name {
            None if networks.is_empty() => return Err(wrong("give a key or networks".to_owned())),
            None => None,
            Some(name) => {
                let secret = configured("nameserver.transfers", self.secret.as_ref(), self.secret_file.as_deref())?;
                let secret = secret.ok_or_else(|| wrong("the key needs secret or secret_file".to_owned()))?;
                let algorithm = self.key_algorithm.as_deref().unwrap_or("hmac-sha256");
                let algorithm = algorithm.parse().map_err(|error: TsigKeyError| wrong(causes(&error)))?;
                Some(TsigKey::new(name, algorithm, &secret).map_err(|error| wrong(causes(&error)))?)
            }
        };
        Ok(TransferPeer { name: self.name.clone(), key, networks, notify: self.notify.clone() })
    }
}

impl NameserverSection {
    pub(super) fn transfer_peers(&self) -> Result<Vec<TransferPeer>, ConfigError> {
        if !self.transfers.is_empty() && !self.dnssec_keys.is_empty() {
            let problem = "answers of a signed zone are signed one by one, so secondaries would have no signatures: use \
                           several of these nameservers instead";
            return Err(ConfigError::value("nameserver.transfers", problem));
        }
        self.transfers.iter().map(TransferConfig::peer).collect()
    }

    pub(super) fn transfer_limits(&self) -> Result<TransferLimits, ConfigError> {
        if self.transfers_at_once == 0 {
            return Err(ConfigError::value("nameserver.transfers_at_once", "must be above 0"));
        }
        Ok(TransferLimits { at_once: self.transfers_at_once, ..TransferLimits::default() })
    }

    pub(super) fn rate_limits(&self) -> Result<Option<RateLimit>, ConfigError> {
        if !self.rate_limit {
            return Ok(None);
        }
        let mut made = RateLimit {
            answers_per_second: self.rate_limit_answers_per_second,
            nxdomains_per_second: self.rate_limit_nxdomains_per_second,
            errors_per_second: self.rate_limit_errors_per_second,
            slip: self.rate_limit_slip,
            ..RateLimit::default()
        };
        for text in &self.rate_limit_exempt {
            let network = text
                .parse()
                .map_err(|error| ConfigError::value("nameserver.rate_limit_exempt", format!("{text:?}: {error}")))?;
            made.exempt.push(network);
        }
        Ok(Some(made))
    }

    /// The files of the keys.
    pub(crate) fn dnssec_key_files(&self) -> impl Iterator<Item = &Path> {
        self.dnssec_keys.iter().map(|key| key.file.as_path())
    }

    /// Opens the keys; None: the zone is not signed.
    pub(crate) fn dnssec(
        &self,
        ring: impl FnOnce() -> Result<KeyRing, StartupError>,
    ) -> Result<Option<DnssecConfig>, StartupError> {
        if self.dnssec_keys.is_empty() {
            return Ok(None);
        }
        let ring = ring()?;
        let keys = self.dnssec_keys.iter().map(|key| key.open(&ring)).collect::<Result<_, _>>()?;
        let mut made = DnssecConfig::new(keys);
        made.validity = Duration::from_hours(24 * u64::from(self.dnssec_validity_days));
        made.parent = match self.dnssec_parent {
            DnssecParent::Publish => ParentSignal::Publish,
            DnssecParent::Delete => ParentSignal::Delete,
            DnssecParent::Silent => ParentSignal::Silent,
        };
        Ok(Some(made))
    }
}

const KEYS: &str = "nameserver.dnssec_keys";

impl DnssecKeyConfig {
    fn open(&self, ring: &KeyRing) -> Result<SigningKey, ConfigError> {
        let sealed = sealed(&self.file)?;
        let wrong = |problem: &str| wrong(&self.file, problem);
        let pkcs8 = ring.open(Purpose::DnssecKey, None, None, &sealed).map_err(|error| wrong(&causes(&error)))?;
        let role = match self.role {
            DnssecKeyRole::Active => KeyRole::Active,
            DnssecKeyRole::Published => KeyRole::Published,
        };
        SigningKey::from_pkcs8(&pkcs8, self.kind.into(), role).map_err(|error| wrong(&causes(&error)))
    }
}

fn wrong(file: &Path, problem: &str) -> ConfigError {
    ConfigError::value(KEYS, format!("{}: {problem}", file.display()))
}

/// What a key's file has in it.
fn sealed(file: &Path) -> Result<Vec<u8>, ConfigError> {
    let read = fs::read_to_string(file);
    let text = read.map_err(|source| ConfigError::File { key: KEYS, path: file.to_owned(), source })?;
    let sealed = BASE64.decode(text.trim().as_bytes());
    sealed.map_err(|_| wrong(file, "not what `mtasts admin dnssec draw-key` writes"))
}

/// The id of the ring's key under which a file is sealed.
pub(crate) fn dnssec_key_id(file: &Path) -> Result<String, ConfigError> {
    let sealed = sealed(file)?;
    KeyRing::key_id(&sealed).map(str::to_owned).map_err(|error| wrong(file, &causes(&error)))
}

/// The text of a key's file, sealed under the ring's current key; None: it is already.
pub(crate) fn reseal_dnssec_key(file: &Path, ring: &KeyRing) -> Result<Option<String>, ConfigError> {
    let sealed = sealed(file)?;
    if KeyRing::key_id(&sealed).is_ok_and(|id| id == ring.current_id()) {
        return Ok(None);
    }
    let resealed = ring.reseal(Purpose::DnssecKey, None, None, &sealed);
    Ok(Some(BASE64.encode(&resealed.map_err(|error| wrong(file, &causes(&error)))?)))
}

/// The text of a key's file.
pub(crate) fn sealed_dnssec_key(ring: &KeyRing, pkcs8: &[u8]) -> String {
    BASE64.encode(&ring.seal(Purpose::DnssecKey, None, None, pkcs8))
}
