//! `[issuer]`: who issues certificates.

use std::{path::PathBuf, sync::Arc};

use chrono::TimeDelta;
use mtasts_certs::{
    AccountStore, AcmeConfig, AcmeIssuer, ChallengeKind, ExternalAccount, Issuer, KeyRing, LocalCa, LocalCaConfig,
};
use mtasts_model::{Clock, Entropy};
use mtasts_worker::{Budget, CaBudget};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::{Config, ConfigError};
use crate::startup::StartupError;

/// `[issuer]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct IssuerConfig {
    pub(crate) kind: IssuerKind,
    /// The ACME directory.
    pub(crate) directory: Option<Url>,
    /// Roots of a private CA's own listener (PEM).
    pub(crate) root_file: Option<PathBuf>,
    /// Our name for the account: another name makes another account.
    pub(crate) account: String,
    pub(crate) contacts: Vec<String>,
    pub(crate) terms_of_service_agreed: bool,
    pub(crate) eab_key_id: Option<String>,
    pub(crate) eab_hmac_key: Option<SecretString>,
    pub(crate) profile: Option<String>,
    /// Best first: `http-01`, `tls-alpn-01`, `dns-01`.
    pub(crate) challenges: Vec<String>,
    /// Issuer domain names in CAA records; empty: as the CA's directory says.
    pub(crate) caa_identities: Vec<String>,
    /// Orders that the account may place at once, and how many come back in an hour.
    pub(crate) orders_burst: u32,
    pub(crate) orders_per_hour: u32,
    /// How many of these are kept for certificates that are about to expire.
    pub(crate) orders_reserve: u32,
    /// Days that a certificate of the local CA is valid.
    pub(crate) local_ca_days: u16,
}

impl Default for IssuerConfig {
    fn default() -> Self {
        Self {
            kind: IssuerKind::LocalCa,
            directory: None,
            root_file: None,
            account: "default".to_owned(),
            contacts: Vec::new(),
            terms_of_service_agreed: false,
            eab_key_id: None,
            eab_hmac_key: None,
            profile: None,
            challenges: vec!["http-01".to_owned(), "tls-alpn-01".to_owned(), "dns-01".to_owned()],
            caa_identities: Vec::new(),
            orders_burst: 300,
            orders_per_hour: 100,
            orders_reserve: 30,
            local_ca_days: 90,
        }
    }
}

/// Who issues certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum IssuerKind {
    /// A CA that speaks ACME (RFC 8555).
    Acme,
    /// Our own, for development: nobody else trusts it.
    LocalCa,
}

impl IssuerConfig {
    pub(crate) fn challenges(&self) -> Result<Vec<ChallengeKind>, ConfigError> {
        let known = [ChallengeKind::Http01, ChallengeKind::TlsAlpn01, ChallengeKind::Dns01];
        let parse = |text: &String| {
            known.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
                ConfigError::value("issuer.challenges", format!("{text:?} is none of http-01, tls-alpn-01, dns-01"))
            })
        };
        let kinds: Vec<_> = self.challenges.iter().map(parse).collect::<Result<_, _>>()?;
        if kinds.is_empty() {
            return Err(ConfigError::value("issuer.challenges", "at least one kind is needed"));
        }
        Ok(kinds)
    }

    pub(crate) fn budget(&self) -> CaBudget {
        let budget = Budget { capacity: self.orders_burst, per_hour: self.orders_per_hour };
        CaBudget { budget, reserve: self.orders_reserve }
    }

    /// What can be said without asking the CA.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.challenges()?;
        if self.orders_burst == 0 || self.orders_per_hour == 0 || self.orders_reserve >= self.orders_burst {
            let problem = "orders_burst and orders_per_hour must be above 0, orders_reserve below orders_burst";
            return Err(ConfigError::value("issuer.orders_burst", problem));
        }
        match self.kind {
            IssuerKind::LocalCa if self.local_ca_days == 0 => {
                Err(ConfigError::value("issuer.local_ca_days", "a certificate must be valid for a day at least"))
            }
            IssuerKind::LocalCa => Ok(()),
            IssuerKind::Acme => self.acme().map(drop),
        }
    }

    fn acme(&self) -> Result<AcmeConfig, ConfigError> {
        let Some(directory) = self.directory.clone() else {
            return Err(ConfigError::value("issuer.directory", "an ACME issuer needs the URL of its directory"));
        };
        if directory.scheme() != "https" {
            return Err(ConfigError::value("issuer.directory", "the directory must be an https URL"));
        }
        let mut config = AcmeConfig::new(self.account.clone(), directory);
        if let Some(path) = &self.root_file {
            let read = std::fs::read(path);
            let pem =
                read.map_err(|source| ConfigError::File { key: "issuer.root_file", path: path.clone(), source })?;
            config.roots_pem = Some(pem);
        }
        config.external_account = match (&self.eab_key_id, &self.eab_hmac_key) {
            (Some(key_id), Some(hmac_key)) => {
                Some(ExternalAccount { key_id: key_id.clone(), hmac_key: hmac_key.clone() })
            }
            (None, None) => None,
            _ => return Err(ConfigError::value("issuer.eab_key_id", "eab_key_id and eab_hmac_key go together")),
        };
        config.contacts.clone_from(&self.contacts);
        config.terms_of_service_agreed = self.terms_of_service_agreed;
        config.profile.clone_from(&self.profile);
        config.challenge_kinds = self.challenges()?;
        config.caa_identities.clone_from(&self.caa_identities);
        Ok(config)
    }

    /// The issuer. Nothing is asked of a CA yet. `accounts` keeps the account of the key that it is given.
    pub(crate) fn issuer(
        &self,
        config: &Config,
        accounts: impl FnOnce(String) -> Arc<dyn AccountStore>,
        ring: KeyRing,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Arc<dyn Issuer>, StartupError> {
        self.check()?;
        Ok(match self.kind {
            IssuerKind::Acme => {
                let acme = self.acme()?;
                // The same directory and name mean the same account for every worker.
                let key = format!("{}#{}", acme.directory, acme.name);
                Arc::new(AcmeIssuer::new(&acme, accounts(key), ring, clock)?)
            }
            IssuerKind::LocalCa => {
                let local =
                    LocalCaConfig { lifetime: TimeDelta::days(self.local_ca_days.into()), ..LocalCaConfig::default() };
                let folder = config.local_ca_dir();
                let ca = LocalCa::open_or_create(&folder, &local, clock, entropy)?;
                tracing::info!(root = %folder.join("root.pem").display(), "certificates come from the local CA");
                Arc::new(ca)
            }
        })
    }
}

impl Config {
    pub(super) fn local_ca_dir(&self) -> PathBuf {
        self.data_dir.join("local-ca")
    }
}
