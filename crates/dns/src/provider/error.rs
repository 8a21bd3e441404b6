//! Why a provider did not do what was asked.

use std::time::Duration;

use mtasts_model::{ZoneName, feed::RecordType};

use crate::name::{self, InvalidName};

/// The cause of an error, as its library tells it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a provider did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It cannot be reached, timed out, or has a fault of its own. The change may have happened.
    #[error("the DNS provider is unavailable")]
    Unavailable {
        /// When the provider asks to be asked again.
        retry_after: Option<Duration>,
        /// What happened.
        #[source]
        source: BoxError,
    },
    /// Too many requests.
    #[error("the DNS provider limits our requests")]
    RateLimited {
        /// When the provider asks to be asked again.
        retry_after: Option<Duration>,
    },
    /// The credential is missing, wrong, revoked, or not for this zone.
    #[error("the DNS provider refuses our credential: {reason}")]
    Unauthorized {
        /// What the provider says, and what to do. Never the credential.
        reason: String,
    },
    /// The provider does not have the zone, or the credential does not show it.
    #[error("the DNS provider has no zone {zone}")]
    ZoneNotFound {
        /// The zone.
        zone: String,
    },
    /// The name does not end in the provider's zone.
    #[error("{name} is not in the zone {zone}")]
    NameOutsideZone {
        /// The name.
        name: String,
        /// The provider's zone.
        zone: String,
    },
    /// The name cannot be published.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// A record set that this installation did not write stands there. It is left as it is.
    #[error("{name} {record_type} is not ours to change: it holds {found}, and {wanted} is wanted")]
    Conflict {
        /// The name.
        name: String,
        /// The type.
        record_type: RecordType,
        /// What is wanted; `nothing` for a removal.
        wanted: String,
        /// What stands there.
        found: String,
    },
    /// Records of another type keep ours out, such as a CNAME (RFC 1034 §3.6.2).
    #[error("{name} {record_type} cannot be written beside {found}")]
    TypeClash {
        /// The name.
        name: String,
        /// The type that is wanted.
        record_type: RecordType,
        /// What stands there, such as `CNAME other.example`.
        found: String,
    },
    /// The provider will not have this change, such as a zone that is full. To repeat it does not help.
    #[error("the DNS provider refuses the change: {reason}")]
    Refused {
        /// What the provider says.
        reason: String,
    },
    /// Anything else; to repeat it does not help.
    #[error("the DNS provider failed")]
    Other(#[source] BoxError),
}

impl ProviderError {
    /// Whether the same may well work later.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::RateLimited { .. })
    }

    /// How long the provider asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } | Self::RateLimited { retry_after } => *retry_after,
            _ => None,
        }
    }

    /// A stable word for conditions and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "DnsProviderUnavailable",
            Self::RateLimited { .. } => "DnsProviderRateLimited",
            Self::Unauthorized { .. } => "DnsProviderUnauthorized",
            Self::ZoneNotFound { .. } => "DnsZoneNotFound",
            Self::NameOutsideZone { .. } | Self::InvalidName(_) => "RecordNameUnusable",
            Self::Conflict { .. } => "DnsRecordConflict",
            Self::TypeClash { .. } => "DnsRecordTypeClash",
            Self::Refused { .. } => "DnsChangeRefused",
            Self::Other(_) => "DnsProviderFailed",
        }
    }
}

/// Checks a name before it goes to a provider: inside of the zone, lower-case, and fit for the wire.
pub fn check_name(name: &str, zone: &ZoneName) -> Result<(), ProviderError> {
    name::parse(name)?;
    if name.ends_with('.') || name.bytes().any(|b| b.is_ascii_uppercase()) {
        let name = name.chars().take(80).collect();
        return Err(InvalidName { name, reason: "it is not lower-case, or has a trailing dot" }.into());
    }
    let inside = name.strip_suffix(zone.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let outside = || ProviderError::NameOutsideZone { name: name.to_owned(), zone: zone.to_string() };
    if inside { Ok(()) } else { Err(outside()) }
}
