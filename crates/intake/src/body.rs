//! What is being received, in memory, under one budget for all.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;

/// The least that a body takes out of the budget, and by what it grows at first.
const FIRST: usize = 16 << 10;

/// Octets that may be held at the same time, over all connections.
#[derive(Debug)]
pub(crate) struct Budget {
    max: usize,
    used: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, used: AtomicUsize::new(0) })
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, octets: usize) -> bool {
        let more = |used: usize| used.checked_add(octets).filter(|used| *used <= self.max);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

/// Part of the budget. Gives it back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<Budget>,
    octets: usize,
}

impl Held {
    fn grow(&mut self, octets: usize) -> bool {
        let taken = self.budget.take(octets);
        if taken {
            self.octets += octets;
        }
        taken
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.octets, Ordering::Relaxed);
    }
}

/// Why a body takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// It has as many octets as one may have.
    TooLarge,
    /// All bodies together have as many as they may have: later there is room again.
    NoRoom,
}

/// A body that grows as it comes in. What it announces costs nothing: only what has come does.
#[derive(Debug)]
pub(crate) struct Body {
    octets: Vec<u8>,
    max: usize,
    held: Held,
}

impl Body {
    pub(crate) fn new(budget: &Arc<Budget>, max: usize) -> Self {
        Self { octets: Vec::new(), max, held: Held { budget: Arc::clone(budget), octets: 0 } }
    }

    pub(crate) fn push(&mut self, more: &[u8]) -> Result<(), Full> {
        let length = self.octets.len() + more.len();
        if length > self.max {
            return Err(Full::TooLarge);
        }
        let capacity = self.octets.capacity();
        if length > capacity {
            let wanted = length.max(capacity * 2).max(FIRST).min(self.max.max(FIRST));
            if !self.held.grow(wanted - capacity) {
                return Err(Full::NoRoom);
            }
            self.octets.reserve_exact(wanted - self.octets.len());
        }
        self.octets.extend_from_slice(more);
        Ok(())
    }

    /// Lets go of what has come: the memory is given back at once.
    pub(crate) fn clear(&mut self) {
        self.octets = Vec::new();
        let mut held = Held { budget: Arc::clone(&self.held.budget), octets: 0 };
        std::mem::swap(&mut held, &mut self.held);
    }

    pub(crate) fn into_parts(self) -> (Bytes, Held) {
        (Bytes::from(self.octets), self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_take_no_more_than_the_budget_and_give_it_back() {
        let budget = Budget::new(100_000);
        let (mut one, mut other) = (Body::new(&budget, 60_000), Body::new(&budget, 60_000));
        assert_eq!(budget.used(), 0, "what has not come costs nothing");
        for _ in 0..60 {
            one.push(&[7; 1_000]).unwrap();
        }
        assert_eq!(one.push(&[7]), Err(Full::TooLarge));
        assert_eq!(budget.used(), 60_000);
        assert!(one.octets.capacity() <= 60_000);
        let mut refused = 0;
        for _ in 0..60 {
            refused += usize::from(other.push(&[7; 1_000]) == Err(Full::NoRoom));
        }
        assert!(refused > 0 && budget.used() <= 100_000);
        other.clear();
        assert_eq!(budget.used(), 60_000);
        let (octets, held) = one.into_parts();
        drop(octets);
        assert_eq!(budget.used(), 60_000, "it counts for as long as it is said to");
        drop(held);
        assert_eq!(budget.used(), 0);
    }
}
