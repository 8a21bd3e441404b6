//! The `mode` of a policy.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a text is not a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the mode must be `none`, `testing` or `enforce`, in lower case")]
pub struct ModeError;

impl ModeError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        "mode-unknown"
    }
}

/// What a sender does when an MX host fails validation (RFC 8461 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// As if there were no policy.
    None,
    /// Deliver, and report the failure.
    Testing,
    /// Do not deliver to that host.
    Enforce,
}

impl Mode {
    /// The word in the policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Testing => "testing",
            Self::Enforce => "enforce",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = ModeError;

    /// Reads the word with its case, as the grammar asks (RFC 8461 §3.2, RFC 7405).
    fn from_str(text: &str) -> Result<Self, ModeError> {
        match text {
            "none" => Ok(Self::None),
            "testing" => Ok(Self::Testing),
            "enforce" => Ok(Self::Enforce),
            _ => Err(ModeError),
        }
    }
}
