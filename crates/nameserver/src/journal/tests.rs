//! Versions, the serial, and views and differences while a writer is at work.

use std::{collections::BTreeMap, thread};

use mtasts_model::{
    SystemClock,
    clock::{Entropy, SeededEntropy},
    feed::RecordData,
};

use super::*;
use crate::{config::NameServer, config::NameserverConfig, records::RecordSet};

/// Owner to value.
type Model = BTreeMap<Owner, String>;

struct World {
    zone: Zone,
    journal: Journal,
    revision: u64,
    model: Model,
}

fn change(revision: u64, owner: &[u8], value: Option<&str>) -> OwnerChange {
    let data = |value: &str| RecordData { ttl: 60, values: vec![value.to_owned()] };
    let set = value.map(|value| RecordSet::new(RecordType::Txt, &data(value)).unwrap());
    OwnerChange { revision: Revision::new(revision), owner: owner.to_vec(), record_type: RecordType::Txt, set }
}

impl World {
    /// Empty, at revision 10, its history begun.
    fn new(capacity: Option<usize>) -> Self {
        let mut world = Self::unread(capacity);
        world.journal.replace(Records::new(), Revision::new(10), 0, &world.zone);
        world.revision = 10;
        world
    }

    fn unread(capacity: Option<usize>) -> Self {
        let mut config = NameserverConfig::new("sts.example".parse().unwrap(), Vec::new());
        config.name_servers = vec![NameServer { name: "ns.example.net".into(), addresses: Vec::new() }];
        let zone = Zone::new(&config, Arc::new(SystemClock)).unwrap();
        Self { zone, journal: Journal::new(capacity, 0), revision: 0, model: Model::new() }
    }

    fn put(&mut self, owner: &[u8], value: Option<&str>) {
        self.revision += 1;
        let change = change(self.revision, owner, value);
        let records = self.zone.records.load_full().unwrap();
        self.journal.note(&records, &change);
        records.apply(&change.owner, RecordType::Txt, change.set.as_ref());
        match value {
            Some(value) => self.model.insert(owner.to_vec(), value.to_owned()),
            None => self.model.remove(owner),
        };
    }

    fn publish(&self) {
        self.journal.publish(Revision::new(self.revision), &self.zone);
    }

    fn serial(&self) -> u32 {
        self.journal.since(0).unwrap().0
    }
}

fn value(contents: &Contents) -> String {
    let (_, mut records) = crate::records::raw_records(contents);
    String::from_utf8(records.next().unwrap()[1..].to_vec()).unwrap()
}

fn read(view: &View) -> Model {
    let mut model = Model::new();
    for shard in 0..SHARDS {
        for (owner, _, contents) in view.shard(shard).unwrap() {
            assert!(model.insert(owner, value(&contents)).is_none(), "a set comes twice");
        }
    }
    model
}

/// The older state, brought up by the deltas; each must find what it removes.
fn brought_up(mut model: Model, deltas: &[Arc<Delta>]) -> Model {
    for delta in deltas {
        for ((owner, _), change) in &delta.changes {
            let before = match &change.after {
                Some(after) => model.insert(owner.clone(), value(after)),
                None => model.remove(owner),
            };
            assert_eq!(before, change.before.as_ref().map(value));
        }
    }
    model
}

fn changes(journal: &Journal, serial: u32) -> Option<Vec<Arc<Delta>>> {
    match journal.since(serial).unwrap().1 {
        Since::Changes(deltas) => Some(deltas),
        _ => None,
    }
}

#[test]
fn views_and_differences_are_exact_while_a_writer_is_at_work() {
    let mut world = World::new(Some(64 << 20));
    for number in 0..400_u16 {
        world.put(&number.to_be_bytes(), Some("first"));
    }
    world.publish();
    let states = Mutex::new(HashMap::from([(world.serial(), world.model.clone())]));
    let World { zone, journal, mut revision, mut model } = world;
    let done = std::sync::atomic::AtomicBool::new(false);
    let entropy = SeededEntropy::new(1);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..600 {
                let mut draw = [0; 4];
                entropy.fill(&mut draw);
                let mut pending = Vec::new();
                for step in 0..=draw[0] % 4 {
                    revision += 1;
                    let mut draw = [0; 3];
                    entropy.fill(&mut draw);
                    let owner = (u16::from_be_bytes([draw[0], draw[1]]) % 400).to_be_bytes();
                    let value = (draw[2] % 3 > 0).then(|| format!("{revision}.{step}"));
                    match &value {
                        Some(value) => model.insert(owner.to_vec(), value.clone()),
                        None => model.remove(&owner[..]),
                    };
                    pending.push(change(revision, &owner, value.as_deref()));
                }
                // Known before anybody can see the serial, which is the revision of the last that changes anything.
                let serials = pending.iter().map(|change| u32::try_from(change.revision.number()).unwrap());
                states.lock().extend(serials.map(|serial| (serial, model.clone())));
                let records = zone.records.load_full().unwrap();
                for change in &pending {
                    journal.note(&records, change);
                    thread::yield_now();
                    records.apply(&change.owner, RecordType::Txt, change.set.as_ref());
                }
                thread::yield_now();
                journal.publish(Revision::new(revision), &zone);
            }
            done.store(true, std::sync::atomic::Ordering::Release);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut serials = Vec::new();
                let mut views = 0;
                while !done.load(std::sync::atomic::Ordering::Acquire) || views < 50 {
                    let view = journal.view(&zone).unwrap();
                    serials.push(view.serial());
                    assert_eq!(read(&view), states.lock()[&view.serial()], "serial {}", view.serial());
                    let theirs = serials[serials.len() / 2];
                    let (ours, since) = journal.since(theirs).unwrap();
                    if let Since::Changes(deltas) = since {
                        let states = states.lock();
                        assert_eq!(brought_up(states[&theirs].clone(), &deltas), states[&ours]);
                    }
                    views += 1;
                }
            });
        }
    });
}

#[test]
fn a_view_is_lost_when_more_changes_than_may_be_kept() {
    let mut world = World::new(Some(2000));
    for number in 0..4_u8 {
        world.put(&[number], Some("x"));
        world.publish();
    }
    let view = world.journal.view(&world.zone).unwrap();
    for number in 0..20_u8 {
        world.put(&[1, number], Some("y"));
        world.publish();
    }
    assert!((0..SHARDS).any(|shard| view.shard(shard).is_err()));
    assert_eq!(read(&world.journal.view(&world.zone).unwrap()), world.model, "a new one is whole");
}

#[test]
fn no_view_is_begun_in_the_middle_of_more_changes_than_may_be_kept() {
    let mut world = World::new(Some(2000));
    for number in 0..40_u8 {
        world.put(&[number], Some("x"));
    }
    assert!(world.journal.view(&world.zone).is_none());
    assert_eq!(world.serial(), 10);
    world.publish();
    assert_eq!(world.serial(), 50);
    assert_eq!(read(&world.journal.view(&world.zone).unwrap()), world.model);
    assert!(changes(&world.journal, 10).is_none(), "and there is no difference to the serial before");
}

#[test]
fn the_journal_forgets_the_oldest_changes_first() {
    let mut world = World::new(Some(2000));
    for number in 0..40_u8 {
        world.put(&[number], Some("x"));
        world.publish();
    }
    assert!(changes(&world.journal, 11).is_none());
    assert_eq!(changes(&world.journal, 48).unwrap().len(), 2);
    assert_eq!(changes(&world.journal, 49).unwrap().len(), 1);
    assert!(world.journal.state.lock().bytes <= 2000);
}

#[test]
fn the_serial_moves_with_the_zones_changes_alone() {
    for capacity in [None, Some(1 << 20)] {
        let mut world = World::new(capacity);
        world.put(b"\x01a", Some("x"));
        world.publish();
        assert_eq!(world.serial(), 11);
        // Rows of other zones share the feed.
        world.revision = 20;
        world.publish();
        assert_eq!(world.serial(), 11);
        world.put(b"\x01b", Some("x"));
        world.publish();
        assert_eq!(world.serial(), 21);
    }
    let mut world = World::new(Some(1 << 20));
    world.put(b"\x01a", Some("x"));
    world.publish();
    world.put(b"\x01a", Some("x"));
    world.put(b"\x01b", Some("x"));
    world.put(b"\x01b", None);
    world.publish();
    assert_eq!(world.serial(), 11, "nothing has changed in the end");
    world.put(b"\x01b", Some("y"));
    world.publish();
    for theirs in [11, 12, 13, 14] {
        // Another nameserver of the same feed may have published the same state at any of these.
        assert_eq!(changes(&world.journal, theirs).map(|deltas| deltas.len()), (theirs <= 14).then_some(1), "{theirs}");
    }
}

#[test]
fn changes_of_a_replica_that_may_be_newer_than_it_says_are_no_history() {
    let mut world = World::unread(Some(1 << 20));
    let records = Records::new();
    let newer = change(12, b"\x01a", Some("x"));
    records.apply(&newer.owner, RecordType::Txt, newer.set.as_ref());
    world.journal.load(records, Revision::new(10), &world.zone);
    let told = world.journal.serials();
    assert_eq!(*told.borrow(), None, "nobody is told before the feed was read");
    world.revision = 11;
    world.put(b"\x01a", Some("x"));
    world.publish();
    assert_eq!(world.serial(), 12, "what was there already tells how new the records are");
    assert_eq!(*told.borrow(), Some(12));
    assert!(changes(&world.journal, 10).is_none());
    world.put(b"\x01a", Some("y"));
    world.publish();
    assert!(changes(&world.journal, 10).is_none());
    assert_eq!(changes(&world.journal, 12).unwrap().len(), 1);
}

#[test]
fn the_serial_never_goes_back_when_the_feed_does() {
    let mut world = World::new(Some(1 << 20));
    world.put(b"\x01a", Some("x"));
    world.publish();
    // The same again, read anew, is no new epoch.
    assert_eq!(world.journal.epoch_for(Revision::new(11)), 0);
    assert_eq!(world.journal.epoch_for(Revision::new(12)), 0);
    let epoch = world.journal.epoch_for(Revision::new(5));
    assert_eq!(epoch, 1);
    world.journal.replace(Records::new(), Revision::new(5), epoch, &world.zone);
    assert_eq!(world.serial(), 5 + (1 << 20));
    assert!(changes(&world.journal, 11).is_none(), "no history leads there");
    assert!(matches!(world.journal.since(11).unwrap().1, Since::Unknown));
    world.revision = 5;
    world.put(b"\x01b", Some("x"));
    world.publish();
    assert_eq!(world.serial(), 6 + (1 << 20));
    // A nameserver that had read one revision more before comes to the same serial.
    let mut other = World::new(Some(1 << 20));
    other.revision = 11;
    other.put(b"\x01a", Some("x"));
    other.publish();
    assert_eq!(other.journal.epoch_for(Revision::new(5)), epoch);
    // However far the feed goes back.
    let far = World::new(Some(1 << 20));
    far.journal.replace(Records::new(), Revision::new(5 << 20), 0, &far.zone);
    let epoch = far.journal.epoch_for(Revision::new(3));
    far.journal.replace(Records::new(), Revision::new(3), epoch, &far.zone);
    assert!(far.serial() > 5 << 20);
}

#[test]
fn serials_wrap_and_are_compared_on_the_circle() {
    let world = World::unread(Some(1 << 20));
    let mut world = World { revision: (1 << 32) - 2, ..world };
    world.journal.replace(Records::new(), Revision::new(world.revision), 0, &world.zone);
    for _ in 0..4 {
        let text = world.revision.to_string();
        world.put(b"\x01a", Some(&text));
        world.publish();
    }
    assert_eq!(world.serial(), 2);
    assert_eq!(changes(&world.journal, u32::MAX).unwrap().len(), 3);
    assert!(matches!(world.journal.since(2).unwrap().1, Since::Current));
    assert!(matches!(world.journal.since(3).unwrap().1, Since::Ahead));
    assert!(matches!(world.journal.since(0x8000_0001).unwrap().1, Since::Ahead));
    assert!(matches!(world.journal.since(0x8000_0002).unwrap().1, Since::Unknown));
    assert!(matches!(world.journal.since(0x8000_0003).unwrap().1, Since::Unknown));
}

#[test]
fn without_secondaries_nothing_is_kept() {
    let mut world = World::new(None);
    world.put(b"\x01a", Some("x"));
    world.publish();
    assert!(world.journal.view(&world.zone).is_none());
    let state = world.journal.state.lock();
    assert!(state.deltas.is_empty() && state.open.changes.is_empty());
}
