//! The feed's record sets in memory: a million of them, looked up by every query and changed while queries run.
//!
//! Shards under read-write locks: a reader holds one shard for the time of a copy, a writer for one insertion, so
//! neither waits for a page to be applied. One allocation per set (owner and contents together) keeps a set of one
//! policy id near 150 bytes; lock-free maps allocate per node and cost about twice that.

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet, hash_map::RandomState},
    hash::{BuildHasher, Hash, Hasher},
    sync::atomic::{AtomicUsize, Ordering},
};

use hickory_proto::rr::{Name, RData, rdata::TXT};
use mtasts_model::feed::RecordData;
use parking_lot::RwLock;

const SHARDS: usize = 256;

/// An owner name relative to the zone, lower-case, as length-prefixed labels; empty for the apex.
pub(super) type Owner = Vec<u8>;

/// The owner's relative form, or `None` when the name is not in the zone.
pub(super) fn owner_of(name: &Name, origin: &Name) -> Option<Owner> {
    if !origin.zone_of(name) {
        return None;
    }
    let depth = name.iter().count().checked_sub(origin.iter().count())?;
    let mut owner = Owner::with_capacity(64);
    for label in name.iter().take(depth) {
        owner.push(u8::try_from(label.len()).ok()?);
        owner.extend(label.iter().map(u8::to_ascii_lowercase));
    }
    Some(owner)
}

/// The owners above this one, nearest first, without the apex.
pub(super) fn ancestors(owner: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(parent(owner), |above| parent(above)).filter(|above| !above.is_empty())
}

/// The owner without its first label.
pub(super) fn parent(owner: &[u8]) -> Option<&[u8]> {
    let (&length, rest) = owner.split_first()?;
    rest.get(usize::from(length)..)
}

/// The contents of a TXT set as kept in memory and in the replica: TTL, then each record's length and
/// character-strings as on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TextSet(Vec<u8>);

impl TextSet {
    /// Splits each value at 255 octets. Fails when the set is empty or cannot be carried by a message.
    pub(super) fn new(data: &RecordData) -> Result<Self, &'static str> {
        if data.values.is_empty() {
            return Err("the record set has no values");
        }
        if data.ttl > i32::MAX.cast_unsigned() {
            return Err("the TTL is above 2^31 - 1 (RFC 2181 §8)");
        }
        let mut bytes = data.ttl.to_be_bytes().to_vec();
        for value in &data.values {
            let strings: Vec<&[u8]> = if value.is_empty() { vec![b""] } else { value.as_bytes().chunks(255).collect() };
            let length: usize = strings.iter().map(|string| 1 + string.len()).sum();
            bytes.extend(u16::try_from(length).map_err(|_| "a value is longer than a record can be")?.to_be_bytes());
            for string in strings {
                bytes.push(u8::try_from(string.len()).map_err(|_| "a character-string is too long")?);
                bytes.extend_from_slice(string);
            }
        }
        // Room for the header, the question and the owner names.
        if bytes.len() > 60_000 {
            return Err("the record set does not fit into a message");
        }
        Ok(Self(bytes))
    }

    /// Reads what [`Self::as_bytes`] gave. `None` when it is damaged.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        decode(bytes).map(|_| Self(bytes.to_vec()))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// TTL and the records' data.
fn decode(bytes: &[u8]) -> Option<(u32, Vec<RData>)> {
    let (ttl, mut rest) = bytes.split_first_chunk::<4>()?;
    let mut records = Vec::with_capacity(1);
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (mut data, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = after;
        let mut strings = Vec::with_capacity(1);
        while let Some((&length, after)) = data.split_first() {
            let (string, after) = after.split_at_checked(usize::from(length))?;
            strings.push(string);
            data = after;
        }
        if strings.is_empty() {
            return None;
        }
        records.push(RData::TXT(TXT::from_bytes(strings)));
    }
    (!records.is_empty()).then(|| (u32::from_be_bytes(*ttl), records))
}

/// Owner and contents in one allocation, found by the owner.
struct Entry(Box<[u8]>);

impl Entry {
    fn new(owner: &[u8], set: &TextSet) -> Self {
        let mut bytes = Vec::with_capacity(1 + owner.len() + set.0.len());
        // Names have at most 255 octets.
        bytes.push(u8::try_from(owner.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(owner);
        bytes.extend_from_slice(&set.0);
        Self(bytes.into_boxed_slice())
    }

    fn split(&self) -> (&[u8], &[u8]) {
        match self.0.split_first() {
            Some((&length, rest)) => rest.split_at(usize::from(length).min(rest.len())),
            None => (&[], &[]),
        }
    }
}

impl Borrow<[u8]> for Entry {
    fn borrow(&self) -> &[u8] {
        self.split().0
    }
}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.split().0.hash(state);
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.split().0 == other.split().0
    }
}

impl Eq for Entry {}

#[derive(Default)]
struct Shard {
    sets: HashSet<Entry>,
    /// How many owners with a set are beneath each name: what makes it an empty non-terminal (RFC 4592 §2.2.2).
    beneath: HashMap<Box<[u8]>, u32>,
}

/// All record sets that came by the feed. One writer, many readers.
pub(super) struct Records {
    shards: Box<[RwLock<Shard>]>,
    hasher: RandomState,
    count: AtomicUsize,
}

impl Records {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hasher: RandomState::new(),
            count: AtomicUsize::new(0),
        }
    }

    /// How many sets there are.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// TTL and data of the TXT set at this owner.
    pub(super) fn text(&self, owner: &[u8]) -> Option<(u32, Vec<RData>)> {
        let shard = self.shard(owner).read();
        decode(shard.sets.get(owner)?.split().1)
    }

    /// Whether there is a set at this owner or beneath it.
    pub(super) fn exists(&self, owner: &[u8]) -> bool {
        let shard = self.shard(owner).read();
        shard.sets.contains(owner) || shard.beneath.contains_key(owner)
    }

    /// Puts or removes the set of one owner.
    pub(super) fn apply(&self, owner: &[u8], set: Option<&TextSet>) {
        if let Some(set) = set {
            // Ancestors first: a reader must not see the name while its parent does not exist yet.
            let new = !self.shard(owner).read().sets.contains(owner);
            if new {
                for above in ancestors(owner) {
                    *self.shard(above).write().beneath.entry(above.into()).or_default() += 1;
                }
                self.count.fetch_add(1, Ordering::Relaxed);
            }
            self.shard(owner).write().sets.replace(Entry::new(owner, set));
        } else if self.shard(owner).write().sets.remove(owner) {
            self.count.fetch_sub(1, Ordering::Relaxed);
            for above in ancestors(owner) {
                let mut shard = self.shard(above).write();
                if let Some(beneath) = shard.beneath.get_mut(above) {
                    *beneath -= 1;
                    if *beneath == 0 {
                        shard.beneath.remove(above);
                    }
                }
            }
        }
    }

    /// Calls `each` with every owner and its contents, shard by shard; the first error ends it.
    pub(super) fn try_for_each<E>(&self, mut each: impl FnMut(&[u8], &[u8]) -> Result<(), E>) -> Result<(), E> {
        for shard in &self.shards {
            // Copied, so that a slow disk holds up neither queries nor changes.
            let entries: Vec<Box<[u8]>> = shard.read().sets.iter().map(|entry| entry.0.clone()).collect();
            for entry in entries {
                let entry = Entry(entry);
                let (owner, contents) = entry.split();
                each(owner, contents)?;
            }
        }
        Ok(())
    }

    fn shard(&self, owner: &[u8]) -> &RwLock<Shard> {
        let hash = usize::try_from(self.hasher.hash_one(owner) % SHARDS as u64).unwrap_or(0);
        &self.shards[hash]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name;

    fn owner(name: &str) -> Owner {
        owner_of(&name::parse(name).unwrap(), &name::parse("sts.example").unwrap()).unwrap()
    }

    fn set(values: &[&str]) -> TextSet {
        TextSet::new(&RecordData { ttl: 60, values: values.iter().map(|v| (*v).to_owned()).collect() }).unwrap()
    }

    #[test]
    fn an_owner_is_relative_lower_case_and_only_of_the_zone() {
        assert_eq!(owner("A._MTA-STS.sts.Example"), b"\x01a\x08_mta-sts");
        assert_eq!(owner("sts.example"), b"");
        assert_eq!(owner("*.edge.sts.example"), b"\x01*\x04edge");
        let other = name::parse("xsts.example").unwrap();
        assert_eq!(owner_of(&other, &name::parse("sts.example").unwrap()), None);
    }

    #[test]
    fn names_between_exist_exactly_as_long_as_something_is_beneath() {
        let records = Records::new();
        records.apply(&owner("a.b.c.sts.example"), Some(&set(&["x"])));
        records.apply(&owner("a.b.c.sts.example"), Some(&set(&["y"])));
        records.apply(&owner("d.c.sts.example"), Some(&set(&["x"])));
        assert!(records.exists(&owner("b.c.sts.example")) && records.exists(&owner("c.sts.example")));
        records.apply(&owner("a.b.c.sts.example"), None);
        records.apply(&owner("a.b.c.sts.example"), None);
        assert!(!records.exists(&owner("b.c.sts.example")) && records.exists(&owner("c.sts.example")));
        records.apply(&owner("d.c.sts.example"), None);
        assert!(!records.exists(&owner("c.sts.example")));
        assert_eq!(records.len(), 0);
    }

    #[test]
    fn long_values_are_split_at_255_octets_and_damage_is_noticed() {
        let long = "x".repeat(600);
        let kept = set(&[&long, ""]);
        let (ttl, data) = decode(kept.as_bytes()).unwrap();
        let RData::TXT(first) = &data[0] else { panic!() };
        assert_eq!((ttl, data.len(), first.txt_data.len()), (60, 2, 3));
        assert_eq!(first.txt_data.concat(), long.as_bytes());
        assert_eq!(TextSet::from_bytes(kept.as_bytes()), Some(kept.clone()));
        for cut in 0..kept.as_bytes().len() - 1 {
            // Cutting exactly between the two records is the one cut that still reads.
            let whole_record = cut == 4 + 2 + 603;
            assert_eq!(TextSet::from_bytes(&kept.as_bytes()[..cut]).is_some(), whole_record, "{cut}");
        }
    }

    #[test]
    fn sets_that_no_message_can_carry_are_refused() {
        assert!(TextSet::new(&RecordData { ttl: 1, values: vec![] }).is_err());
        assert!(TextSet::new(&RecordData { ttl: u32::MAX, values: vec!["x".into()] }).is_err());
        assert!(TextSet::new(&RecordData { ttl: 1, values: vec!["x".repeat(65_530)] }).is_err());
        assert!(TextSet::new(&RecordData { ttl: 1, values: vec!["x".repeat(9_000); 7] }).is_err());
    }
}
