//! The service's zones: where each is hosted, and who writes to it.
//!
//! Domains only say what they want (`want_records`). For each hosting one worker at a time hands that to the provider,
//! in batches and in the order in which it was wanted, so that a provider that is slow or away delays its own zone and
//! nothing else, and ten thousand changes are as few calls as the provider allows.

mod desired;
mod infrastructure;
mod upkeep;
mod writer;

use std::{sync::Arc, time::Duration};

use mtasts_dns::ZoneProvider;
use mtasts_model::{Label, ZoneName, label::Placement};

pub use self::infrastructure::{CaaPolicy, Infrastructure, ReportHost};
pub(crate) use self::writer::Writer;

/// One place where a zone of the service is hosted. A zone that moves to another provider has two for a while.
#[derive(Clone)]
pub struct Hosting {
    /// The operator's name for it: what the store keeps its position under.
    pub id: String,
    /// Who hosts it.
    pub provider: Arc<dyn ZoneProvider>,
    /// False while it is being filled: it is written to like any other, and nobody waits for it.
    pub is_authoritative: bool,
    /// The zone takes no more domains, and those that it has move to others.
    pub is_draining: bool,
}

impl std::fmt::Debug for Hosting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hosting")
            .field("id", &self.id)
            .field("zone", self.provider.zone())
            .field("kind", &self.provider.kind())
            .finish_non_exhaustive()
    }
}

/// All hostings, and what they are to hold besides the domains' records.
#[derive(Debug, Clone)]
pub struct Zones {
    /// Every hosting of every zone.
    pub hostings: Vec<Hosting>,
    /// Where domains of zones that are drained go.
    pub placement: Placement,
    /// Records of the zones' own.
    pub infrastructure: Infrastructure,
    /// How often a zone is compared with what it should hold.
    pub sweep_interval: Duration,
}

impl Zones {
    /// One zone at one provider.
    pub fn one(provider: Arc<dyn ZoneProvider>) -> Self {
        let zone = provider.zone().clone();
        Self {
            hostings: vec![Hosting { id: "main".to_owned(), provider, is_authoritative: true, is_draining: false }],
            placement: Placement::only(zone),
            infrastructure: Infrastructure::default(),
            sweep_interval: Duration::from_mins(10),
        }
    }

    /// The hostings of a zone that must have a record before it counts as published.
    pub(crate) fn authoritative<'a>(&'a self, zone: &'a ZoneName) -> impl Iterator<Item = &'a Hosting> {
        self.hostings.iter().filter(move |hosting| hosting.is_authoritative && hosting.provider.zone() == zone)
    }

    /// The ids of the hostings that somebody writes to, and that are waited for.
    pub(crate) fn gates(&self) -> Vec<String> {
        let gates = |hosting: &&Hosting| hosting.is_authoritative && !hosting.provider.follows_feed();
        self.hostings.iter().filter(gates).map(|hosting| hosting.id.clone()).collect()
    }

    /// The zone of ours that a name is in.
    pub(crate) fn zone_of(&self, name: &str) -> Option<&ZoneName> {
        let name = name.strip_suffix('.').unwrap_or(name);
        self.hostings
            .iter()
            .map(|hosting| hosting.provider.zone())
            .find(|zone| name.strip_suffix(zone.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
    }

    fn next_home(&self, label: &Label) -> ZoneName {
        self.placement.choose(label).clone()
    }
}
