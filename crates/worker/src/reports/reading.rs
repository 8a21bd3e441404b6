//! Reads one arrival: what takes time and room, away from the tasks that wait, a few at a time, and never for long.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use mtasts_dns::{Lookup, ResolveError, Resolver};
use mtasts_model::{DomainId, ReportVia, Timestamp};
use mtasts_reports::{Deviations, Identity, Limits, Report, ReportHosts, Unreadable, read};
use mtasts_store::{DomainHistory, DueArrival, HeldDomain, NewReport};
use tokio::{sync::OwnedSemaphorePermit, task::spawn_blocking, time::timeout};

use super::{
    ReportDeps,
    grade::{Graded, grade},
    part::{Context, parts},
    signatures::{Key, check, key_names},
};

/// For all keys of one mail together.
const KEYS_DEADLINE: Duration = Duration::from_secs(5);
/// Names of other domains in one arrival that are looked up.
const MOST_NAMES: usize = 1_000;

/// A document that was read, or why it was not.
pub(super) struct Document {
    path: Vec<String>,
    on_the_way: Deviations,
    report: Report,
    identity: Identity,
    graded: Graded,
    number: u32,
}

/// What is in an arrival.
pub(super) struct Documents {
    pub(super) read: Vec<Document>,
    /// The first that could not be read, or only in part.
    pub(super) problem: Option<Unreadable>,
    /// Octets that were inflated, and came: about how much room it takes.
    pub(super) weight: usize,
}

/// Why nothing was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The reader panicked.
    Failed,
    /// It took too long.
    TooSlow,
}

impl Documents {
    /// Whether a silent DNS decides on a grade.
    pub(super) fn is_open(&self) -> bool {
        self.read.iter().any(|document| document.graded.is_open)
    }

    /// Domains beside the label's of which a verified document speaks: others are not listened to.
    pub(super) fn others(&self, own: &str) -> Vec<String> {
        let verified = self.read.iter().filter(|document| document.graded.signer.is_some());
        let names: BTreeSet<String> = verified.flat_map(|document| document.report.policy_domains()).collect();
        names.into_iter().filter(|name| name != own).take(MOST_NAMES).collect()
    }
}

/// Fetches the keys that a mail's signatures ask for, by their names.
pub(super) async fn keys(resolver: &Resolver, via: ReportVia, raw: &Arc<[u8]>) -> HashMap<String, Key> {
    if via == ReportVia::Https {
        return HashMap::new();
    }
    // Bounded by the header's cap; still nothing for a task that others wait for.
    let octets = Arc::clone(raw);
    let names = spawn_blocking(move || key_names(&octets)).await.unwrap_or_default();
    let look = |name: String| async move {
        let key = match timeout(KEYS_DEADLINE, resolver.txt(&name)).await {
            Ok(Ok(Lookup::Found(records))) => Key::Records(records),
            // What no resolver can be asked for is nowhere.
            Ok(Ok(Lookup::NoData | Lookup::NxDomain) | Err(ResolveError::InvalidName(_))) => Key::Missing,
            Ok(Err(error)) => {
                tracing::debug!(%name, %error, "a key could not be looked up");
                Key::Unreachable
            }
            Err(_) => Key::Unreachable,
        };
        (name, key)
    };
    join_all(names.into_iter().map(look)).await.into_iter().collect()
}

/// Reads all documents of an arrival and grades each. The permit is held for as long as the reader runs, however long
/// anybody waits for it; it comes back with what was read.
pub(super) async fn documents(
    permit: OwnedSemaphorePermit,
    arrival: &DueArrival,
    raw: Arc<[u8]>,
    keys: HashMap<String, Key>,
    hosts: ReportHosts,
    limits: Limits,
    deadline: Duration,
) -> Result<(Documents, OwnedSemaphorePermit), Stopped> {
    let (kind, via, received_at) = (arrival.kind, arrival.via, arrival.received_at);
    let reading = spawn_blocking(move || {
        let checked = if via == ReportVia::Smtp { check(&raw, &keys, kind, received_at) } else { Vec::new() };
        let readings = read(&raw, &limits);
        let mut documents =
            Documents { read: Vec::new(), problem: None, weight: readings.spent().inflated + raw.len() };
        for (number, reading) in (0..).zip(readings) {
            match reading.outcome {
                Ok((mut report, identity)) => {
                    if let Report::TlsRpt(report) = &mut report {
                        report.mark_report_hosts(&hosts);
                    }
                    let graded = grade(via, &checked, &identity.claims);
                    documents.read.push(Document {
                        path: reading.path,
                        on_the_way: reading.on_the_way,
                        report,
                        identity,
                        graded,
                        number,
                    });
                }
                Err(problem) => {
                    documents.problem.get_or_insert(problem);
                }
            }
        }
        (documents, permit)
    });
    match timeout(deadline, reading).await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(panic)) => {
            tracing::error!(arrival = %arrival.id, %panic, "a report could not be read for a defect of the reader");
            Err(Stopped::Failed)
        }
        Err(_) => Err(Stopped::TooSlow),
    }
}

/// What the documents say of whom, as it is stored.
pub(super) async fn reports(
    documents: Documents,
    arrival: DueArrival,
    own: String,
    held: HashMap<String, HeldDomain>,
    histories: HashMap<DomainId, DomainHistory>,
    deps: &Arc<ReportDeps>,
    now: Timestamp,
) -> Result<Vec<NewReport>, Stopped> {
    let deps = Arc::clone(deps);
    let making = spawn_blocking(move || {
        let mut reports = Vec::new();
        for document in documents.read {
            let context = Context {
                arrival: &arrival,
                own: &own,
                document: document.number,
                identity: &document.identity,
                path: &document.path,
                on_the_way: &document.on_the_way,
                graded: &document.graded,
                held: &held,
                histories: &histories,
                entropy: &*deps.entropy,
                origins: &deps.origins,
                now,
            };
            reports.extend(parts(document.report, &context));
        }
        reports
    });
    making.await.map_err(|_| Stopped::Failed)
}
