//! `[quotas]`: what a tenant may have to which the operator granted nothing else.

use mtasts_store::Quotas;
use serde::Deserialize;

use super::ConfigError;

/// `[quotas]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QuotasSection {
    pub(crate) domains: u64,
    pub(crate) operations: u64,
    pub(crate) api_keys: u64,
    pub(crate) reports_a_day: u64,
}

impl Default for QuotasSection {
    fn default() -> Self {
        let Quotas { domains, operations, api_keys, reports_a_day } = Quotas::default();
        Self { domains, operations, api_keys, reports_a_day }
    }
}

impl QuotasSection {
    pub(crate) fn quotas(&self) -> Result<Quotas, ConfigError> {
        Ok(Quotas {
            domains: in_range("quotas.domains", self.domains)?,
            operations: in_range("quotas.operations", self.operations)?,
            api_keys: in_range("quotas.api_keys", self.api_keys)?,
            reports_a_day: in_range("quotas.reports_a_day", self.reports_a_day)?,
        })
    }
}

fn in_range(key: &'static str, value: u64) -> Result<u64, ConfigError> {
    match value {
        0..=1_000_000_000 => Ok(value),
        _ => Err(ConfigError::value(key, "must be 0 to 1000000000")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_store_and_what_makes_no_sense_names_its_key() {
        assert_eq!(QuotasSection::default().quotas().unwrap(), Quotas::default());
        let refused = QuotasSection { domains: 1_000_000_001, ..QuotasSection::default() }.quotas().unwrap_err();
        assert!(refused.to_string().starts_with("quotas.domains: "));
        let refused = QuotasSection { operations: u64::MAX, ..QuotasSection::default() }.quotas().unwrap_err();
        assert!(refused.to_string().starts_with("quotas.operations: "));
        let refused = QuotasSection { api_keys: u64::MAX, ..QuotasSection::default() }.quotas().unwrap_err();
        assert!(refused.to_string().starts_with("quotas.api_keys: "));
        let refused = QuotasSection { reports_a_day: u64::MAX, ..QuotasSection::default() }.quotas().unwrap_err();
        assert!(refused.to_string().starts_with("quotas.reports_a_day: "));
    }
}
