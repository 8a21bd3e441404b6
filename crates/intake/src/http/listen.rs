//! How connections come in: plain ones, and over TLS, where a load balancer may say first whom they are from. actix-web's
//! own `HttpServer` has no place for that before the handshake, so its parts are put together here, as it does.

use std::{
    future::Future,
    io,
    net::{IpAddr, Shutdown, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_http::{HttpService, Protocol, Request, Response, body::BoxBody};
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, map_config};
use actix_tls::accept::{
    max_concurrent_tls_connect,
    rustls_0_23::{Acceptor, TlsStream},
};
use actix_web::{
    App,
    dev::{AppConfig, Extensions, Server as Actix, Service as _, ServiceFactory, ServiceResponse, fn_service},
    http::ConnectionType,
    rt::net::TcpStream,
    web,
};
use mtasts_model::report::ReportVia;
use mtasts_proxy::Versions;
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{Connection, announced::Announced, answer, receive};
use crate::{counters, intake::Shared, tls::version_name};

/// Threads: the work is to wait.
const WORKERS: usize = 2;
/// Between requests of one connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// For a client to close as well.
const DISCONNECT: Duration = Duration::from_secs(1);
/// Octets of one HTTP/2 connection that may come before they are asked for. Beyond that the budget of bodies counts.
const WINDOW: u32 = 128 << 10;
/// TLS handshakes at the same time, for each thread.
const HANDSHAKES: usize = 128;
/// For requests under way when it is told to stop.
const DRAIN_SECONDS: u64 = 15;
/// What `tls` speaks, the best first.
pub(crate) const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The server, for whoever runs it. `tls` offers [`ALPN`].
pub(super) fn listen(
    shared: &Arc<Shared>,
    http: Vec<TcpListener>,
    https: Vec<TcpListener>,
    tls: &ServerConfig,
) -> io::Result<Actix> {
    max_concurrent_tls_connect(HANDSHAKES);
    let mut server = Actix::build()
        .workers(WORKERS)
        .max_concurrent_connections(shared.config.limits.max_connections)
        .shutdown_timeout(DRAIN_SECONDS)
        .disable_signals();
    let signal = server.graceful_shutdown_signal();
    let stopping = move || {
        let signal = signal.clone();
        async move { signal.notified().await }
    };
    for listener in http {
        let (shared, stopping) = (Arc::clone(shared), stopping.clone());
        let serve = move || {
            let connected = Arc::clone(&shared);
            let know = move |stream: &TcpStream, facts: &mut Extensions| {
                let Ok(peer) = stream.peer_addr() else { return };
                enter(&connected, stream, peer.ip().to_canonical(), None, facts);
            };
            requests(Arc::clone(&shared), stopping.clone(), know).tcp()
        };
        server = server.listen("reports", listener, serve)?;
    }
    for listener in https {
        let (shared, stopping) = (Arc::clone(shared), stopping.clone());
        let mut acceptor = Acceptor::new(tls.clone());
        acceptor.set_handshake_timeout(shared.config.limits.header_deadline);
        let serve = move || {
            let connected = Arc::clone(&shared);
            let know = move |stream: &TlsStream<Announced>, facts: &mut Extensions| {
                let (Announced { stream, client }, session) = stream.get_ref();
                enter(&connected, stream, *client, Some(version_name(session.protocol_version())), facts);
            };
            let announcing = Arc::clone(&shared);
            // An error ends the connection, and has been told where it happened.
            fn_service(move |stream| announce(stream, Arc::clone(&announcing)))
                .and_then(acceptor.clone().map_err(drop))
                .and_then(async |stream: TlsStream<Announced>| {
                    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(ALPN[0]);
                    Ok((stream, if is_h2 { Protocol::Http2 } else { Protocol::Http1 }, None))
                })
                .and_then(requests(Arc::clone(&shared), stopping.clone(), know).map_err(drop))
        };
        server = server.listen("reports over TLS", listener, serve)?;
    }
    Ok(server.run())
}

/// Finds out whom a connection is for.
async fn announce(mut stream: TcpStream, shared: Arc<Shared>) -> Result<Announced, ()> {
    let peer = stream.peer_addr().map_err(drop)?.ip().to_canonical();
    let config = &shared.config;
    let deadline = Instant::now() + config.limits.header_deadline;
    match config.proxy_protocol.client(&mut stream, peer, Versions::OneOrTwo, deadline).await {
        Ok(client) => Ok(Announced { stream, client }),
        Err(error) => {
            counters::refused_header(ReportVia::Https, peer, &error);
            Err(())
        }
    }
}

/// Serves requests of connections of one kind. `know` looks at each before anything of it is read.
fn requests<T, Stopping>(
    shared: Arc<Shared>,
    stopping: impl Fn() -> Stopping + 'static,
    know: impl Fn(&T, &mut Extensions) + 'static,
) -> HttpService<
    T,
    impl ServiceFactory<Request, Config = (), Response = ServiceResponse, Error = Response<BoxBody>, InitError = ()>,
    BoxBody,
>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
    Stopping: Future<Output = ()> + 'static,
{
    HttpService::build()
        .graceful_shutdown_signal(stopping)
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(shared.config.limits.header_deadline)
        .client_disconnect_timeout(DISCONNECT)
        .h2_initial_window_size(WINDOW)
        .h2_initial_connection_window_size(WINDOW)
        .on_connect_ext(know)
        .finish(app(shared))
}

/// What requests are answered by.
fn app(
    shared: Arc<Shared>,
) -> impl ServiceFactory<Request, Config = (), Response = ServiceResponse, Error = Response<BoxBody>, InitError = ()> {
    let stop = shared.stop.clone();
    let app = App::new()
        .app_data(web::Data::from(shared))
        .wrap_fn(move |request, service| {
            let (stop, answered) = (stop.clone(), service.call(request));
            async move {
                let mut response = answered.await?;
                if stop.is_cancelled() {
                    response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
                }
                Ok(response)
            }
        })
        .service(
            web::resource("/v1/tlsrpt/{label}")
                .route(web::post().to(receive::receive))
                .default_service(web::to(answer::method_not_allowed)),
        )
        .default_service(web::to(answer::not_found))
        .into_factory()
        .map_err(|error| error.error_response().into());
    // No answer depends on where it is said to listen.
    map_config(app, |()| AppConfig::default())
}

/// Gives a new connection its place. One that has none is shut down before anything of it is read.
fn enter(shared: &Arc<Shared>, stream: &TcpStream, peer: IpAddr, tls: Option<&'static str>, facts: &mut Extensions) {
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
