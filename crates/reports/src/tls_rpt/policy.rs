//! The policy as the sender saw it (RFC 8460 §4.4).

use mtasts_model::Policy;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// `policy-type`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyType {
    /// DANE (RFC 7672).
    Tlsa,
    /// MTA-STS (RFC 8461).
    Sts,
    /// Neither.
    NoPolicyFound,
    /// Another word, as it came. Empty if there is none.
    Other(String),
}

impl PolicyType {
    /// Those that the RFC knows.
    pub const KNOWN: &[Self] = &[Self::Tlsa, Self::Sts, Self::NoPolicyFound];

    /// The word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Tlsa => "tlsa",
            Self::Sts => "sts",
            Self::NoPolicyFound => "no-policy-found",
            Self::Other(text) => text,
        }
    }
}

impl Serialize for PolicyType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The policy as the sender saw it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicySeen {
    /// `policy-type`.
    #[serde(rename = "type")]
    pub kind: PolicyType,
    /// `policy-domain`, in lower case without the dot at the end. For DANE the MX host.
    pub domain: Option<String>,
    /// `policy-string`: lines of the MTA-STS policy, or TLSA records.
    pub strings: Vec<String>,
    /// `mx-host`: names or patterns, in lower case.
    pub mx_hosts: Vec<String>,
    /// Fields that RFC 8460 does not know.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

impl PolicySeen {
    /// The MTA-STS policy that the sender applied, for comparing it with the versions that were served. Nothing for
    /// other types, and where the lines do not make a policy.
    pub fn sts(&self) -> Option<Policy> {
        if self.kind != PolicyType::Sts {
            return None;
        }
        let mut text = self.strings.join("\r\n");
        text.push_str("\r\n");
        Policy::parse_lenient(text.as_bytes()).ok().map(|(policy, _)| policy)
    }
}
