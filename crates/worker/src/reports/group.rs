//! A few arrivals of one tenant, read one after the other and put in together: sums of a tenant are written by one
//! transaction at a time, so a transaction for each would only wait for the others.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use chrono::TimeDelta;
use mtasts_model::{DomainId, Timestamp};
use mtasts_store::{Applied, DomainHistory, DueArrival, HeldDomain, ReadArrival, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    ReportConfig, ReportDeps,
    reading::{self, Documents, Stopped},
};
use crate::deadline::answered;

/// An arrival that weighs more is put in by itself, and nothing else is read in its place until then.
const LIGHT: usize = 1 << 20;
/// Rows that are put in together.
const ROWS_AT_ONCE: usize = 5_000;
/// Attempts before an arrival is given up: those before it have ended the process, or the transaction.
const ATTEMPTS: u32 = 3;
/// DNS that is silent for longer than this after an arrival is taken for a key that is not there.
const PATIENCE: TimeDelta = TimeDelta::hours(24);
/// Between attempts while DNS is silent: half of the time that it has been so, within these.
const SHORTEST_PAUSE: TimeDelta = TimeDelta::minutes(1);
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(4);

pub(super) struct Group {
    pub(super) config: Arc<ReportConfig>,
    pub(super) deps: Arc<ReportDeps>,
    pub(super) readers: Arc<Semaphore>,
    pub(super) stop: CancellationToken,
}

/// What has been read and not yet put in.
#[derive(Default)]
struct Pending {
    read: Vec<ReadArrival>,
    rows: usize,
}

/// What came of one arrival.
enum Outcome {
    Read(ReadArrival, Option<OwnedSemaphorePermit>),
    /// Another worker has it, or it waits for a better time.
    Gone,
}

impl Group {
    /// Reads them all. What is left over, because the worker stops or the database is away, is read once the lease is
    /// over.
    pub(super) async fn run(self, mut arrivals: Vec<DueArrival>) {
        arrivals.sort_by_key(|arrival| arrival.received_at);
        if let Err(error) = self.read_all(arrivals).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "reports could not be read; they are read again");
        }
    }

    async fn read_all(&self, arrivals: Vec<DueArrival>) -> Result<(), StoreError> {
        let mut pending = Pending::default();
        for arrival in arrivals {
            if self.stop.is_cancelled() {
                let _ = answered(self.deps.store.defer_arrival(&arrival, self.deps.clock.now())).await;
                continue;
            }
            // One that has failed before must not take others with it.
            let is_alone = arrival.attempts > 0;
            if is_alone {
                self.put_in(&mut pending).await?;
            }
            let Outcome::Read(read, permit) = self.read(arrival).await? else { continue };
            pending.rows += read.reports.iter().map(|report| report.tls.len() + report.dmarc.len() + 1).sum::<usize>();
            pending.read.push(read);
            if is_alone || permit.is_some() || pending.rows >= ROWS_AT_ONCE {
                self.put_in(&mut pending).await?;
            }
        }
        self.put_in(&mut pending).await
    }

    async fn read(&self, arrival: DueArrival) -> Result<Outcome, StoreError> {
        let (config, deps) = (&self.config, &self.deps);
        let now = deps.clock.now();
        let begun = match answered(deps.store.begin_reading(&arrival, now + config.lease)).await {
            Err(StoreError::Fenced) => return Ok(Outcome::Gone),
            begun => begun?,
        };
        if begun.attempts > ATTEMPTS {
            let words = format!("Reading it was given up after {ATTEMPTS} attempts that did not come to an end.");
            return Ok(quarantined(arrival, "reading-failed", &words));
        }
        let Some(raw) = begun.raw else {
            return Ok(quarantined(arrival, "raw-gone", "What arrived is not kept any more."));
        };
        let raw: Arc<[u8]> = raw.into();
        let keys = reading::keys(&deps.resolver, arrival.via, &raw).await;
        let Ok(permit) = Arc::clone(&self.readers).acquire_owned().await else { return Ok(Outcome::Gone) };
        let documents =
            reading::documents(permit, &arrival, raw, keys, config.hosts(), config.limits, config.deadline).await;
        let (documents, permit) = match documents {
            Ok((documents, permit)) => {
                let permit = Some(permit).filter(|_| documents.weight > LIGHT);
                (documents, permit)
            }
            Err(stopped) => return Ok(stopped_at(arrival, stopped)),
        };
        if documents.is_open() && now - arrival.received_at < PATIENCE {
            return self.defer(&arrival, now).await;
        }
        self.store_of(documents, arrival, now).await.map(|outcome| match outcome {
            Ok(read) => Outcome::Read(read, permit),
            Err(outcome) => outcome,
        })
    }

    /// Looks up what is needed beside the documents, and makes rows of them.
    async fn store_of(
        &self,
        documents: Documents,
        arrival: DueArrival,
        now: Timestamp,
    ) -> Result<Result<ReadArrival, Outcome>, StoreError> {
        let store = &self.deps.store;
        let own = answered(store.domain_histories(&[arrival.domain])).await?;
        let Some(name) = own.first().map(|history| history.name.clone()) else {
            let words = "The domain that it was sent to is not there any more.";
            return Ok(Err(quarantined(arrival, "domain-gone", words)));
        };
        let held: HashMap<String, HeldDomain> = answered(store.held_domains(&documents.others(&name)))
            .await?
            .into_iter()
            .map(|held| (held.name.clone(), held))
            .collect();
        let others: HashSet<DomainId> =
            held.values().map(|held| held.domain).filter(|domain| *domain != arrival.domain).collect();
        let mut histories = own;
        if !others.is_empty() {
            let others: Vec<DomainId> = others.into_iter().collect();
            histories.extend(answered(store.domain_histories(&others)).await?);
        }
        let histories: HashMap<DomainId, DomainHistory> =
            histories.into_iter().map(|history| (history.domain, history)).collect();
        let problem = documents.problem.as_ref().map(|problem| (problem.code().to_owned(), problem.to_string()));
        let reports = reading::reports(documents, arrival.clone(), name, held, histories, &self.deps, now).await;
        Ok(match reports {
            Ok(reports) => Ok(ReadArrival { arrival, problem, reports }),
            Err(stopped) => Err(stopped_at(arrival, stopped)),
        })
    }

    async fn defer(&self, arrival: &DueArrival, now: Timestamp) -> Result<Outcome, StoreError> {
        let pause = ((now - arrival.received_at) / 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        metrics::counter!("mtasts_reports_deferred_total").increment(1);
        match answered(self.deps.store.defer_arrival(arrival, now + pause)).await {
            Ok(()) | Err(StoreError::Fenced) => Ok(Outcome::Gone),
            Err(error) => Err(error),
        }
    }

    /// Puts in what is pending. Where the database does not take it, each by itself, so that one that it will never take
    /// holds up nobody else; that one is tried again, and given up.
    async fn put_in(&self, pending: &mut Pending) -> Result<(), StoreError> {
        let Pending { read, .. } = std::mem::take(pending);
        if read.is_empty() {
            return Ok(());
        }
        let now = self.deps.clock.now();
        let apply = async |read: Vec<ReadArrival>| {
            let summary = Summary::of(&read);
            let applied = answered(self.deps.store.apply_arrivals(read, env!("CARGO_PKG_VERSION"), now)).await?;
            summary.tell(&applied);
            Ok::<_, StoreError>(())
        };
        if read.len() > 1 {
            match apply(read.clone()).await {
                Err(error) if !error.is_unavailable() => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "reports are put in one by one");
                }
                outcome => return outcome,
            }
        }
        for one in read {
            match apply(vec![one]).await {
                Err(error) if error.is_unavailable() => return Err(error),
                Err(error) => refused(&error),
                Ok(()) => {}
            }
        }
        Ok(())
    }
}

/// It is tried again when its lease is over, and given up after a few attempts.
fn refused(error: &StoreError) {
    tracing::error!(error = error as &dyn std::error::Error, "a report could not be put in");
}

fn quarantined(arrival: DueArrival, reason: &str, words: &str) -> Outcome {
    let problem = Some((reason.to_owned(), words.to_owned()));
    Outcome::Read(ReadArrival { arrival, problem, reports: Vec::new() }, None)
}

fn stopped_at(arrival: DueArrival, stopped: Stopped) -> Outcome {
    match stopped {
        Stopped::Failed => quarantined(arrival, "reading-failed", "Reading it failed for a defect of the reader."),
        Stopped::TooSlow => quarantined(arrival, "too-slow", "Reading it took too long."),
    }
}

/// What is counted of arrivals once they are put in.
struct Summary {
    grades: Vec<(&'static str, &'static str)>,
    /// Of what kind, and why.
    quarantined: Vec<(&'static str, String)>,
}

impl Summary {
    fn of(read: &[ReadArrival]) -> Self {
        Self {
            grades: read
                .iter()
                .flat_map(|read| &read.reports)
                .map(|report| (report.kind.as_str(), report.grade.as_str()))
                .collect(),
            quarantined: read
                .iter()
                .filter_map(|read| Some((read.arrival.kind.as_str(), read.problem.as_ref()?.0.clone())))
                .collect(),
        }
    }

    fn tell(self, applied: &[Applied]) {
        let done = applied.iter().filter(|applied| applied.new.is_some()).count();
        let repeated: u64 = applied.iter().map(|applied| u64::from(applied.repeated)).sum();
        metrics::counter!("mtasts_report_arrivals_read_total").increment(done as u64);
        metrics::counter!("mtasts_reports_repeated_total").increment(repeated);
        for (kind, grade) in self.grades {
            metrics::counter!("mtasts_reports_read_total", "kind" => kind, "grade" => grade).increment(1);
        }
        for (kind, reason) in self.quarantined {
            metrics::counter!("mtasts_report_arrivals_quarantined_total", "kind" => kind, "reason" => reason)
                .increment(1);
        }
    }
}
