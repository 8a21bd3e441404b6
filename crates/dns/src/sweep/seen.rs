//! Which sets were observed, in eight bytes each.

use std::hash::{BuildHasher, RandomState};

use mtasts_model::feed::RecordType;

/// Grows while the zone is listed.
pub(super) struct Seen {
    key: RandomState,
    hashes: Vec<u64>,
}

/// For looking up. A set that was not seen is taken for one that was with a chance of one in 2^64 for each observed set;
/// the key is drawn anew for each sweep, so neither bad luck nor a stranger's choice of names lasts.
pub(super) struct SeenSet {
    key: RandomState,
    hashes: Vec<u64>,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self { key: RandomState::new(), hashes: Vec::new() }
    }

    pub(super) fn insert(&mut self, name: &str, record_type: RecordType) {
        self.hashes.push(self.key.hash_one((name, record_type)));
    }

    pub(super) fn sorted(mut self) -> SeenSet {
        self.hashes.sort_unstable();
        SeenSet { key: self.key, hashes: self.hashes }
    }
}

impl SeenSet {
    pub(super) fn contains(&self, name: &str, record_type: RecordType) -> bool {
        self.hashes.binary_search(&self.key.hash_one((name, record_type))).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_known_by_name_and_type() {
        let mut seen = Seen::new();
        for number in 0..1_000 {
            seen.insert(&format!("n{number}.test"), RecordType::Txt);
        }
        let seen = seen.sorted();
        for number in 0..1_000 {
            assert!(seen.contains(&format!("n{number}.test"), RecordType::Txt));
            assert!(!seen.contains(&format!("n{number}.test"), RecordType::A));
            assert!(!seen.contains(&format!("m{number}.test"), RecordType::Txt));
        }
    }
}
