//! A zone behind the HTTP API of a PowerDNS authoritative server (4.7 or later).
//!
//! The API takes record sets whole and many at once, each request one transaction of its database, so a set and its
//! marker (a TXT record, see [`Marker::name_for`]) always go together. It has no compare-and-set: what stands at a name
//! is looked at just before each write, and a stranger who writes between the two is overwritten. The names are drawn at
//! random, so that nobody else has a reason to write there.

mod api;
mod apply;
mod content;
mod decide;
mod listing;
mod sets;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use mtasts_model::{ZoneName, feed::RecordType};
use secrecy::SecretString;
use url::Url;

use self::api::Api;
pub use self::api::PowerDnsConfigError;
use crate::provider::{Applied, Mark, Marker, Observed, Pace, ProviderError, RecordChange, ZoneProvider, check_name};

/// The most changes of one request. Each is two record sets of some hundred bytes, so that few are parted again.
const MAX_BATCH: usize = 1000;

/// Where the zone is, and how to get at it.
pub struct PowerDnsConfig {
    /// The zone.
    pub zone: ZoneName,
    /// The root of the API, such as `http://127.0.0.1:8081/api/v1/`. `https` is checked against the public authorities.
    pub api_url: Url,
    /// Which server behind that API: `localhost` but for proxies that speak for several.
    pub server_id: String,
    /// The server's `api-key`.
    pub api_key: SecretString,
    /// What tells our record sets from others.
    pub marker: Marker,
    /// The servers that answer for the zone, for reading back.
    pub authoritative: Vec<SocketAddr>,
    /// How fast the API is asked.
    pub pace: Arc<Pace>,
    /// For one request with its answer; in a listing for each piece of it.
    pub timeout: Duration,
    /// Changes in one request, 1 to 1000. The server goes over its whole zone after each request unless the zone's
    /// `API-RECTIFY` is off, so larger is faster.
    pub batch: usize,
}

/// See the module.
pub struct PowerDns {
    api: Arc<Api>,
    marker: Marker,
    authoritative: Vec<SocketAddr>,
    batch: usize,
}

impl PowerDns {
    /// Fails when the address or the key cannot be used; asks nobody.
    pub fn new(config: PowerDnsConfig) -> Result<Self, PowerDnsConfigError> {
        let PowerDnsConfig { zone, api_url, server_id, api_key, marker, authoritative, pace, timeout, batch } = config;
        let api = Arc::new(Api::new(zone, api_url, &server_id, &api_key, pace, timeout)?);
        Ok(Self { api, marker, authoritative, batch: batch.clamp(1, MAX_BATCH) })
    }
}

impl fmt::Debug for PowerDns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PowerDns").field("zone", &self.api.zone()).finish_non_exhaustive()
    }
}

#[async_trait]
impl ZoneProvider for PowerDns {
    fn zone(&self) -> &ZoneName {
        self.api.zone()
    }

    fn kind(&self) -> &'static str {
        "powerdns"
    }

    fn batch_size(&self) -> usize {
        self.batch
    }

    async fn check(&self) -> Result<(), ProviderError> {
        self.api.check().await
    }

    async fn read(&self, name: &str, record_type: RecordType) -> Result<Option<Observed>, ProviderError> {
        check_name(name, self.api.zone())?;
        let at_name = self.api.standing(name).await?;
        let answered = at_name.iter().find(|set| set.is(record_type) && !set.contents.is_empty());
        let Some(set) = answered else { return Ok(None) };
        let at_marker = self.api.standing(&self.marker.name_for(name, record_type)).await?;
        let mark = if decide::marking(&self.marker, &at_marker).is_ours() { Mark::Ours } else { Mark::NotOurs };
        let data = set.data(record_type);
        Ok(Some(Observed { name: name.to_owned(), record_type, data, mark, reference: None }))
    }

    async fn apply(&self, changes: &[RecordChange]) -> Result<Vec<Result<Applied, ProviderError>>, ProviderError> {
        apply::apply(&self.api, &self.marker, self.batch, changes).await
    }

    /// Marks are told where the marker comes shortly before its set, which is the order of the server; else unread.
    fn list(&self) -> BoxStream<'_, Result<Observed, ProviderError>> {
        listing::stream(Arc::clone(&self.api), self.marker.to_string())
    }

    fn authoritative(&self) -> Vec<SocketAddr> {
        self.authoritative.clone()
    }
}
