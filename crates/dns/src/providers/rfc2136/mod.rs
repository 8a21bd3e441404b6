//! Zones on any server that takes DNS UPDATE (RFC 2136): BIND, Knot, PowerDNS and others.
//!
//! Messages go over TCP and are signed (TSIG, RFC 8945). Each write is a compare-and-set: its prerequisites say that
//! set and marker still are as they were read, so what was planned on an old state changes nothing. Records have no
//! comments here, so the marker of a set is a TXT record of its own (see [`crate::provider::Marker::name_for`]), which
//! is written and removed in the same message as the set.

mod apply;
mod connection;
mod customer;
mod page;
mod plan;
mod refusal;
mod standing;
mod transfer;
mod update;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use hickory_proto::op::ResponseCode;
use mtasts_model::{ZoneName, clock::Clock, feed::RecordType};

pub use self::customer::{CustomerConfig, Rfc2136Customer};
use self::{
    connection::{Connection, Primary},
    refusal::Asked,
    standing::Owner,
};
use crate::{
    name::{self, InvalidName},
    provider::{Applied, Mark, Marker, Observed, Pace, ProviderError, RecordChange, ZoneProvider, check_name},
    tsig::TsigKey,
    wire,
};

/// The most names in one batch: with their markers and prerequisites they fill a message or two.
pub const MOST_CHANGES: usize = 200;

/// Where a zone is kept.
#[derive(Debug, Clone)]
pub struct Rfc2136Config {
    /// The zone.
    pub zone: ZoneName,
    /// The primary server: a secondary may be behind, and need not forward updates.
    pub server: SocketAddr,
    /// The key that may update and transfer the zone; without one, the server must trust our address.
    pub key: Option<TsigKey>,
    /// What marks our records.
    pub marker: Marker,
    /// All servers that answer for the zone.
    pub authoritative: Vec<SocketAddr>,
    /// How fast the server is asked: one for each message, or for each burst of up to 16 questions.
    pub pace: Arc<Pace>,
    /// For each connection and each exchange.
    pub timeout: Duration,
    /// Changes in one call, 1 to [`MOST_CHANGES`].
    pub batch: usize,
}

/// A zone of the service, written by DNS UPDATE.
pub struct Rfc2136 {
    zone: ZoneName,
    primary: Primary,
    marker: Marker,
    authoritative: Vec<SocketAddr>,
    batch: usize,
}

impl Rfc2136 {
    /// Opens no connection. Fails only if the zone's name does not fit into a message.
    pub fn new(config: Rfc2136Config, clock: Arc<dyn Clock>) -> Result<Self, InvalidName> {
        let Rfc2136Config { zone, server, key, marker, authoritative, pace, timeout, batch } = config;
        let primary = Primary { zone: name::parse(zone.as_str())?, server, key, pace, clock, timeout };
        Ok(Self { zone, primary, marker, authoritative, batch: batch.clamp(1, MOST_CHANGES) })
    }
}

#[async_trait]
impl ZoneProvider for Rfc2136 {
    fn zone(&self) -> &ZoneName {
        &self.zone
    }

    fn kind(&self) -> &'static str {
        "rfc2136"
    }

    fn batch_size(&self) -> usize {
        self.batch
    }

    /// Asks for the zone's SOA, and sends an update that changes nothing.
    async fn check(&self) -> Result<(), ProviderError> {
        let mut connection = Connection::new(&self.primary);
        self.primary.find_zone(&mut connection).await?;
        match self.primary.update(&mut connection, Vec::new(), Vec::new()).await? {
            ResponseCode::NoError => Ok(()),
            code => Err(self.primary.refusal(Asked::Update, code)),
        }
    }

    async fn read(&self, name: &str, record_type: RecordType) -> Result<Option<Observed>, ProviderError> {
        check_name(name, &self.zone)?;
        let owner = name::parse(name)?;
        let marker_name = name::parse(&self.marker.name_for(name, record_type))?;
        let mut connection = Connection::new(&self.primary);
        let places = [(&owner, wire::wire_type(record_type), &marker_name)];
        let standing = self.primary.standing(&mut connection, &places).await?;
        let Some(standing) = standing.into_iter().next() else { return Ok(None) };
        let standing = standing?;
        let Some(data) = standing.values() else { return Ok(None) };
        let mark = match standing.owner(&self.marker) {
            Owner::Ours => Mark::Ours,
            // Only a wildcard may have made it appear.
            Owner::Nobody | Owner::Another(_) if !self.primary.is_in_use(&mut connection, &owner).await? => {
                return Ok(None);
            }
            Owner::Nobody | Owner::Another(_) => Mark::NotOurs,
        };
        Ok(Some(Observed { name: name.to_owned(), record_type, data, mark, reference: None }))
    }

    async fn apply(&self, changes: &[RecordChange]) -> Result<Vec<Result<Applied, ProviderError>>, ProviderError> {
        apply::apply(&self.primary, &self.zone, &self.marker, changes).await
    }

    /// By a zone transfer. The mark is told where the marker follows its set; other sets are [`Mark::Unread`].
    fn list(&self) -> BoxStream<'_, Result<Observed, ProviderError>> {
        transfer::list(&self.primary, &self.marker)
    }

    fn authoritative(&self) -> Vec<SocketAddr> {
        self.authoritative.clone()
    }
}
