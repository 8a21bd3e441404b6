//! `[telemetry]`: where spans go.

use std::path::PathBuf;

use mtasts_api::CallersTraces;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::{Config, ConfigError};

/// `[telemetry]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TelemetrySection {
    /// The collector, which takes OTLP over HTTP; None: no spans are made.
    pub(crate) otlp_endpoint: Option<Url>,
    /// The value of `Authorization` for it.
    pub(crate) authorization: Option<SecretString>,
    /// Roots to trust besides the public ones (PEM).
    pub(crate) ca_file: Option<PathBuf>,
    /// Which share of the traces that begin here is exported.
    pub(crate) sample_ratio: f64,
    /// What the API makes of the trace that a caller names.
    pub(crate) callers: Callers,
}

/// As [`CallersTraces`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Callers {
    Ignore,
    Link,
    Parent,
}

impl Default for TelemetrySection {
    fn default() -> Self {
        Self { otlp_endpoint: None, authorization: None, ca_file: None, sample_ratio: 1.0, callers: Callers::Ignore }
    }
}

/// What an exporter needs to know.
#[derive(Debug)]
pub(crate) struct ExportConfig {
    /// With the path.
    pub(crate) endpoint: Url,
    pub(crate) authorization: Option<SecretString>,
    pub(crate) roots: rustls::RootCertStore,
    pub(crate) sample_ratio: f64,
}

impl TelemetrySection {
    pub(crate) fn callers(&self) -> CallersTraces {
        match self.callers {
            Callers::Ignore => CallersTraces::Ignore,
            Callers::Link => CallersTraces::Link,
            Callers::Parent => CallersTraces::Parent,
        }
    }
}

impl Config {
    /// Where spans go; None: nowhere.
    pub(crate) fn export(&self) -> Result<Option<ExportConfig>, ConfigError> {
        let telemetry = &self.telemetry;
        if !(0.0..=1.0).contains(&telemetry.sample_ratio) {
            return Err(ConfigError::value("telemetry.sample_ratio", "a share is between 0 and 1"));
        }
        let Some(mut endpoint) = telemetry.otlp_endpoint.clone() else { return Ok(None) };
        if !matches!(endpoint.scheme(), "http" | "https") || endpoint.host().is_none() {
            return Err(ConfigError::value(
                "telemetry.otlp_endpoint",
                "an http or https URL, such as http://collector:4318",
            ));
        }
        if endpoint.path() == "/" {
            // Where the protocol has it.
            endpoint.set_path("/v1/traces");
        }
        Ok(Some(ExportConfig {
            endpoint,
            authorization: telemetry.authorization.clone(),
            roots: self.collector_roots()?,
            sample_ratio: telemetry.sample_ratio,
        }))
    }

    fn collector_roots(&self) -> Result<rustls::RootCertStore, ConfigError> {
        const KEY: &str = "telemetry.ca_file";
        let mut extra = Vec::new();
        if let Some(path) = &self.telemetry.ca_file {
            let read = std::fs::read(path);
            let pem = read.map_err(|source| ConfigError::File { key: KEY, path: path.clone(), source })?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                extra.push(certificate.map_err(|error| ConfigError::value(KEY, error))?);
            }
        }
        mtasts_probe::roots(&extra).map_err(|error| ConfigError::value(KEY, crate::startup::causes(&error)))
    }
}
