//! The admin port of every role: `/healthz`, `/readyz` and `/metrics`, for orchestrators and Prometheus, and of an edge
//! `/served`, for `mtasts admin orphans`. Not for the Internet.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use mtasts_edge::Inventory;
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::startup::{StartupError, causes};

const MAX_CONNECTIONS: usize = 64;
const CONNECTION_DEADLINE: Duration = Duration::from_secs(30);
const UPKEEP: Duration = Duration::from_secs(5);

/// What a role says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoleReadiness {
    pub(crate) role: &'static str,
    pub(crate) ready: bool,
    /// Why not, or what is wrong although it works.
    pub(crate) notes: Vec<String>,
}

/// Asks a role whether work may be sent to it.
pub(crate) type Probe = Box<dyn Fn() -> RoleReadiness + Send + Sync>;

/// What the admin port shows.
pub(crate) struct Admin {
    pub(crate) metrics: PrometheusHandle,
    pub(crate) probes: Vec<Probe>,
    /// What the edge serves, where there is one.
    pub(crate) inventory: Option<Inventory>,
}

impl Admin {
    /// Opens the port and serves until `stop`.
    pub(crate) async fn start(self, address: SocketAddr, stop: CancellationToken) -> Result<SocketAddr, StartupError> {
        let listener = TcpListener::bind(address).await.map_err(|source| StartupError::Admin { address, source })?;
        let bound = listener.local_addr().map_err(|source| StartupError::Admin { address, source })?;
        let shared = Arc::new(self);
        tokio::spawn(upkeep(Arc::clone(&shared), stop.clone()));
        tokio::spawn(serve(listener, shared, stop));
        Ok(bound)
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n".to_owned());
        }
        match path {
            // Alive as long as it answers: a database that is away must not get the process killed.
            "/healthz" => plain(StatusCode::OK, "alive\n".to_owned()),
            "/readyz" => self.readiness(),
            "/metrics" => {
                for role in self.probes.iter().map(|probe| probe()) {
                    metrics::gauge!("mtasts_role_ready", "role" => role.role).set(f64::from(u8::from(role.ready)));
                }
                plain(StatusCode::OK, self.metrics.render())
            }
            _ => plain(StatusCode::NOT_FOUND, "here are /healthz, /readyz and /metrics\n".to_owned()),
        }
    }

    /// A page of what the edge serves, as JSON, after the name that the query is.
    async fn served(inventory: Inventory, after: String) -> Response<Full<Bytes>> {
        let page = tokio::task::spawn_blocking(move || inventory.after(&after));
        match page.await {
            Ok(Ok(page)) => {
                // Texts, numbers and ids: always serialises.
                let json = serde_json::to_vec(&page).unwrap_or_default();
                let mut response = Response::new(Full::new(Bytes::from(json)));
                let content_type = header::HeaderValue::from_static("application/json");
                response.headers_mut().insert(header::CONTENT_TYPE, content_type);
                response
            }
            Ok(Err(error)) => {
                tracing::warn!(error = %causes(&error), "what is served cannot be listed");
                plain(StatusCode::SERVICE_UNAVAILABLE, "the replica cannot be read\n".to_owned())
            }
            Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "the listing was abandoned\n".to_owned()),
        }
    }

    fn readiness(&self) -> Response<Full<Bytes>> {
        let roles: Vec<_> = self.probes.iter().map(|probe| probe()).collect();
        let ready = roles.iter().all(|role| role.ready);
        let mut text = String::new();
        for role in &roles {
            text.push_str(role.role);
            text.push_str(if role.ready { ": ready" } else { ": not ready" });
            for note in &role.notes {
                text.push_str("; ");
                text.push_str(note);
            }
            text.push('\n');
        }
        plain(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
    }
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let content_type = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// Histograms must be folded now and then, also when nobody scrapes.
async fn upkeep(admin: Arc<Admin>, stop: CancellationToken) {
    while timeout(UPKEEP, stop.cancelled()).await.is_err() {
        admin.metrics.run_upkeep();
    }
}

async fn serve(listener: TcpListener, admin: Arc<Admin>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors: waiting is all that helps.
                tracing::warn!(%error, "the admin port cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let admin = Arc::clone(&admin);
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let admin = Arc::clone(&admin);
                async move {
                    let (method, uri) = (request.method(), request.uri());
                    Ok::<_, Infallible>(match admin.inventory.clone() {
                        Some(inventory) if method == Method::GET && uri.path() == "/served" => {
                            Admin::served(inventory, uri.query().unwrap_or_default().to_owned()).await
                        }
                        _ => admin.answer(method, uri.path()),
                    })
                }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(5))
                .serve_connection(TokioIo::new(stream), service);
            // A connection that ends badly is its peer's affair.
            let _ = timeout(CONNECTION_DEADLINE, connection).await;
            drop(place);
        });
    }
}
