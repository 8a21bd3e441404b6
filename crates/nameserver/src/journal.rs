//! What the zone was: recent changes by serial for IXFR, and views of one serial for AXFR while the zone changes on.
//!
//! A version is the feed's revision with the serial's epoch above it (see [`Journal::replace`]); the serial is its low
//! 32 bits, compared as RFC 1982 says. A version is published only where the feed has been read to its end, so that
//! all nameservers that follow one feed hold the same records under the same serial.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{Arc, Weak},
};

use mtasts_model::feed::{RecordType, Revision};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    records::{Contents, Owner, Records, SHARDS},
    replica::OwnerChange,
    zone::Zone,
};

/// How far a restored database moves the serial ahead. Rounded up to a multiple of this, so that nameservers that had
/// read the lost revisions to different points come to the same serial again.
const EPOCH: u64 = 1 << 20;

/// What a change costs in memory besides its owner and contents, roughly.
const OVERHEAD: usize = 160;

/// A record set's place in the zone.
type Key = (Owner, RecordType);

/// A record set before and after.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) before: Option<Contents>,
    pub(super) after: Option<Contents>,
}

/// What changed from one version to the next.
pub(super) struct Delta {
    /// The versions under which the older state was whole and current: clients at these can take this delta.
    from: (u64, u64),
    pub(super) changes: HashMap<Key, Change>,
    bytes: usize,
}

/// What there is for a client that has a serial.
pub(super) enum Since {
    /// It has what we have.
    Current,
    /// It has a newer serial than we have.
    Ahead,
    /// These, oldest first, lead to our serial.
    Changes(Vec<Arc<Delta>>),
    /// We do not know any more how it differs.
    Unknown,
}

/// Changes since the last version was published. They are in the records already, or will be in a moment.
#[derive(Default)]
struct Open {
    /// The highest revision among them.
    last: Option<u64>,
    changes: HashMap<Key, Change>,
    bytes: usize,
    /// There were more than may be kept.
    lost: bool,
}

struct State {
    /// The published version; `None` until there are records.
    version: Option<u64>,
    /// The position of the feed up to which it is known to be current.
    seen: u64,
    /// Since then the feed has been read to its end. A replica's records may be newer than its position says, so that
    /// changes are no history before.
    settled: bool,
    epoch: u64,
    deltas: VecDeque<Arc<Delta>>,
    bytes: usize,
    open: Open,
    views: Vec<Weak<View>>,
}

/// The zone's versions. One writer (the follower), many readers.
pub(super) struct Journal {
    /// Octets for the deltas; as many again for the open changes, and for each view. `None`: nobody may ask.
    capacity: Option<usize>,
    state: Mutex<State>,
    serial: watch::Sender<Option<u32>>,
}

impl Journal {
    /// `capacity` in octets; `None` keeps nothing, so that only the serial is maintained.
    pub(super) fn new(capacity: Option<usize>, epoch: u64) -> Self {
        let state = State {
            version: None,
            seen: 0,
            settled: false,
            epoch,
            deltas: VecDeque::new(),
            bytes: 0,
            open: Open::default(),
            views: Vec::new(),
        };
        Self { capacity, state: Mutex::new(state), serial: watch::Sender::new(None) }
    }

    /// Tells of each new serial; the first when the feed has been read to its end.
    pub(super) fn serials(&self) -> watch::Receiver<Option<u32>> {
        self.serial.subscribe()
    }

    /// The records come from a replica at this position.
    pub(super) fn load(&self, records: Records, position: Revision, zone: &Zone) {
        let mut state = self.state.lock();
        let version = position.number().saturating_add(state.epoch * EPOCH);
        state.version = Some(version);
        zone.records.store(Some(Arc::new(records)));
        zone.set_serial(serial_of(version));
    }

    /// The epoch of the published serial.
    pub(super) fn epoch(&self) -> u64 {
        self.state.lock().epoch
    }

    /// The epoch that is needed to publish records at this position: a higher one than before when the feed went back,
    /// because its database was restored. To be kept on disk before [`Self::replace`].
    pub(super) fn epoch_for(&self, position: Revision) -> u64 {
        let state = self.state.lock();
        let with = |epoch: u64| position.number().saturating_add(epoch * EPOCH);
        match state.version {
            Some(version) if with(state.epoch) < version => {
                let missing = version - with(state.epoch);
                // Above it, not equal to it: what the secondaries have under that serial are other records.
                state.epoch + missing / EPOCH + 1
            }
            _ => state.epoch,
        }
    }

    /// The records were read anew, up to the feed's end: no history leads to them.
    pub(super) fn replace(&self, records: Records, position: Revision, epoch: u64, zone: &Zone) {
        let mut state = self.state.lock();
        state.epoch = epoch;
        let version = position.number().saturating_add(epoch * EPOCH);
        let version = state.version.map_or(version, |before| before.max(version));
        state.begin(version);
        state.open = Open::default();
        // They hold on to the old records, which nobody changes any more.
        state.views.clear();
        zone.records.store(Some(Arc::new(records)));
        zone.set_serial(serial_of(version));
        self.serial.send_replace(Some(serial_of(version)));
    }

    /// To be called before the change is made to these records, so that no reader sees it without finding it here.
    pub(super) fn note(&self, records: &Records, change: &OwnerChange) {
        let mut state = self.state.lock();
        let revision = change.revision.number();
        let Some(capacity) = self.capacity else {
            state.open.last = state.open.last.max(Some(revision));
            return;
        };
        let before = records.contents(&change.owner, change.record_type);
        let after = change.set.as_ref().map(|set| Contents::from(set.as_bytes()));
        // Before the history begins also a change to the same tells how new the records are.
        if before == after && state.settled {
            return;
        }
        state.open.last = state.open.last.max(Some(revision));
        let key = (change.owner.clone(), change.record_type);
        let shard = records.shard_of(&change.owner);
        state.views.retain(|view| {
            view.upgrade().is_some_and(|view| {
                view.keep(shard, &key, before.as_ref(), capacity);
                true
            })
        });
        state.open.add(key, before, after, capacity);
    }

    /// The feed has been read to its end: the changes become a version.
    pub(super) fn publish(&self, position: Revision, zone: &Zone) {
        let mut state = self.state.lock();
        let Some(before) = state.version else { return };
        let mut open = std::mem::take(&mut state.open);
        open.changes.retain(|_, change| change.before != change.after || !state.settled);
        let changed = if self.capacity.is_some() { open.lost || !open.changes.is_empty() } else { true };
        let seen = position.number().saturating_add(state.epoch * EPOCH);
        if let Some(last) = open.last.filter(|_| changed) {
            let version = last.saturating_add(state.epoch * EPOCH).max(before + 1);
            match self.capacity {
                Some(capacity) if state.settled && !open.lost => {
                    let from = (before, state.seen.max(before));
                    state.push(Delta { from, changes: open.changes, bytes: open.bytes }, capacity);
                    state.version = Some(version);
                }
                _ => state.begin(version),
            }
            zone.set_serial(serial_of(version));
        }
        if !state.settled {
            let version = state.version.unwrap_or(before);
            state.begin(version);
        }
        state.seen = state.seen.max(seen);
        let serial = state.version.map(serial_of);
        self.serial.send_if_modified(|told| std::mem::replace(told, serial) != serial);
    }

    /// A view of the published version. `None` while nothing is published, or in the middle of more changes than can
    /// be kept.
    pub(super) fn view(&self, zone: &Zone) -> Option<Arc<View>> {
        let mut state = self.state.lock();
        let version = state.version?;
        if state.open.lost || self.capacity.is_none() {
            return None;
        }
        let records = zone.records.load_full()?;
        let view = Arc::new(View::new(records, serial_of(version)));
        for (key, change) in &state.open.changes {
            let shard = view.records.shard_of(&key.0);
            view.keep(shard, key, change.before.as_ref(), usize::MAX);
        }
        state.views.retain(|view| view.strong_count() > 0);
        state.views.push(Arc::downgrade(&view));
        Some(view)
    }

    /// Our serial, and what a client with another lacks. `None` while nothing is published.
    pub(super) fn since(&self, serial: u32) -> Option<(u32, Since)> {
        let state = self.state.lock();
        let version = state.version?;
        let ours = serial_of(version);
        // RFC 1982 §3.2: behind us up to half of the circle.
        let behind = ours.wrapping_sub(serial);
        let since = match behind {
            0 => Since::Current,
            0x8000_0000 => Since::Unknown,
            0x8000_0001.. => Since::Ahead,
            _ => {
                let theirs = version.checked_sub(u64::from(behind));
                let known = |delta: &Arc<Delta>| theirs.is_some_and(|theirs| delta.takes(theirs));
                match state.deltas.iter().position(known) {
                    Some(first) => Since::Changes(state.deltas.iter().skip(first).cloned().collect()),
                    None => Since::Unknown,
                }
            }
        };
        Some((ours, since))
    }
}

impl State {
    /// Begins a new history.
    fn begin(&mut self, version: u64) {
        self.version = Some(version);
        self.seen = version;
        self.settled = true;
        self.deltas.clear();
        self.bytes = 0;
    }

    fn push(&mut self, delta: Delta, capacity: usize) {
        self.bytes += delta.bytes;
        self.deltas.push_back(Arc::new(delta));
        while self.bytes > capacity
            && let Some(oldest) = self.deltas.pop_front()
        {
            self.bytes -= oldest.bytes;
        }
    }
}

impl Delta {
    fn takes(&self, version: u64) -> bool {
        (self.from.0..=self.from.1).contains(&version)
    }
}

impl Open {
    fn add(&mut self, key: Key, before: Option<Contents>, after: Option<Contents>, capacity: usize) {
        if self.lost {
            return;
        }
        let cost = |contents: Option<&Contents>| contents.map_or(0, |contents| contents.len());
        self.bytes += cost(after.as_ref());
        let owner = key.0.len();
        match self.changes.entry(key) {
            Entry::Occupied(mut known) => known.get_mut().after = after,
            Entry::Vacant(place) => {
                self.bytes += OVERHEAD + owner + cost(before.as_ref());
                place.insert(Change { before, after });
            }
        }
        if self.bytes > capacity {
            *self = Self { last: self.last, lost: true, ..Self::default() };
        }
    }
}

/// The serial of a version.
fn serial_of(version: u64) -> u32 {
    u32::try_from(version & u64::from(u32::MAX)).unwrap_or(0)
}

/// The zone as it was at one serial: the live records, and beside them what has changed since.
pub(super) struct View {
    records: Arc<Records>,
    serial: u32,
    undo: Mutex<Undo>,
}

struct Undo {
    /// For each shard what its changed sets were; `None` when it has been read, and needs no more undoing.
    shards: Vec<Option<HashMap<Key, Option<Contents>>>>,
    bytes: usize,
    lost: bool,
}

/// The zone changed too much while a view of it was read.
#[derive(Debug, thiserror::Error)]
#[error("the zone changed too much during the transfer")]
pub(super) struct ViewLost;

impl View {
    fn new(records: Arc<Records>, serial: u32) -> Self {
        let shards = vec![Some(HashMap::new()); SHARDS];
        Self { records, serial, undo: Mutex::new(Undo { shards, bytes: 0, lost: false }) }
    }

    pub(super) fn serial(&self) -> u32 {
        self.serial
    }

    /// In which shard an owner is.
    pub(super) fn shard_of(&self, owner: &[u8]) -> usize {
        self.records.shard_of(owner)
    }

    fn keep(&self, shard: usize, key: &Key, before: Option<&Contents>, capacity: usize) {
        let mut undo = self.undo.lock();
        let Some(Some(kept)) = undo.shards.get_mut(shard) else { return };
        if kept.contains_key(key) {
            return;
        }
        kept.insert(key.clone(), before.cloned());
        undo.bytes += OVERHEAD + key.0.len() + before.map_or(0, |contents| contents.len());
        if undo.bytes > capacity {
            undo.lost = true;
            undo.shards.clear();
        }
    }

    /// The record sets of one shard, each exactly once, as they were at [`Self::serial`]. Each shard can be read once.
    pub(super) fn shard(&self, shard: usize) -> Result<Vec<(Owner, RecordType, Contents)>, ViewLost> {
        // Before the changes are looked up: whatever is seen here has been noted there.
        let mut sets = self.records.copy_shard(shard);
        let mut undo = self.undo.lock();
        if undo.lost {
            return Err(ViewLost);
        }
        let changed = undo.shards.get_mut(shard).and_then(Option::take).unwrap_or_default();
        drop(undo);
        if !changed.is_empty() {
            let mut key = (Owner::new(), RecordType::Txt);
            sets.retain(|(owner, record_type, _)| {
                key.0.clone_from(owner);
                key.1 = *record_type;
                !changed.contains_key(&key)
            });
            let were = changed.into_iter().filter_map(|((owner, record_type), set)| Some((owner, record_type, set?)));
            sets.extend(were);
        }
        Ok(sets)
    }
}

#[cfg(test)]
mod tests;
