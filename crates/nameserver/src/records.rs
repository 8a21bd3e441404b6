//! The feed's record sets in memory: a million of them, looked up by every query and changed while queries run.
//!
//! Shards under read-write locks: a reader holds one shard for the time of a copy, a writer for one insertion, so
//! neither waits for a page to be applied. One allocation per set (owner and contents together) keeps a set of one
//! policy id near 150 bytes; lock-free maps allocate per node and cost about twice that.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, HashMap, HashSet, hash_map::RandomState},
    hash::{BuildHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hickory_proto::{
    rr::{Name, RData, RecordType as WireType, rdata::TXT},
    serialize::binary::{BinDecoder, BinEncodable, Restrict},
};
use mtasts_dns::wire;
use mtasts_model::feed::{RecordData, RecordType};
use parking_lot::RwLock;

pub(super) const SHARDS: usize = 256;

/// A set's TTL and data as [`decode`] reads them, shared by the journal and the views of transfers.
pub(super) type Contents = Arc<[u8]>;

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

/// The contents of a record set as kept in memory and in the replica: TTL, then each record's length and data as on
/// the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecordSet(Vec<u8>);

impl RecordSet {
    /// Reads the values. Fails when there are none, when one is no value of the type, and when the set cannot be
    /// carried by a message.
    pub(super) fn new(record_type: RecordType, data: &RecordData) -> Result<Self, String> {
        if data.values.is_empty() {
            return Err("the record set has no values".to_owned());
        }
        if record_type == RecordType::Cname && data.values.len() > 1 {
            return Err("a name has at most one CNAME (RFC 2181 §10.1)".to_owned());
        }
        if data.ttl > i32::MAX.cast_unsigned() {
            return Err("the TTL is above 2^31 - 1 (RFC 2181 §8)".to_owned());
        }
        let mut bytes = data.ttl.to_be_bytes().to_vec();
        for value in &data.values {
            let record = wire::data(record_type, value).map_err(|error| error.to_string())?;
            let at = bytes.len();
            bytes.extend([0, 0]);
            // A buffer of its own, so that no name in it points into the one before.
            let record = record.to_bytes().map_err(|error| error.to_string())?;
            let length = u16::try_from(record.len()).map_err(|_| "a value is longer than a record can be")?;
            bytes.splice(at.., length.to_be_bytes());
            bytes.extend(record);
        }
        // Room for the header, the question and the owner names.
        if bytes.len() > 60_000 {
            return Err("the record set does not fit into a message".to_owned());
        }
        Ok(Self(bytes))
    }

    /// Reads what [`Self::as_bytes`] gave. `None` when it is damaged.
    pub(super) fn from_bytes(record_type: RecordType, bytes: &[u8]) -> Option<Self> {
        decode(record_type, bytes).map(|_| Self(bytes.to_vec()))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// TTL and the records' data.
pub(super) fn decode(record_type: RecordType, bytes: &[u8]) -> Option<(u32, Vec<RData>)> {
    let (ttl, mut rest) = bytes.split_first_chunk::<4>()?;
    let mut records = Vec::with_capacity(1);
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (data, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = after;
        records.push(if record_type == RecordType::Txt { text(data)? } else { other(record_type, data)? });
    }
    (!records.is_empty()).then(|| (u32::from_be_bytes(*ttl), records))
}

/// Nearly all that is ever asked for: without the detour through a decoder.
fn text(mut data: &[u8]) -> Option<RData> {
    let mut strings = Vec::with_capacity(1);
    while let Some((&length, after)) = data.split_first() {
        let (string, after) = after.split_at_checked(usize::from(length))?;
        strings.push(string);
        data = after;
    }
    (!strings.is_empty()).then(|| RData::TXT(TXT::from_bytes(strings)))
}

fn other(record_type: RecordType, data: &[u8]) -> Option<RData> {
    let length = u16::try_from(data.len()).ok()?;
    let mut decoder = BinDecoder::new(data);
    let record = RData::read(&mut decoder, wire::wire_type(record_type), Restrict::new(length)).ok()?;
    decoder.is_empty().then_some(record)
}

/// Owner and contents in one allocation, found by the owner.
struct Entry(Box<[u8]>);

impl Entry {
    fn new(owner: &[u8], set: &RecordSet) -> Self {
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

type SetsByType = BTreeMap<RecordType, Box<[u8]>>;

#[derive(Default)]
struct Shard {
    /// Tenants' records.
    texts: HashSet<Entry>,
    /// Sets of the other types: a handful in all, so that these maps stay empty in nearly every shard.
    others: HashMap<Box<[u8]>, SetsByType>,
    /// How many sets are beneath each name: what makes it an empty non-terminal (RFC 4592 §2.2.2).
    beneath: HashMap<Box<[u8]>, u32>,
}

impl Shard {
    fn contains(&self, owner: &[u8], record_type: RecordType) -> bool {
        match record_type {
            RecordType::Txt => self.texts.contains(owner),
            other => self.others.get(owner).is_some_and(|sets| sets.contains_key(&other)),
        }
    }

    fn put(&mut self, owner: &[u8], record_type: RecordType, set: &RecordSet) {
        if record_type == RecordType::Txt {
            self.texts.replace(Entry::new(owner, set));
        } else {
            self.others.entry(owner.into()).or_default().insert(record_type, set.0.as_slice().into());
        }
    }

    /// True when there was one.
    fn remove(&mut self, owner: &[u8], record_type: RecordType) -> bool {
        if record_type == RecordType::Txt {
            return self.texts.remove(owner);
        }
        let Some(sets) = self.others.get_mut(owner) else { return false };
        let removed = sets.remove(&record_type).is_some();
        if sets.is_empty() {
            self.others.remove(owner);
        }
        removed
    }
}

/// What there is at an owner.
#[derive(Debug, PartialEq)]
pub(super) enum Held {
    /// TTL and data of a set.
    Set(u32, Vec<RData>),
    /// Sets of other types, or something beneath it.
    Other,
    /// Nothing: the name does not exist.
    Nothing,
}

impl Held {
    fn set(record_type: RecordType, contents: &[u8]) -> Self {
        // What is kept here was read when it came.
        decode(record_type, contents).map_or(Self::Other, |(ttl, data)| Self::Set(ttl, data))
    }
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

    /// The set of this type at this owner, or else its CNAME (RFC 1034 §4.3.2, 3a).
    pub(super) fn look_up(&self, owner: &[u8], wanted: WireType) -> Held {
        let shard = self.shard(owner).read();
        let text = shard.texts.get(owner);
        if let (WireType::TXT, Some(text)) = (wanted, text) {
            return Held::set(RecordType::Txt, text.split().1);
        }
        let others = if shard.others.is_empty() { None } else { shard.others.get(owner) };
        if let Some(others) = others {
            let of_type = |(record_type, _): &(&RecordType, _)| wire::wire_type(**record_type) == wanted;
            // NSEC and RRSIG stand beside a CNAME (RFC 4035 §2.5), and ANY asks for no type at all.
            let follows = !matches!(wanted, WireType::ANY | WireType::NSEC | WireType::RRSIG);
            let alias = || others.get_key_value(&RecordType::Cname).filter(|_| follows);
            if let Some((record_type, contents)) = others.iter().find(of_type).or_else(alias) {
                return Held::set(*record_type, contents);
            }
        }
        if text.is_some() || others.is_some() || shard.beneath.contains_key(owner) {
            Held::Other
        } else {
            Held::Nothing
        }
    }

    /// The types of the sets at this owner.
    pub(super) fn types(&self, owner: &[u8]) -> Vec<WireType> {
        let shard = self.shard(owner).read();
        let others = shard.others.get(owner).into_iter().flat_map(BTreeMap::keys);
        let text = shard.texts.contains(owner).then_some(&RecordType::Txt);
        others.chain(text).map(|record_type| wire::wire_type(*record_type)).collect()
    }

    /// Whether there is a set at this owner or beneath it.
    pub(super) fn exists(&self, owner: &[u8]) -> bool {
        let shard = self.shard(owner).read();
        shard.texts.contains(owner) || shard.beneath.contains_key(owner) || shard.others.contains_key(owner)
    }

    /// Puts or removes the set of one owner and type.
    pub(super) fn apply(&self, owner: &[u8], record_type: RecordType, set: Option<&RecordSet>) {
        if let Some(set) = set {
            // Ancestors first: a reader must not see the name while its parent does not exist yet.
            let new = !self.shard(owner).read().contains(owner, record_type);
            if new {
                for above in ancestors(owner) {
                    *self.shard(above).write().beneath.entry(above.into()).or_default() += 1;
                }
                self.count.fetch_add(1, Ordering::Relaxed);
            }
            self.shard(owner).write().put(owner, record_type, set);
        } else if self.shard(owner).write().remove(owner, record_type) {
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

    /// Calls `each` with every owner, type and contents (which [`decode`] reads), shard by shard; the first error
    /// ends it.
    pub(super) fn try_for_each<E>(
        &self,
        mut each: impl FnMut(&[u8], RecordType, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for shard in &self.shards {
            // Copied, so that a slow disk holds up neither queries nor changes.
            let (texts, others) = {
                let shard = shard.read();
                let texts: Vec<Box<[u8]>> = shard.texts.iter().map(|entry| entry.0.clone()).collect();
                (texts, shard.others.clone())
            };
            for entry in texts {
                let entry = Entry(entry);
                let (owner, contents) = entry.split();
                each(owner, RecordType::Txt, contents)?;
            }
            for (owner, sets) in &others {
                for (record_type, contents) in sets {
                    each(owner, *record_type, contents)?;
                }
            }
        }
        Ok(())
    }

    /// What is kept of the set of this type at this owner.
    pub(super) fn contents(&self, owner: &[u8], record_type: RecordType) -> Option<Contents> {
        let shard = self.shard(owner).read();
        match record_type {
            RecordType::Txt => shard.texts.get(owner).map(|entry| entry.split().1.into()),
            other => shard.others.get(owner)?.get(&other).map(|contents| contents.as_ref().into()),
        }
    }

    /// A copy of one of the [`SHARDS`] shards.
    pub(super) fn copy_shard(&self, shard: usize) -> Vec<(Owner, RecordType, Contents)> {
        let Some(shard) = self.shards.get(shard) else { return Vec::new() };
        let shard = shard.read();
        let text = |entry: &Entry| {
            let (owner, contents) = entry.split();
            (owner.to_vec(), RecordType::Txt, contents.into())
        };
        let mut sets: Vec<_> = shard.texts.iter().map(text).collect();
        for (owner, others) in &shard.others {
            sets.extend(others.iter().map(|(of_type, contents)| (owner.to_vec(), *of_type, contents.as_ref().into())));
        }
        sets
    }

    /// In which of the shards an owner is.
    pub(super) fn shard_of(&self, owner: &[u8]) -> usize {
        usize::try_from(self.hasher.hash_one(owner) % SHARDS as u64).unwrap_or(0)
    }

    fn shard(&self, owner: &[u8]) -> &RwLock<Shard> {
        &self.shards[self.shard_of(owner)]
    }
}

/// TTL and each record's data as on the wire; what is damaged ends it.
pub(super) fn raw_records(contents: &[u8]) -> (u32, impl Iterator<Item = &[u8]>) {
    let (ttl, mut rest) = contents.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
    let next = move || {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (data, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = after;
        Some(data)
    };
    (u32::from_be_bytes(*ttl), std::iter::from_fn(next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mtasts_dns::name;

    fn owner(name: &str) -> Owner {
        owner_of(&name::parse(name).unwrap(), &name::parse("sts.example").unwrap()).unwrap()
    }

    fn set(values: &[&str]) -> RecordSet {
        typed(RecordType::Txt, values).unwrap()
    }

    fn typed(record_type: RecordType, values: &[&str]) -> Result<RecordSet, String> {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        RecordSet::new(record_type, &RecordData { ttl: 60, values })
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
        let apply = |name: &str, values: Option<&[&str]>| {
            records.apply(&owner(name), RecordType::Txt, values.map(set).as_ref());
        };
        apply("a.b.c.sts.example", Some(&["x"]));
        apply("a.b.c.sts.example", Some(&["y"]));
        apply("d.c.sts.example", Some(&["x"]));
        assert!(records.exists(&owner("b.c.sts.example")) && records.exists(&owner("c.sts.example")));
        apply("a.b.c.sts.example", None);
        apply("a.b.c.sts.example", None);
        assert!(!records.exists(&owner("b.c.sts.example")) && records.exists(&owner("c.sts.example")));
        apply("d.c.sts.example", None);
        assert!(!records.exists(&owner("c.sts.example")));
        assert_eq!(records.len(), 0);
    }

    #[test]
    fn the_sets_of_one_name_come_and_go_each_by_its_type() {
        let records = Records::new();
        let name = owner("a.b.sts.example");
        let address = typed(RecordType::A, &["192.0.2.1", "192.0.2.2"]).unwrap();
        let caa = typed(RecordType::Caa, &["0 issue \"ca.test; accounturi=https://ca.test/1\""]).unwrap();
        records.apply(&name, RecordType::A, Some(&address));
        records.apply(&name, RecordType::Caa, Some(&caa));
        records.apply(&name, RecordType::Txt, Some(&set(&["t"])));
        assert_eq!(records.types(&name), [WireType::A, WireType::CAA, WireType::TXT]);
        assert_eq!(records.look_up(&name, WireType::AAAA), Held::Other);
        let Held::Set(60, addresses) = records.look_up(&name, WireType::A) else { panic!() };
        assert_eq!(addresses.len(), 2);
        let mut seen = Vec::new();
        let each = |_: &[u8], record_type, contents: &[u8]| {
            assert!(RecordSet::from_bytes(record_type, contents).is_some());
            seen.push(record_type);
            Ok::<(), ()>(())
        };
        records.try_for_each(each).unwrap();
        assert_eq!(seen, [RecordType::Txt, RecordType::A, RecordType::Caa]);

        records.apply(&name, RecordType::Aaaa, None);
        records.apply(&name, RecordType::A, None);
        assert_eq!(records.look_up(&name, WireType::A), Held::Other);
        records.apply(&name, RecordType::Txt, None);
        assert!(records.exists(&name) && records.exists(&owner("b.sts.example")));
        records.apply(&name, RecordType::Caa, None);
        assert!(!records.exists(&name) && !records.exists(&owner("b.sts.example")));
        assert_eq!(records.len(), 0);
    }

    #[test]
    fn an_alias_is_found_for_every_type_that_is_not_there_itself() {
        let records = Records::new();
        let name = owner("a.sts.example");
        records.apply(&name, RecordType::Cname, Some(&typed(RecordType::Cname, &["b.sts.example"]).unwrap()));
        for wanted in [WireType::A, WireType::MX, WireType::CNAME] {
            let Held::Set(_, found) = records.look_up(&name, wanted) else { panic!() };
            assert_eq!(found[0].record_type(), WireType::CNAME);
        }
    }

    #[test]
    fn long_values_are_split_at_255_octets_and_damage_is_noticed() {
        let long = "x".repeat(600);
        let kept = set(&[&long, ""]);
        let (ttl, data) = decode(RecordType::Txt, kept.as_bytes()).unwrap();
        let RData::TXT(first) = &data[0] else { panic!() };
        assert_eq!((ttl, data.len(), first.txt_data.len()), (60, 2, 3));
        assert_eq!(first.txt_data.concat(), long.as_bytes());
        assert_eq!(RecordSet::from_bytes(RecordType::Txt, kept.as_bytes()), Some(kept.clone()));
        for cut in 0..kept.as_bytes().len() - 1 {
            // Cutting exactly between the two records is the one cut that still reads.
            let whole_record = cut == 4 + 2 + 603;
            assert_eq!(
                RecordSet::from_bytes(RecordType::Txt, &kept.as_bytes()[..cut]).is_some(),
                whole_record,
                "{cut}"
            );
        }
        let address = typed(RecordType::A, &["192.0.2.1"]).unwrap();
        assert!(RecordSet::from_bytes(RecordType::A, address.as_bytes()).is_some());
        assert!(RecordSet::from_bytes(RecordType::Aaaa, address.as_bytes()).is_none());
    }

    #[test]
    fn sets_that_no_message_can_carry_are_refused() {
        let text = |ttl, values| RecordSet::new(RecordType::Txt, &RecordData { ttl, values });
        assert!(text(1, vec![]).is_err());
        assert!(text(u32::MAX, vec!["x".into()]).is_err());
        assert!(text(1, vec!["x".repeat(65_530)]).is_err());
        assert!(text(1, vec!["x".repeat(9_000); 7]).is_err());
        assert!(typed(RecordType::A, &["2001:db8::1"]).is_err());
        assert!(typed(RecordType::Cname, &["a.test", "b.test"]).is_err());
    }
}
