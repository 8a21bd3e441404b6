//! Postgres goes away and comes back.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use mtasts_store::{Channel, Role, Store, StoreError, migrate};
use mtasts_testkit::{Process, Signal, free_port, wait_until};
use secrecy::SecretString;

use crate::fixture::{Fixture, config, zone};

const DEADLINE: Duration = Duration::from_secs(30);

/// A cluster of its own, since it is going to be stopped.
fn start(folder: &Path, port: u16) -> Process {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/private/postgres");
    Process::spawn("postgres", Command::new(script).arg(folder).arg(port.to_string()).arg("fast"))
}

async fn url(folder: &Path, process: &mut Process) -> String {
    let file = folder.join("url");
    process.wait_until_ready(DEADLINE, async || file.exists()).await;
    std::fs::read_to_string(file).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_store_starts_without_postgres_and_survives_its_restart() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut postgres = start(folder.path(), port);
    let url = url(folder.path(), &mut postgres).await;
    let mut config = config(url.clone(), Role::Api, 2);
    config.connect_timeout = Duration::from_millis(500);
    let store = Store::connect(config).await.unwrap();
    wait_until(DEADLINE, "migrated", async || migrate(&SecretString::from(url.clone()), &zone()).await.is_ok()).await;
    wait_until(DEADLINE, "the first answer", async || store.ping().await.is_ok()).await;
    let mut nudges = store.nudges(Channel::Worker);
    tokio::time::timeout(DEADLINE, nudges.changed()).await.unwrap();

    // In the middle of a transaction.
    let tenant = mtasts_model::TenantId::draw(chrono::DateTime::UNIX_EPOCH, &mtasts_model::SystemEntropy);
    let tx = store.tenant_tx(tenant).await.unwrap();
    postgres.stop(Signal::Interrupt);
    assert!(matches!(tx.audit_events(None, 1).await, Err(StoreError::Unavailable(_))));
    drop(tx);
    let asked = Instant::now();
    let refused = store.authenticate(&[1; 32], None, chrono::DateTime::UNIX_EPOCH).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(asked.elapsed() < Duration::from_secs(3), "the caller is told soon");

    let _postgres = start(folder.path(), port);
    wait_until(DEADLINE, "it is back", async || store.ping().await.is_ok()).await;
    assert!(store.authenticate(&[1; 32], None, chrono::DateTime::UNIX_EPOCH).await.unwrap().is_none());
    tokio::time::timeout(DEADLINE, nudges.changed()).await.unwrap();
}

#[tokio::test]
async fn a_store_without_postgres_says_so() {
    let mut config = config(format!("postgres://x@127.0.0.1:{}/x", free_port()), Role::Worker, 1);
    config.connect_timeout = Duration::from_millis(300);
    let store = Store::connect(config).await.unwrap();
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.next_due_at().await, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn a_session_that_an_administrator_ends_is_an_outage_and_not_a_defect() {
    let fixture = Fixture::new().await;
    let api = fixture.store_of(Role::Api, 1).await;
    let tenant = fixture.tenant(&api).await;
    let tx = api.tenant_tx(tenant).await.unwrap();
    fixture
        .database
        .psql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mtasts'
               AND datname = current_database()",
        )
        .await;
    let cut = tx.audit_events(None, 1).await;
    assert!(matches!(cut, Err(StoreError::Unavailable(_))), "{cut:?}");
    drop(tx);
    wait_until(DEADLINE, "the pool has recovered", async || api.tenant(tenant).await.is_ok()).await;
}

#[tokio::test]
async fn a_pool_that_is_used_up_is_unavailable_and_a_lock_that_is_held_is_busy() {
    let fixture = Fixture::new().await;
    let mut config = config(fixture.database.url(), Role::Api, 1);
    config.connect_timeout = Duration::from_millis(200);
    config.statement_timeout = Duration::from_millis(300);
    let api = Store::connect(config).await.unwrap();
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let tx = api.tenant_tx(tenant).await.unwrap();
    assert!(matches!(api.ping().await, Err(StoreError::Unavailable(_))));
    drop(tx);
    let worker = fixture.store(Role::Worker).await;
    let lease = fixture.claim(&worker, domain.id).await;
    let _held = fixture.tx(&worker, &lease).await;
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    let stuck = tx.request_verify(domain.id, &mtasts_store::Actor::operator(), fixture.now()).await.unwrap_err();
    assert!(stuck.is_transient() && !stuck.is_unavailable(), "{stuck:?}");
}

#[tokio::test]
async fn whoever_loses_patience_while_a_transaction_begins_leaves_no_session_within_it() {
    let fixture = Fixture::new().await;
    let api = fixture.store_of(Role::Api, 1).await;
    let tenant = fixture.tenant(&api).await;
    for patience in 0..20 {
        tokio::select! {
            biased;
            _ = api.tenant_tx(tenant) => {}
            () = async { for _ in 0..patience { tokio::task::yield_now().await } } => {}
        }
        // Much sooner than Postgres itself would end it.
        let within = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'mtasts' AND state LIKE 'idle in transaction%'";
        wait_until(Duration::from_secs(5), "no session is within a transaction", async || {
            fixture.database.psql(within).await.trim() == "0"
        })
        .await;
        api.tenant(tenant).await.unwrap();
    }
}
