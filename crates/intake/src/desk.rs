//! Where arrivals are handed in: nobody is told that one was taken before it is committed.
//!
//! What waits while the database is busy with others is committed together: the more comes, the larger the batches.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use mtasts_model::Clock;
use mtasts_store::{Acceptance, NewArrival, Store};
use tokio::{
    sync::{Mutex, Semaphore, mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::{
    body::Held,
    counters,
    error::{NotNow, causes},
};

/// Transactions at the same time.
const WRITERS: usize = 4;
/// Deliveries that one transaction takes, and octets after which it takes no more. To store them copies them two or three
/// times, which is in no budget: so there is but one transaction at a time with more.
const BATCH: usize = 64;
const BATCH_OCTETS: usize = 2 << 20;
/// Deliveries that may wait. Their octets are in the budget, so this is no more than a length.
const QUEUE: usize = 4_096;

/// One delivery: the same octets for one or more domains.
struct Job {
    arrivals: Vec<NewArrival>,
    octets: usize,
    answer: oneshot::Sender<Result<Vec<Acceptance>, NotNow>>,
    /// Part of the budget for as long as the octets are in memory, whoever still waits for the answer.
    _held: Held,
}

pub(crate) struct Desk {
    queue: mpsc::Sender<Job>,
    deadline: Duration,
}

impl Desk {
    /// Starts the writers. They end with the desk, when all that was handed in is answered.
    pub(crate) fn start(
        store: &Store,
        clock: &Arc<dyn Clock>,
        reports_a_day: u64,
        deadline: Duration,
    ) -> (Self, Vec<JoinHandle<()>>) {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        let large = Arc::new(Semaphore::new(1));
        let writers = (0..WRITERS)
            .map(|_| {
                let writer = Writer {
                    store: store.clone(),
                    clock: Arc::clone(clock),
                    reports_a_day,
                    deadline,
                    large: Arc::clone(&large),
                };
                tokio::spawn(writer.run(Arc::clone(&jobs)))
            })
            .collect();
        (Self { queue, deadline }, writers)
    }

    /// Hands a delivery in, and waits for its commit. [`NotNow`]: it was not stored, or nobody knows. Whoever stops waiting
    /// changes nothing: what is stored then is found to be a duplicate when it is sent again.
    pub(crate) async fn hand_in(&self, arrivals: Vec<NewArrival>, held: Held) -> Result<Vec<Acceptance>, NotNow> {
        let begun = Instant::now();
        let (answer, answered) = oneshot::channel();
        let octets = arrivals.iter().map(|arrival| arrival.raw.len()).sum();
        let job = Job { arrivals, octets, answer, _held: held };
        let answer = timeout(self.deadline, async {
            self.queue.send(job).await.map_err(|_| NotNow)?;
            answered.await.map_err(|_| NotNow)?
        });
        let fates = answer.await.map_err(|_| NotNow)??;
        counters::stored(begun.elapsed());
        Ok(fates)
    }
}

struct Writer {
    store: Store,
    clock: Arc<dyn Clock>,
    reports_a_day: u64,
    deadline: Duration,
    /// Held while much is written.
    large: Arc<Semaphore>,
}

impl Writer {
    async fn run(self, jobs: Arc<Mutex<mpsc::Receiver<Job>>>) {
        loop {
            let batch = next_batch(&mut *jobs.lock().await).await;
            if batch.is_empty() {
                return;
            }
            self.write(batch).await;
        }
    }

    async fn write(&self, batch: Vec<Job>) {
        let octets: usize = batch.iter().map(|job| job.octets).sum();
        let _place = if octets > BATCH_OCTETS { self.large.acquire().await.ok() } else { None };
        let together: Vec<NewArrival> = batch.iter().flat_map(|job| job.arrivals.iter().cloned()).collect();
        let mut fates = match self.store(&together).await {
            Ok(fates) => fates.into_iter(),
            // One that the database refuses must not keep the others out.
            Err(NotStored::Refused) if batch.len() > 1 => {
                for job in batch {
                    let fates = self.store(&job.arrivals).await.map_err(|_| NotNow);
                    answer(job, fates);
                }
                return;
            }
            Err(NotStored::Away | NotStored::Refused) => {
                for job in batch {
                    answer(job, Err(NotNow));
                }
                return;
            }
        };
        for job in batch {
            let mine = fates.by_ref().take(job.arrivals.len()).collect();
            answer(job, Ok(mine));
        }
    }

    async fn store(&self, arrivals: &[NewArrival]) -> Result<Vec<Acceptance>, NotStored> {
        let attempt = async {
            match self.store.accept_reports(arrivals, self.reports_a_day, self.clock.now()).await {
                Err(error) if error.is_transient() => {
                    self.store.accept_reports(arrivals, self.reports_a_day, self.clock.now()).await
                }
                answer => answer,
            }
        };
        match timeout(self.deadline, attempt).await {
            Ok(Ok(fates)) => Ok(fates),
            Ok(Err(error)) => {
                tracing::warn!(arrivals = arrivals.len(), error = %causes(&error), "reports were not stored");
                Err(if error.is_unavailable() { NotStored::Away } else { NotStored::Refused })
            }
            Err(_) => {
                tracing::warn!(arrivals = arrivals.len(), "reports were not stored: the database does not answer");
                Err(NotStored::Away)
            }
        }
    }
}

enum NotStored {
    Away,
    Refused,
}

/// Waits for one delivery, and takes along what waits behind it. Empty: there will be none any more.
async fn next_batch(jobs: &mut mpsc::Receiver<Job>) -> Vec<Job> {
    let mut batch = Vec::new();
    let mut octets = 0;
    while batch.is_empty() {
        let Some(first) = jobs.recv().await else { return batch };
        let mut next = Some(first);
        while let Some(job) = next {
            // Who has gone was told nothing, and sends again.
            if !job.answer.is_closed() {
                octets += job.octets;
                batch.push(job);
            }
            next = if batch.len() < BATCH && octets < BATCH_OCTETS { jobs.try_recv().ok() } else { None };
        }
    }
    batch
}

fn answer(job: Job, fates: Result<Vec<Acceptance>, NotNow>) {
    // Who has gone sends again.
    let _ = job.answer.send(fates);
}

/// SHA-256 of the octets.
pub(crate) fn digest_of(octets: &Bytes) -> [u8; 32] {
    let mut value = [0; 32];
    value.copy_from_slice(digest(&SHA256, octets).as_ref());
    value
}

/// A text of a stranger's as a column takes it: no control characters, at most `max` characters. None if nothing is left.
pub(crate) fn column(text: &str, max: usize) -> Option<String> {
    let text: String = text.trim().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(max).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_take_any_text() {
        assert_eq!(column(" a\0b\r\nc ", 4).as_deref(), Some("a\u{fffd}b\u{fffd}"));
        assert_eq!(column(&"é".repeat(300), 255).map(|text| text.chars().count()), Some(255));
        assert_eq!(column(" \t", 10), None);
    }

    #[test]
    fn the_digest_is_sha_256() {
        let empty = digest_of(&Bytes::new());
        assert_eq!(empty[..4], [0xe3, 0xb0, 0xc4, 0x42]);
    }
}
