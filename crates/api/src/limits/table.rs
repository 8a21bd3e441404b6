//! Token buckets in this process, in a table of a fixed size.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mtasts_store::{LimitBucket, Quota, Taken};

/// Slots that can hold one bucket: where all are in use, the one closest to full is forgotten, which forgives least.
const WAYS: usize = 8;

/// One bucket.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    tag: u64,
    /// Microseconds since the start; what lies behind is a full bucket, and the slot is free.
    full_at: u64,
}

/// What a bucket is kept under. Two buckets with the same 64 bits, of a hash with a secret key, would share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(u64);

/// Times are counted from any fixed moment, and come from a clock that never goes back.
pub(super) struct Table {
    /// One lock, held for a few comparisons: all buckets of a call are taken from together.
    slots: Mutex<Box<[[Slot; WAYS]]>>,
    /// Keyed, so that nobody can choose names that share a set.
    hasher: RandomState,
}

impl Table {
    /// For so many buckets, rounded up; 16 octets each, taken at once.
    pub(super) fn new(buckets: usize) -> Self {
        let sets = buckets.div_ceil(WAYS).max(1);
        Self { slots: Mutex::new(vec![[Slot::default(); WAYS]; sets].into()), hasher: RandomState::new() }
    }

    pub(super) fn tag(&self, name: impl Hash) -> Tag {
        Tag(self.hasher.hash_one(name))
    }

    /// Buckets as [`Self::take`] wants them.
    pub(super) fn tags<'a>(&self, buckets: impl IntoIterator<Item = &'a LimitBucket>) -> Vec<(Tag, Quota)> {
        buckets.into_iter().map(|bucket| (self.tag(&bucket.name), bucket.quota)).collect()
    }

    /// Takes a token from each bucket, or none from any.
    pub(super) fn take(&self, buckets: &[(Tag, Quota)], now: Duration) -> Taken {
        let mut sets = self.lock();
        let drained = buckets.iter().map(|(tag, quota)| until_full(&sets, *tag, now).min(quota.refill()));
        let before: Vec<_> = drained.collect();
        let after: Option<Vec<_>> =
            buckets.iter().zip(&before).map(|((_, quota), until_full)| quota.take(*until_full)).collect();
        let Some(after) = after else { return Taken { allowed: false, until_full: before } };
        for ((tag, _), until_full) in buckets.iter().zip(&after) {
            put(&mut sets, *tag, now + *until_full, now);
        }
        Taken { allowed: true, until_full: after }
    }

    /// Gives back a token.
    pub(super) fn give_back(&self, tag: Tag, quota: Quota, now: Duration) {
        let mut sets = self.lock();
        let left = until_full(&sets, tag, now).saturating_sub(quota.interval());
        put(&mut sets, tag, now + left, now);
    }

    /// Drains a bucket so far that it is not full before this.
    pub(super) fn drain(&self, tag: Tag, until: Duration, now: Duration) {
        let mut sets = self.lock();
        let until = until.max(now + until_full(&sets, tag, now));
        put(&mut sets, tag, until, now);
    }

    /// Whether this bucket is in the table and not full.
    pub(super) fn is_drained(&self, tag: Tag, now: Duration) -> bool {
        !until_full(&self.lock(), tag, now).is_zero()
    }

    /// Fills a bucket.
    pub(super) fn forget(&self, tag: Tag, now: Duration) {
        put(&mut self.lock(), tag, now, now);
    }

    fn lock(&self) -> MutexGuard<'_, Box<[[Slot; WAYS]]>> {
        // Whoever panicked left slots that are sound one by one.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The set of a tag.
fn place(sets: &[[Slot; WAYS]], tag: Tag) -> usize {
    usize::try_from(tag.0 % sets.len().max(1) as u64).unwrap_or(0)
}

fn until_full(sets: &[[Slot; WAYS]], tag: Tag, now: Duration) -> Duration {
    let slot = sets.get(place(sets, tag)).and_then(|set| set.iter().find(|slot| slot.tag == tag.0));
    Duration::from_micros(slot.map_or(0, |slot| slot.full_at)).saturating_sub(now)
}

fn put(sets: &mut [[Slot; WAYS]], tag: Tag, full_at: Duration, now: Duration) {
    let place = place(sets, tag);
    let Some(set) = sets.get_mut(place) else { return };
    let now = micros(now);
    let own = set.iter().position(|slot| slot.tag == tag.0);
    let slot = match own {
        Some(own) => set.get_mut(own),
        None => set.iter_mut().min_by_key(|slot| slot.full_at.max(now)),
    };
    if let Some(slot) = slot {
        *slot = Slot { tag: tag.0, full_at: micros(full_at) };
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn quota(burst: u32) -> Quota {
        Quota::per_minute(60, burst).unwrap()
    }

    #[test]
    fn a_bucket_empties_and_refills_with_time() {
        let table = Table::new(64);
        let bucket = [(table.tag("a"), quota(2))];
        let mut now = 5 * SECOND;
        assert!(table.take(&bucket, now).allowed);
        assert_eq!(table.take(&bucket, now), Taken { allowed: true, until_full: vec![2 * SECOND] });
        assert_eq!(table.take(&bucket, now), Taken { allowed: false, until_full: vec![2 * SECOND] });
        now += SECOND;
        assert!(table.take(&bucket, now).allowed && !table.take(&bucket, now).allowed);
        now += 60 * SECOND;
        assert_eq!(table.take(&bucket, now), Taken { allowed: true, until_full: vec![SECOND] });
    }

    #[test]
    fn where_one_bucket_is_empty_nothing_is_taken_from_the_others() {
        let table = Table::new(64);
        let (narrow, wide) = ((table.tag("narrow"), quota(1)), (table.tag("wide"), quota(10)));
        assert!(table.take(&[narrow, wide], SECOND).allowed);
        for _ in 0..5 {
            let refused = table.take(&[narrow, wide], SECOND);
            assert_eq!(refused, Taken { allowed: false, until_full: vec![SECOND, SECOND] });
        }
        assert!(table.take(&[wide], SECOND).allowed);
    }

    #[test]
    fn tokens_are_given_back_and_drained() {
        let table = Table::new(64);
        let tag = table.tag("a");
        assert!(table.take(&[(tag, quota(1))], SECOND).allowed);
        assert!(table.is_drained(tag, SECOND));
        table.give_back(tag, quota(1), SECOND);
        assert!(!table.is_drained(tag, SECOND));
        table.drain(tag, 3 * SECOND, SECOND);
        table.drain(tag, 2 * SECOND, SECOND);
        assert!(table.is_drained(tag, Duration::from_micros(2_999_999)) && !table.is_drained(tag, 3 * SECOND));
        table.drain(tag, 9 * SECOND, SECOND);
        table.forget(tag, SECOND);
        assert!(table.take(&[(tag, quota(1))], SECOND).allowed);
    }

    #[test]
    fn a_million_distinct_names_take_no_more_memory_and_free_nobody_who_is_empty() {
        let table = Table::new(4096);
        let size = |table: &Table| std::mem::size_of_val(&**table.lock());
        let before = size(&table);
        let greedy = (table.tag("greedy"), quota(20));
        while table.take(&[greedy], SECOND).allowed {}
        for name in 0..1_000_000_u32 {
            assert!(table.take(&[(table.tag(name), quota(20))], SECOND).allowed);
        }
        assert_eq!((size(&table), before), (4096 * 16, 4096 * 16));
        assert!(!table.take(&[greedy], SECOND).allowed, "it is the fullest that are forgotten");
    }
}
