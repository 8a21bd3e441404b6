//! A zone and a plan in memory, which change, fail and lie as they are told.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::Bound,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use mtasts_dns::{
    provider::{Applied, BoxError, Mark, Observed, ProviderError, RecordChange, ZoneProvider},
    sweep::{Desired, DesiredSet},
};
use mtasts_model::{
    ZoneName,
    feed::{
        RecordData,
        RecordType::{self, Cname, Txt},
    },
};

pub(crate) type Key = (String, RecordType);
pub(crate) type Hook = Box<dyn FnOnce() + Send>;

pub(crate) fn data(value: &str) -> RecordData {
    RecordData { ttl: 60, values: vec![value.to_owned()] }
}

pub(crate) fn key(name: &str) -> Key {
    (format!("{name}.sts.test"), Txt)
}

/// A zone in memory that keeps the provider's contract.
pub(crate) struct Zone {
    pub(crate) name: ZoneName,
    pub(crate) sets: Mutex<BTreeMap<Key, (RecordData, Mark)>>,
    /// The listing says so; otherwise all are unread.
    pub(crate) lists_marks: bool,
    /// The listing ends without an error after that many sets.
    pub(crate) listing_ends_after: usize,
    /// The listing fails after that many sets.
    pub(crate) listing_fails_after: usize,
    /// Calls of `apply` that fail as a whole, from this one on.
    pub(crate) fails_from: usize,
    /// Names at which every change is refused.
    pub(crate) refuses: Vec<String>,
    pub(crate) reads: AtomicUsize,
    pub(crate) applies: AtomicUsize,
    /// Run once: when the listing is at its end, and before a write.
    pub(crate) when_listed: Mutex<Option<Hook>>,
    pub(crate) before_write: Mutex<Option<Hook>>,
}

impl Zone {
    pub(crate) fn new(sets: impl IntoIterator<Item = (Key, &'static str, Mark)>) -> Self {
        Self {
            name: "sts.test".parse().unwrap(),
            sets: Mutex::new(sets.into_iter().map(|(key, value, mark)| (key, (data(value), mark))).collect()),
            lists_marks: false,
            listing_ends_after: usize::MAX,
            listing_fails_after: usize::MAX,
            fails_from: usize::MAX,
            refuses: Vec::new(),
            reads: AtomicUsize::new(0),
            applies: AtomicUsize::new(0),
            when_listed: Mutex::new(None),
            before_write: Mutex::new(None),
        }
    }

    pub(crate) fn values(&self) -> BTreeMap<Key, String> {
        let sets = self.sets.lock().unwrap();
        sets.iter().map(|(key, (data, _))| (key.clone(), data.values.join("|"))).collect()
    }

    pub(crate) fn applies(&self) -> usize {
        self.applies.load(Ordering::SeqCst)
    }

    fn change(&self, change: &RecordChange) -> Result<Applied, ProviderError> {
        if self.refuses.contains(&change.name) {
            return Err(ProviderError::Refused { reason: "the zone is full".to_owned() });
        }
        let mut sets = self.sets.lock().unwrap();
        let (name, record_type) = (change.name.clone(), change.record_type);
        if let Some((alias, _)) = sets.get(&(name.clone(), Cname))
            && record_type != Cname
            && change.set.is_some()
        {
            return Err(ProviderError::TypeClash { name, record_type, found: format!("CNAME {}", alias.shown()) });
        }
        let key = (name.clone(), record_type);
        if let Some((found, mark)) = sets.get(&key)
            && *mark != Mark::Ours
            && change.set.as_ref().is_none_or(|wanted| !wanted.same_values(found))
        {
            let wanted = change.set.as_ref().map_or_else(|| "nothing".to_owned(), RecordData::shown);
            return Err(ProviderError::Conflict { name, record_type, wanted, found: found.shown() });
        }
        match &change.set {
            Some(wanted) => sets.insert(key, (wanted.clone(), Mark::Ours)),
            None => sets.remove(&key),
        };
        Ok(Applied::default())
    }
}

fn run(hook: &Mutex<Option<Hook>>) {
    let hook = hook.lock().unwrap().take();
    if let Some(hook) = hook {
        hook();
    }
}

fn unavailable() -> ProviderError {
    ProviderError::Unavailable { retry_after: None, source: "gone".into() }
}

#[async_trait]
impl ZoneProvider for Zone {
    fn zone(&self) -> &ZoneName {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "fake"
    }

    fn batch_size(&self) -> usize {
        7
    }

    async fn check(&self) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn read(&self, name: &str, record_type: RecordType) -> Result<Option<Observed>, ProviderError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let sets = self.sets.lock().unwrap();
        let found = sets.get(&(name.to_owned(), record_type));
        Ok(found.map(|(data, mark)| Observed {
            name: name.to_owned(),
            record_type,
            data: data.clone(),
            mark: *mark,
            reference: None,
        }))
    }

    async fn apply(&self, changes: &[RecordChange]) -> Result<Vec<Result<Applied, ProviderError>>, ProviderError> {
        assert!(changes.len() <= self.batch_size());
        run(&self.before_write);
        if self.applies.fetch_add(1, Ordering::SeqCst) >= self.fails_from {
            return Err(unavailable());
        }
        Ok(changes.iter().map(|change| self.change(change)).collect())
    }

    fn list(&self) -> BoxStream<'_, Result<Observed, ProviderError>> {
        let listed = self.sets.lock().unwrap().clone().into_iter().map(|((name, record_type), (data, mark))| {
            let mark = if self.lists_marks { mark } else { Mark::Unread };
            Ok(Observed { name, record_type, data, mark, reference: None })
        });
        let fails = (self.listing_fails_after < usize::MAX).then(|| Err(unavailable()));
        let sets: Vec<_> = listed.take(self.listing_ends_after).take(self.listing_fails_after).chain(fails).collect();
        let end = stream::once(async { run(&self.when_listed) }).filter_map(async |()| None);
        stream::iter(sets).chain(end).boxed()
    }

    fn authoritative(&self) -> Vec<SocketAddr> {
        Vec::new()
    }
}

/// What is wanted, in memory.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) sets: Mutex<BTreeMap<Key, DesiredSet>>,
    pub(crate) broken: bool,
}

impl Plan {
    pub(crate) fn new(sets: impl IntoIterator<Item = (Key, &'static str)>) -> Self {
        let plan = Self::default();
        for (key, value) in sets {
            plan.put(key, value, true);
        }
        plan
    }

    pub(crate) fn put(&self, (name, record_type): Key, value: &str, settled: bool) {
        let set = DesiredSet { name: name.clone(), record_type, data: data(value), settled };
        self.sets.lock().unwrap().insert((name, record_type), set);
    }

    pub(crate) fn values(&self) -> BTreeMap<Key, String> {
        let sets = self.sets.lock().unwrap();
        sets.iter().map(|(key, set)| (key.clone(), set.data.values.join("|"))).collect()
    }
}

#[async_trait]
impl Desired for Plan {
    async fn at(&self, names: &[String]) -> Result<Vec<DesiredSet>, BoxError> {
        let sets = self.sets.lock().unwrap();
        let keys = names.iter().flat_map(|name| RecordType::ALL.map(|kind| (name.clone(), kind)));
        Ok(keys.filter_map(|key| sets.get(&key).cloned()).collect())
    }

    async fn after(&self, after: Option<(&str, RecordType)>, limit: u32) -> Result<Vec<DesiredSet>, BoxError> {
        if self.broken {
            return Err("no database".into());
        }
        let sets = self.sets.lock().unwrap();
        let start = after.map_or(Bound::Unbounded, |(name, kind)| Bound::Excluded((name.to_owned(), kind)));
        Ok(sets.range((start, Bound::Unbounded)).take(limit as usize).map(|(_, set)| set.clone()).collect())
    }
}
