//! The `max_age` of a policy.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a number is not a `max_age`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("max_age is at most 31557600 seconds, which is a year, not {seconds}")]
pub struct MaxAgeError {
    /// The refused number.
    pub seconds: u64,
}

impl MaxAgeError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        "max-age-too-large"
    }
}

/// How long senders keep a policy after they fetched it, in seconds: 0 to 31,557,600 (RFC 8461 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u32", try_from = "u32")]
pub struct MaxAge(u32);

impl MaxAge {
    /// About a year.
    pub const MAX: Self = Self(31_557_600);
    /// A day: below it, a sender that was blocked for a day has forgotten the policy, which protects little.
    pub const DAY: Self = Self(86_400);
    /// Seven days.
    pub const WEEK: Self = Self(7 * 86_400);
    /// 28 days.
    pub const FOUR_WEEKS: Self = Self(28 * 86_400);

    /// This many seconds.
    pub fn new(seconds: u32) -> Result<Self, MaxAgeError> {
        if seconds > Self::MAX.0 { Err(MaxAgeError { seconds: seconds.into() }) } else { Ok(Self(seconds)) }
    }

    /// In seconds.
    pub fn seconds(self) -> u32 {
        self.0
    }
}

impl fmt::Display for MaxAge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<MaxAge> for u32 {
    fn from(max_age: MaxAge) -> Self {
        max_age.0
    }
}

impl TryFrom<u32> for MaxAge {
    type Error = MaxAgeError;

    fn try_from(seconds: u32) -> Result<Self, MaxAgeError> {
        Self::new(seconds)
    }
}
