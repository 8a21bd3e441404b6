//! Reports by POST (RFC 8460 §5.4).

mod announced;
mod answer;
mod listen;
mod receive;

use std::{
    io,
    net::{IpAddr, TcpListener},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use actix_web::{dev::ServerHandle, rt::System};
use rustls::ServerConfig;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

pub(crate) use self::listen::ALPN;
use crate::{admission::Place, error::IntakeError, intake::Shared};

/// How long open connections are told to end, each by its answer, before the server stops: that cuts every connection
/// that has not sent the whole header of a request.
const FAREWELL: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);
/// How much later than it was told to the server may end.
const LATE: Duration = Duration::from_secs(2);

/// What is known of a connection.
pub(crate) struct Connection {
    /// The client, or the last proxy of ours before it that speaks HTTP.
    peer: IpAddr,
    tls: Option<&'static str>,
    _place: Place,
}

/// The server, on threads of its own.
pub(crate) struct Server {
    handle: ServerHandle,
    thread: JoinHandle<()>,
    has_tls: bool,
}

impl Server {
    pub(crate) fn start(
        shared: &Arc<Shared>,
        http: Vec<TcpListener>,
        https: Vec<TcpListener>,
        tls: ServerConfig,
    ) -> Result<Self, IntakeError> {
        let (started, starting) = std::sync::mpsc::sync_channel(1);
        let (shared, has_tls) = (Arc::clone(shared), !https.is_empty());
        let serve = move || {
            let served = System::new().block_on(async move {
                let server = match listen::listen(&shared, http, https, &tls) {
                    Ok(server) => server,
                    Err(error) => {
                        let _ = started.send(Err(error));
                        return Ok(());
                    }
                };
                let _ = started.send(Ok(server.handle()));
                server.await
            });
            if let Err(error) = served {
                tracing::error!(%error, "the HTTP server ended");
            }
        };
        let thread = thread::Builder::new().name("intake-http".to_owned()).spawn(serve).map_err(IntakeError::Http)?;
        let handle = starting.recv().map_err(io::Error::other).and_then(|started| started);
        Ok(Self { handle: handle.map_err(IntakeError::Http)?, thread, has_tls })
    }

    /// Takes no more connections, and lets requests end, for as long as this and for 15 seconds at most. Before that it
    /// serves on for two, if connections are open or may be. To be called when `stop` has been told.
    pub(crate) async fn stop(self, deadline: Duration, shared: &Shared) {
        let gone = async {
            // Connections are counted once they have been taken, and their TLS handshake is done: how many are on their
            // way there is not known.
            sleep(if self.has_tls { FAREWELL } else { PAUSE }).await;
            while shared.http_places.open() > 0 {
                sleep(PAUSE).await;
            }
        };
        let begun = Instant::now();
        let _ = timeout(FAREWELL.min(deadline), gone).await;
        let deadline = deadline.saturating_sub(begun.elapsed());
        if timeout(deadline, self.handle.stop(true)).await.is_err() {
            tracing::warn!("requests cut at the end of the shutdown");
            let _ = timeout(LATE, self.handle.stop(false)).await;
        }
        let (ended, end) = oneshot::channel();
        let thread = self.thread;
        thread::spawn(move || {
            let _ = thread.join();
            let _ = ended.send(());
        });
        let _ = timeout(LATE, end).await;
    }
}
