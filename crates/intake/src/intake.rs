//! An intake as a whole: started, looked at, shut down.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use mtasts_model::{Clock, Entropy};
use mtasts_store::Store;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admission::Admission,
    body::Budget,
    config::IntakeConfig,
    counters,
    desk::Desk,
    directory::Directory,
    error::{IntakeError, causes},
    http::{ALPN, Server},
    smtp,
    tls::Certificate,
};

/// Connections that the kernel keeps until we take them.
const BACKLOG: i32 = 1_024;
/// How often the gauges are set.
const LEVELS: Duration = Duration::from_secs(5);
/// How often it is seen to that there are partitions for what is to come; and again if that failed.
const PARTITIONS: Duration = Duration::from_hours(1);
const PARTITIONS_AGAIN: Duration = Duration::from_secs(30);
/// For connections that are cut at the end of a shutdown.
const CUT: Duration = Duration::from_secs(1);

/// What all connections have in common.
pub(crate) struct Shared {
    pub(crate) config: IntakeConfig,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) directory: Directory,
    pub(crate) desk: Desk,
    pub(crate) budget: Arc<Budget>,
    pub(crate) smtp_tls: Arc<ServerConfig>,
    pub(crate) smtp_places: Arc<Admission>,
    pub(crate) http_places: Arc<Admission>,
    pub(crate) sessions: TaskTracker,
    /// Told to take nothing new.
    pub(crate) stop: CancellationToken,
    /// Told to end at once.
    pub(crate) cut: CancellationToken,
}

/// Starts intakes.
#[derive(Debug, Clone, Copy)]
pub struct Intake;

impl Intake {
    /// Opens the ports and serves from then on, whether the database answers or not: while it does not, senders are told to
    /// come again. `store` has the role `Intake`. Must be called within a tokio runtime.
    pub fn start(
        config: IntakeConfig,
        store: Store,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<IntakeHandle, IntakeError> {
        let runtime = Handle::try_current().map_err(|_| IntakeError::NoRuntime)?;
        let certificate = Arc::new(match config.certificate.clone() {
            Some(files) => Certificate::from_files(files)?,
            None => Certificate::self_signed(&config.host, clock.now())?,
        });
        let (quota, deadline) = (config.reports_a_day, config.limits.store_deadline);
        let directory = Directory::new(store.clone(), Arc::clone(&clock), runtime, quota, deadline);
        let (desk, writers) = Desk::start(&store, &clock, quota, deadline);
        let places = || Admission::new(config.limits.max_connections, config.limits.max_connections_per_address);
        let shared = Arc::new(Shared {
            directory,
            desk,
            budget: Budget::new(config.limits.max_octets_held),
            smtp_tls: Arc::new(certificate.settings(&[])?),
            smtp_places: places(),
            http_places: places(),
            sessions: TaskTracker::new(),
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            clock: Arc::clone(&clock),
            entropy,
            config,
        });
        let (smtp_addrs, mail) = bind(&shared.config.smtp)?;
        let (http_addrs, http) = bind(&shared.config.http)?;
        let (https_addrs, https) = bind(&shared.config.https)?;
        let server = if http.is_empty() && https.is_empty() {
            None
        } else {
            Some(Server::start(&shared, http, https, certificate.settings(&ALPN)?)?)
        };
        let mut tasks = writers;
        tasks.push(tokio::spawn(Arc::clone(&certificate).follow()));
        tasks.push(tokio::spawn(watch_levels(Arc::clone(&shared))));
        tasks.push(tokio::spawn(make_partitions(store, clock, shared.stop.clone())));
        for listener in mail {
            let listener = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
            let listener = listener.map_err(IntakeError::Http)?;
            shared.sessions.spawn(smtp::accept(listener, Arc::clone(&shared)));
        }
        Ok(IntakeHandle { shared, server, tasks, smtp_addrs, http_addrs, https_addrs })
    }
}

/// A running intake. Dropping it stops it at once.
pub struct IntakeHandle {
    shared: Arc<Shared>,
    server: Option<Server>,
    tasks: Vec<JoinHandle<()>>,
    smtp_addrs: Vec<SocketAddr>,
    http_addrs: Vec<SocketAddr>,
    https_addrs: Vec<SocketAddr>,
}

impl IntakeHandle {
    /// Where mail is taken, with the ports that the kernel chose.
    pub fn smtp_addrs(&self) -> &[SocketAddr] {
        &self.smtp_addrs
    }

    /// Where reports are posted without TLS.
    pub fn http_addrs(&self) -> &[SocketAddr] {
        &self.http_addrs
    }

    /// Where reports are posted over TLS.
    pub fn https_addrs(&self) -> &[SocketAddr] {
        &self.https_addrs
    }

    /// Octets of reports that are in memory now.
    pub fn held_octets(&self) -> usize {
        self.shared.budget.used()
    }

    /// Takes no more connections, tells idle clients to come again, lets mails and requests that are under way end until
    /// `deadline`, then cuts them.
    pub async fn shutdown(mut self, deadline: Duration) {
        let end = Instant::now() + deadline;
        self.shared.stop.cancel();
        self.shared.sessions.close();
        let server = self.server.take();
        let http = async {
            if let Some(server) = server {
                server.stop(deadline, &self.shared).await;
            }
        };
        let mail = async {
            if timeout_at(end, self.shared.sessions.wait()).await.is_err() {
                tracing::warn!(sessions = self.shared.sessions.len(), "mail sessions cut at the end of the shutdown");
                self.shared.cut.cancel();
                // They end at once; what hangs all the same ends with the process.
                let _ = timeout(CUT, self.shared.sessions.wait()).await;
            }
        };
        tokio::join!(http, mail);
    }
}

impl Drop for IntakeHandle {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        self.shared.cut.cancel();
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Bound at once, so that a port that cannot be had stops the start.
fn bind(addresses: &[SocketAddr]) -> Result<(Vec<SocketAddr>, Vec<std::net::TcpListener>), IntakeError> {
    let take = |address: SocketAddr| -> io::Result<(SocketAddr, std::net::TcpListener)> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        // A new process takes over while the old one drains.
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener: std::net::TcpListener = socket.into();
        Ok((listener.local_addr()?, listener))
    };
    let bound = addresses
        .iter()
        .map(|address| take(*address).map_err(|source| IntakeError::Listen { address: *address, source }));
    Ok(bound.collect::<Result<Vec<_>, _>>()?.into_iter().unzip())
}

async fn watch_levels(shared: Arc<Shared>) {
    loop {
        counters::levels(shared.http_places.open(), shared.smtp_places.open(), shared.budget.used());
        sleep(LEVELS).await;
    }
}

/// Before the month that needs them begins. What comes while that fails makes its own.
async fn make_partitions(store: Store, clock: Arc<dyn Clock>, stop: CancellationToken) {
    loop {
        let pause = match store.ensure_report_partitions(clock.now()).await {
            Ok(made) => {
                tracing::debug!(made, "partitions for reports are there");
                PARTITIONS
            }
            Err(error) => {
                tracing::warn!(error = %causes(&error), "partitions for reports could not be made");
                PARTITIONS_AGAIN
            }
        };
        if timeout(pause, stop.cancelled()).await.is_ok() {
            return;
        }
    }
}
