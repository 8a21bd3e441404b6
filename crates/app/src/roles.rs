//! Running roles, one or all in a process: same parts, same wiring.

mod api;
mod edge;
mod intake;
mod nameserver;
pub(crate) mod worker;

use std::{sync::Arc, time::Duration};

use mtasts_certs::KeyRing;
use mtasts_model::{Clock, Entropy, SystemClock, SystemEntropy};
use mtasts_store::{PoolFigures, Role, Store};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{Admin, Probe},
    config::Config,
    startup::{StartupError, causes},
};

/// After a signal, roles get so long to finish what they have begun (edges drain before that).
const STOP_DEADLINE: Duration = Duration::from_secs(25);
/// How long `mtasts all` waits for a database that is just being started.
const DATABASE_DEADLINE: Duration = Duration::from_mins(1);
/// A role that starts while the database is away does not wait for it for longer than this.
const SCHEMA_DEADLINE: Duration = Duration::from_secs(3);
/// How often the database is asked whether it answers, for metrics.
const DATABASE_LOOK: Duration = Duration::from_secs(10);
/// One that takes longer is as good as away.
const DATABASE_PATIENCE: Duration = Duration::from_secs(3);

/// Which roles a process has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RoleSet {
    api: bool,
    worker: bool,
    edge: bool,
    nameserver: bool,
    intake: bool,
}

impl RoleSet {
    const NONE: Self = Self { api: false, worker: false, edge: false, nameserver: false, intake: false };
    pub(crate) const ALL: Self = Self { api: true, worker: true, edge: true, nameserver: true, intake: true };
    pub(crate) const API: Self = Self { api: true, ..Self::NONE };
    pub(crate) const WORKER: Self = Self { worker: true, ..Self::NONE };
    pub(crate) const EDGE: Self = Self { edge: true, ..Self::NONE };
    pub(crate) const NAMESERVER: Self = Self { nameserver: true, ..Self::NONE };
    pub(crate) const INTAKE: Self = Self { intake: true, ..Self::NONE };

    pub(crate) fn has_api(self) -> bool {
        self.api
    }

    pub(crate) fn has_worker(self) -> bool {
        self.worker
    }

    pub(crate) fn has_nameserver(self) -> bool {
        self.nameserver
    }

    /// As logs and traces name it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self { api: true, worker: true, .. } => "all",
            Self { api: true, .. } => "api",
            Self { worker: true, .. } => "worker",
            Self { edge: true, .. } => "edge",
            Self { nameserver: true, .. } => "nameserver",
            Self { .. } => "intake",
        }
    }

    /// Only a process with all roles may draw the secrets that roles share: its parts cannot disagree.
    fn may_draw_secrets(self) -> bool {
        self.api && self.worker && self.edge && self.nameserver
    }
}

/// What every role is given.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) may_draw_secrets: bool,
    /// Told to stop.
    pub(crate) stop: CancellationToken,
}

/// Roles under way. A role that ends before it was told to has failed.
pub(crate) type Running = JoinSet<&'static str>;

pub(crate) async fn connect(config: &Config, role: Role) -> Result<Store, StartupError> {
    let store = Store::connect(config.database.store(role, &config.redis)).await?;
    // Edges and nameservers serve from their replicas, whatever the database is like.
    if matches!(role, Role::Api | Role::Worker) {
        check_schema(&store).await?;
    }
    Ok(store)
}

/// As [`connect`], for a role of a running process: shows how its database and its pool are until it stops.
async fn connect_watched(context: &Context, role: Role, name: &'static str) -> Result<Store, StartupError> {
    let store = connect(&context.config, role).await?;
    tokio::spawn(watch_database(store.clone(), name, context.stop.clone()));
    Ok(store)
}

async fn watch_database(store: Store, role: &'static str, stop: CancellationToken) {
    loop {
        let started = Instant::now();
        let up = matches!(timeout(DATABASE_PATIENCE, store.ping()).await, Ok(Ok(())));
        metrics::histogram!("mtasts_database_ping_seconds", "role" => role).record(started.elapsed().as_secs_f64());
        metrics::gauge!("mtasts_database_up", "role" => role).set(f64::from(u8::from(up)));
        let PoolFigures { open, idle, most } = store.pool();
        let used = f64::from(open.saturating_sub(idle));
        metrics::gauge!("mtasts_database_connections", "role" => role, "state" => "used").set(used);
        metrics::gauge!("mtasts_database_connections", "role" => role, "state" => "idle").set(f64::from(idle));
        metrics::gauge!("mtasts_database_connections_max", "role" => role).set(f64::from(most));
        if timeout(DATABASE_LOOK, stop.cancelled()).await.is_ok() {
            return;
        }
    }
}

/// A schema that is older than this version's makes every call fail, each in its own way: better said at the start. A
/// newer one is that of a later version, with which this one must get along during an upgrade.
async fn check_schema(store: &Store) -> Result<(), StartupError> {
    let wanted = mtasts_store::newest_migration();
    match timeout(SCHEMA_DEADLINE, store.schema_version()).await {
        Ok(Ok(found)) if found.as_deref().is_none_or(|found| found < wanted) => {
            Err(StartupError::Schema { found: found.unwrap_or_else(|| "nothing".to_owned()), wanted })
        }
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(error = %causes(&error), "the database's schema could not be checked");
            Ok(())
        }
        Err(_) => {
            tracing::warn!("the database does not answer: its schema is not checked");
            Ok(())
        }
    }
}

/// A process that lacks a key would fail at each secret that is sealed under it, each in its own way, and some of them
/// only in weeks: better said at the start.
pub(crate) async fn check_keys(store: &Store, ring: &KeyRing) -> Result<(), StartupError> {
    match timeout(SCHEMA_DEADLINE, store.needed_keys()).await {
        Ok(Ok(needed)) => {
            let missing: Vec<_> = needed.into_iter().filter(|id| !ring.has(id)).collect();
            if missing.is_empty() { Ok(()) } else { Err(StartupError::KeysMissing(missing)) }
        }
        Ok(Err(error)) => {
            tracing::warn!(error = %causes(&error), "whether the key ring has all keys could not be checked");
            Ok(())
        }
        Err(_) => {
            tracing::warn!("the database does not answer: whether the key ring has all keys is not checked");
            Ok(())
        }
    }
}

/// Runs the roles until SIGTERM or SIGINT.
pub(crate) async fn run(mut config: Config, roles: RoleSet) -> Result<(), StartupError> {
    if roles.may_draw_secrets() && config.reports.host.is_none() {
        // With all roles in one process nobody else needs to be told.
        config.reports.host = Some(format!("reports.{}", config.service.zone()?));
        if config.reports.addresses.is_empty() {
            config.reports.addresses.clone_from(&config.nameserver.edge_addresses);
        }
    }
    config.verify(roles)?;
    config.open_key_ring().await?;
    let metrics = crate::metrics::install()?;
    metrics::gauge!("mtasts_build_info", "version" => env!("CARGO_PKG_VERSION"),
        "rust_version" => env!("CARGO_PKG_RUST_VERSION"))
    .set(1.0);
    let context = Context {
        config,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        may_draw_secrets: roles.may_draw_secrets(),
        stop: CancellationToken::new(),
    };
    if roles.may_draw_secrets() {
        migrate(&context).await?;
    }
    let mut running = Running::new();
    let mut probes: Vec<Probe> = Vec::new();
    // Edge and nameserver first: they serve from their replicas whatever else is away.
    let mut inventory = None;
    if roles.edge {
        let (probe, served) = edge::start(&context, &mut running).await?;
        probes.push(probe);
        inventory = Some(served);
    }
    // Alone it was asked for; with all others it is there if it has something to answer.
    if roles.nameserver && (!roles.worker || context.config.has_embedded_zone()) {
        probes.push(nameserver::start(&context, &mut running).await?);
    }
    if roles.worker {
        probes.push(worker::start(&context, &mut running).await?);
    }
    if roles.api {
        probes.push(api::start(&context, &mut running).await?);
    }
    if roles.intake {
        probes.push(intake::start(&context, &mut running).await?);
    }
    let admin = Admin { metrics, probes, inventory };
    // Health must be told until the very end, so the admin port has a stop of its own.
    let admin_stop = CancellationToken::new();
    let address = admin.start(context.config.admin.listen, admin_stop.clone()).await?;
    tracing::info!(admin = %address, version = env!("CARGO_PKG_VERSION"), "mtasts is up");
    let outcome = wait(&context, &mut running).await;
    admin_stop.cancel();
    outcome
}

/// In one process the owner's login is at hand, and waiting for the database makes start-up order irrelevant.
async fn migrate(context: &Context) -> Result<(), StartupError> {
    let zone = context.config.service.zone()?;
    let attempt = async {
        let mut told = false;
        loop {
            match mtasts_store::migrate(&context.config.database.url, &zone).await {
                Err(error) if error.is_unavailable() => {
                    if !told {
                        tracing::warn!(error = %causes(&error), "waiting for the database");
                        told = true;
                    }
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                answer => return answer,
            }
        }
    };
    match timeout(DATABASE_DEADLINE, attempt).await {
        Ok(Ok(report)) => {
            tracing::info!(version = %report.version, applied = report.applied.len(), "schema is current");
        }
        Ok(Err(error)) => return Err(error.into()),
        // Edge and nameserver serve from their replicas without it, as they do when they run alone.
        Err(_) => tracing::warn!("the database is still away: starting without it, the schema is not checked"),
    }
    Ok(())
}

async fn wait(context: &Context, running: &mut Running) -> Result<(), StartupError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StartupError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartupError::Runtime)?;
    let mut outcome = Ok(());
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        ended = running.join_next() => outcome = Err(ended_early(ended)),
    }
    context.stop.cancel();
    let drain = Duration::from_secs(context.config.edge.drain_seconds);
    let stopped = timeout(STOP_DEADLINE + drain, async { while running.join_next().await.is_some() {} }).await;
    if stopped.is_ok() {
        tracing::info!("stopped");
    } else {
        tracing::warn!("stopping although not all is finished");
    }
    outcome
}

fn ended_early(ended: Option<Result<&'static str, tokio::task::JoinError>>) -> StartupError {
    match ended {
        Some(Ok(role)) => StartupError::Ended { role },
        Some(Err(error)) => {
            tracing::error!(%error, "a role panicked");
            StartupError::Ended { role: "that panicked" }
        }
        None => StartupError::Ended { role: "none" },
    }
}
