//! The service's own zone.

use std::str::FromStr;

use super::LENGTH;
use crate::name::{MAX_NAME, NameError, check_name, text::text_traits};

/// The longest of the sub-trees under which labels stand in the zone.
const LONGEST_SUBTREE: &str = "_smtp-tls";
/// Octets that a zone's name may have, so that every label's names in it still are names.
const MAX_ZONE: usize = MAX_NAME - LENGTH - 1 - LONGEST_SUBTREE.len() - 1;

/// Why a text is not the name of a zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not usable as the service's zone: {0}")]
pub struct ZoneNameError(#[from] NameError);

impl ZoneNameError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        self.0.code()
    }
}

/// The name of the service's own DNS zone, such as `sts.example.net`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZoneName(String);

impl ZoneName {
    /// A-labels in lower case, without the dot at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ZoneName {
    type Err = ZoneNameError;

    /// Reads A-labels in any case, one dot at the end tolerated.
    fn from_str(text: &str) -> Result<Self, ZoneNameError> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        check_name(&name, MAX_ZONE)?;
        Ok(Self(name))
    }
}

text_traits!(ZoneName, ZoneNameError, str::parse);
