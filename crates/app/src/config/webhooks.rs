//! `[webhooks]`: how events are delivered.

use mtasts_probe::ProbeConfig;
use mtasts_worker::WebhookConfig;
use serde::Deserialize;

use super::{ConfigError, serving::seconds};

/// The longest that one attempt may take: well within the time for which a worker has a delivery.
const LONGEST_TIMEOUT: u64 = 30;

/// `[webhooks]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WebhooksSection {
    /// Attempts at the same time, for each worker.
    pub(crate) concurrency: usize,
    /// Of these, those to one webhook.
    pub(crate) per_webhook: u32,
    /// How long one attempt may take.
    pub(crate) timeout_seconds: u64,
    /// Whether `http://` will do: in private networks alone.
    pub(crate) allow_http: bool,
    /// Whether loopback and private addresses may be posted to; None: as for probes.
    pub(crate) allow_private_addresses: Option<bool>,
}

impl Default for WebhooksSection {
    fn default() -> Self {
        Self { concurrency: 256, per_webhook: 4, timeout_seconds: 15, allow_http: false, allow_private_addresses: None }
    }
}

impl WebhooksSection {
    pub(crate) fn config(&self) -> Result<WebhookConfig, ConfigError> {
        if self.concurrency == 0 || self.per_webhook == 0 {
            return Err(ConfigError::value("webhooks", "concurrency and per_webhook must be above 0"));
        }
        if self.timeout_seconds > LONGEST_TIMEOUT {
            let problem = format!("must be at most {LONGEST_TIMEOUT}");
            return Err(ConfigError::value("webhooks.timeout_seconds", problem));
        }
        Ok(WebhookConfig {
            concurrency: self.concurrency,
            per_webhook: self.per_webhook,
            deadline: seconds("webhooks.timeout_seconds", self.timeout_seconds)?,
            allow_http: self.allow_http,
            ..WebhookConfig::default()
        })
    }

    /// Whom to trust as for probes, and which addresses may be connected to.
    pub(crate) fn probe(&self, probe: &ProbeConfig) -> ProbeConfig {
        let mut made = probe.clone();
        made.allow_private_addresses = self.allow_private_addresses.unwrap_or(probe.allow_private_addresses);
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        assert!(WebhooksSection::default().config().is_ok());
        assert!(WebhooksSection { concurrency: 0, ..WebhooksSection::default() }.config().is_err());
        assert!(WebhooksSection { per_webhook: 0, ..WebhooksSection::default() }.config().is_err());
        for timeout_seconds in [0, 31] {
            assert!(WebhooksSection { timeout_seconds, ..WebhooksSection::default() }.config().is_err());
        }
    }
}
