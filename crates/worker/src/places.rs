//! Places: how many domains are worked on at once, how many of them by one tenant, and how many by looks at MX hosts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mtasts_model::TenantId;
use mtasts_store::Shares;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A worker's places.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    all: u32,
    /// What strangers' hosts can draw out for long has few places of its own, so that it never takes all.
    probes: Arc<Semaphore>,
    /// … and one tenant's hosts never take all of those.
    most_probes: u32,
    held: Mutex<HashMap<TenantId, u32>>,
    probing: Mutex<HashMap<TenantId, u32>>,
}

impl Places {
    pub(crate) fn new(concurrency: usize, probe_concurrency: usize) -> Arc<Self> {
        let concurrency = concurrency.clamp(1, Semaphore::MAX_PERMITS);
        let probe_concurrency = probe_concurrency.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            free: Arc::new(Semaphore::new(concurrency)),
            all: u32::try_from(concurrency).unwrap_or(u32::MAX),
            probes: Arc::new(Semaphore::new(probe_concurrency)),
            most_probes: u32::try_from(probe_concurrency / 2).unwrap_or(u32::MAX).max(1),
            held: Mutex::default(),
            probing: Mutex::default(),
        })
    }

    pub(crate) fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Half of all for each tenant, rounded up, when others wait.
    pub(crate) fn shares(&self) -> Shares {
        Shares { most: self.all.div_ceil(2), held: lock(&self.held).clone() }
    }

    /// None when all are taken.
    pub(crate) fn take(self: &Arc<Self>, tenant: TenantId) -> Option<Place> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        *lock(&self.held).entry(tenant).or_default() += 1;
        Some(Place { places: Arc::clone(self), tenant, _permit: permit })
    }
}

/// A place; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    tenant: TenantId,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// A place among the looks at MX hosts; None when all are taken, or the tenant has half of them.
    pub(crate) fn probe(&self) -> Option<ProbePlace> {
        let mut probing = lock(&self.places.probing);
        if probing.get(&self.tenant).is_some_and(|count| *count >= self.places.most_probes) {
            return None;
        }
        let permit = Arc::clone(&self.places.probes).try_acquire_owned().ok()?;
        *probing.entry(self.tenant).or_default() += 1;
        Some(ProbePlace { places: Arc::clone(&self.places), tenant: self.tenant, _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        give_back(&self.places.held, self.tenant);
    }
}

/// A place among the looks at MX hosts; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct ProbePlace {
    places: Arc<Places>,
    tenant: TenantId,
    _permit: OwnedSemaphorePermit,
}

impl Drop for ProbePlace {
    fn drop(&mut self) {
        give_back(&self.places.probing, self.tenant);
    }
}

fn lock(counts: &Mutex<HashMap<TenantId, u32>>) -> MutexGuard<'_, HashMap<TenantId, u32>> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

fn give_back(counts: &Mutex<HashMap<TenantId, u32>>, tenant: TenantId) {
    let mut counts = lock(counts);
    if let Some(count) = counts.get_mut(&tenant) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use mtasts_model::{
        Clock,
        clock::{ManualClock, SeededEntropy},
    };

    use super::*;

    #[test]
    fn one_tenant_gets_half_of_the_looks_at_mx_hosts() {
        let (now, entropy) = (ManualClock::default().now(), SeededEntropy::new(1));
        let (one, other) = (TenantId::draw(now, &entropy), TenantId::draw(now, &entropy));
        let places = Places::new(8, 2);
        let (first, second) = (places.take(one).unwrap(), places.take(one).unwrap());
        let probe = first.probe().unwrap();
        assert!(second.probe().is_none());
        let others = places.take(other).unwrap();
        assert!(others.probe().is_some());
        drop(probe);
        assert!(second.probe().is_some());
    }

    #[test]
    fn places_are_counted_by_tenant_and_given_back() {
        let tenant = TenantId::draw(ManualClock::default().now(), &SeededEntropy::new(1));
        let places = Places::new(3, 1);
        let (first, second) = (places.take(tenant).unwrap(), places.take(tenant).unwrap());
        assert_eq!(places.shares(), Shares { most: 2, held: HashMap::from([(tenant, 2)]) });
        let third = places.take(tenant).unwrap();
        assert!(places.take(tenant).is_none());
        let probe = first.probe().unwrap();
        assert!(second.probe().is_none(), "looks at MX hosts have one place in all");
        drop(probe);
        assert!(second.probe().is_some());
        drop((first, second, third));
        assert_eq!((places.shares().held.len(), places.free()), (0, 3));
    }
}
