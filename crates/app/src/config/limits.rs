//! `[limits]`: how many calls of the REST API are possible.

use std::time::Duration;

use mtasts_api::LimitSettings;
use mtasts_model::Network;
use mtasts_store::{Quota, QuotaError, SharedLimits};
use serde::Deserialize;

use super::{ConfigError, RedisConfig};
use crate::startup::StartupError;

/// `[limits]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitsSection {
    pub(crate) enabled: bool,
    pub(crate) key_per_minute: u32,
    pub(crate) key_burst: u32,
    pub(crate) tenant_per_minute: u32,
    pub(crate) tenant_burst: u32,
    pub(crate) operator_per_minute: u32,
    pub(crate) operator_burst: u32,
    /// Calls with invalid credentials, of one client address.
    pub(crate) failures_per_minute: u32,
    pub(crate) failures_burst: u32,
    /// Networks of proxies whose `X-Forwarded-For` is believed.
    pub(crate) trusted_proxies: Vec<String>,
    pub(crate) redis_deadline_milliseconds: u64,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            enabled: true,
            key_per_minute: 600,
            key_burst: 200,
            tenant_per_minute: 3_000,
            tenant_burst: 1_000,
            operator_per_minute: 6_000,
            operator_burst: 2_000,
            failures_per_minute: 20,
            failures_burst: 60,
            trusted_proxies: vec!["127.0.0.0/8".to_owned(), "::1".to_owned()],
            redis_deadline_milliseconds: 50,
        }
    }
}

impl LimitsSection {
    /// None where calls are not limited.
    pub(crate) fn settings(&self) -> Result<Option<LimitSettings>, ConfigError> {
        let settings = LimitSettings {
            key: quota(self.key_per_minute, self.key_burst, "limits.key_per_minute", "limits.key_burst")?,
            tenant: quota(
                self.tenant_per_minute,
                self.tenant_burst,
                "limits.tenant_per_minute",
                "limits.tenant_burst",
            )?,
            operator: quota(
                self.operator_per_minute,
                self.operator_burst,
                "limits.operator_per_minute",
                "limits.operator_burst",
            )?,
            failures: quota(
                self.failures_per_minute,
                self.failures_burst,
                "limits.failures_per_minute",
                "limits.failures_burst",
            )?,
            trusted_proxies: self.proxies()?,
        };
        self.deadline()?;
        Ok(self.enabled.then_some(settings))
    }

    /// The buckets in Redis; None where there is no Redis, or nothing is limited. Begins to connect.
    pub(crate) fn shared(&self, redis: &RedisConfig) -> Result<Option<SharedLimits>, StartupError> {
        let url = redis.url.as_ref().filter(|_| self.enabled);
        let deadline = self.deadline()?;
        Ok(url.map(|url| SharedLimits::connect(url, deadline)).transpose()?)
    }

    fn proxies(&self) -> Result<Vec<Network>, ConfigError> {
        let parse = |text: &String| {
            text.parse().map_err(|error| ConfigError::value("limits.trusted_proxies", format!("{text:?} {error}")))
        };
        self.trusted_proxies.iter().map(parse).collect()
    }

    /// Redis may cost each request as much, but not the request itself.
    fn deadline(&self) -> Result<Duration, ConfigError> {
        if !(1..=1000).contains(&self.redis_deadline_milliseconds) {
            return Err(ConfigError::value("limits.redis_deadline_milliseconds", "must be 1 to 1000"));
        }
        Ok(Duration::from_millis(self.redis_deadline_milliseconds))
    }
}

fn quota(per_minute: u32, burst: u32, rate_key: &'static str, burst_key: &'static str) -> Result<Quota, ConfigError> {
    Quota::per_minute(per_minute, burst).map_err(|error| {
        let key = match error {
            QuotaError::Rate => rate_key,
            QuotaError::Burst => burst_key,
        };
        ConfigError::value(key, error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_api() {
        assert_eq!(LimitsSection::default().settings().unwrap(), Some(LimitSettings::default()));
    }

    #[test]
    fn what_makes_no_sense_names_its_key_also_where_limits_are_off() {
        let off = || LimitsSection { enabled: false, ..LimitsSection::default() };
        assert_eq!(off().settings().unwrap(), None);
        let refused = |section: LimitsSection| section.settings().unwrap_err().to_string();
        assert!(refused(LimitsSection { key_per_minute: 0, ..off() }).starts_with("limits.key_per_minute: "));
        assert!(refused(LimitsSection { tenant_burst: 0, ..off() }).starts_with("limits.tenant_burst: "));
        assert!(refused(LimitsSection { failures_burst: 9_000_000, ..off() }).starts_with("limits.failures_burst: "));
        let networks = vec!["10.0.0.0/99".to_owned()];
        assert!(refused(LimitsSection { trusted_proxies: networks, ..off() }).starts_with("limits.trusted_proxies: "));
        let deadline = refused(LimitsSection { redis_deadline_milliseconds: 0, ..off() });
        assert!(deadline.starts_with("limits.redis_deadline_milliseconds: "));
    }
}
