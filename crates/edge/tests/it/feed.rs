//! A feed as a table of data.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use mtasts_edge::{Feed, FeedError};
use mtasts_model::{
    MailDomain, Revision, Timestamp,
    feed::{EdgeChange, EdgeEntry, Page, ServedLine},
};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::sleep};

#[derive(Default)]
struct Table {
    head: u64,
    floor: u64,
    /// By domain and "is it a challenge".
    rows: BTreeMap<(String, bool), (u64, EdgeEntry)>,
    acknowledged: Vec<Revision>,
    served: Vec<ServedLine>,
    complete_until: Option<Timestamp>,
    before_acknowledgement: Option<(String, EdgeEntry)>,
}

#[derive(Default)]
pub(crate) struct TableFeed {
    table: Mutex<Table>,
    /// While true, every call fails.
    pub(crate) down: AtomicBool,
    /// While true, reads are neither answered nor refused.
    pub(crate) silent: AtomicBool,
    /// While true, the ledger alone is refused.
    pub(crate) refuses_the_ledger: AtomicBool,
    /// Milliseconds that each read takes.
    pub(crate) slowness: AtomicU64,
    /// Rows per page, unless 0.
    pub(crate) page: AtomicU32,
    pub(crate) reads: AtomicU64,
    pub(crate) calls: AtomicU64,
    nudge: Notify,
}

impl TableFeed {
    /// Sets a row and nudges. The revision that this got.
    pub(crate) fn put(&self, domain: &str, entry: EdgeEntry) -> Revision {
        let mut table = self.table.lock();
        table.head += 1;
        let revision = table.head;
        let challenge = matches!(entry, EdgeEntry::Challenge(_) | EdgeEntry::ChallengeGone);
        table.rows.insert((domain.to_owned(), challenge), (revision, entry));
        drop(table);
        self.nudge.notify_one();
        Revision::new(revision)
    }

    /// Somebody else changes this row just before the next acknowledgement arrives.
    pub(crate) fn put_before_acknowledgement(&self, domain: &str, host: mtasts_model::feed::HostContent) {
        self.table.lock().before_acknowledgement = Some((domain.to_owned(), EdgeEntry::Host(Box::new(host))));
    }

    pub(crate) fn put_host(&self, domain: &str, host: mtasts_model::feed::HostContent) -> Revision {
        self.put(domain, EdgeEntry::Host(Box::new(host)))
    }

    /// Forgets all tombstones and moves the floor up to the head.
    pub(crate) fn purge(&self) {
        let mut table = self.table.lock();
        table.floor = table.head;
        table.rows.retain(|_, (_, entry)| !matches!(entry, EdgeEntry::HostGone | EdgeEntry::ChallengeGone));
    }

    pub(crate) fn acknowledged(&self) -> Option<Revision> {
        self.table.lock().acknowledged.last().copied()
    }

    pub(crate) fn served(&self) -> Vec<ServedLine> {
        self.table.lock().served.clone()
    }

    pub(crate) fn complete_until(&self) -> Option<Timestamp> {
        self.table.lock().complete_until
    }

    fn call(&self) -> Result<(), FeedError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) { Err(FeedError::new("the feed is down")) } else { Ok(()) }
    }
}

#[async_trait]
impl Feed for TableFeed {
    async fn since(&self, after: Revision, limit: u32) -> Result<Page<EdgeChange>, FeedError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        while self.silent.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(5)).await;
        }
        sleep(Duration::from_millis(self.slowness.load(Ordering::SeqCst))).await;
        self.call()?;
        let page = self.page.load(Ordering::SeqCst);
        let limit = if page == 0 { limit } else { limit.min(page) };
        let table = self.table.lock();
        let mut changes: Vec<_> = table
            .rows
            .iter()
            .filter(|(_, (revision, _))| *revision > after.number())
            .map(|((domain, _), (revision, entry))| EdgeChange {
                revision: Revision::new(*revision),
                domain: MailDomain::from_stored(domain).unwrap(),
                entry: entry.clone(),
                trace: None,
            })
            .collect();
        changes.sort_by_key(|change| change.revision);
        let more = changes.len() > limit as usize;
        changes.truncate(limit as usize);
        let position = if more { changes.last().unwrap().revision } else { Revision::new(table.head) };
        Ok(Page { changes, position, more, floor: Revision::new(table.floor) })
    }

    async fn acknowledge(&self, position: Revision) -> Result<(), FeedError> {
        self.call()?;
        let meanwhile = self.table.lock().before_acknowledgement.take();
        if let Some((domain, entry)) = meanwhile {
            self.put(&domain, entry);
        }
        self.table.lock().acknowledged.push(position);
        Ok(())
    }

    async fn flush_served(&self, lines: Vec<ServedLine>, complete_until: Option<Timestamp>) -> Result<(), FeedError> {
        self.call()?;
        if self.refuses_the_ledger.load(Ordering::SeqCst) {
            return Err(FeedError::new("no room for the ledger"));
        }
        let mut table = self.table.lock();
        table.served.extend(lines);
        table.complete_until = table.complete_until.max(complete_until);
        Ok(())
    }

    async fn changed(&self) {
        self.nudge.notified().await;
    }
}
