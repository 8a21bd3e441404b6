//! The pool, and what every call goes through.

use std::{sync::Arc, time::Duration};

use mtasts_model::TenantId;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, TransactionTrait};
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;

use crate::{Role, StoreConfig, StoreError, TenantTx, nudge::Nudges, sql};

/// A transaction that waits for a lock for longer than this gives up: [`StoreError::Busy`].
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// A process that stalls within a transaction must not hold its locks for longer than this.
const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that was idle for longer is asked whether it lives before it is used.
const PING_AFTER_IDLE: Duration = Duration::from_secs(15);

/// How a pool stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolFigures {
    /// Connections that are open, those that somebody uses included.
    pub open: u32,
    /// Connections that are open and that nobody uses.
    pub idle: u32,
    /// Connections that may be open.
    pub most: u32,
}

/// The database, as one role. Clones share the pool.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    db: DatabaseConnection,
    nudges: Nudges,
}

impl Store {
    /// Prepares a pool. It connects when it is first needed, so that a process starts while Postgres is away.
    /// [`StoreError::BadUrl`] when a URL cannot be read. Must be called within a tokio runtime.
    pub async fn connect(config: StoreConfig) -> Result<Self, StoreError> {
        let url = checked_url(&config.url)?;
        let settings = session_settings(config.role, config.statement_timeout);
        let for_nudges = url.clone().options(settings.clone());
        let mut options = ConnectOptions::new(config.url.expose_secret());
        options
            .max_connections(config.max_connections.max(1))
            .acquire_timeout(config.connect_timeout)
            .connect_lazy(true)
            .test_before_acquire(false)
            .test_before_acquire_if_idle_for(PING_AFTER_IDLE)
            .sqlx_logging(false)
            .map_sqlx_postgres_opts(move |url| url.application_name("mtasts").options(settings.clone()));
        let db = Database::connect(options).await?;
        let nudges = Nudges::new(for_nudges, config.redis_url.as_ref())?;
        Ok(Self { inner: Arc::new(Inner { db, nudges }) })
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.db().execute_unprepared("SELECT 1").await?;
        Ok(())
    }

    /// How the pool stands now.
    pub fn pool(&self) -> PoolFigures {
        let pool = self.db().get_postgres_connection_pool();
        PoolFigures {
            open: pool.size(),
            idle: u32::try_from(pool.num_idle()).unwrap_or(u32::MAX),
            most: pool.options().get_max_connections(),
        }
    }

    /// Begins a transaction in which nothing but this tenant's rows can be seen or written.
    pub async fn tenant_tx(&self, tenant: TenantId) -> Result<TenantTx, StoreError> {
        TenantTx::begin(self.clone(), tenant).await
    }

    /// The newest migration that the database has; None when it was never migrated.
    pub async fn schema_version(&self) -> Result<Option<String>, StoreError> {
        let exists = "SELECT to_regclass('seaql_migrations') IS NOT NULL AS there";
        let row = match sql::row(self.db(), exists, vec![]).await {
            Err(error) if error.is_role_missing() => return Ok(None),
            row => row?,
        };
        let Some(row) = row else { return Ok(None) };
        if !row.try_get::<bool>("", "there")? {
            return Ok(None);
        }
        let row = sql::row(self.db(), "SELECT max(version) AS version FROM seaql_migrations", vec![]).await?;
        Ok(row.map(|row| row.try_get("", "version")).transpose()?.flatten())
    }

    pub(crate) fn db(&self) -> &DatabaseConnection {
        &self.inner.db
    }

    /// In a task of its own, because whoever waits may lose patience at any moment. A `BEGIN` of which the driver never
    /// saw the answer would go back to the pool within a transaction that nobody knows of: what the next callers write
    /// by that connection would be lost, and what they lock would stay locked.
    pub(crate) async fn begin(&self) -> Result<DatabaseTransaction, StoreError> {
        let db = self.db().clone();
        match tokio::spawn(async move { db.begin().await }).await {
            Ok(begun) => Ok(begun?),
            Err(stopped) => match stopped.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and whoever waits here with it.
                Err(_) => std::future::pending().await,
            },
        }
    }

    pub(crate) fn nudge_source(&self) -> &Nudges {
        &self.inner.nudges
    }
}

/// Parses the URL here, because the parser's error may repeat a piece of it.
fn checked_url(url: &SecretString) -> Result<PgConnectOptions, StoreError> {
    url.expose_secret().parse().map_err(|_| StoreError::BadUrl { what: "database" })
}

/// Settings that the server applies as the session starts. `role` makes the session work as that role from its first
/// statement, and again after a RESET or DISCARD.
fn session_settings(role: Role, statement_timeout: Duration) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("statement_timeout", statement_timeout.as_millis().to_string()),
        ("lock_timeout", LOCK_TIMEOUT.as_millis().to_string()),
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIMEOUT.as_millis().to_string()),
    ];
    settings.extend(role.name().map(|name| ("role", name.to_owned())));
    settings
}
