//! Finds the entry of a host: cache, else what the disk refused, else the replica.
//!
//! The rule that keeps invariant 1: who holds an entry also holds the *generation* of its stripe, read before the entry
//! was. A change first makes the new row readable, then drops the cached entry, then raises the generation. So an equal
//! generation proves that the entry is still the newest, and an entry loaded meanwhile is never cached.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use quick_cache::{DefaultHashBuilder, UnitWeighter, sync::Cache};
use tokio::sync::Semaphore;

use crate::{
    counters::Counters,
    entry::{Entry, EntryError},
    feed::KeyOpener,
    intermediates::Intermediates,
    keys::Keys,
    replica::{HostRow, Replica, ReplicaError},
    served::{ServedHost, ServedPage},
};

const STRIPES: usize = 4_096;
/// Loads at a time. More would only queue at the disk, and take threads from the feed.
const LOADS: usize = 16;

/// Why a known host gives no entry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("cannot read the replica")]
    Replica(#[from] ReplicaError),
    #[error("the host's row cannot be used")]
    Entry(#[from] EntryError),
    #[error("an issuer's certificate is missing")]
    IssuerMissing,
    #[error("the load was abandoned")]
    Abandoned,
}

/// An entry, and up to when it is known to be the newest.
#[derive(Clone)]
pub(crate) struct Sighting {
    pub(crate) entry: Arc<Entry>,
    key: u64,
    generation: u64,
}

/// What memory alone can say.
pub(crate) enum Peek {
    Here(Sighting),
    Unknown,
    MustLoad,
}

struct Stripe {
    generation: AtomicU64,
    /// Held while an entry is put into the cache or thrown out of it.
    change: Mutex<()>,
}

/// All hosts.
pub(crate) struct Catalogue {
    hasher: RandomState,
    cache: Cache<u64, Arc<Entry>, UnitWeighter, DefaultHashBuilder>,
    stripes: Box<[Stripe]>,
    known: RwLock<Known>,
    /// Rows that the disk refused; `None` for a host that is gone.
    unsaved: RwLock<HashMap<String, Option<Arc<[u8]>>>>,
    pub(crate) replica: Replica,
    pub(crate) intermediates: Intermediates,
    pub(crate) keys: Keys,
    opener: Arc<dyn KeyOpener>,
    loads: Semaphore,
    counters: Arc<Counters>,
}

/// Keyed hashes of all hosts that have a row: 64 bits each, so that a flood of unknown names reads nothing.
#[derive(Default)]
struct Known {
    names: HashSet<u64, BuildHasherDefault<AlreadyHashed>>,
    /// Until the replica's names have been read in, an absent name may yet exist.
    whole: bool,
    /// What went away while the names were being read in.
    gone: HashSet<u64>,
}

impl Catalogue {
    pub(crate) fn new(replica: Replica, entries: usize, opener: Arc<dyn KeyOpener>, counters: Arc<Counters>) -> Self {
        let entries = entries.max(1);
        Self {
            hasher: RandomState::new(),
            // The estimate only sizes the tables at first; a small one lets them grow with use.
            cache: Cache::with(
                entries.min(1_024),
                entries as u64,
                UnitWeighter,
                DefaultHashBuilder::default(),
                quick_cache::sync::DefaultLifecycle::default(),
            ),
            stripes: (0..STRIPES).map(|_| Stripe { generation: AtomicU64::new(0), change: Mutex::new(()) }).collect(),
            known: RwLock::new(Known::default()),
            unsaved: RwLock::new(HashMap::new()),
            replica,
            intermediates: Intermediates::default(),
            keys: Keys::default(),
            opener,
            loads: Semaphore::new(LOADS),
            counters,
        }
    }

    /// Whether this is still the newest entry of its host.
    pub(crate) fn is_current(&self, sighting: &Sighting) -> bool {
        self.stripe(sighting.key).generation.load(Ordering::Acquire) == sighting.generation
    }

    /// What memory says about this mail domain. Never waits.
    pub(crate) fn peek(&self, domain: &str) -> Peek {
        let key = self.key(domain);
        let generation = self.stripe(key).generation.load(Ordering::Acquire);
        if let Some(entry) = self.cache.get(&key)
            && *entry.domain == *domain
        {
            self.counters.cache_hits.increment(1);
            return Peek::Here(Sighting { entry, key, generation });
        }
        if self.may_exist(key) { Peek::MustLoad } else { Peek::Unknown }
    }

    /// The entry of this mail domain; `None` when there is no such host.
    pub(crate) async fn find(self: &Arc<Self>, domain: &str) -> Result<Option<Sighting>, LoadError> {
        match self.peek(domain) {
            Peek::Here(sighting) => Ok(Some(sighting)),
            Peek::Unknown => Ok(None),
            Peek::MustLoad => self.load_elsewhere(domain).await,
        }
    }

    /// Reads and opens on a thread that may wait for the disk.
    pub(crate) async fn load_elsewhere(self: &Arc<Self>, domain: &str) -> Result<Option<Sighting>, LoadError> {
        self.counters.cache_misses.increment(1);
        let _permit = self.loads.acquire().await.map_err(|_| LoadError::Abandoned)?;
        if let Peek::Here(sighting) = self.peek(domain) {
            return Ok(Some(sighting)); // somebody else loaded it while this one waited
        }
        let (catalogue, domain) = (Arc::clone(self), domain.to_owned());
        tokio::task::spawn_blocking(move || catalogue.load(&domain)).await.map_err(|_| LoadError::Abandoned)?
    }

    fn load(&self, domain: &str) -> Result<Option<Sighting>, LoadError> {
        let key = self.key(domain);
        let stripe = self.stripe(key);
        loop {
            let generation = stripe.generation.load(Ordering::Acquire);
            let entry = self.open(domain)?.map(Arc::new);
            let _change = stripe.change.lock();
            if stripe.generation.load(Ordering::Acquire) != generation {
                continue; // a change came in between: what was read may be old
            }
            let Some(entry) = entry else { return Ok(None) };
            self.cache.insert(key, Arc::clone(&entry));
            return Ok(Some(Sighting { entry, key, generation }));
        }
    }

    /// The row of a host as it is served; None: there is none, or it does not read back.
    pub(crate) fn row(&self, domain: &str) -> Option<HostRow> {
        let unsaved = self.unsaved.read().get(domain).cloned();
        let row = match unsaved {
            Some(row) => HostRow::decode(&row?),
            None => HostRow::decode(&self.replica.host(domain).ok().flatten()?),
        };
        row.ok()
    }

    /// What is served, in the order of names, after one; so many at most. A row that does not read back is left out: it
    /// is not served.
    pub(crate) fn served_after(&self, after: &str, limit: usize) -> Result<ServedPage, ReplicaError> {
        let rows = self.replica.hosts_after(after, limit)?;
        let last = if rows.len() < limit { None } else { rows.last().map(|(domain, _)| domain.clone()) };
        let mut rows: BTreeMap<String, Vec<u8>> = rows.into_iter().collect();
        for (domain, row) in &*self.unsaved.read() {
            let is_here = domain.as_str() > after && last.as_ref().is_none_or(|last| domain <= last);
            match row {
                Some(row) if is_here => _ = rows.insert(domain.clone(), row.to_vec()),
                None => _ = rows.remove(domain),
                Some(_) => {}
            }
        }
        let host = |(domain, row): (String, Vec<u8>)| {
            let row = HostRow::decode(&row).ok()?;
            let not_after = chrono::DateTime::from_timestamp_micros(row.not_after_micros)?;
            Some(ServedHost { domain, tenant_id: row.tenant_id, domain_id: row.domain_id, mode: row.mode, not_after })
        };
        Ok(ServedPage { hosts: rows.into_iter().filter_map(host).collect(), next: last })
    }

    fn open(&self, domain: &str) -> Result<Option<Entry>, LoadError> {
        let unsaved = self.unsaved.read().get(domain).cloned();
        let row = match unsaved {
            Some(None) => return Ok(None),
            Some(Some(bytes)) => HostRow::decode(&bytes),
            None => match self.replica.host(domain)? {
                None => return Ok(None),
                Some(bytes) => HostRow::decode(&bytes),
            },
        };
        let row = row.map_err(|error| ReplicaError::Damaged(error.to_string()))?;
        let mut issuers = Vec::with_capacity(row.issuers.len());
        for fingerprint in &row.issuers {
            issuers.push(match self.intermediates.get(fingerprint) {
                Some(shared) => shared,
                None => match self.replica.issuer(fingerprint)? {
                    Some(der) => self.intermediates.intern(*fingerprint, &der),
                    None => return Err(LoadError::IssuerMissing),
                },
            });
        }
        let entry = Entry::open(domain, row, issuers, &*self.opener);
        if let Err(EntryError::Sealed(_)) = &entry {
            self.counters.key_open_failures.increment(1);
            self.keys.failed(self.key(domain));
        } else {
            self.keys.opened(self.key(domain));
        }
        Ok(Some(entry?))
    }

    /// Makes rows readable that the disk has refused.
    pub(crate) fn hold(&self, rows: impl IntoIterator<Item = (String, Option<Arc<[u8]>>)>) {
        self.unsaved.write().extend(rows);
    }

    /// What the disk has refused so far.
    pub(crate) fn held(&self) -> Vec<(String, Option<Arc<[u8]>>)> {
        self.unsaved.read().iter().map(|(domain, row)| (domain.clone(), row.clone())).collect()
    }

    pub(crate) fn held_len(&self) -> usize {
        self.unsaved.read().len()
    }

    /// Whether what is newest about this host is one of those.
    pub(crate) fn is_held(&self, domain: &str) -> bool {
        self.unsaved.read().contains_key(domain)
    }

    /// The disk has all of it now.
    pub(crate) fn release(&self) {
        let mut unsaved = self.unsaved.write();
        unsaved.clear();
        unsaved.shrink_to_fit();
    }

    /// After the rows of these hosts have become readable: nobody gets the old ones any more.
    pub(crate) fn changed<'a>(&self, hosts: impl Iterator<Item = (&'a str, bool)>) {
        for (domain, exists) in hosts {
            let key = self.key(domain);
            {
                let mut known = self.known.write();
                if exists {
                    known.names.insert(key);
                    known.gone.remove(&key);
                } else {
                    known.names.remove(&key);
                    if !known.whole {
                        known.gone.insert(key);
                    }
                }
            }
            self.keys.forget(key);
            let stripe = self.stripe(key);
            let _change = stripe.change.lock();
            self.cache.remove(&key);
            stripe.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Reads in which names exist. Until this is done, unknown names cost a read of the replica.
    pub(crate) fn read_names(&self) -> Result<(), ReplicaError> {
        let mut batch = Vec::with_capacity(1_024);
        self.replica.names(|name| {
            batch.push(self.key(name));
            if batch.len() == batch.capacity() {
                self.known.write().names.extend(batch.drain(..)); // in small steps: handshakes want to read meanwhile
            }
        })?;
        let mut known = self.known.write();
        known.names.extend(batch);
        let gone = std::mem::take(&mut known.gone);
        known.names.retain(|name| !gone.contains(name));
        known.whole = true;
        Ok(())
    }

    /// The rows are lost, and the feed is read from its beginning: any name may exist until [`Catalogue::read_names`].
    /// Cached entries go on being served meanwhile.
    pub(crate) fn begin_again(&self) {
        *self.known.write() = Known::default();
        self.release();
    }

    /// Nobody gets an entry any more that was loaded before.
    pub(crate) fn forget_cached(&self) {
        let changes: Vec<_> = self.stripes.iter().map(|stripe| stripe.change.lock()).collect();
        self.cache.clear();
        for stripe in &self.stripes {
            stripe.generation.fetch_add(1, Ordering::Release);
        }
        drop(changes);
        self.keys.forget_all();
    }

    /// The names that have a row here but are not in `wanted` (keys of [`Catalogue::key`]).
    pub(crate) fn unwanted(&self, wanted: &HashSet<u64>) -> Result<Vec<String>, ReplicaError> {
        let mut unwanted = Vec::new();
        let mut look = |name: &str| {
            if !wanted.contains(&self.key(name)) {
                unwanted.push(name.to_owned());
            }
        };
        self.replica.names(&mut look)?;
        self.unsaved.read().iter().filter(|(_, row)| row.is_some()).for_each(|(name, _)| look(name));
        Ok(unwanted)
    }

    /// Whether memory lists this name although no row can be found: a sign of a damaged replica.
    pub(crate) fn is_listed(&self, domain: &str) -> bool {
        self.known.read().names.contains(&self.key(domain))
    }

    /// The keyed hash of a name.
    pub(crate) fn key(&self, domain: &str) -> u64 {
        self.hasher.hash_one(domain)
    }

    pub(crate) fn cached(&self) -> usize {
        self.cache.len()
    }

    fn may_exist(&self, key: u64) -> bool {
        let known = self.known.read();
        known.names.contains(&key) || !known.whole
    }

    fn stripe(&self, key: u64) -> &Stripe {
        &self.stripes[usize::try_from(key % STRIPES as u64).unwrap_or(0)]
    }
}

/// The keys are keyed hashes already.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::KeyOpenError, replica::Batch};
    use mtasts_model::{DomainId, TenantId};
    use zeroize::Zeroizing;

    struct NoKeys;

    impl KeyOpener for NoKeys {
        fn open(&self, _: TenantId, _: DomainId, _: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyOpenError> {
            Err(KeyOpenError::new("no keys here"))
        }
    }

    fn catalogue(folder: &std::path::Path, names: &[&str]) -> Catalogue {
        let (replica, _) = Replica::open(folder, 1 << 20).unwrap();
        let hosts = names.iter().map(|name| ((*name).to_owned(), Some(Arc::from(*b"a row")))).collect();
        replica.write(&Batch { hosts, ..Batch::default() }).unwrap();
        Catalogue::new(replica, 10, Arc::new(NoKeys), Arc::new(Counters::register()))
    }

    #[test]
    fn before_the_names_are_read_any_name_may_exist_and_afterwards_only_those_with_a_row() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = catalogue(folder.path(), &["a.example"]);
        assert!(matches!(catalogue.peek("b.example"), Peek::MustLoad));
        catalogue.read_names().unwrap();
        assert!(matches!(catalogue.peek("b.example"), Peek::Unknown));
        assert!(matches!(catalogue.peek("a.example"), Peek::MustLoad));
        catalogue.changed([("b.example", true), ("a.example", false)].into_iter());
        assert!(matches!(catalogue.peek("b.example"), Peek::MustLoad));
        assert!(matches!(catalogue.peek("a.example"), Peek::Unknown));
    }

    #[test]
    fn what_goes_away_while_the_names_are_read_is_unknown_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = catalogue(folder.path(), &["a.example", "b.example"]);
        // The reading sees the replica as it was when it began.
        catalogue.changed([("a.example", false), ("b.example", false), ("b.example", true)].into_iter());
        catalogue.read_names().unwrap();
        assert!(matches!(catalogue.peek("a.example"), Peek::Unknown));
        assert!(matches!(catalogue.peek("b.example"), Peek::MustLoad));
    }

    #[test]
    fn a_row_that_does_not_read_back_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = catalogue(folder.path(), &["a.example"]);
        assert!(matches!(catalogue.load("a.example"), Err(LoadError::Replica(ReplicaError::Damaged(_)))));
    }
}
