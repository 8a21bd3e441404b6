//! `[worker]` and `[probe]`.

use std::{path::PathBuf, sync::Arc};

use chrono::TimeDelta;
use mtasts_model::{Clock, HostName};
use mtasts_probe::ProbeConfig;
use mtasts_worker::{Budget, MxLookAges, WorkerConfig};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde::Deserialize;

use super::{Config, ConfigError, IssuerKind, serving::seconds};

/// `[worker]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WorkerSection {
    /// How long a domain stays with a worker that has gone silent.
    pub(crate) lease_seconds: u32,
    /// Domains worked on at the same time.
    pub(crate) concurrency: usize,
    /// Of these, how many may look at MX hosts; None: a quarter.
    pub(crate) probe_concurrency: Option<usize>,
    /// How old a look at an MX host may be that domains go by, for hosts that passed and that failed.
    pub(crate) mx_look_minutes: u32,
    pub(crate) failed_mx_look_minutes: u32,
    /// How long an edge that has gone silent is still waited for.
    pub(crate) edge_grace_seconds: u32,
    /// Orders that one tenant may place at once, and how many come back in an hour.
    pub(crate) tenant_orders_burst: u32,
    pub(crate) tenant_orders_per_hour: u32,
    /// TTL of the published TXT records.
    pub(crate) record_ttl_seconds: u32,
    /// How often each zone is compared with what it should hold.
    pub(crate) sweep_seconds: u64,
}

impl Default for WorkerSection {
    fn default() -> Self {
        Self {
            lease_seconds: 30,
            concurrency: 64,
            probe_concurrency: None,
            mx_look_minutes: 60,
            failed_mx_look_minutes: 10,
            edge_grace_seconds: 300,
            tenant_orders_burst: 200,
            tenant_orders_per_hour: 50,
            record_ttl_seconds: 300,
            sweep_seconds: 600,
        }
    }
}

impl WorkerSection {
    pub(crate) fn config(&self, config: &Config, name: String) -> Result<WorkerConfig, ConfigError> {
        seconds("worker.lease_seconds", self.lease_seconds.into())?;
        if self.concurrency == 0 || self.tenant_orders_burst == 0 || self.tenant_orders_per_hour == 0 {
            return Err(ConfigError::value("worker", "concurrency and the tenants' budgets must be above 0"));
        }
        let mut made = WorkerConfig::new(name);
        made.lease = TimeDelta::seconds(self.lease_seconds.into());
        made.concurrency = self.concurrency;
        made.probe_concurrency = self.probe_concurrency.unwrap_or(self.concurrency / 4).max(1);
        made.mx_looks = self.mx_look_ages()?;
        made.edge_grace = TimeDelta::seconds(self.edge_grace_seconds.into());
        made.challenge_preference = config.issuer.challenges()?;
        made.ca_budget = config.issuer.budget();
        made.tenant_budget = Budget { capacity: self.tenant_orders_burst, per_hour: self.tenant_orders_per_hour };
        made.record_ttl = self.record_ttl_seconds;
        made.report_templates = config.reports.templates()?;
        made.report_hosts = config.reports.host.iter().cloned().collect();
        Ok(made)
    }

    fn mx_look_ages(&self) -> Result<MxLookAges, ConfigError> {
        let minutes = |minutes: u32| TimeDelta::minutes(minutes.into());
        MxLookAges::new(minutes(self.mx_look_minutes), minutes(self.failed_mx_look_minutes))
            .map_err(|error| ConfigError::value("worker.mx_look_minutes, worker.failed_mx_look_minutes", error))
    }
}

/// `[probe]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ProbeSection {
    /// None: 443, or the edge's own port where everything is on loopback.
    pub(crate) policy_port: Option<u16>,
    pub(crate) smtp_port: u16,
    /// Roots to trust besides the public ones (PEM).
    pub(crate) extra_roots_file: Option<PathBuf>,
    /// Whether loopback and private addresses may be looked at.
    /// None: only where the edges are on loopback themselves.
    pub(crate) allow_private_addresses: Option<bool>,
    /// What EHLO says; None: `probe.<zone>`.
    pub(crate) helo_name: Option<String>,
    pub(crate) fetch_timeout_seconds: u64,
    pub(crate) mx_host_timeout_seconds: u64,
}

impl Default for ProbeSection {
    fn default() -> Self {
        Self {
            policy_port: None,
            smtp_port: 25,
            extra_roots_file: None,
            allow_private_addresses: None,
            helo_name: None,
            fetch_timeout_seconds: 60,
            mx_host_timeout_seconds: 30,
        }
    }
}

impl Config {
    /// How the worker looks at domains, as a sender would.
    pub(crate) fn probe(&self, clock: Arc<dyn Clock>) -> Result<ProbeConfig, ConfigError> {
        let probe = &self.probe;
        let default_name = format!("probe.{}", self.service.zone()?);
        let name = probe.helo_name.as_deref().unwrap_or(&default_name);
        let helo_name = HostName::parse(name).map_err(|error| ConfigError::value("probe.helo_name", error))?;
        let mut made = ProbeConfig::new(helo_name, clock);
        // Edges on loopback are a development set-up: nobody else could reach them.
        let edges = &self.nameserver.edge_addresses;
        let on_loopback = !edges.is_empty() && edges.iter().all(std::net::IpAddr::is_loopback);
        let own_port = self.edge.https_listen.first().map(std::net::SocketAddr::port).filter(|_| on_loopback);
        made.policy_port = probe.policy_port.or(own_port).unwrap_or(made.policy_port);
        made.smtp_port = probe.smtp_port;
        made.allow_private_addresses = probe.allow_private_addresses.unwrap_or(on_loopback);
        made.timeouts.fetch = seconds("probe.fetch_timeout_seconds", probe.fetch_timeout_seconds)?;
        made.timeouts.mx_host = seconds("probe.mx_host_timeout_seconds", probe.mx_host_timeout_seconds)?;
        made.roots = Arc::new(self.roots()?);
        Ok(made)
    }

    /// Public roots, those of the file, and the local CA's where that issues.
    fn roots(&self) -> Result<rustls::RootCertStore, ConfigError> {
        const KEY: &str = "probe.extra_roots_file";
        let mut files = Vec::new();
        if let Some(path) = &self.probe.extra_roots_file {
            files.push(path.clone());
        }
        let local = self.local_ca_dir().join("root.pem");
        if self.issuer.kind == IssuerKind::LocalCa && local.exists() {
            files.push(local);
        }
        let mut extra = Vec::new();
        for path in files {
            let pem = std::fs::read(&path).map_err(|source| ConfigError::File { key: KEY, path, source })?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                extra.push(certificate.map_err(|error| ConfigError::value(KEY, error))?);
            }
        }
        mtasts_probe::roots(&extra).map_err(|error| ConfigError::value(KEY, crate::startup::causes(&error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_at_mx_hosts_are_shared_for_two_hours_at_most() {
        assert_eq!(WorkerSection::default().mx_look_ages().unwrap(), MxLookAges::default());
        let ages = |passed, failed| {
            let section =
                WorkerSection { mx_look_minutes: passed, failed_mx_look_minutes: failed, ..Default::default() };
            section.mx_look_ages()
        };
        assert!(ages(120, 0).is_ok());
        for (passed, failed) in [(121, 10), (60, 121), (u32::MAX, 0)] {
            let error = ages(passed, failed).unwrap_err().to_string();
            assert!(error.contains("worker.mx_look_minutes") && error.contains("0 to 120 minutes"), "{error}");
        }
    }
}
