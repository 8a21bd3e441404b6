//! The listener.

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
};

use actix_web::{
    App, HttpServer,
    dev::{Server, ServerHandle},
    middleware::from_fn,
    rt::{self, System},
    web,
};
use mtasts_model::{Clock, Entropy};
use mtasts_oidc::Verifier;
use mtasts_store::{SharedLimits, Store};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use tokio::sync::{oneshot, watch};
use utoipa_actix_web::AppExt;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::{
    bulk::Runner,
    config::ApiConfig,
    customer_dns::{CustomerDns, Places},
    digest_pages,
    domain_connect::DomainConnect,
    drain::{self, Farewell},
    limits::Limits,
    observe::observe,
    openapi::{base, openapi},
    pages, problem,
    routes::Routes,
    state::State,
    v1,
    webhooks::WebhookSettings,
};

/// Bodies of bulk requests that are held in memory at the same time, of all tenants and of one.
const BULK_BODIES: usize = 16;
const BULK_BODIES_PER_TENANT: usize = 2;

/// Why the API cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No address to listen on.
    #[error("the API has no address to listen on")]
    NoAddress,
    /// A token that can be guessed.
    #[error("the operator token must have at least {} characters: draw one at random", ApiConfig::MIN_OPERATOR_TOKEN)]
    WeakOperatorToken,
    /// The address is taken, not ours, or needs more rights.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server's thread could not be started, or the server failed.
    #[error("the API's server failed")]
    Server(#[source] io::Error),
    /// The server's thread ended without a word: it panicked.
    #[error("the API's thread ended unexpectedly")]
    ThreadLost,
}

/// The API.
#[derive(Debug, Clone, Copy)]
pub struct Api;

impl Api {
    /// Binds all listeners, so that connections queue from now on. `store` has the role `Api`, and a pool of its own:
    /// its connections live on the server's threads.
    pub fn bind(
        mut config: ApiConfig,
        store: Store,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<ApiServer, ApiError> {
        if config.listen.is_empty() {
            return Err(ApiError::NoAddress);
        }
        let token = config.operator_token.expose_secret();
        if token.trim().len() < ApiConfig::MIN_OPERATOR_TOKEN {
            return Err(ApiError::WeakOperatorToken);
        }
        let operator_hash = Sha256::digest(token.trim().as_bytes()).into();
        config.operator_token = String::new().into();
        let mut listeners = Vec::with_capacity(config.listen.len());
        for address in config.listen.iter().copied() {
            let refused = |source| ApiError::Listen { address, source };
            let listener = TcpListener::bind(address).map_err(refused)?;
            let local = listener.local_addr().map_err(refused)?;
            listeners.push((local, listener));
        }
        let routes = Routes::of(&openapi());
        let places = Places::new(config.customer_dns_calls, config.customer_dns_calls_per_tenant);
        let bulk_places = Places::new(BULK_BODIES, BULK_BODIES_PER_TENANT);
        let limits = config.limits.clone().map(Limits::new);
        let (customer_dns, domain_connect, oidc) = (None, None, None);
        let state = State {
            config,
            store,
            clock,
            entropy,
            routes,
            operator_hash,
            customer_dns,
            domain_connect,
            webhooks: None,
            oidc,
            limits,
            places,
            bulk_places,
        };
        Ok(ApiServer { listeners, state })
    }
}

/// The API with its listeners bound.
pub struct ApiServer {
    listeners: Vec<(SocketAddr, TcpListener)>,
    state: State,
}

impl ApiServer {
    /// Takes customers' DNS credentials, and sets their records with them. Without it those operations say that they are
    /// not offered.
    #[must_use]
    pub fn with_customer_dns(mut self, customer_dns: Arc<dyn CustomerDns>) -> Self {
        self.state.customer_dns = Some(customer_dns);
        self
    }

    /// Offers Domain Connect.
    #[must_use]
    pub fn with_domain_connect(mut self, domain_connect: DomainConnect) -> Self {
        self.state.domain_connect = Some(domain_connect);
        self
    }

    /// Takes webhooks. Without it those operations say that they are not offered.
    #[must_use]
    pub fn with_webhooks(mut self, webhooks: WebhookSettings) -> Self {
        self.state.webhooks = Some(webhooks);
        self
    }

    /// Takes tokens of these issuers beside API keys.
    #[must_use]
    pub fn with_oidc(mut self, verifier: Arc<Verifier>) -> Self {
        self.state.oidc = Some(verifier);
        self
    }

    /// Limits calls together with other processes, by buckets in Redis. Without it each process has buckets of its own.
    #[must_use]
    pub fn with_shared_limits(mut self, shared: SharedLimits) -> Self {
        if let Some(limits) = &mut self.state.limits {
            limits.share(shared);
        }
        self
    }

    /// Where it listens: with the real port where port 0 was asked for.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|(address, _)| *address).collect()
    }

    /// Serves until `shutdown` resolves, then drains: no new connections, and requests that are under way end within
    /// the drain deadline. Runs on threads of its own, so that it may be awaited in any runtime.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), ApiError> {
        let (started, handle) = oneshot::channel::<ServerHandle>();
        // Dropped with `run`, which tells the runner as well.
        let (stop_runner, runner_stopped) = watch::channel(false);
        let (ended, mut end) = oneshot::channel::<io::Result<()>>();
        let farewell = Farewell::default();
        let connections = farewell.clone();
        let serve = move || {
            let outcome = System::new().block_on(async move {
                let state = web::Data::new(self.state);
                let server = build(self.listeners, &state, &connections)?;
                // A receiver that is gone means that `run` was dropped: the server is then stopped by its own drop.
                let _ = started.send(server.handle());
                let drain_deadline = state.config.drain_deadline;
                let runner = rt::spawn(Runner::new(state).run(runner_stopped));
                let outcome = server.await;
                // It ends with its chunk; a chunk that is cut off has done nothing.
                let _ = tokio::time::timeout(drain_deadline, runner).await;
                outcome
            });
            let _ = ended.send(outcome);
        };
        let thread = thread::Builder::new().name("api".to_owned()).spawn(serve).map_err(ApiError::Server)?;
        let outcome = match handle.await {
            Ok(handle) => {
                let guard = StopOnDrop(handle);
                tokio::select! {
                    outcome = &mut end => outcome,
                    () = shutdown => {
                        tracing::info!("the API drains");
                        // A receiver that is gone means that the runner has ended.
                        let _ = stop_runner.send(true);
                        farewell.say().await;
                        guard.0.stop(true).await;
                        end.await
                    }
                }
            }
            Err(_) => end.await,
        };
        // The thread has nothing left to do once it has sent its outcome.
        if outcome.is_ok() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        outcome.map_err(|_| ApiError::ThreadLost)?.map_err(ApiError::Server)
    }
}

fn build(
    listeners: Vec<(SocketAddr, TcpListener)>,
    state: &web::Data<State>,
    farewell: &Farewell,
) -> io::Result<Server> {
    let state = state.clone();
    let config = state.config.clone();
    let openapi = openapi();
    let (on_connect, farewell) = (farewell.on_connect(), farewell.clone());
    let mut server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .app_data(farewell.clone())
            .wrap(from_fn(observe))
            .wrap(from_fn(drain::tell))
            .into_utoipa_app()
            .openapi(base())
            .configure(v1::configure)
            .into_app()
            .service(pages::root)
            .service(pages::docs)
            .service(pages::domain_connect_template)
            .service(pages::domain_connect_key)
            .service(digest_pages::ask_to_confirm)
            .service(digest_pages::confirm)
            .service(digest_pages::ask_to_unsubscribe)
            .service(digest_pages::unsubscribe)
            .service(problem::pages::index)
            .service(problem::pages::one)
            .service(documentation(openapi.clone()))
            .default_service(web::to(pages::fallback))
    })
    .on_connect(on_connect)
    .workers(config.workers.max(1))
    .max_connections(config.max_connections)
    .keep_alive(config.keep_alive)
    .client_request_timeout(config.header_deadline)
    .shutdown_timeout(config.drain_deadline.as_secs().max(1))
    .disable_signals();
    for (_, listener) in listeners {
        server = server.listen(listener)?;
    }
    Ok(server.run())
}

/// The documentation. Without the validator's badge, which the browser would fetch from outside.
fn documentation(openapi: utoipa::openapi::OpenApi) -> SwaggerUi {
    SwaggerUi::new("/docs/{_:.*}").url("/openapi.json", openapi).config(Config::default().validator_url("none"))
}

/// Stops the server at once when `run` is dropped.
struct StopOnDrop(ServerHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        // The command is sent when the method is called; to wait for its effect is optional.
        drop(self.0.stop(false));
    }
}
