//! How many calls to the outside run at once, so that slow name servers of one tenant hold up nobody else.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mtasts_model::TenantId;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::problem::{Problem, ProblemKind};

const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Places for calls, in all and per tenant. Nobody waits for a place: to be told so is better than to hold a connection.
#[derive(Debug)]
pub(crate) struct Places {
    all: Semaphore,
    per_tenant: usize,
    taken: Mutex<HashMap<TenantId, usize>>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    places: &'a Places,
    tenant: TenantId,
    _permit: SemaphorePermit<'a>,
}

impl Places {
    pub(crate) fn new(all: usize, per_tenant: usize) -> Self {
        Self { all: Semaphore::new(all.min(Semaphore::MAX_PERMITS)), per_tenant, taken: Mutex::default() }
    }

    /// Takes a place, or says that there is none.
    pub(crate) fn take(&self, tenant: TenantId) -> Result<Place<'_>, Problem> {
        let busy = |whose: &str| {
            let detail = format!("The calls to DNS providers that {whose} may make at the same time are all under way");
            Problem::new(ProblemKind::DnsCallsBusy, detail).retry_after(RETRY_AFTER)
        };
        let mut taken = self.taken();
        let count = taken.get(&tenant).copied().unwrap_or(0);
        if count >= self.per_tenant {
            return Err(busy("one tenant"));
        }
        let permit = self.all.try_acquire().map_err(|_| busy("all tenants together"))?;
        taken.insert(tenant, count + 1);
        Ok(Place { places: self, tenant, _permit: permit })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<TenantId, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        match taken.get_mut(&self.tenant) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.tenant)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(number: u128) -> TenantId {
        TenantId::from_uuid(uuid::Uuid::from_u128(number))
    }

    #[test]
    fn one_tenant_cannot_take_all_places_and_places_come_back() {
        let places = Places::new(3, 2);
        let first = places.take(tenant(1)).unwrap();
        let second = places.take(tenant(1)).unwrap();
        assert_eq!(places.take(tenant(1)).unwrap_err().kind(), ProblemKind::DnsCallsBusy);
        let other = places.take(tenant(2)).unwrap();
        assert!(places.take(tenant(3)).is_err(), "all are taken");
        drop((first, other));
        let _third = places.take(tenant(3)).unwrap();
        let _again = places.take(tenant(1)).unwrap();
        drop(second);
        assert_eq!(places.taken().len(), 2, "nothing is left of tenants without calls");
    }
}
