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
    fn own_sets(&self, name: &str) -> Vec<DesiredSet> {
        let set = |record_type, data, settled| DesiredSet { name: name.to_owned(), record_type, data, settled };
        let known = self.own.iter().filter(|((own, _), _)| own == name);
        let mut sets: Vec<_> =
            known.filter_map(|((_, record_type), data)| Some(set(*record_type, data.clone()?, true))).collect();
        if name == wildcard(&self.lease.zone) {
            let unknown = TYPES.into_iter().filter(|of| !self.own.contains_key(&(name.to_owned(), *of)));
            sets.extend(unknown.map(|of| set(of, RecordData { ttl: 0, values: Vec::new() }, false)));
        }
        sets
    }
}

#[async_trait]
impl Desired for Wanted<'_> {
    async fn at(&self, names: &[String]) -> Result<Vec<DesiredSet>, BoxError> {
        let found = answered(self.store.wanted_at(self.lease, names)).await?;
        let mut sets: Vec<_> = found.into_iter().filter_map(desired).collect();
        sets.extend(names.iter().flat_map(|name| self.own_sets(name)));
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
