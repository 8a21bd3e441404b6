//! Writing into the service's own zone, wherever it is hosted.

mod confirm;

use std::{net::SocketAddr, time::Duration};

use async_trait::async_trait;
use mtasts_model::{
    ZoneName,
    feed::{RecordData, RecordType},
};

pub use self::confirm::{ConfirmError, Confirmation, confirm};
use crate::name::{self, InvalidName};

/// The wanted state of one record set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordChange {
    /// Owner name, absolute, lower-case, without the trailing dot, inside of the provider's zone.
    pub name: String,
    /// Which type of records.
    pub record_type: RecordType,
    /// All values that the set shall have; `None` removes the set.
    pub set: Option<RecordData>,
}

/// Where the service's zone is kept. Record sets are read and replaced whole.
#[async_trait]
pub trait ZoneProvider: Send + Sync {
    /// The zone that this writes to.
    fn zone(&self) -> &ZoneName;

    /// The record set as the provider holds it (not as servers answer: that is [`confirm`]).
    async fn read(&self, name: &str, record_type: RecordType) -> Result<Option<RecordData>, ProviderError>;

    /// Brings all named sets into the wanted state. Idempotent: a repetition, also after an error that left a part
    /// done, ends in the same state. Sets that are not named stay as they are.
    async fn apply(&self, changes: &[RecordChange]) -> Result<(), ProviderError>;

    /// The servers that answer for the zone, for reading back.
    fn authoritative(&self) -> Vec<SocketAddr>;
}

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
    #[error("the DNS provider refuses our credential")]
    Unauthorized,
    /// The name does not end in the provider's zone.
    #[error("{name} is not in the zone {zone}")]
    NameOutsideZone {
        /// The name.
        name: String,
        /// The provider's zone.
        zone: ZoneName,
    },
    /// The name cannot be published.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// Something that is not ours stands in the way, such as a CNAME at the name.
    #[error("{name} cannot be written: {reason}")]
    Conflict {
        /// The name.
        name: String,
        /// What stands there.
        reason: String,
    },
    /// Anything else; to repeat it does not help.
    #[error("the DNS provider failed")]
    Other(#[source] BoxError),
}

/// Checks a name before it goes to a provider: inside of the zone, lower-case, and fit for the wire.
pub(crate) fn check_name(name: &str, zone: &ZoneName) -> Result<(), ProviderError> {
    name::parse(name)?;
    if name.ends_with('.') || name.bytes().any(|b| b.is_ascii_uppercase()) {
        let name = name.chars().take(80).collect();
        return Err(InvalidName { name, reason: "it is not lower-case, or has a trailing dot" }.into());
    }
    let inside = name.strip_suffix(zone.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if inside { Ok(()) } else { Err(ProviderError::NameOutsideZone { name: name.to_owned(), zone: zone.clone() }) }
}
