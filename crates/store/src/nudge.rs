//! Nudges: "something has changed, look now". They carry nothing and may be lost: a poll is the safety net.
//!
//! They are notifications of the transaction that changed something, so they arrive after its commit. Where Redis is
//! configured they are published there as well, for followers that reach Redis sooner than Postgres.

mod listen;
mod publish;

use std::{collections::BTreeSet, sync::OnceLock};

use sea_orm::ConnectionTrait;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use tokio::{sync::watch, task::JoinHandle};

use crate::{Store, StoreError, sql};

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// The edge feed.
    Edge,
    /// The zone feed.
    Zone,
    /// A domain is due.
    Worker,
    /// An event is to be delivered.
    Webhooks,
    /// A bulk operation waits.
    Operations,
    /// A report has arrived.
    Reports,
    /// A tenant asks for a look at a domain.
    Checks,
}

impl Channel {
    const ALL: [Self; 7] =
        [Self::Edge, Self::Zone, Self::Worker, Self::Webhooks, Self::Operations, Self::Reports, Self::Checks];

    /// The name of the channel, in Postgres and in Redis.
    fn name(self) -> &'static str {
        match self {
            Self::Edge => "mtasts_edge",
            Self::Zone => "mtasts_zone",
            Self::Worker => "mtasts_worker",
            Self::Webhooks => "mtasts_webhooks",
            Self::Operations => "mtasts_operations",
            Self::Reports => "mtasts_reports",
            Self::Checks => "mtasts_checks",
        }
    }
}

/// Waits for nudges of one channel.
#[derive(Debug, Clone)]
pub struct NudgeReceiver {
    signal: watch::Receiver<()>,
}

impl NudgeReceiver {
    /// Resolves at the next nudge, or at once if there was one since the last call. Resolves as well after the
    /// connection that brings nudges was lost and is back, since some may have been missed. Once the store is closed
    /// it never resolves. Safe to drop and call again.
    pub async fn changed(&mut self) {
        if self.signal.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Store {
    /// Begins to listen. Must be called within a tokio runtime.
    pub fn nudges(&self, channel: Channel) -> NudgeReceiver {
        self.nudge_source().receiver(channel)
    }
}

/// One signal for each channel.
#[derive(Debug, Clone)]
struct Signals([watch::Sender<()>; 7]);

impl Signals {
    fn of(&self, channel: Channel) -> &watch::Sender<()> {
        let Self([edge, zone, worker, webhooks, operations, reports, checks]) = self;
        match channel {
            Channel::Edge => edge,
            Channel::Zone => zone,
            Channel::Worker => worker,
            Channel::Webhooks => webhooks,
            Channel::Operations => operations,
            Channel::Reports => reports,
            Channel::Checks => checks,
        }
    }

    fn named(&self, name: &str) {
        for channel in Channel::ALL {
            if channel.name() == name {
                self.of(channel).send_replace(());
            }
        }
    }

    /// Some may have been missed.
    fn all(&self) {
        for channel in Channel::ALL {
            self.of(channel).send_replace(());
        }
    }
}

/// Both ends of the nudges of one store.
#[derive(Debug)]
pub(crate) struct Nudges {
    postgres: PgConnectOptions,
    redis: Option<redis::Client>,
    signals: Signals,
    /// Started with the first receiver: most processes that publish never listen.
    listeners: OnceLock<Vec<JoinHandle<()>>>,
    publisher: OnceLock<publish::Publisher>,
}

impl Nudges {
    pub(crate) fn new(postgres: PgConnectOptions, redis_url: Option<&SecretString>) -> Result<Self, StoreError> {
        let redis = redis_url
            .map(|url| redis::Client::open(url.expose_secret()).map_err(|_| StoreError::BadUrl { what: "Redis" }))
            .transpose()?;
        let signals = Signals(std::array::from_fn(|_| watch::channel(()).0));
        Ok(Self { postgres, redis, signals, listeners: OnceLock::new(), publisher: OnceLock::new() })
    }

    fn receiver(&self, channel: Channel) -> NudgeReceiver {
        self.listeners.get_or_init(|| {
            let postgres = tokio::spawn(listen::to_postgres(self.postgres.clone(), self.signals.clone()));
            let redis = self.redis.clone().map(|client| tokio::spawn(listen::to_redis(client, self.signals.clone())));
            std::iter::once(postgres).chain(redis).collect()
        });
        NudgeReceiver { signal: self.signals.of(channel).subscribe() }
    }

    /// After a commit: tells Redis, if there is one.
    pub(crate) fn publish(&self, channels: &BTreeSet<Channel>) {
        if let Some(client) = &self.redis {
            self.publisher.get_or_init(|| publish::Publisher::start(client.clone())).publish(channels);
        }
    }
}

impl Drop for Nudges {
    fn drop(&mut self) {
        for listener in self.listeners.get().into_iter().flatten() {
            listener.abort();
        }
    }
}

/// Within a transaction: listeners of Postgres hear of it once it commits.
pub(crate) async fn notify(db: &impl ConnectionTrait, channels: &BTreeSet<Channel>) -> Result<(), StoreError> {
    if channels.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = channels.iter().map(|channel| channel.name().to_owned()).collect();
    sql::execute(db, "SELECT pg_notify(name, '') FROM unnest($1::text[]) AS name", vec![names.into()]).await?;
    Ok(())
}
