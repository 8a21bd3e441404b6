//! Zones at Cloudflare, by its API (v4) and a token that may read the zone and edit its DNS.
//!
//! A record set is several records there, each with an id; a reference names them all. Our records carry the marker as
//! their comment, and are never proxied. What is known to be new is created without a look, and a set of one record is
//! changed by its id, a hundred sets in one request, which takes effect as a whole or not at all. An id is trusted:
//! somebody who takes a record of ours over by changing its comment is seen by the listing, not by the next write.

mod batch;
mod customer;
mod endpoint;
mod failure;
mod listing;
mod plan;
mod record;
mod transport;

use std::{collections::HashSet, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{StreamExt, stream, stream::BoxStream};
use mtasts_model::{ZoneName, feed::RecordType};
use secrecy::SecretString;
use tokio::{
    sync::{Mutex, OnceCell},
    time::Instant,
};
use url::Url;

use self::{
    batch::Ending,
    endpoint::{FindZones, Id, ReadZone, RecordQuery, Zone},
    failure::{Failure, Refusal},
    plan::{Decision, Plan, Wanted},
    record::{Record, observed},
    transport::Api,
};
pub use self::{
    customer::{CloudflareCustomer, CloudflareCustomerConfig},
    transport::CloudflareConfigError,
};
use crate::provider::{Applied, Marker, Observed, Pace, ProviderError, RecordChange, ZoneProvider, check_name};

/// Names that are looked at at the same time.
const LOOKS: usize = 8;
/// How long the list of aliases is believed.
const ALIASES_KEPT: Duration = Duration::from_mins(1);

/// Where a zone is, and how to get at it.
#[derive(Debug)]
pub struct CloudflareConfig {
    /// The zone that is written to.
    pub zone: ZoneName,
    /// The id of the zone at Cloudflare, whose name is `zone` or one above it. Without it a zone of exactly this name
    /// is looked for.
    pub zone_id: Option<String>,
    /// Where the API is; [`CloudflareConfig::api`] unless told otherwise.
    pub api_url: Url,
    /// An API token with the permissions Zone:Read and DNS:Edit for the zone.
    pub token: SecretString,
    /// Tells our records from others'.
    pub marker: Marker,
    /// The zone's nameservers, for reading back.
    pub authoritative: Vec<SocketAddr>,
    /// How fast the API is asked; it allows 1200 requests in five minutes for all tokens of a user together.
    pub pace: Arc<Pace>,
    /// Changes in one request, 1 to 200; [`CloudflareConfig::BATCH`] unless told otherwise.
    pub batch: usize,
    /// For one request, from the first byte to the last.
    pub timeout: Duration,
}

impl CloudflareConfig {
    /// A sensible [`CloudflareConfig::batch`].
    pub const BATCH: usize = 100;
    /// A sensible [`CloudflareConfig::timeout`].
    pub const TIMEOUT: Duration = Duration::from_secs(10);
    /// A sensible rate for [`CloudflareConfig::pace`], in requests a second: what the API allows is 4.
    pub const PER_SECOND: f64 = 3.0;
    /// Where the API is.
    pub const API: &str = "https://api.cloudflare.com/client/v4/";
}

/// A zone of the service at Cloudflare.
pub struct Cloudflare {
    api: Api,
    zone: ZoneName,
    configured_id: Option<Id>,
    id: OnceCell<Id>,
    /// The marker's text.
    marker: String,
    servers: Vec<SocketAddr>,
    batch: usize,
    aliases: Mutex<Option<Aliases>>,
}

/// The names that are CNAMEs, as of some time.
struct Aliases {
    read_at: Instant,
    names: Arc<HashSet<String>>,
}

impl Cloudflare {
    /// Nothing is asked yet.
    pub fn new(config: CloudflareConfig) -> Result<Self, CloudflareConfigError> {
        let configured_id = config.zone_id.map(Id::try_from).transpose().map_err(|_| CloudflareConfigError::ZoneId)?;
        Ok(Self {
            api: Api::new(&config.api_url, config.token, config.pace, config.timeout)?,
            zone: config.zone,
            configured_id,
            id: OnceCell::new(),
            marker: config.marker.to_string(),
            servers: config.authoritative,
            batch: config.batch.clamp(1, batch::MAX_WRITES),
            aliases: Mutex::new(None),
        })
    }

    async fn zone_id(&self) -> Result<&Id, Failure> {
        self.id.get_or_try_init(|| self.find_zone()).await
    }

    async fn find_zone(&self) -> Result<Id, Failure> {
        let Some(id) = &self.configured_id else {
            return find_zone(&self.api, self.zone.as_str()).await?.ok_or(Failure::ZoneNotFound);
        };
        match self.api.call(ReadZone { zone: id }).await {
            Ok(zone) if is_inside(self.zone.as_str(), &zone.result.name.to_ascii_lowercase()) => Ok(id.clone()),
            Ok(_) => Err(Failure::ZoneNotFound),
            // DNS:Edit alone does not show the zone, and is enough to write to it.
            Err(Failure::Unauthorized { .. }) => Ok(id.clone()),
            Err(failure) => Err(failure),
        }
    }

    fn contains(&self, name: &str) -> bool {
        is_inside(name, self.zone.as_str())
    }

    fn refused(&self, refusal: &Refusal) -> ProviderError {
        Failure::Refused(refusal.clone()).into_error(&self.zone)
    }

    /// The names in the zone that are CNAMEs: the API would let us write beside them, and say nothing.
    async fn aliases(&self, zone: &Id) -> Result<Arc<HashSet<String>>, Failure> {
        let mut aliases = self.aliases.lock().await;
        if let Some(known) = &*aliases
            && known.read_at.elapsed() < ALIASES_KEPT
        {
            return Ok(Arc::clone(&known.names));
        }
        let query = RecordQuery {
            record_type: Some(RecordType::Cname.as_str()),
            name_ends_with: Some(self.zone.as_str()),
            ..RecordQuery::default()
        };
        // With that many aliases in the zone, ours is not the only use of it, and the guard is not worth their reading.
        let found = listing::few(&self.api, zone, query).await?.unwrap_or_default();
        let names = Arc::new(found.iter().map(Record::owner_name).collect());
        *aliases = Some(Aliases { read_at: Instant::now(), names: Arc::clone(&names) });
        Ok(names)
    }

    /// Looks at each name and decides; the plans that come of it still have to be carried out.
    async fn look(&self, zone: &Id, wanted: &[&Wanted], outcomes: &mut Outcomes) -> Result<Vec<Plan>, Failure> {
        let looks: Vec<_> = wanted.iter().map(|wanted| listing::at(&self.api, zone, &wanted.name)).collect();
        let mut looks = stream::iter(looks).buffered(LOOKS).zip(stream::iter(wanted));
        let mut plans = Vec::new();
        while let Some((found, wanted)) = looks.next().await {
            match wanted.decide(&found?, &self.marker, &self.zone) {
                Decision::Right(applied) => outcomes.tell(wanted.index, Ok(applied)),
                Decision::Wrong(error) => outcomes.tell(wanted.index, Err(error)),
                Decision::Write(plan) => plans.push(plan),
            }
        }
        Ok(plans)
    }

    /// Tells an outcome of every change, or fails and leaves those that it does not know.
    async fn bring_about(&self, wanted: &[Wanted], outcomes: &mut Outcomes) -> Result<(), Failure> {
        if wanted.is_empty() {
            return Ok(());
        }
        let zone = self.zone_id().await?;
        let aliases = if wanted.iter().any(Wanted::is_new) { self.aliases(zone).await? } else { Arc::default() };
        let (mut plans, mut unknown) = (Vec::new(), Vec::new());
        for wanted in wanted {
            match wanted.without_look(&self.marker) {
                Some(plan) if !(wanted.is_new() && aliases.contains(&wanted.name)) => plans.push(plan),
                _ => unknown.push(wanted),
            }
        }
        plans.extend(self.look(zone, &unknown, outcomes).await?);
        let mut surprises = HashSet::new();
        batch::carry_out(self, zone, plans, |index, ending| match ending {
            Ending::Done(applied) => outcomes.tell(index, Ok(applied)),
            Ending::Failed(error) => outcomes.tell(index, Err(error)),
            Ending::Look => drop(surprises.insert(index)),
        })
        .await?;
        let surprised: Vec<_> = wanted.iter().filter(|wanted| surprises.contains(&wanted.index)).collect();
        let plans = self.look(zone, &surprised, outcomes).await?;
        batch::carry_out(self, zone, plans, |index, ending| match ending {
            Ending::Done(applied) => outcomes.tell(index, Ok(applied)),
            Ending::Failed(error) => outcomes.tell(index, Err(error)),
            // Only for plans that nobody looked for.
            Ending::Look => {}
        })
        .await
    }
}

/// What is known of each change so far.
struct Outcomes(Vec<Option<Result<Applied, ProviderError>>>);

impl Outcomes {
    fn tell(&mut self, index: usize, outcome: Result<Applied, ProviderError>) {
        if let Some(place) = self.0.get_mut(index) {
            *place = Some(outcome);
        }
    }
}

/// The id of the zone of this name, the active one if several accounts have it.
async fn find_zone(api: &Api, name: &str) -> Result<Option<Id>, Failure> {
    let mut zones = api.call(FindZones { name }).await?.result.0;
    zones.retain(|zone| zone.name.eq_ignore_ascii_case(name));
    let active = |zone: &Zone| zone.status.as_deref() == Some("active");
    let at = zones.iter().position(active).unwrap_or(0);
    Ok(zones.into_iter().nth(at).map(|zone| zone.id))
}

/// Both lower-case and without the trailing dot.
fn is_inside(name: &str, zone: &str) -> bool {
    name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[async_trait]
impl ZoneProvider for Cloudflare {
    fn zone(&self) -> &ZoneName {
        &self.zone
    }

    fn kind(&self) -> &'static str {
        "cloudflare"
    }

    fn batch_size(&self) -> usize {
        self.batch
    }

    /// Whether the token may also write is not told by anything but a write.
    async fn check(&self) -> Result<(), ProviderError> {
        let looked = async { listing::at(&self.api, self.zone_id().await?, self.zone.as_str()).await };
        looked.await.map(drop).map_err(|failure| failure.into_error(&self.zone))
    }

    async fn read(&self, name: &str, record_type: RecordType) -> Result<Option<Observed>, ProviderError> {
        check_name(name, &self.zone)?;
        let looked = async { listing::at(&self.api, self.zone_id().await?, name).await };
        let found = looked.await.map_err(|failure| failure.into_error(&self.zone))?;
        let set: Vec<_> = found.iter().filter(|record| record.record_type() == Some(record_type)).collect();
        Ok(observed(&set, &self.marker))
    }

    async fn apply(&self, changes: &[RecordChange]) -> Result<Vec<Result<Applied, ProviderError>>, ProviderError> {
        let mut outcomes = Outcomes(changes.iter().map(|_| None).collect());
        let mut wanted = Vec::with_capacity(changes.len());
        for (index, change) in changes.iter().enumerate() {
            match Wanted::of(index, change, &self.zone) {
                Ok(change) => wanted.push(change),
                Err(error) => outcomes.tell(index, Err(error)),
            }
        }
        let failure = self.bring_about(&wanted, &mut outcomes).await.err();
        if let Some(failure) = &failure
            && wanted.iter().all(|wanted| outcomes.0.get(wanted.index).is_none_or(Option::is_none))
        {
            return Err(failure.of_zone(self.zone.as_str()));
        }
        let untold = || {
            let lost = || Failure::unavailable(failure::CallError::Other("the change was not carried out"));
            failure.clone().unwrap_or_else(lost).into_error(&self.zone)
        };
        Ok(outcomes.0.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(untold()))).collect())
    }

    fn list(&self) -> BoxStream<'_, Result<Observed, ProviderError>> {
        listing::all(self)
    }

    fn authoritative(&self) -> Vec<SocketAddr> {
        self.servers.clone()
    }
}
