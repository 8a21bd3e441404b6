//! `[intake]`: where senders' reports are taken in. Which host that is stands in `[reports]`.

use std::{net::SocketAddr, path::PathBuf};

use mtasts_intake::{CertificateFiles, IntakeConfig, Limits};
use mtasts_model::Network;
use serde::Deserialize;

use super::{
    Config, ConfigError,
    sections::loopback,
    serving::{behind, seconds},
};

/// `[intake]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct IntakeSection {
    pub(crate) smtp_listen: Vec<SocketAddr>,
    pub(crate) https_listen: Vec<SocketAddr>,
    /// Without TLS: behind a proxy.
    pub(crate) http_listen: Vec<SocketAddr>,
    pub(crate) certificate_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) max_report_mebibytes: usize,
    /// All that are in memory at the same time.
    pub(crate) max_held_mebibytes: usize,
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_address: usize,
    /// Networks of proxies whose `X-Forwarded-For` is believed.
    pub(crate) trusted_proxies: Vec<String>,
    /// Networks of load balancers that send the PROXY protocol to `smtp_listen` and `https_listen`; not empty: all others
    /// are refused there.
    pub(crate) proxy_protocol_from: Vec<String>,
    /// Whom those who write to the postmaster are told to write to instead.
    pub(crate) postmaster: Option<String>,
    pub(crate) header_deadline_seconds: u64,
    pub(crate) body_deadline_seconds: u64,
    pub(crate) command_deadline_seconds: u64,
    pub(crate) data_deadline_seconds: u64,
    pub(crate) session_deadline_seconds: u64,
    pub(crate) store_deadline_seconds: u64,
}

impl Default for IntakeSection {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            smtp_listen: vec![loopback(2525)],
            https_listen: vec![loopback(8444)],
            http_listen: vec![loopback(8082)],
            certificate_file: None,
            key_file: None,
            max_report_mebibytes: limits.max_octets >> 20,
            max_held_mebibytes: limits.max_octets_held >> 20,
            max_connections: limits.max_connections,
            max_connections_per_address: limits.max_connections_per_address,
            trusted_proxies: vec!["127.0.0.0/8".to_owned(), "::1".to_owned()],
            proxy_protocol_from: Vec::new(),
            postmaster: None,
            header_deadline_seconds: limits.header_deadline.as_secs(),
            body_deadline_seconds: limits.body_deadline.as_secs(),
            command_deadline_seconds: limits.command_deadline.as_secs(),
            data_deadline_seconds: limits.data_deadline.as_secs(),
            session_deadline_seconds: limits.session_deadline.as_secs(),
            store_deadline_seconds: limits.store_deadline.as_secs(),
        }
    }
}

impl IntakeSection {
    /// None where no host takes reports.
    pub(crate) fn config(&self, config: &Config) -> Result<Option<IntakeConfig>, ConfigError> {
        let Some(host) = config.reports.host()? else { return Ok(None) };
        let mut made = IntakeConfig::new(host);
        made.smtp.clone_from(&self.smtp_listen);
        made.https.clone_from(&self.https_listen);
        made.http.clone_from(&self.http_listen);
        if made.smtp.is_empty() && made.https.is_empty() && made.http.is_empty() {
            return Err(ConfigError::value("intake.smtp_listen", "at least one address is needed, of mail or of HTTP"));
        }
        made.certificate = match (&self.certificate_file, &self.key_file) {
            (Some(certificate), Some(key)) => {
                Some(CertificateFiles { certificate: certificate.clone(), key: key.clone() })
            }
            (None, None) => None,
            _ => {
                return Err(ConfigError::value(
                    "intake.certificate_file",
                    "certificate and key are needed, or neither",
                ));
            }
        };
        made.limits = self.limits()?;
        made.reports_a_day = config.quotas.quotas()?.reports_a_day;
        made.trusted_proxies = self.proxies()?;
        made.proxy_protocol = behind("intake.proxy_protocol_from", &self.proxy_protocol_from)?;
        made.postmaster = self.postmaster()?;
        Ok(Some(made))
    }

    fn limits(&self) -> Result<Limits, ConfigError> {
        // The column counts octets in 32 bits, and what reads a report has limits of its own.
        if !(1..=100).contains(&self.max_report_mebibytes) {
            return Err(ConfigError::value("intake.max_report_mebibytes", "must be 1 to 100"));
        }
        if self.max_held_mebibytes < self.max_report_mebibytes || self.max_held_mebibytes > 1 << 20 {
            return Err(ConfigError::value("intake.max_held_mebibytes", "must hold one report at least"));
        }
        if self.max_connections == 0 || self.max_connections_per_address == 0 {
            return Err(ConfigError::value("intake.max_connections", "the caps must be above 0"));
        }
        Ok(Limits {
            max_octets: self.max_report_mebibytes << 20,
            max_octets_held: self.max_held_mebibytes << 20,
            max_connections: self.max_connections,
            max_connections_per_address: self.max_connections_per_address,
            header_deadline: seconds("intake.header_deadline_seconds", self.header_deadline_seconds)?,
            body_deadline: seconds("intake.body_deadline_seconds", self.body_deadline_seconds)?,
            command_deadline: seconds("intake.command_deadline_seconds", self.command_deadline_seconds)?,
            data_deadline: seconds("intake.data_deadline_seconds", self.data_deadline_seconds)?,
            session_deadline: seconds("intake.session_deadline_seconds", self.session_deadline_seconds)?,
            store_deadline: seconds("intake.store_deadline_seconds", self.store_deadline_seconds)?,
        })
    }

    fn proxies(&self) -> Result<Vec<Network>, ConfigError> {
        let parse = |text: &String| {
            text.parse().map_err(|error| ConfigError::value("intake.trusted_proxies", format!("{text:?}: {error}")))
        };
        self.trusted_proxies.iter().map(parse).collect()
    }

    /// It is shown within a reply of SMTP, so it must not look like the end of one.
    fn postmaster(&self) -> Result<Option<String>, ConfigError> {
        let is_address = |address: &String| {
            address.contains('@') && address.len() <= 254 && address.bytes().all(|octet| octet.is_ascii_graphic())
        };
        match &self.postmaster {
            Some(address) if !is_address(address) => {
                Err(ConfigError::value("intake.postmaster", "must be an address such as postmaster@example.net"))
            }
            address => Ok(address.clone()),
        }
    }
}
