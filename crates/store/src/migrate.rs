//! Bringing the database to the schema of this version.

use mtasts_model::ZoneName;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, MigratorTrait, SchemaManager};
use secrecy::{ExposeSecret, SecretString};

use crate::{StoreError, sql};

/// The migrations, in order. Each runs in a transaction of its own. There is no way back but a later migration.
const MIGRATIONS: &[SqlFile] = &[
    SqlFile { name: "0001_roles", sql: include_str!("../../../migrations/0001_roles.sql") },
    SqlFile { name: "0002_tables", sql: include_str!("../../../migrations/0002_tables.sql") },
    SqlFile { name: "0003_security", sql: include_str!("../../../migrations/0003_security.sql") },
    SqlFile { name: "0004_zones", sql: include_str!("../../../migrations/0004_zones.sql") },
    SqlFile { name: "0005_dns_credentials", sql: include_str!("../../../migrations/0005_dns_credentials.sql") },
    SqlFile { name: "0006_api_key_scopes", sql: include_str!("../../../migrations/0006_api_key_scopes.sql") },
    SqlFile { name: "0007_audit_chain", sql: include_str!("../../../migrations/0007_audit_chain.sql") },
    SqlFile { name: "0008_tenant_tree", sql: include_str!("../../../migrations/0008_tenant_tree.sql") },
    SqlFile { name: "0009_domain_lists", sql: include_str!("../../../migrations/0009_domain_lists.sql") },
    SqlFile { name: "0010_webhooks", sql: include_str!("../../../migrations/0010_webhooks.sql") },
    SqlFile { name: "0011_operations", sql: include_str!("../../../migrations/0011_operations.sql") },
    SqlFile { name: "0012_usage", sql: include_str!("../../../migrations/0012_usage.sql") },
    SqlFile { name: "0013_report_intake", sql: include_str!("../../../migrations/0013_report_intake.sql") },
    SqlFile { name: "0014_reports", sql: include_str!("../../../migrations/0014_reports.sql") },
    SqlFile { name: "0015_report_alerts", sql: include_str!("../../../migrations/0015_report_alerts.sql") },
    SqlFile { name: "0016_report_views", sql: include_str!("../../../migrations/0016_report_views.sql") },
    SqlFile { name: "0017_readiness", sql: include_str!("../../../migrations/0017_readiness.sql") },
    SqlFile { name: "0018_rollout", sql: include_str!("../../../migrations/0018_rollout.sql") },
    SqlFile { name: "0019_mx_migrations", sql: include_str!("../../../migrations/0019_mx_migrations.sql") },
    SqlFile { name: "0020_checks", sql: include_str!("../../../migrations/0020_checks.sql") },
    SqlFile { name: "0021_watch", sql: include_str!("../../../migrations/0021_watch.sql") },
    SqlFile { name: "0022_sealing_keys", sql: include_str!("../../../migrations/0022_sealing_keys.sql") },
    SqlFile { name: "0023_operator", sql: include_str!("../../../migrations/0023_operator.sql") },
    SqlFile { name: "0024_watching", sql: include_str!("../../../migrations/0024_watching.sql") },
    SqlFile { name: "0025_report_months", sql: include_str!("../../../migrations/0025_report_months.sql") },
    SqlFile { name: "0026_mx_host_looks", sql: include_str!("../../../migrations/0026_mx_host_looks.sql") },
    SqlFile {
        name: "0027_suspended_operations",
        sql: include_str!("../../../migrations/0027_suspended_operations.sql"),
    },
    SqlFile { name: "0028_roles_to_take", sql: include_str!("../../../migrations/0028_roles_to_take.sql") },
];

/// What a migration did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationReport {
    /// The migrations that were applied, in order. Empty when there was nothing to do.
    pub applied: Vec<String>,
    /// The newest migration that is applied now.
    pub version: String,
}

/// The newest migration that this version of the service knows; compare with [`crate::Store::schema_version`].
pub fn newest_migration() -> &'static str {
    MIGRATIONS.last().map_or("", |file| file.name)
}

/// Applies what is missing, as the owner of the database. Runs that come at the same time wait for each other.
/// `service_zone` is where domains of before there were several zones are at home.
pub async fn migrate(owner_url: &SecretString, service_zone: &ZoneName) -> Result<MigrationReport, StoreError> {
    let db = owner_session(owner_url).await?;
    let outcome = migrate_alone(&db, service_zone).await;
    let closed = db.close().await;
    let report = outcome?;
    closed?;
    Ok(report)
}

/// A session as the owner of the database, under a lock that ends with it: nobody else migrates, or makes roles, meanwhile.
pub(crate) async fn owner_session(owner_url: &SecretString) -> Result<DatabaseConnection, StoreError> {
    let url = owner_url.expose_secret();
    // The parser's error may repeat a piece of the URL, password and all.
    url.parse::<sqlx::postgres::PgConnectOptions>().map_err(|_| StoreError::BadUrl { what: "database" })?;
    let mut options = ConnectOptions::new(url);
    // One connection, so that the session that holds the lock is the one that works.
    options.max_connections(1).sqlx_logging(false).map_sqlx_postgres_opts(|url| {
        url.application_name("mtasts migrate").options([("lock_timeout", "60s"), ("statement_timeout", "0")])
    });
    let db = Database::connect(options).await?;
    db.execute_unprepared("SELECT pg_advisory_lock(1836344435, 0)").await?;
    Ok(db)
}

async fn migrate_alone(db: &DatabaseConnection, service_zone: &ZoneName) -> Result<MigrationReport, StoreError> {
    let setting = "SELECT set_config('mtasts.service_zone', $1, false)";
    sql::row(db, setting, vec![service_zone.as_str().into()]).await?;
    if let Some(version) = newer(db).await? {
        tracing::warn!(version, "the schema is that of a newer release: nothing is migrated");
        return Ok(MigrationReport { applied: Vec::new(), version });
    }
    let pending = Migrator::get_pending_migrations(db).await?;
    let applied = pending.iter().map(|migration| migration.name().to_owned()).collect();
    Migrator::up(db, None).await?;
    // Every role may ask which schema it meets.
    let grant = "GRANT SELECT ON seaql_migrations TO mtasts_api, mtasts_worker, mtasts_edge, mtasts_intake,
        mtasts_keeper, mtasts_operator";
    db.execute_unprepared(grant).await?;
    Ok(MigrationReport { applied, version: newest_migration().to_owned() })
}

/// The newest migration, if all that this version knows are applied, and others besides: a newer release has migrated already,
/// with whose schema this one has to get along until it is replaced, also if it is started again meanwhile.
async fn newer(db: &DatabaseConnection) -> Result<Option<String>, StoreError> {
    let exists = sql::row(db, "SELECT to_regclass('seaql_migrations') IS NOT NULL AS there", vec![]).await?;
    if !exists.map(|row| row.try_get::<bool>("", "there")).transpose()?.unwrap_or(false) {
        return Ok(None);
    }
    let read =
        "SELECT count(*) FILTER (WHERE version = ANY ($1)) AS known, count(*) FILTER (WHERE version > $2) AS newer,
        max(version) AS version FROM seaql_migrations";
    let names: Vec<String> = MIGRATIONS.iter().map(|file| file.name.to_owned()).collect();
    let known = i64::try_from(names.len()).unwrap_or(i64::MAX);
    let row = sql::row(db, read, vec![names.into(), newest_migration().into()]).await?.ok_or(StoreError::NotFound)?;
    let is_newer = row.try_get::<i64>("", "known")? == known && row.try_get::<i64>("", "newer")? > 0;
    Ok(if is_newer { row.try_get("", "version")? } else { None })
}

struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        MIGRATIONS.iter().map(|file| Box::new(*file) as Box<dyn MigrationTrait>).collect()
    }
}

#[derive(Clone, Copy)]
struct SqlFile {
    name: &'static str,
    sql: &'static str,
}

impl MigrationName for SqlFile {
    fn name(&self) -> &str {
        self.name
    }
}

#[sea_orm_migration::async_trait::async_trait]
impl MigrationTrait for SqlFile {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(self.sql).await?;
        Ok(())
    }
}
