//! The `mx` lines of a policy (RFC 8461 §3.2) and how they match (§4.1).

use std::str::FromStr;

use crate::name::{HostName, NameError, is_public_suffix, text::text_traits};

/// Why a text is not an MX pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MxPatternError {
    /// RFC 8461 §4.1: the wildcard stands for exactly one whole label, the leftmost.
    #[error("`*` can only be the whole first label, as in `*.example.com`: list the MX hosts by name instead")]
    Wildcard,
    /// The rest is not the name of a host.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl MxPatternError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Wildcard => "mx-wildcard",
            Self::Name(error) => error.code(),
        }
    }
}

/// The name of an MX host, or `*.` and a domain whose direct children may all be MX hosts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MxPattern(String);

impl MxPattern {
    /// A-labels in lower case, perhaps after `*.`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether an MX host of this name is allowed (RFC 8461 §4.1): the same name, or one label more than the wildcard.
    pub fn matches(&self, host: &HostName) -> bool {
        match self.wildcard_parent() {
            Some(parent) => host.as_str().split_once('.').is_some_and(|(_, rest)| rest == parent),
            None => self.0 == host.as_str(),
        }
    }

    /// Whether a host of this name lies deeper below the wildcard than the one label that it stands for, so that it is
    /// not allowed although it may look so (RFC 8461 §4.1).
    pub fn misses_deeper(&self, host: &HostName) -> bool {
        let below = |parent| host.as_str().strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'));
        self.wildcard_parent().is_some_and(below) && !self.matches(host)
    }

    /// Whether the wildcard stands directly above a public suffix (`*.com`), so that strangers' hosts match.
    /// RFC 8461 allows it; it is hardly ever meant.
    pub fn is_wide(&self) -> bool {
        self.wildcard_parent().is_some_and(is_public_suffix)
    }

    fn wildcard_parent(&self) -> Option<&str> {
        self.0.strip_prefix("*.")
    }
}

impl From<&HostName> for MxPattern {
    /// The pattern that this host alone matches.
    fn from(host: &HostName) -> Self {
        Self(host.as_str().to_owned())
    }
}

impl FromStr for MxPattern {
    type Err = MxPatternError;

    /// Reads A-labels in any case, one dot at the end tolerated, as MX records are often shown with it.
    fn from_str(text: &str) -> Result<Self, MxPatternError> {
        let (wildcard, name) = text.strip_prefix("*.").map_or(("", text), |name| ("*.", name));
        if name.contains('*') {
            return Err(MxPatternError::Wildcard);
        }
        let host = HostName::parse(name)?;
        Ok(Self(format!("{wildcard}{host}")))
    }
}

text_traits!(MxPattern, MxPatternError, str::parse);

#[cfg(test)]
mod tests;
