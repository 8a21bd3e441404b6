//! Delivers events to tenants' webhooks, by the Standard Webhooks specification: at least once, in no certain order,
//! signed, and again and again for three days.
//!
//! Each webhook has a few places and all together have many, so that one that is slow holds up nobody but itself.
//! Nothing is recorded of an attempt before it is over: a worker that dies in between is followed by another attempt with
//! the same `webhook-id`.

mod attempt;
mod queue;
mod schedule;
mod secret;
mod signature;

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures_util::FutureExt;
use mtasts_certs::KeyRing;
use mtasts_model::{Clock, Entropy, WebhookId};
use mtasts_probe::Poster;
use mtasts_store::{Channel, DueDelivery, NudgeReceiver, Store};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{attempt::Attempter, queue::Queue};

pub use self::secret::seal_webhook_secret;

/// How webhooks are delivered.
#[derive(Debug, Clone)]
pub struct WebhookConfig {
    /// Attempts at the same time.
    pub concurrency: usize,
    /// Of these, those to one webhook.
    pub per_webhook: u32,
    /// How long one attempt may take, from the lookup to the answer's headers.
    pub deadline: Duration,
    /// How long a delivery stays with a worker that has gone silent: longer than an attempt and its record.
    pub lease: TimeDelta,
    /// The longest wait between looks for due deliveries, for when a nudge was lost.
    pub poll: Duration,
    /// How long attempts under way may go on after the worker was told to stop.
    pub stop_grace: Duration,
    /// Whether `http://` will do: in private networks alone.
    pub allow_http: bool,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self {
            concurrency: 256,
            per_webhook: 4,
            deadline: Duration::from_secs(15),
            lease: TimeDelta::seconds(60),
            poll: Duration::from_secs(1),
            stop_grace: Duration::from_secs(10),
            allow_http: false,
        }
    }
}

/// What deliveries are made with.
pub struct WebhookDeps {
    /// The database, as [`mtasts_store::Role::Worker`].
    pub store: Store,
    /// The way to receivers.
    pub poster: Poster,
    /// Opens the secrets.
    pub key_ring: KeyRing,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For jitter.
    pub entropy: Arc<dyn Entropy>,
}

/// Delivers. Any number of them share the deliveries of one database.
pub struct WebhookWorker {
    config: Arc<WebhookConfig>,
    deps: Arc<WebhookDeps>,
}

/// Attempts under way.
#[derive(Default)]
struct InFlight {
    tasks: JoinSet<WebhookId>,
    /// How many to each webhook.
    held: HashMap<WebhookId, u32>,
}

impl InFlight {
    fn ended(&mut self, ended: Result<WebhookId, tokio::task::JoinError>) {
        match ended {
            Ok(webhook) => {
                if let Some(held) = self.held.get_mut(&webhook) {
                    *held -= 1;
                    if *held == 0 {
                        self.held.remove(&webhook);
                    }
                }
            }
            // Tasks catch their own panics; this is one of the runtime that ends.
            Err(error) => tracing::error!(%error, "a delivery's task ended abnormally"),
        }
    }
}

impl WebhookWorker {
    /// A worker that does nothing until it is run.
    pub fn new(config: WebhookConfig, deps: WebhookDeps) -> Self {
        Self { config: Arc::new(config), deps: Arc::new(deps) }
    }

    /// Delivers until `stop` is cancelled. Waits while the database is away. Attempts that are under way then have a
    /// while to end; what does not is made again by another worker.
    pub async fn run(&self, stop: CancellationToken) {
        let mut nudges = self.deps.store.nudges(Channel::Webhooks);
        let mut queue = Queue::new(Arc::clone(&self.config), Arc::clone(&self.deps));
        let mut in_flight = InFlight::default();
        while !stop.is_cancelled() {
            let free = self.config.concurrency.saturating_sub(in_flight.tasks.len());
            let pause = match queue.claim(free, &in_flight.held).await {
                Ok(claimed) => {
                    let pause =
                        if claimed.is_empty() && queue.is_at_its_start() { self.config.poll } else { Duration::ZERO };
                    self.begin(claimed, &mut in_flight);
                    pause
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "deliveries cannot be claimed");
                    self.config.poll
                }
            };
            let full = in_flight.tasks.len() >= self.config.concurrency;
            self.pause(if full { self.config.poll } else { pause }, &mut nudges, &mut in_flight, &stop).await;
        }
        let _ = timeout(self.config.stop_grace, async { while in_flight.tasks.join_next().await.is_some() {} }).await;
    }

    fn begin(&self, claimed: Vec<DueDelivery>, in_flight: &mut InFlight) {
        for delivery in claimed {
            let webhook = delivery.webhook;
            *in_flight.held.entry(webhook).or_default() += 1;
            let attempter = Attempter { config: Arc::clone(&self.config), deps: Arc::clone(&self.deps), delivery };
            in_flight.tasks.spawn(async move {
                let (id, guarded) = (attempter.delivery.id, AssertUnwindSafe(attempter.run()).catch_unwind());
                if guarded.await.is_err() {
                    tracing::error!(delivery = %id, "a delivery panicked; another attempt follows when its lease is over");
                }
                webhook
            });
        }
    }

    /// Waits until there may be something to claim. Attempts that end make room.
    async fn pause(
        &self,
        pause: Duration,
        nudges: &mut NudgeReceiver,
        in_flight: &mut InFlight,
        stop: &CancellationToken,
    ) {
        if !pause.is_zero() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(pause) => {}
                () = nudges.changed() => {}
                Some(ended) = in_flight.tasks.join_next() => in_flight.ended(ended),
            }
        }
        while let Some(ended) = in_flight.tasks.try_join_next() {
            in_flight.ended(ended);
        }
        metrics::gauge!("mtasts_webhook_attempts_in_flight")
            .set(f64::from(u32::try_from(in_flight.tasks.len()).unwrap_or(u32::MAX)));
    }
}
