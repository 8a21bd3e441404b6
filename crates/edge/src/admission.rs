//! Caps on connections: all together, and per address.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;

const SHARDS: usize = 64;

/// Counts connections. The per-address maps hold only addresses that have a connection now.
pub(crate) struct Admission {
    open: AtomicUsize,
    max: usize,
    max_per_address: usize,
    shards: [Mutex<HashMap<u64, u32>>; SHARDS],
    hasher: RandomState,
}

/// A place among all connections. Gives it back when dropped.
pub(crate) struct Place(Arc<Admission>);

/// A place among the connections of one address. Gives it back when dropped.
pub(crate) struct AddressPlace(Arc<Admission>, u64);

impl Admission {
    pub(crate) fn new(max: usize, max_per_address: usize) -> Self {
        Self {
            open: AtomicUsize::new(0),
            max,
            max_per_address,
            shards: std::array::from_fn(|_| Mutex::new(HashMap::new())),
            hasher: RandomState::new(),
        }
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// `None` when all places are taken.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Place> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.max {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Place(Arc::clone(self)))
    }

    /// `None` when this address (IPv6: its /64, which is what one customer of a provider gets) has all of its places.
    pub(crate) fn enter_from(self: &Arc<Self>, address: IpAddr) -> Option<AddressPlace> {
        let key = match address.to_canonical() {
            IpAddr::V4(v4) => u64::from(v4.to_bits()),
            IpAddr::V6(v6) => u64::try_from(v6.to_bits() >> 64).unwrap_or(0),
        };
        let mut shard = self.shard(key).lock();
        let count = shard.entry(key).or_insert(0);
        if *count as usize >= self.max_per_address {
            return None;
        }
        *count += 1;
        drop(shard);
        Some(AddressPlace(Arc::clone(self), key))
    }

    fn shard(&self, key: u64) -> &Mutex<HashMap<u64, u32>> {
        let index = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        &self.shards[index]
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut shard = self.0.shard(self.1).lock();
        if let Some(count) = shard.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_capped_and_given_back() {
        let admission = Arc::new(Admission::new(2, 1));
        let first = admission.enter().unwrap();
        let _second = admission.enter().unwrap();
        assert!(admission.enter().is_none());
        drop(first);
        assert!(admission.enter().is_some());
    }

    #[test]
    fn an_ipv6_network_of_64_bits_counts_as_one_address() {
        let admission = Arc::new(Admission::new(10, 1));
        let held = admission.enter_from("2001:db8::1".parse().unwrap()).unwrap();
        assert!(admission.enter_from("2001:db8::2".parse().unwrap()).is_none());
        assert!(admission.enter_from("2001:db8:0:1::1".parse().unwrap()).is_some());
        assert!(admission.enter_from("192.0.2.1".parse().unwrap()).is_some());
        drop(held);
        assert!(admission.enter_from("2001:db8::2".parse().unwrap()).is_some());
        assert!(admission.shards.iter().all(|shard| shard.lock().is_empty()));
    }
}
