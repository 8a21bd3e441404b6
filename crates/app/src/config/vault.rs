//! `[vault]`: who wraps the keys of the key ring.

use std::{path::PathBuf, time::Duration};

use mtasts_certs::KeyRing;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::{Config, ConfigError, data_dir::configured};
use crate::{
    startup::{StartupError, causes},
    vault::{Vault, VaultSettings, is_wrapped, open_ring},
};

/// `[vault]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct VaultSection {
    /// None: no key is wrapped.
    pub(crate) address: Option<Url>,
    pub(crate) namespace: Option<String>,
    /// Where the transit engine is mounted.
    pub(crate) mount: String,
    /// The key of the transit engine.
    pub(crate) key: String,
    pub(crate) token_file: Option<PathBuf>,
    /// Roots of a private CA (PEM), in place of the machine's.
    pub(crate) ca_file: Option<PathBuf>,
    /// For one request.
    pub(crate) timeout_seconds: u64,
    /// How long a process that starts waits for a Vault that is away or sealed.
    pub(crate) patience_seconds: u64,
}

impl Default for VaultSection {
    fn default() -> Self {
        Self {
            address: None,
            namespace: None,
            mount: "transit".to_owned(),
            key: "mtasts".to_owned(),
            token_file: None,
            ca_file: None,
            timeout_seconds: 5,
            patience_seconds: 15,
        }
    }
}

impl VaultSection {
    /// None where there is no Vault.
    pub(crate) fn settings(&self) -> Result<Option<VaultSettings>, ConfigError> {
        let Some(address) = self.address.clone() else { return Ok(None) };
        let loopback = match address.host() {
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        };
        if address.scheme() != "https" && !(address.scheme() == "http" && loopback) {
            // An agent of Vault's on the same machine may be asked in clear.
            return Err(ConfigError::value("vault.address", "must be an https URL, or http on loopback"));
        }
        let token_file = self.token_file.clone();
        let token_file = token_file.ok_or_else(|| ConfigError::value("vault.token_file", "name the token's file"))?;
        for (key, name) in [("vault.mount", &self.mount), ("vault.key", &self.key)] {
            if name.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
                return Err(ConfigError::value(key, "must be a path without empty parts"));
            }
        }
        if self.namespace.as_ref().is_some_and(|name| http::HeaderValue::from_str(name).is_err()) {
            return Err(ConfigError::value("vault.namespace", "has characters that no namespace has"));
        }
        if self.timeout_seconds == 0 {
            return Err(ConfigError::value("vault.timeout_seconds", "must be above 0"));
        }
        Ok(Some(VaultSettings {
            address,
            namespace: self.namespace.clone(),
            mount: self.mount.clone(),
            key: self.key.clone(),
            token_file,
            ca_file: self.ca_file.clone(),
            timeout: Duration::from_secs(self.timeout_seconds),
            patience: Duration::from_secs(self.patience_seconds),
        }))
    }
}

impl Config {
    /// Has the keys of the ring opened that Vault has wrapped: from then on the ring is as if it had been given in clear,
    /// and Vault is not asked again.
    pub(crate) async fn open_key_ring(&mut self) -> Result<(), StartupError> {
        let secrets = &self.secrets;
        // A role that has no use for the ring need not be able to read it; one that has says so when it asks for it.
        let text = configured("secrets.key_ring", secrets.key_ring.as_ref(), secrets.key_ring_file.as_deref());
        let Some(text) = text.ok().flatten().filter(is_wrapped) else { return Ok(()) };
        let settings = self.vault.settings()?;
        let settings = settings.ok_or_else(|| {
            ConfigError::value("vault.address", "the key ring has keys that Vault has wrapped: say where it is")
        })?;
        let opened = open_ring(&text, &Vault::new(settings)?).await?;
        self.secrets.key_ring = Some(opened);
        self.secrets.key_ring_file = None;
        Ok(())
    }

    /// Draws a key for the ring, wrapped where there is a Vault: `id:key`, as the ring takes it.
    pub(crate) async fn draw_key(&self) -> Result<SecretString, StartupError> {
        let (drawn, text) = KeyRing::generate(&mtasts_model::SystemEntropy);
        let Some(settings) = self.vault.settings()? else { return Ok(text) };
        let vault = Vault::new(settings)?;
        let wrapped = vault.draw().await?;
        // A key that does not come back from Vault as one of the ring's is found here, and not on the day it is needed.
        let entry = SecretString::from(format!("{}:{wrapped}", drawn.current_id()));
        let opened = open_ring(&entry, &vault).await?;
        KeyRing::parse(&opened).map_err(|error| ConfigError::value("vault.key", causes(&error)))?;
        Ok(entry)
    }
}
