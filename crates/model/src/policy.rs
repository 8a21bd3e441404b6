//! MTA-STS policies (RFC 8461 §3.2).

mod error;
mod lenient;
mod lint;
mod max_age;
mod mode;
mod remarks;
mod strict;

use serde::{Deserialize, Serialize};

use crate::{mx_pattern::MxPattern, name::HostName};

pub use error::PolicyError;
pub use lint::{Lint, LintCode};
pub use max_age::{MaxAge, MaxAgeError};
pub use mode::{Mode, ModeError};
pub use remarks::{Remark, remarks};

/// Octets of a policy that senders read at least (RFC 8461 §3.2: "a limit of 64 kilobytes").
pub const MAX_POLICY_OCTETS: usize = 65_536;

/// The only version (RFC 8461 §3.2).
const VERSION: &str = "STSv1";

/// A valid policy: `testing` and `enforce` have at least one MX pattern, and it fits into what senders read.
///
/// Serialised, it is an object of `mode`, `mx` and `max_age`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Policy {
    mode: Mode,
    mx: Vec<MxPattern>,
    max_age: MaxAge,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    mode: Mode,
    #[serde(default)]
    mx: Vec<MxPattern>,
    max_age: MaxAge,
}

impl TryFrom<Fields> for Policy {
    type Error = PolicyError;

    fn try_from(fields: Fields) -> Result<Self, PolicyError> {
        Self::new(fields.mode, fields.mx, fields.max_age)
    }
}

impl Policy {
    /// A policy. Patterns keep their order; one that comes again is dropped, as it changes nothing.
    pub fn new(mode: Mode, mx: Vec<MxPattern>, max_age: MaxAge) -> Result<Self, PolicyError> {
        let mut seen = std::collections::HashSet::new();
        let mx: Vec<_> = mx.into_iter().filter(|pattern| seen.insert(pattern.clone())).collect();
        if mx.is_empty() && mode != Mode::None {
            return Err(PolicyError::NoMx { mode });
        }
        let policy = Self { mode, mx, max_age };
        match policy.to_text().len() {
            octets if octets > MAX_POLICY_OCTETS => Err(PolicyError::TooLong { octets }),
            _ => Ok(policy),
        }
    }

    /// What senders do with it (RFC 8461 §5).
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Which MX hosts are allowed. Empty only for `none`.
    pub fn mx(&self) -> &[MxPattern] {
        &self.mx
    }

    /// How long senders keep it.
    pub fn max_age(&self) -> MaxAge {
        self.max_age
    }

    /// The body of `/.well-known/mta-sts.txt`, lines ended by CRLF (RFC 8461 §3.2).
    pub fn to_text(&self) -> String {
        let mut text = format!("version: {VERSION}\r\nmode: {}\r\n", self.mode);
        for pattern in &self.mx {
            text.push_str("mx: ");
            text.push_str(pattern.as_str());
            text.push_str("\r\n");
        }
        text.push_str("max_age: ");
        text.push_str(&self.max_age.to_string());
        text.push_str("\r\n");
        text
    }

    /// Reads a policy of ours: the grammar of RFC 8461 §3.2 with `version` first, no extension, and no key twice
    /// but `mx`. Lines end in CRLF or LF.
    pub fn parse_strict(text: &str) -> Result<Self, PolicyError> {
        strict::parse(text)
    }

    /// Reads a policy of others as a forgiving sender would, and tells what is odd about it, in the order of lines.
    pub fn parse_lenient(body: &[u8]) -> Result<(Self, Vec<Lint>), PolicyError> {
        lenient::parse(body)
    }

    /// The same, with what is odd about a text that is no policy too.
    pub fn examine(body: &[u8]) -> (Result<Self, PolicyError>, Vec<Lint>) {
        lenient::examine(body)
    }

    /// Whether an MX host of this name is allowed (RFC 8461 §4.1).
    pub fn covers(&self, host: &HostName) -> bool {
        self.mx.iter().any(|pattern| pattern.matches(host))
    }

    /// The same policy in another mode.
    pub fn with_mode(self, mode: Mode) -> Result<Self, PolicyError> {
        Self::new(mode, self.mx, self.max_age)
    }
}

#[cfg(test)]
mod tests;
