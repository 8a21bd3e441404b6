//! Digests of reports by mail: daily and weekly, to addresses whose owners have said yes, and the mail that asks them.
//!
//! Each mail is a row with recipient and period as its key, which makes it one, however many workers there are. A worker that
//! dies between the relay's answer and its record is followed by another attempt with the same `Message-ID`.

mod body;
mod chart;
mod content;
mod message;
mod relay;
mod words;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use chrono::TimeDelta;
use data_encoding::BASE64URL_NOPAD;
use futures_util::{FutureExt, StreamExt, stream};
use mtasts_model::{Clock, DigestFrequency, Entropy, Timestamp};
use mtasts_store::{DigestLink, DueMail, MailOutcome, MailPurpose, Store, StoreError};
use sha2::{Digest as _, Sha256};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub use self::relay::{Relay, RelayConfig, RelayError, RelayTls};
use self::{message::MessageError, relay::NotTaken};
use crate::deadline::answered;

/// Mails that are claimed, and recipients that are put into the queue, at once.
const BATCH: u32 = 20;

/// Mails under way at the same time.
const CONCURRENCY: usize = 4;

/// How long a mail stays with a worker that has gone silent: longer than a batch takes with all its deadlines.
const LEASE: TimeDelta = TimeDelta::minutes(30);

/// How long a question holds, and how long whoever has a digest can be rid of the next ones by it.
const CONFIRM_WITHIN: TimeDelta = TimeDelta::days(7);
const UNSUBSCRIBE_WITHIN: TimeDelta = TimeDelta::days(400);

/// How often an address is asked in a day, by all tenants together.
const QUESTIONS_A_DAY: u32 = 3;

/// Pauses after attempts that failed; after the last one it is given up.
const PAUSES: [TimeDelta; 6] = [
    TimeDelta::minutes(1),
    TimeDelta::minutes(5),
    TimeDelta::minutes(20),
    TimeDelta::hours(1),
    TimeDelta::hours(3),
    TimeDelta::hours(8),
];

/// What digests are made with.
pub struct DigestDeps {
    /// The database, as [`mtasts_store::Role::Worker`].
    pub store: Store,
    /// The way out.
    pub relay: Relay,
    /// How the API is reached, with a slash at its end: where links lead.
    pub public_url: String,
    /// Mails to a tenant's recipients in a day.
    pub per_tenant: u32,
    /// The longest wait between looks for what is due.
    pub poll: Duration,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For links.
    pub entropy: Arc<dyn Entropy>,
}

/// Sends digests. Any number of them share the recipients of one database.
pub struct DigestWorker {
    deps: DigestDeps,
}

/// Why a mail could not be made or sent.
#[derive(Debug, thiserror::Error)]
enum MailError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Message(#[from] MessageError),
}

impl DigestWorker {
    /// A worker that does nothing until it is run.
    pub fn new(deps: DigestDeps) -> Self {
        Self { deps }
    }

    /// Sends until `stop` is cancelled; mails that are under way then are ended. Waits while the database is away.
    pub async fn run(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let more = match self.round().await {
                Ok(more) => more,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "digests cannot be claimed");
                    false
                }
            };
            if !more {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = sleep(self.deps.poll) => {}
                }
            }
        }
    }

    /// True: there may be more at once.
    async fn round(&self) -> Result<bool, StoreError> {
        let store = &self.deps.store;
        let now = self.deps.clock.now();
        let scheduled = answered(store.schedule_digests(BATCH, now)).await?;
        let mails = answered(store.claim_mails(BATCH, now + LEASE, now)).await?;
        let claimed = mails.len();
        stream::iter(mails).for_each_concurrent(CONCURRENCY, |mail| self.guarded(mail)).await;
        let batch = usize::try_from(BATCH).unwrap_or(usize::MAX);
        Ok(scheduled >= u64::from(BATCH) || claimed >= batch)
    }

    async fn guarded(&self, mail: DueMail) {
        let recipient = mail.recipient;
        if AssertUnwindSafe(self.attempt(mail)).catch_unwind().await.is_err() {
            tracing::error!(%recipient, "a digest panicked; another attempt follows when its lease is over");
        }
    }

    async fn attempt(&self, mail: DueMail) {
        let outcome = match self.send(&mail).await {
            Ok(outcome) => outcome,
            // Somebody else has it, or it is not wanted any more.
            Err(MailError::Store(StoreError::Fenced)) => return,
            Err(error) => {
                tracing::warn!(recipient = %mail.recipient, error = &error as &dyn std::error::Error, "a digest could not be made");
                self.again(&mail, "the service could not make it".to_owned())
            }
        };
        let word = match &outcome {
            MailOutcome::Sent => "sent",
            MailOutcome::Skipped => "skipped",
            MailOutcome::Retry { .. } => "retry",
            MailOutcome::Failed(_) => "failed",
            MailOutcome::Refused(_) => "refused",
        };
        metrics::counter!("mtasts_digest_mails_total", "purpose" => mail.purpose.as_str(), "outcome" => word)
            .increment(1);
        let now = self.deps.clock.now();
        match answered(self.deps.store.mail_tried(&mail, &outcome, now)).await {
            Ok(()) | Err(StoreError::Fenced) => {}
            Err(error) => {
                tracing::warn!(recipient = %mail.recipient, error = &error as &dyn std::error::Error, "what became of a digest could not be recorded");
            }
        }
    }

    async fn send(&self, mail: &DueMail) -> Result<MailOutcome, MailError> {
        // An attempt of which nothing is known counts as well: whatever ended the worker may end it again.
        if usize::try_from(mail.attempts).unwrap_or(usize::MAX) > PAUSES.len() + 1 {
            return Ok(MailOutcome::Failed("every attempt has failed".to_owned()));
        }
        let message = match mail.purpose {
            MailPurpose::Confirm => self.question(mail).await?,
            MailPurpose::Digest(frequency) => self.digest(mail, frequency).await?,
        };
        let message = match message {
            Ok(message) => message,
            Err(outcome) => return Ok(outcome),
        };
        Ok(match self.deps.relay.send(&mail.email, &message).await {
            Ok(()) => MailOutcome::Sent,
            Err(NotTaken::Recipient(reason)) => MailOutcome::Refused(reason),
            Err(NotTaken::Content(reason)) => MailOutcome::Failed(reason),
            Err(NotTaken::Later(problem)) => self.again(mail, problem),
        })
    }

    async fn question(&self, mail: &DueMail) -> Result<Result<Vec<u8>, MailOutcome>, MailError> {
        let (store, now) = (&self.deps.store, self.deps.clock.now());
        if mail.attempts == 1 {
            let address = Sha256::digest(mail.email.to_ascii_lowercase().as_bytes()).into();
            if !answered(store.count_question(&address, QUESTIONS_A_DAY, now)).await? {
                let reason = "this address was asked several times today: try again tomorrow";
                return Ok(Err(MailOutcome::Failed(reason.to_owned())));
            }
            if let Err(outcome) = self.counted(mail, now).await? {
                return Ok(Err(outcome));
            }
        }
        let link = self.link(mail, DigestLink::Confirm, now + CONFIRM_WITHIN).await?;
        Ok(Ok(message::question(mail, self.deps.relay.from(), &link, now)?))
    }

    async fn digest(
        &self,
        mail: &DueMail,
        frequency: DigestFrequency,
    ) -> Result<Result<Vec<u8>, MailOutcome>, MailError> {
        let now = self.deps.clock.now();
        let digest = answered(content::read(&self.deps.store, mail, frequency)).await?;
        if frequency == DigestFrequency::Daily && digest.is_quiet() {
            return Ok(Err(MailOutcome::Skipped));
        }
        if mail.attempts == 1
            && let Err(outcome) = self.counted(mail, now).await?
        {
            return Ok(Err(outcome));
        }
        let link = self.link(mail, DigestLink::Unsubscribe, now + UNSUBSCRIBE_WITHIN).await?;
        Ok(Ok(message::digest(mail, &digest, self.deps.relay.from(), &link, now)?))
    }

    async fn counted(&self, mail: &DueMail, now: Timestamp) -> Result<Result<(), MailOutcome>, StoreError> {
        let possible = answered(self.deps.store.count_mail(mail.tenant, self.deps.per_tenant, now)).await?;
        let reason = || "the tenant's mails of this day are used up".to_owned();
        Ok(if possible { Ok(()) } else { Err(MailOutcome::Failed(reason())) })
    }

    /// A link of its own for each attempt: nothing but its hash is kept, and that before the mail goes out.
    async fn link(&self, mail: &DueMail, link: DigestLink, expires_at: Timestamp) -> Result<String, StoreError> {
        let mut secret = [0_u8; 32];
        self.deps.entropy.fill(&mut secret);
        let token = BASE64URL_NOPAD.encode(&secret);
        let hash = Sha256::digest(token.as_bytes()).into();
        answered(self.deps.store.keep_digest_link(mail, (link, &hash), expires_at)).await?;
        let page = match link {
            DigestLink::Confirm => "confirm",
            DigestLink::Unsubscribe => "unsubscribe",
        };
        Ok(format!("{}digest/{page}/{token}", self.deps.public_url))
    }

    fn again(&self, mail: &DueMail, problem: String) -> MailOutcome {
        let index = usize::try_from(mail.attempts).unwrap_or(usize::MAX).saturating_sub(1);
        match PAUSES.get(index) {
            Some(pause) => MailOutcome::Retry { at: self.deps.clock.now() + *pause, problem },
            None => MailOutcome::Failed(problem),
        }
    }
}
