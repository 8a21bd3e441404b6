//! What a sweep compares a zone with: the store's record sets, and the zone's own.

use async_trait::async_trait;
use mtasts_dns::{
    provider::BoxError,
    sweep::{Desired, DesiredSet},
};
use mtasts_model::feed::{RecordData, RecordType};
use mtasts_store::{HostingLease, Store, WantedSet};

use super::infrastructure::{OwnSets, TYPES, wildcard};
use crate::deadline::answered;

pub(super) struct Wanted<'a> {
    pub(super) store: &'a Store,
    pub(super) lease: &'a HostingLease,
    /// The zone's own sets, as far as they are known.
    pub(super) own: OwnSets,
}

impl Wanted<'_> {
    /// What is not known is not judged.
    fn own_sets(&self, name: &str) -> impl Iterator<Item = DesiredSet> {
        TYPES.into_iter().filter_map(move |record_type| {
            let set = |data, settled| DesiredSet { name: name.to_owned(), record_type, data, settled };
            match self.own.get(&record_type) {
                Some(Some(data)) => Some(set(data.clone(), true)),
                Some(None) => None,
                None => Some(set(RecordData { ttl: 0, values: Vec::new() }, false)),
            }
        })
    }
}

#[async_trait]
impl Desired for Wanted<'_> {
    async fn at(&self, names: &[String]) -> Result<Vec<DesiredSet>, BoxError> {
        let found = answered(self.store.wanted_at(self.lease, names)).await?;
        let mut sets: Vec<_> = found.into_iter().filter_map(desired).collect();
        let own = wildcard(&self.lease.zone);
        if names.contains(&own) {
            sets.extend(self.own_sets(&own));
        }
        Ok(sets)
    }

    async fn after(&self, after: Option<(&str, RecordType)>, limit: u32) -> Result<Vec<DesiredSet>, BoxError> {
        let found = answered(self.store.wanted_after(self.lease, after, limit)).await?;
        Ok(found.into_iter().filter_map(desired).collect())
    }
}

/// A set that is to be absent is not wanted; while its removal is under way the provider may still have it, and to
/// remove it twice harms nobody.
fn desired(wanted: WantedSet) -> Option<DesiredSet> {
    let WantedSet { name, record_type, set, settled } = wanted;
    set.map(|data| DesiredSet { name, record_type, data, settled })
}
