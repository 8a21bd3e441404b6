//! Why something is not a policy.

use super::{MAX_POLICY_OCTETS, MaxAgeError, Mode, ModeError};
use crate::mx_pattern::MxPatternError;

/// Why something is not a policy, and what to change. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Senders may stop reading (RFC 8461 §3.2).
    #[error("the policy has {octets} octets, and senders read {MAX_POLICY_OCTETS}: use fewer or wildcard MX patterns")]
    TooLong {
        /// How long it is.
        octets: usize,
    },
    /// `testing` and `enforce` name the hosts that they are about.
    #[error("mode `{mode}` needs at least one MX pattern: add the MX hosts of the domain")]
    NoMx {
        /// The mode.
        mode: Mode,
    },
    /// A key that every policy has is not there.
    #[error("the policy has no line `{key}: …`: add it")]
    MissingKey {
        /// Which one.
        key: &'static str,
    },
    /// Not the version that this RFC is about.
    #[error("line {line}: the version must be `STSv1`")]
    Version {
        /// Where.
        line: usize,
    },
    /// RFC 8461 §3.2.
    #[error("line {line}: the first line must be `version: STSv1`")]
    VersionNotFirst {
        /// What stands there instead.
        line: usize,
    },
    /// Not `key: value`.
    #[error("line {line} is not of the form `key: value`: correct or remove it")]
    Line {
        /// Where.
        line: usize,
    },
    /// Ours have no extensions.
    #[error("line {line}: only the keys `version`, `mode`, `mx` and `max_age` are known: correct or remove it")]
    UnknownKey {
        /// Where.
        line: usize,
    },
    /// Only `mx` may come again.
    #[error("line {line}: `{key}` stands there a second time: keep one")]
    RepeatedKey {
        /// Where.
        line: usize,
        /// Which one.
        key: &'static str,
    },
    /// The value of `mode`.
    #[error("line {line}: {source}")]
    Mode {
        /// Where.
        line: usize,
        /// Why.
        source: ModeError,
    },
    /// The value of `max_age` is no number of 1 to 10 digits.
    #[error("line {line}: max_age must be a number of seconds, such as 604800")]
    MaxAgeNumber {
        /// Where.
        line: usize,
    },
    /// The value of `max_age` is out of range.
    #[error("line {line}: {source}")]
    MaxAge {
        /// Where.
        line: usize,
        /// Why.
        source: MaxAgeError,
    },
    /// The value of `mx`.
    #[error("line {line}: {source}")]
    Mx {
        /// Where.
        line: usize,
        /// Why.
        source: MxPatternError,
    },
}

impl PolicyError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "policy-too-long",
            Self::NoMx { .. } => "mx-missing",
            Self::MissingKey { .. } => "policy-key-missing",
            Self::Version { .. } => "policy-version",
            Self::VersionNotFirst { .. } => "policy-version-not-first",
            Self::Line { .. } => "policy-line",
            Self::UnknownKey { .. } => "policy-key-unknown",
            Self::RepeatedKey { .. } => "policy-key-repeated",
            Self::Mode { source, .. } => source.code(),
            Self::MaxAgeNumber { .. } => "max-age-number",
            Self::MaxAge { source, .. } => source.code(),
            Self::Mx { source, .. } => source.code(),
        }
    }
}
