//! Listening to Postgres and to Redis, for ever.

use std::{ops::ControlFlow, time::Duration};

use futures_util::StreamExt;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};

use super::{Channel, Signals};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// On a connection of its own: a listener that took one of the pool's would leave a small pool with none.
pub(super) async fn to_postgres(options: PgConnectOptions, signals: Signals) {
    let pool = PgPoolOptions::new().max_connections(1).test_before_acquire(false).connect_lazy_with(options);
    let mut pause = FIRST_PAUSE;
    loop {
        match PgListener::connect_with(&pool).await {
            Ok(listener) => {
                if follow_postgres(listener, &signals).await.is_continue() {
                    pause = FIRST_PAUSE;
                }
            }
            Err(error) => tracing::debug!(%error, "cannot listen for nudges in Postgres"),
        }
        metrics::gauge!("mtasts_database_nudges_up").set(0.0);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Ends when the connection is lost: [`ControlFlow::Continue`] if it had worked.
async fn follow_postgres(mut listener: PgListener, signals: &Signals) -> ControlFlow<()> {
    listener.eager_reconnect(false);
    if let Err(error) = listener.listen_all(Channel::ALL.map(Channel::name)).await {
        tracing::debug!(%error, "cannot listen for nudges in Postgres");
        return ControlFlow::Break(());
    }
    metrics::gauge!("mtasts_database_nudges_up").set(1.0);
    signals.all();
    loop {
        match listener.try_recv().await {
            Ok(Some(notification)) => signals.named(notification.channel()),
            Ok(None) => {
                tracing::debug!("the connection for nudges from Postgres was lost");
                return ControlFlow::Continue(());
            }
            Err(error) => {
                tracing::debug!(%error, "the connection for nudges from Postgres was lost");
                return ControlFlow::Continue(());
            }
        }
    }
}

pub(super) async fn to_redis(client: redis::Client, signals: Signals) {
    let mut pause = FIRST_PAUSE;
    loop {
        match follow_redis(&client, &signals).await {
            Ok(()) => {
                tracing::debug!("the connection for nudges from Redis was lost");
                pause = FIRST_PAUSE;
            }
            Err(error) => tracing::debug!(%error, "cannot listen for nudges in Redis"),
        }
        metrics::gauge!("mtasts_redis_up", "use" => "nudges").set(0.0);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn follow_redis(client: &redis::Client, signals: &Signals) -> redis::RedisResult<()> {
    let mut pubsub = client.get_async_pubsub().await?;
    for channel in Channel::ALL {
        pubsub.subscribe(channel.name()).await?;
    }
    metrics::gauge!("mtasts_redis_up", "use" => "nudges").set(1.0);
    signals.all();
    let mut messages = pubsub.into_on_message();
    while let Some(message) = messages.next().await {
        signals.named(message.get_channel_name());
    }
    Ok(())
}
