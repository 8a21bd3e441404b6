//! For whom an address is: asked of the database, and remembered for a moment, so that a flood of recipients does not
//! become a flood of queries.

use std::{sync::Arc, time::Duration};

use mtasts_model::{Clock, Label};
use mtasts_store::{Recipient, Store};
use quick_cache::sync::Cache;
use tokio::{
    runtime::Handle,
    sync::Semaphore,
    time::{Instant, timeout},
};

use crate::{
    counters,
    error::{NotNow, causes},
};

/// How long an answer is remembered: so long may a domain that is gone still be sent to, and a new one be refused.
const REMEMBERED: Duration = Duration::from_secs(10);
/// Answers of each kind that are remembered. Labels that nobody has push out each other, and none that somebody has.
const CAPACITY: usize = 10_000;
/// Questions at the same time.
const AT_ONCE: usize = 8;

pub(crate) struct Directory {
    store: Store,
    clock: Arc<dyn Clock>,
    /// Where the store's connections live: other threads ask through it.
    runtime: Handle,
    reports_a_day: u64,
    deadline: Duration,
    known: Cache<Label, (Recipient, Instant)>,
    unknown: Cache<Label, Instant>,
    asking: Arc<Semaphore>,
}

impl Directory {
    pub(crate) fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        runtime: Handle,
        reports_a_day: u64,
        deadline: Duration,
    ) -> Self {
        let (known, unknown) = (Cache::new(CAPACITY), Cache::new(CAPACITY));
        let asking = Arc::new(Semaphore::new(AT_ONCE));
        Self { store, clock, runtime, reports_a_day, deadline, known, unknown, asking }
    }

    /// None: there is no such label, or its domain is gone.
    pub(crate) async fn find(&self, label: &Label) -> Result<Option<Recipient>, NotNow> {
        let now = Instant::now();
        if let Some((recipient, until)) = self.known.get(label)
            && now < until
        {
            counters::lookup("memory");
            return Ok(Some(recipient));
        }
        if self.unknown.get(label).is_some_and(|until| now < until) {
            counters::lookup("memory");
            return Ok(None);
        }
        counters::lookup("database");
        let found = self.ask(label.clone()).await?;
        let until = Instant::now() + REMEMBERED;
        match found {
            Some(recipient) => self.known.insert(label.clone(), (recipient, until)),
            None => self.unknown.insert(label.clone(), until),
        }
        Ok(found)
    }

    /// Its tenant has had its reports of the day.
    pub(crate) fn has_no_room(&self, label: &Label, recipient: Recipient) {
        let recipient = Recipient { has_room: false, ..recipient };
        self.known.insert(label.clone(), (recipient, Instant::now() + REMEMBERED));
    }

    async fn ask(&self, label: Label) -> Result<Option<Recipient>, NotNow> {
        let (store, quota, now) = (self.store.clone(), self.reports_a_day, self.clock.now());
        let asking = Arc::clone(&self.asking);
        let asked = self.runtime.spawn(async move {
            // It is never closed.
            let _place = asking.acquire_owned().await;
            store.recipient(&label, quota, now).await
        });
        let abort = asked.abort_handle();
        match timeout(self.deadline, asked).await {
            Ok(Ok(Ok(found))) => Ok(found),
            Ok(Ok(Err(error))) => {
                tracing::warn!(error = %causes(&error), "a recipient cannot be looked up");
                Err(NotNow)
            }
            Ok(Err(_)) => Err(NotNow),
            Err(_) => {
                abort.abort();
                tracing::warn!("a recipient cannot be looked up: the database does not answer");
                Err(NotNow)
            }
        }
    }
}
