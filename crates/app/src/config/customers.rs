//! `[customer_dns]` and `[domain_connect]`: the customers' side of the delegation.

use std::{fs, path::PathBuf};

use mtasts_api::{DomainConnectIdentity, DomainConnectSettings};
use mtasts_dns::providers::cloudflare::CloudflareConfig;
use serde::Deserialize;
use url::Url;

use super::ConfigError;

/// `[customer_dns]`: whether tenants may hand over credentials for their own DNS.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CustomerDnsSection {
    /// None: where the API has a key ring to seal the credentials with.
    pub(crate) enabled: Option<bool>,
    /// Where Cloudflare's API is; None: where it is for everybody.
    pub(crate) cloudflare_api_url: Option<Url>,
}

impl CustomerDnsSection {
    pub(crate) fn cloudflare_api(&self) -> Result<Url, ConfigError> {
        const KEY: &str = "customer_dns.cloudflare_api_url";
        match &self.cloudflare_api_url {
            Some(url) => Ok(url.clone()),
            None => CloudflareConfig::API.parse().map_err(|error| ConfigError::value(KEY, error)),
        }
    }
}

/// `[domain_connect]`: who we are to DNS providers. Off until there is a key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DomainConnectSection {
    /// A domain of the service provider's; its zone publishes the key. None: the service's zone.
    pub(crate) provider_id: Option<String>,
    pub(crate) provider_name: String,
    pub(crate) service_id: String,
    pub(crate) service_name: String,
    pub(crate) logo_url: Option<Url>,
    /// The label beneath `provider_id` at which the public key is published.
    pub(crate) key_host: String,
    /// The RSA key that links are signed with (PEM).
    pub(crate) private_key_file: Option<PathBuf>,
}

impl Default for DomainConnectSection {
    fn default() -> Self {
        Self {
            provider_id: None,
            provider_name: "mtasts".to_owned(),
            service_id: "mta-sts".to_owned(),
            service_name: "MTA-STS and TLS reporting".to_owned(),
            logo_url: None,
            key_host: "_dck1".to_owned(),
            private_key_file: None,
        }
    }
}

impl DomainConnectSection {
    /// None without a key. Links that are not signed would let anybody phish with our name.
    pub(crate) fn identity(&self, service_zone: &str) -> Result<Option<DomainConnectIdentity>, ConfigError> {
        const KEY: &str = "domain_connect.private_key_file";
        let Some(path) = &self.private_key_file else { return Ok(None) };
        let pem =
            fs::read_to_string(path).map_err(|source| ConfigError::File { key: KEY, path: path.clone(), source })?;
        let settings = DomainConnectSettings {
            provider_id: self.provider_id.clone().unwrap_or_else(|| service_zone.to_owned()),
            provider_name: self.provider_name.clone(),
            service_id: self.service_id.clone(),
            service_name: self.service_name.clone(),
            logo_url: self.logo_url.clone(),
            key_host: self.key_host.clone(),
            private_key: pem.into(),
        };
        DomainConnectIdentity::new(settings).map(Some).map_err(|error| ConfigError::value("domain_connect", error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_connect_is_off_without_a_key_and_refuses_what_is_none() {
        let mut section = DomainConnectSection::default();
        assert!(section.identity("sts.example.net").unwrap().is_none());
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
        section.private_key_file = Some(file.path().to_owned());
        assert!(section.identity("sts.example.net").is_err());
        section.private_key_file = Some("/nowhere/key.pem".into());
        assert!(matches!(section.identity("sts.example.net"), Err(ConfigError::File { .. })));
    }
}
