//! Our side of the delegation: labels, the service's zone, and the CNAMEs that a customer sets once.

mod delegation;
mod placement;
mod zone;

use std::str::FromStr;

use data_encoding::BASE32_NOPAD;

use crate::{clock::Entropy, name::text::text_traits};

pub use delegation::{Delegation, DelegationPurpose, DelegationRecord};
pub use placement::{NoZone, Placement};
pub use zone::{ZoneName, ZoneNameError};

/// Characters that 128 bits take in base32 (RFC 4648 §6), unpadded.
const LENGTH: usize = 26;

/// Why a text is not a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a label has 26 characters, each a letter or one of the digits 2 to 7, and stands for 128 bits")]
pub struct LabelError;

impl LabelError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        "label-invalid"
    }
}

/// 128 random bits in lower-case base32, drawn once for a tenant's domain and never used again, so that a CNAME that
/// somebody left behind gives nothing to anybody else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

impl Label {
    /// Draws a new one.
    pub fn draw(entropy: &dyn Entropy) -> Self {
        let mut bits = [0_u8; 16];
        entropy.fill(&mut bits);
        Self(BASE32_NOPAD.encode(&bits).to_ascii_lowercase())
    }

    /// The label in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = LabelError;

    /// Reads a label in any case, as it may come back from DNS (RFC 4343).
    fn from_str(text: &str) -> Result<Self, LabelError> {
        // The length first: decoding is for 26 characters, not for whatever a stranger sends.
        if text.len() != LENGTH {
            return Err(LabelError);
        }
        BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).map_err(|_| LabelError)?;
        Ok(Self(text.to_ascii_lowercase()))
    }
}

text_traits!(Label, LabelError, str::parse);

#[cfg(test)]
mod tests;
