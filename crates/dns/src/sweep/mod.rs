//! Desired against observed, for all records of a zone, and the repair of what differs.
//!
//! A sweep knows no database and keeps no zone in memory: what is observed comes as a stream and is compared in chunks,
//! what is desired comes in pages, and in between eight bytes are kept for each observed set. Everything that differs is
//! looked at once more before it is repaired, because writes go on meanwhile.

mod repair;
mod seen;

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use mtasts_model::{
    ZoneName,
    feed::{RecordData, RecordType},
};

use self::{
    repair::Suspicion,
    seen::{Seen, SeenSet},
};
use crate::provider::{BoxError, Mark, Observed, ProviderError, ZoneProvider};

/// The sub-trees of the zone in which every set is the service's, if it carries its marker.
const SUBTREES: [&str; 4] = ["_mta-sts", "_smtp-tls", "acme", "edge"];

/// Up to that many sets, a mass removal is believed.
const MANY: u64 = 100;

/// What a zone shall hold.
#[async_trait]
pub trait Desired: Send + Sync {
    /// The wanted sets among these names (all types of each), as of one moment.
    async fn at(&self, names: &[String]) -> Result<Vec<DesiredSet>, BoxError>;

    /// Wanted sets after this name and type (from the first one, if `None`), in any order that stays the same, at most
    /// `limit`; none at the end.
    async fn after(&self, after: Option<(&str, RecordType)>, limit: u32) -> Result<Vec<DesiredSet>, BoxError>;
}

/// One record set that the zone shall hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredSet {
    /// Owner name, absolute, lower-case, without the trailing dot.
    pub name: String,
    /// Its type.
    pub record_type: RecordType,
    /// TTL and values.
    pub data: RecordData,
    /// It was handed over to the provider, so that a difference is drift and not a write under way.
    pub settled: bool,
}

/// How much is held and done at once.
#[derive(Debug, Clone, Copy)]
pub struct SweepLimits {
    /// Observed sets that are compared at a time.
    pub chunk: usize,
    /// Desired sets that are asked for at a time.
    pub page: u32,
    /// Sets found to be different or surplus that are remembered until the listing is at its end. What is more is left
    /// to the next sweep.
    pub gathered: usize,
    /// When more sets of one batch than that seem to differ, they are not read one by one before the repair:
    /// [`ZoneProvider::apply`] looks as well.
    pub looks: usize,
    /// Conflicts that are told in full.
    pub conflicts: usize,
}

impl Default for SweepLimits {
    fn default() -> Self {
        Self { chunk: 1_000, page: 1_000, gathered: 50_000, looks: 100, conflicts: 20 }
    }
}

/// What a sweep found and did. All are numbers of record sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// In the provider's listing, strangers' included.
    pub observed: u64,
    /// Wanted, those not yet settled included.
    pub desired: u64,
    /// Settled, and not there.
    pub missing: u64,
    /// Settled, and there with other values, or with the right ones but without our marker.
    pub different: u64,
    /// There, ours, and not wanted.
    pub surplus: u64,
    /// Strangers' within our sub-trees or in place of wanted ones, and wanted ones that a stranger's of another type keeps
    /// out. Left alone.
    pub foreign: u64,
    /// Of the missing, different and surplus ones: put right.
    pub repaired: u64,
    /// Of the missing, different and surplus ones: not put right.
    pub failed: u64,
    /// Seemingly different or surplus, beyond [`SweepLimits::gathered`]: a further sweep is due at once.
    pub postponed: u64,
    /// Seemingly surplus, and left because it is too much to be believed (see [`sweep`]).
    pub held_back: u64,
    /// The first of the foreign sets that are in the way of wanted ones.
    pub conflicts: Vec<SweepConflict>,
}

/// A stranger's set in the way of a wanted one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepConflict {
    /// The name.
    pub name: String,
    /// The wanted set's type.
    pub record_type: RecordType,
    /// The wanted values, in one line.
    pub wanted: String,
    /// What stands there, in one line.
    pub found: String,
}

/// Why a sweep did not come to its end. The next one begins anew; nothing has to be undone.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The provider failed as a whole.
    #[error("the sweep of the zone was cut short by its provider")]
    Provider {
        /// How.
        #[source]
        source: ProviderError,
        /// What was found and done before.
        report: Box<SweepReport>,
    },
    /// It could not be told what is desired.
    #[error("the sweep of the zone was cut short: what is desired cannot be read")]
    Desired {
        /// Why.
        #[source]
        source: BoxError,
        /// What was found and done before.
        report: Box<SweepReport>,
    },
}

/// Why a sweep stops.
enum Stop {
    Provider(ProviderError),
    Desired(BoxError),
}

impl From<ProviderError> for Stop {
    fn from(error: ProviderError) -> Self {
        Self::Provider(error)
    }
}

type Key = (String, RecordType);

/// Compares and repairs one zone.
///
/// Wanted sets that are missing or different are written, in batches and by [`ZoneProvider::apply`] alone. Sets that
/// nobody wants are removed only where they carry our marker, and beneath the sub-trees of the service. Nothing at all is
/// removed when more than 100 sets are desired and the listing had less than half of them, nor when more than 100 seem
/// surplus and they outnumber the wanted ones that were observed: neither a broken listing nor a database that tells of
/// nothing desired shall empty a zone.
///
/// Not for a provider that has nothing to list because nobody else can write ([`crate::providers::Embedded`]).
pub async fn sweep(
    provider: &dyn ZoneProvider,
    desired: &dyn Desired,
    limits: SweepLimits,
) -> Result<SweepReport, SweepError> {
    let mut sweep = Sweep { provider, desired, limits, report: SweepReport::default() };
    let outcome = sweep.run().await;
    let report = sweep.report;
    match outcome {
        Ok(()) => Ok(report),
        Err(Stop::Provider(source)) => Err(SweepError::Provider { source, report: Box::new(report) }),
        Err(Stop::Desired(source)) => Err(SweepError::Desired { source, report: Box::new(report) }),
    }
}

struct Sweep<'a> {
    provider: &'a dyn ZoneProvider,
    desired: &'a dyn Desired,
    limits: SweepLimits,
    report: SweepReport,
}

/// What seems to be wrong with observed sets.
#[derive(Default)]
struct Gathered {
    different: Vec<Key>,
    surplus: Vec<Key>,
    /// Observed sets that are wanted.
    wanted_seen: u64,
    /// Observed sets that seem surplus, the postponed ones included.
    surplus_seen: u64,
}

impl Sweep<'_> {
    async fn run(&mut self) -> Result<(), Stop> {
        // Nothing is repaired while the listing is read: servers do not wait for slow readers.
        let (seen, gathered) = self.compare_all().await?;
        self.repair(gathered.different, Suspicion::Different).await?;
        let most_were_there = self.find_missing(&seen).await?;
        drop(seen);
        let most_are_wanted = gathered.surplus_seen <= MANY || gathered.surplus_seen <= gathered.wanted_seen;
        if most_were_there && most_are_wanted {
            self.repair(gathered.surplus, Suspicion::Surplus).await
        } else {
            self.report.held_back = gathered.surplus.len() as u64;
            tracing::warn!(
                zone = %self.provider.zone(),
                held_back = self.report.held_back,
                most_were_there,
                most_are_wanted,
                "what is observed and what is desired have too little in common: nothing is removed this time"
            );
            Ok(())
        }
    }

    /// Pass 1: everything that is observed.
    async fn compare_all(&mut self) -> Result<(SeenSet, Gathered), Stop> {
        let (mut seen, mut gathered) = (Seen::new(), Gathered::default());
        let size = self.limits.chunk.max(1);
        let mut chunk = Vec::with_capacity(size);
        let mut listing = self.provider.list();
        while let Some(set) = listing.try_next().await? {
            seen.insert(&set.name, set.record_type);
            chunk.push(set);
            if chunk.len() == size {
                self.compare(&mut chunk, &mut gathered).await?;
            }
        }
        self.compare(&mut chunk, &mut gathered).await?;
        Ok((seen.sorted(), gathered))
    }

    /// Compares and empties a chunk.
    async fn compare(&mut self, chunk: &mut Vec<Observed>, gathered: &mut Gathered) -> Result<(), Stop> {
        if chunk.is_empty() {
            return Ok(());
        }
        let wanted = self.wanted(chunk.iter().map(|set| &set.name)).await?;
        let zone = self.provider.zone();
        for Observed { name, record_type, data, mark, .. } in chunk.drain(..) {
            self.report.observed += 1;
            let is_beneath = is_beneath_our_subtrees(&name, zone);
            let key = (name, record_type);
            let wanted = wanted.get(&key);
            gathered.wanted_seen += u64::from(wanted.is_some());
            let suspects = match wanted {
                Some(wanted) if !wanted.settled => continue,
                Some(wanted) if mark != Mark::NotOurs && data.same_values(&wanted.data) => continue,
                Some(_) => &mut gathered.different,
                None if !is_beneath => continue,
                None if mark == Mark::NotOurs => {
                    self.report.foreign += 1;
                    continue;
                }
                None => {
                    gathered.surplus_seen += 1;
                    &mut gathered.surplus
                }
            };
            suspects.push(key);
            if gathered.different.len() + gathered.surplus.len() > self.limits.gathered {
                self.report.postponed += 1;
                // A removal can wait; a wrong value cannot.
                if gathered.surplus.pop().is_none() {
                    gathered.different.pop();
                }
            }
        }
        Ok(())
    }

    /// Pass 2: everything that is desired. Whether at least half of it was observed.
    async fn find_missing(&mut self, seen: &SeenSet) -> Result<bool, Stop> {
        let (mut settled, mut absent) = (0_u64, 0_u64);
        let mut last: Option<Key> = None;
        loop {
            let after = last.as_ref().map(|(name, record_type)| (name.as_str(), *record_type));
            let page = self.desired.after(after, self.limits.page.max(1)).await.map_err(Stop::Desired)?;
            let Some(end) = page.last().map(|set| (set.name.clone(), set.record_type)) else { break };
            if last.as_ref() == Some(&end) {
                return Err(Stop::Desired("a page of what is desired ends where the one before did".into()));
            }
            last = Some(end);
            self.report.desired += page.len() as u64;
            let mut missing = Vec::new();
            for set in page.into_iter().filter(|set| set.settled) {
                settled += 1;
                if !seen.contains(&set.name, set.record_type) {
                    missing.push((set.name, set.record_type));
                }
            }
            absent += missing.len() as u64;
            self.repair(missing, Suspicion::Missing).await?;
        }
        Ok(settled <= MANY || (settled - absent) * 2 >= settled)
    }

    /// What is wanted at these names.
    async fn wanted(&self, names: impl Iterator<Item = &String>) -> Result<HashMap<Key, DesiredSet>, Stop> {
        let names: HashSet<&String> = names.collect();
        let names: Vec<String> = names.into_iter().cloned().collect();
        let sets = self.desired.at(&names).await.map_err(Stop::Desired)?;
        Ok(sets.into_iter().map(|set| ((set.name.clone(), set.record_type), set)).collect())
    }
}

fn is_beneath_our_subtrees(name: &str, zone: &ZoneName) -> bool {
    let Some(inner) = name.strip_suffix(zone.as_str()).and_then(|name| name.strip_suffix('.')) else { return false };
    SUBTREES
        .iter()
        .any(|subtree| inner.strip_suffix(subtree).is_some_and(|label| label.len() > 1 && label.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_beneath_our_subtrees_of_the_zone_can_be_surplus() {
        let zone: ZoneName = "sts.test".parse().unwrap();
        for ours in
            ["a._mta-sts.sts.test", "a._smtp-tls.sts.test", "a.acme.sts.test", "*.edge.sts.test", "a.b.edge.sts.test"]
        {
            assert!(is_beneath_our_subtrees(ours, &zone), "{ours}");
        }
        for other in [
            "sts.test",
            "www.sts.test",
            "_mta-sts.sts.test",
            "x_mta-sts.sts.test",
            "acme.sts.test",
            ".acme.sts.test",
            "a.acme.www.sts.test",
            "a.acme.notsts.test",
            "a.acme.sts.test.example",
        ] {
            assert!(!is_beneath_our_subtrees(other, &zone), "{other}");
        }
    }
}
