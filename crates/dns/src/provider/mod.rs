//! Writing into a zone of the service, wherever it is hosted.

mod confirm;
mod error;
mod marker;
mod pace;

use std::net::SocketAddr;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use mtasts_model::{
    ZoneName,
    feed::{RecordData, RecordType},
};

pub use self::{
    confirm::{ConfirmError, Confirmation, confirm},
    error::{BoxError, ProviderError, check_name},
    marker::{Marker, marked_name},
    pace::Pace,
};

/// The wanted state of one record set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordChange {
    /// Owner name, absolute, lower-case, without the trailing dot, inside of the provider's zone.
    pub name: String,
    /// Which type of records.
    pub record_type: RecordType,
    /// All values that the set shall have; `None` removes the set.
    pub set: Option<RecordData>,
    /// What is known of earlier writes.
    pub known: Known,
}

/// What the caller knows of earlier writes of a record set to the same provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It was never handed over, so it can be created without a look at what is there: the labels are 128 random bits.
    Never,
    /// It was handed over, and may or may not have arrived: what is there must be looked at first.
    Perhaps,
    /// It arrived, and this is the provider's own reference to it (see [`Applied`]).
    At(String),
}

/// A record set that is as it was wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// What the provider calls it, where it needs that for a change. To be handed back as [`Known::At`].
    pub reference: Option<String>,
}

/// One record set as the provider holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Owner name, absolute, lower-case, without the trailing dot.
    pub name: String,
    /// Its type.
    pub record_type: RecordType,
    /// TTL and values. Hosted providers may have TTLs of their own.
    pub data: RecordData,
    /// Whose it is.
    pub mark: Mark,
    /// The provider's own reference, as in [`Applied`].
    pub reference: Option<String>,
}

/// Whether a record set carries our marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It does: this installation wrote it.
    Ours,
    /// It does not: it is never changed or removed.
    NotOurs,
    /// A listing does not tell; [`ZoneProvider::read`] does.
    Unread,
}

/// Where a zone of the service is kept. Record sets are read and replaced whole; what this installation did not write
/// (see [`Marker`]) is never changed or removed.
#[async_trait]
pub trait ZoneProvider: Send + Sync {
    /// The zone that this writes to.
    fn zone(&self) -> &ZoneName;

    /// A stable word for metrics and logs, such as `rfc2136`.
    fn kind(&self) -> &'static str;

    /// The most changes that one [`Self::apply`] takes.
    fn batch_size(&self) -> usize;

    /// Whether what the store wants gets there by its own feed, so that nobody has to hand it over.
    fn follows_feed(&self) -> bool {
        false
    }

    /// Whether the zone is there and the credential is good for it. Changes nothing.
    async fn check(&self) -> Result<(), ProviderError>;

    /// The record set as the provider holds it (not as servers answer: that is [`confirm`]). Its mark is never
    /// [`Mark::Unread`].
    async fn read(&self, name: &str, record_type: RecordType) -> Result<Option<Observed>, ProviderError>;

    /// Brings all named sets into the wanted state; sets that are not named stay as they are. Idempotent: a repetition,
    /// also after an error that left a part done, ends in the same state, and what is right already is not written
    /// again.
    ///
    /// The outcomes are in the order of the changes. An error for the whole says that nothing is known of any of them:
    /// repeat it with [`Known::Perhaps`].
    async fn apply(&self, changes: &[RecordChange]) -> Result<Vec<Result<Applied, ProviderError>>, ProviderError>;

    /// All record sets of the types that the service writes, in any order, page by page: never the whole zone in
    /// memory. Markers that are records of their own are not among them.
    fn list(&self) -> BoxStream<'_, Result<Observed, ProviderError>>;

    /// The servers that answer for the zone, for reading back.
    fn authoritative(&self) -> Vec<SocketAddr>;
}

/// A customer's own zone, in which the service sets the delegation's CNAMEs with a token that the customer gave.
#[async_trait]
pub trait CustomerZone: Send + Sync {
    /// The zone's name, without the trailing dot.
    fn zone(&self) -> &str;

    /// Everything that stands at these names, whatever its type.
    async fn standing(&self, names: &[String]) -> Result<Vec<StandingRecord>, ProviderError>;

    /// Creates one CNAME. [`ProviderError::Conflict`] if anything stands there by now; nothing is ever overwritten.
    async fn create_cname(&self, name: &str, target: &str, ttl: u32) -> Result<(), ProviderError>;
}

/// One record in a customer's zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingRecord {
    /// Owner name, absolute, lower-case, without the trailing dot.
    pub name: String,
    /// Such as `CNAME`.
    pub record_type: String,
    /// As in a zone file; a CNAME's target is absolute, lower-case, without the trailing dot.
    pub value: String,
    /// Seconds.
    pub ttl: u32,
}
