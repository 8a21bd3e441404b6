//! `[checks]`: looks at any domain that tenants ask for.

use mtasts_worker::CheckConfig;
use serde::Deserialize;

use super::ConfigError;

/// `[checks]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ChecksSection {
    /// Those that one tenant may ask for within an hour.
    pub(crate) per_tenant_an_hour: u32,
    /// Looks at the same time, for each worker.
    pub(crate) concurrency: usize,
    /// Looks of one tenant at the same time, in all workers together.
    pub(crate) per_tenant: u32,
}

impl Default for ChecksSection {
    fn default() -> Self {
        let CheckConfig { concurrency, per_tenant, .. } = CheckConfig::default();
        Self { per_tenant_an_hour: 60, concurrency, per_tenant }
    }
}

impl ChecksSection {
    /// What a tenant may ask for within an hour.
    pub(crate) fn per_hour(&self) -> Result<u32, ConfigError> {
        // They are counted, one by one, at each request.
        match self.per_tenant_an_hour {
            1..=1_000 => Ok(self.per_tenant_an_hour),
            _ => Err(ConfigError::value("checks.per_tenant_an_hour", "must be 1 to 1000")),
        }
    }

    pub(crate) fn config(&self) -> Result<CheckConfig, ConfigError> {
        if self.concurrency == 0 || self.per_tenant == 0 {
            return Err(ConfigError::value("checks", "concurrency and per_tenant must be above 0"));
        }
        Ok(CheckConfig { concurrency: self.concurrency, per_tenant: self.per_tenant, ..CheckConfig::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let section = ChecksSection::default();
        assert!(section.config().is_ok() && section.per_hour().is_ok());
        assert!(ChecksSection { concurrency: 0, ..ChecksSection::default() }.config().is_err());
        assert!(ChecksSection { per_tenant: 0, ..ChecksSection::default() }.config().is_err());
        for per_tenant_an_hour in [0, 1_001] {
            assert!(ChecksSection { per_tenant_an_hour, ..ChecksSection::default() }.per_hour().is_err());
        }
    }
}
