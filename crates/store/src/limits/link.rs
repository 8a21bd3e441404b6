//! The connection to Redis: made and kept up in the background, so that no call ever waits for it to be made.

use std::{fmt::Display, time::Duration};

use redis::{AsyncConnectionConfig, Script, aio::MultiplexedConnection};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

/// For connecting, greeting and a first call.
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A connection that was lost sooner than this after it came up lets the next pause be longer.
const STEADY: Duration = Duration::from_secs(10);

/// A connection that works as far as is known.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) connection: MultiplexedConnection,
    /// Which of the connections it is, so that a late word of an old one does not take the new one down.
    generation: u64,
}

/// Keeps a connection.
#[derive(Debug)]
pub(super) struct Link {
    live: watch::Sender<Option<Live>>,
    keeper: JoinHandle<()>,
}

impl Link {
    /// Begins to connect. `script` is [`super::TAKE`].
    pub(super) fn start(client: redis::Client, script: Script) -> Self {
        let live = watch::Sender::new(None);
        let keeper = tokio::spawn(keep(client, script, live.clone()));
        Self { live, keeper }
    }

    /// The connection; None while there is none.
    pub(super) fn live(&self) -> Option<Live> {
        self.live.borrow().clone()
    }

    /// Whoever used this connection found that it does not work. Said once for each connection.
    pub(super) fn lost(&self, lost: &Live, why: impl Display) {
        let was_live = self.live.send_if_modified(|live| {
            let same = live.as_ref().is_some_and(|live| live.generation == lost.generation);
            if same {
                *live = None;
            }
            same
        });
        if was_live {
            away(why);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

async fn keep(client: redis::Client, script: Script, live: watch::Sender<Option<Live>>) {
    let mut losses = live.subscribe();
    let mut pause = FIRST_PAUSE;
    let mut generation = 0_u64;
    let mut is_told = false;
    loop {
        match connect(&client, &script).await {
            Ok(connection) => {
                generation += 1;
                is_told = true;
                metrics::gauge!("mtasts_redis_up", "use" => "limits").set(1.0);
                tracing::info!("rate limits are shared through Redis");
                live.send_replace(Some(Live { connection, generation }));
                let since = Instant::now();
                // The sender is ours, so this cannot fail.
                let _ = losses.wait_for(Option::is_none).await;
                if since.elapsed() >= STEADY {
                    pause = FIRST_PAUSE;
                }
            }
            Err(error) if !is_told => {
                is_told = true;
                away(error);
            }
            Err(error) => tracing::debug!(%error, "Redis is still away"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// A connection over which the script was run: a server that is full, read-only or forbids scripts is away too.
async fn connect(client: &redis::Client, script: &Script) -> redis::RedisResult<MultiplexedConnection> {
    // Each call has a deadline of its own.
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_DEADLINE)).set_response_timeout(None);
    let attempt = async {
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        script.key("mtasts:limit:probe").arg(1000).arg(1).invoke_async::<Vec<u64>>(&mut connection).await?;
        Ok(connection)
    };
    let timed_out = || std::io::Error::from(std::io::ErrorKind::TimedOut).into();
    tokio::time::timeout(CONNECT_DEADLINE, attempt).await.unwrap_or_else(|_| Err(timed_out()))
}

fn away(why: impl Display) {
    metrics::gauge!("mtasts_redis_up", "use" => "limits").set(0.0);
    tracing::warn!(%why, "Redis is away: until it is back, each process limits calls on its own");
}
