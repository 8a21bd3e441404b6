//! `[enforce]`: how much proof for `enforce` is recommended to tenants that want no other.

use mtasts_model::readiness::Demands;
use serde::Deserialize;

use super::ConfigError;

/// `[enforce]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EnforceSection {
    /// For how many days each MX host is to have passed at every look.
    pub(crate) mx_days: u32,
    /// For how many days the policy is to have been published in mode `testing`.
    pub(crate) testing_days: u32,
    /// How many sessions verified reports are to have told of.
    pub(crate) sessions: u64,
    /// How many organisations are to have sent them.
    pub(crate) reporters: u32,
    /// How many of 1,000 of these sessions may have failed: with more, `enforce` is refused.
    pub(crate) failures_per_thousand: u32,
}

impl Default for EnforceSection {
    fn default() -> Self {
        let Demands { mx_days, testing_days, sessions, reporters, failures_per_thousand } = Demands::default();
        Self { mx_days, testing_days, sessions, reporters, failures_per_thousand }
    }
}

impl EnforceSection {
    pub(crate) fn demands(&self) -> Result<Demands, ConfigError> {
        let Self { mx_days, testing_days, sessions, reporters, failures_per_thousand } = *self;
        if mx_days > 60 {
            return Err(ConfigError::value("enforce.mx_days", "must be at most 60: older looks are forgotten"));
        }
        if testing_days > 365 {
            return Err(ConfigError::value("enforce.testing_days", "must be at most 365"));
        }
        if failures_per_thousand > 100 {
            return Err(ConfigError::value("enforce.failures_per_thousand", "must be at most 100"));
        }
        Ok(Demands { mx_days, testing_days, sessions, reporters, failures_per_thousand })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_model_and_what_makes_no_sense_is_refused() {
        let section = EnforceSection::default;
        assert_eq!(section().demands().unwrap(), Demands::default());
        assert!(EnforceSection { mx_days: 61, ..section() }.demands().is_err());
        assert!(EnforceSection { testing_days: 366, ..section() }.demands().is_err());
        assert!(EnforceSection { failures_per_thousand: 101, ..section() }.demands().is_err());
    }
}
