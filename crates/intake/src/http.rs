//! Reports by POST (RFC 8460 §5.4).

mod answer;
mod receive;

use std::{
    any::Any,
    io,
    net::{IpAddr, Shutdown, TcpListener},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{
    App, HttpServer,
    dev::{Extensions, Server as Actix, ServerHandle, Service as _},
    http::ConnectionType,
    rt::{System, net::TcpStream},
    web,
};
use mtasts_model::report::ReportVia;
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

use crate::{admission::Place, counters, error::IntakeError, intake::Shared, tls::version_name};

/// Threads: the work is to wait.
const WORKERS: usize = 2;
/// Between requests of one connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Octets of one HTTP/2 connection that may come before they are asked for. Beyond that the budget of bodies counts.
const WINDOW: u32 = 128 << 10;
/// TLS handshakes at the same time, for each thread.
const HANDSHAKES: usize = 128;
/// For requests under way when it is told to stop.
const DRAIN_SECONDS: u64 = 15;
/// How long open connections are told to end, each by its answer, before the server stops: that cuts every connection
/// that has not sent the whole header of a request.
const FAREWELL: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);
/// How much later than it was told to the server may end.
const LATE: Duration = Duration::from_secs(2);

/// What is known of a connection.
pub(crate) struct Connection {
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
                let server = match build(&shared, http, https, &tls) {
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

fn build(
    shared: &Arc<Shared>,
    http: Vec<TcpListener>,
    https: Vec<TcpListener>,
    tls: &ServerConfig,
) -> io::Result<Actix> {
    let config = &shared.config;
    let state = web::Data::from(Arc::clone(shared));
    let connected = Arc::clone(shared);
    let stop = shared.stop.clone();
    let mut server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .wrap_fn({
                let stop = stop.clone();
                move |request, service| {
                    let (stop, answered) = (stop.clone(), service.call(request));
                    async move {
                        let mut response = answered.await?;
                        if stop.is_cancelled() {
                            response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
                        }
                        Ok(response)
                    }
                }
            })
            .service(
                web::resource("/v1/tlsrpt/{label}")
                    .route(web::post().to(receive::receive))
                    .default_service(web::to(answer::method_not_allowed)),
            )
            .default_service(web::to(answer::not_found))
    })
    .workers(WORKERS)
    .max_connections(config.limits.max_connections)
    .max_connection_rate(HANDSHAKES)
    .tls_handshake_timeout(config.limits.header_deadline)
    .client_request_timeout(config.limits.header_deadline)
    .keep_alive(KEEP_ALIVE)
    .h2_initial_window_size(WINDOW)
    .h2_initial_connection_window_size(WINDOW)
    .shutdown_timeout(DRAIN_SECONDS)
    .on_connect(move |connection, facts| connect(&connected, connection, facts))
    .disable_signals();
    for listener in http {
        server = server.listen(listener)?;
    }
    for listener in https {
        server = server.listen_rustls_0_23(listener, tls.clone())?;
    }
    Ok(server.run())
}

/// Looks at a new connection. One that has no place is shut down before anything of it is read.
fn connect(shared: &Arc<Shared>, connection: &dyn Any, facts: &mut Extensions) {
    let (stream, tls) = if let Some(stream) = connection.downcast_ref::<TcpStream>() {
        (stream, None)
    } else if let Some(stream) = connection.downcast_ref::<TlsStream<TcpStream>>() {
        let (stream, session) = stream.get_ref();
        (stream, Some(version_name(session.protocol_version())))
    } else {
        return;
    };
    let Ok(peer) = stream.peer_addr() else { return };
    let peer = peer.ip().to_canonical();
    // A proxy of ours speaks for many.
    let is_proxy = shared.config.trusted_proxies.iter().any(|network| network.contains(peer));
    match shared.http_places.enter((!is_proxy).then_some(peer)) {
        Ok(place) => {
            facts.insert(Connection { peer, tls, _place: place });
        }
        Err(full) => {
            counters::refused_connection(ReportVia::Https, full.reason());
            // It may have gone already.
            let _ = SockRef::from(stream).shutdown(Shutdown::Both);
        }
    }
}
