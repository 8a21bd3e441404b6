//! Telling Redis. Whoever changed something never waits for it.

use std::{collections::BTreeSet, time::Duration};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio::sync::mpsc;

use super::Channel;

/// Nudges that may wait for a slow Redis; further ones are dropped, as those that wait say the same.
const WAITING: usize = 64;

const TIMEOUT: Duration = Duration::from_secs(1);

/// Ends with the store, when its sender is dropped.
#[derive(Debug)]
pub(super) struct Publisher(mpsc::Sender<Channel>);

impl Publisher {
    pub(super) fn start(client: redis::Client) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(run(client, receiver));
        Self(sender)
    }

    pub(super) fn publish(&self, channels: &BTreeSet<Channel>) {
        for channel in channels {
            if self.0.try_send(*channel).is_err() {
                tracing::debug!(channel = channel.name(), "a nudge for Redis was dropped");
            }
        }
    }
}

async fn run(client: redis::Client, mut nudges: mpsc::Receiver<Channel>) {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(TIMEOUT))
        .set_response_timeout(Some(TIMEOUT))
        .set_number_of_retries(0);
    let connection = match client.get_connection_manager_lazy(config) {
        Ok(connection) => connection,
        Err(error) => {
            tracing::warn!(%error, "nudges cannot be published in Redis");
            return;
        }
    };
    while let Some(channel) = nudges.recv().await {
        if let Err(error) = publish(connection.clone(), channel).await {
            tracing::debug!(channel = channel.name(), %error, "a nudge could not be published in Redis");
        }
    }
}

async fn publish(mut connection: ConnectionManager, channel: Channel) -> redis::RedisResult<()> {
    redis::cmd("PUBLISH").arg(channel.name()).arg("").query_async(&mut connection).await
}
