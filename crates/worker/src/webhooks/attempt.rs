//! One attempt to deliver, and what follows from it.

use std::{sync::Arc, time::Duration};

use mtasts_model::event::{Payload, SCHEMA_VERSION};
use mtasts_probe::{PostTarget, Posted};
use mtasts_store::{Attempt, AttemptOutcome, DueDelivery, StoreError, WebhookUrl};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::{
    WebhookConfig, WebhookDeps,
    schedule::next_attempt,
    secret::{self, SecretError},
    signature::signatures,
};
use crate::{deadline::answered, outcome::causes};

/// How often the database is tried while it is away or busy, for as long as the lease holds.
const PAUSE: Duration = Duration::from_millis(200);

/// "I am not interested any more" (Standard Webhooks, "Handling failures").
const GONE: u16 = 410;

pub(super) struct Attempter {
    pub(super) config: Arc<WebhookConfig>,
    pub(super) deps: Arc<WebhookDeps>,
    pub(super) delivery: DueDelivery,
}

/// What came of an attempt.
enum Seen {
    Answer(Posted),
    /// There was no answer; the text is for the webhook's owner.
    Nothing(String),
}

impl Attempter {
    /// Makes the attempt and records it. Whatever cannot be recorded is made again once the lease is over.
    pub(super) async fn run(&self) {
        let claimed_until = self.deps.clock.now() + self.config.lease;
        let started = Instant::now();
        let seen = self.attempt().await;
        metrics::histogram!("mtasts_webhook_attempt_seconds").record(started.elapsed().as_secs_f64());
        let (attempt, outcome) = self.judge(&seen);
        let word = match &outcome {
            AttemptOutcome::Delivered => "delivered",
            AttemptOutcome::Retry(_) => "retry",
            AttemptOutcome::Exhausted(_) => "failed",
            AttemptOutcome::Gone(_) => "gone",
        };
        metrics::counter!("mtasts_webhook_attempts_total", "outcome" => word).increment(1);
        let DueDelivery { id, webhook, event, attempts, .. } = &self.delivery;
        tracing::info!(delivery = %id, %webhook, %event, attempts, status = attempt.status, outcome = word, "event posted");
        loop {
            let now = self.deps.clock.now();
            match answered(self.deps.store.delivery_tried(&self.delivery, &attempt, &outcome, now)).await {
                Ok(()) => return,
                Err(StoreError::Fenced) => {
                    tracing::info!(delivery = %id, "the delivery was claimed or asked for anew in between");
                    return;
                }
                Err(error) if (error.is_unavailable() || error.is_transient()) && now < claimed_until => {
                    sleep(PAUSE).await;
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(delivery = %id, error, "an attempt could not be recorded; it is made again");
                    return;
                }
            }
        }
    }

    async fn attempt(&self) -> Seen {
        let delivery = &self.delivery;
        let url = match WebhookUrl::parse(&delivery.url, self.config.allow_http) {
            Ok(url) => url,
            Err(error) => return Seen::Nothing(format!("The URL {error}")),
        };
        let secrets = match self.secrets() {
            Ok(secrets) => secrets,
            Err(error) => {
                tracing::error!(webhook = %delivery.webhook, error = &error as &dyn std::error::Error, "no secret to sign with");
                return Seen::Nothing("This service cannot open the webhook's secret: rotate it".to_owned());
            }
        };
        let payload = Payload {
            event_type: &delivery.event_type,
            schema_version: SCHEMA_VERSION,
            timestamp: delivery.event_at,
            data: &delivery.data,
        };
        let body = match serde_json::to_vec(&payload) {
            Ok(body) => body,
            Err(error) => return Seen::Nothing(format!("The event cannot be written: {error}")),
        };
        let (id, time) = (delivery.event.to_string(), self.deps.clock.now().timestamp());
        let signature = signatures(secrets.iter().map(|secret| secret.as_slice()), &id, time, &body);
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("webhook-id", id),
            ("webhook-timestamp", time.to_string()),
            ("webhook-signature", signature),
        ];
        let (authority, target) = (url.authority(), url.target());
        let target = PostTarget {
            host: url.host(),
            port: url.port(),
            tls: url.is_tls(),
            authority: &authority,
            target: &target,
        };
        match self.deps.poster.post(target, &headers, body, self.config.deadline).await {
            Ok(posted) => Seen::Answer(posted),
            Err(error) => Seen::Nothing(causes(&error)),
        }
    }

    /// The current one first.
    fn secrets(&self) -> Result<Vec<Zeroizing<Vec<u8>>>, SecretError> {
        let DueDelivery { tenant, webhook, sealed, former_sealed, .. } = &self.delivery;
        let open = |sealed: &Vec<u8>| secret::open(&self.deps.key_ring, (*tenant, *webhook), sealed);
        std::iter::once(sealed).chain(former_sealed).map(open).collect()
    }

    fn judge(&self, seen: &Seen) -> (Attempt, AttemptOutcome) {
        let (attempt, retry_after) = match seen {
            Seen::Answer(Posted { status, retry_after, excerpt }) => {
                let taken = (200..300).contains(status);
                let problem = (!taken).then(|| format!("It answered {status}"));
                let excerpt = Some(plain(excerpt)).filter(|text| !text.is_empty());
                (Attempt { status: Some(*status), excerpt, problem }, retry_after.as_deref())
            }
            Seen::Nothing(problem) => {
                (Attempt { problem: Some(plain(problem.as_bytes())), ..Attempt::default() }, None)
            }
        };
        let Some(problem) = &attempt.problem else { return (attempt, AttemptOutcome::Delivered) };
        if attempt.status == Some(GONE) {
            return (attempt, AttemptOutcome::Gone("It answered 410 (Gone)".to_owned()));
        }
        let (now, tried) = (self.deps.clock.now(), self.delivery.attempts.saturating_add(1));
        let outcome = match next_attempt(tried, retry_after, now, &*self.deps.entropy) {
            Some(at) => AttemptOutcome::Retry(at),
            None => AttemptOutcome::Exhausted(format!("It took no event for more than three days. At last: {problem}")),
        };
        (attempt, outcome)
    }
}

/// A stranger's octets as a text that can be kept and shown.
fn plain(octets: &[u8]) -> String {
    let text = String::from_utf8_lossy(octets);
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect::<String>().trim().to_owned()
}
