//! Which keys secrets are sealed under, and exchanging them.

use mtasts_model::{Revision, feed::EdgeEntry};
use mtasts_store::{Resealed, Role, SealedKind, Store};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::fixture::{Fixture, LEASE, changes};

/// What the seal writes, as far as the database reads it.
fn message(key: &str, body: u8) -> Vec<u8> {
    let mut message = vec![1, u8::try_from(key.len()).unwrap()];
    message.extend_from_slice(key.as_bytes());
    message.extend([body; 60]);
    message
}

async fn account(worker: &Store, fixture: &Fixture, issuer: &str, sealed: &[u8], replaces: Option<&[u8]>) -> bool {
    let kept = worker.save_acme_account(issuer, sealed, replaces, fixture.now()).await.unwrap();
    kept == sealed
}

async fn exchange_all(fixture: &Fixture, keeper: &Store, kind: SealedKind, from: &str, to: &str) -> u64 {
    let (mut exchanged, mut after) = (0, None);
    loop {
        let page = keeper.sealed_under(kind, from, after.as_deref(), 2).await.unwrap();
        let Some(last) = page.last() else { return exchanged };
        after = Some(last.row.clone());
        let batch: Vec<_> = page
            .into_iter()
            .map(|secret| Resealed { row: secret.row, former: secret.sealed, sealed: message(to, 7) })
            .collect();
        exchanged += keeper.reseal(kind, from, &batch, fixture.now()).await.unwrap();
    }
}

#[tokio::test]
async fn a_key_is_needed_from_the_first_secret_under_it_until_the_last_was_exchanged() {
    let fixture = Fixture::new().await;
    let (worker, keeper) = (fixture.store(Role::Worker).await, fixture.store(Role::Keeper).await);
    assert!(worker.needed_keys().await.unwrap().is_empty());
    for issuer in ["a", "b", "c", "d", "e"] {
        assert!(account(&worker, &fixture, issuer, &message("k1", 1), None).await);
    }
    for role in [Role::Api, Role::Worker, Role::Edge, Role::Keeper] {
        assert_eq!(fixture.store(role).await.needed_keys().await.unwrap(), ["k1"], "{role:?}");
    }
    assert!(!keeper.forget_sealing_key("k1").await.unwrap(), "five secrets are sealed under it");
    assert!(!keeper.forget_sealing_key("k9").await.unwrap(), "nobody knows it");
    assert_eq!(exchange_all(&fixture, &keeper, SealedKind::AcmeAccount, "k1", "k2").await, 5, "page by page");
    assert_eq!(worker.needed_keys().await.unwrap(), ["k1", "k2"]);
    assert!(keeper.forget_sealing_key("k1").await.unwrap());
    assert_eq!(worker.needed_keys().await.unwrap(), ["k2"]);
    let counts = keeper.count_sealed().await.unwrap();
    let counts: Vec<_> = counts.iter().map(|count| (count.kind, count.key.as_deref(), count.count)).collect();
    assert_eq!(counts, [(SealedKind::AcmeAccount, Some("k2"), 5)]);
}

#[tokio::test]
async fn what_somebody_else_has_changed_meanwhile_is_left_as_it_is() {
    let fixture = Fixture::new().await;
    let (worker, keeper) = (fixture.store(Role::Worker).await, fixture.store(Role::Keeper).await);
    let first = message("k1", 1);
    assert!(account(&worker, &fixture, "a", &first, None).await);
    let read = keeper.sealed_under(SealedKind::AcmeAccount, "k1", None, 10).await.unwrap().remove(0);
    let newer = message("k1", 2);
    assert!(account(&worker, &fixture, "a", &newer, Some(&first)).await);
    let late = Resealed { row: read.row, former: read.sealed, sealed: message("k2", 1) };
    assert_eq!(keeper.reseal(SealedKind::AcmeAccount, "k1", &[late], fixture.now()).await.unwrap(), 0);
    assert_eq!(worker.acme_account("a").await.unwrap().unwrap(), newer);
    // And the other way round: whoever holds the former message is given the exchanged one.
    assert_eq!(exchange_all(&fixture, &keeper, SealedKind::AcmeAccount, "k1", "k2").await, 1);
    assert!(!account(&worker, &fixture, "a", &message("k1", 3), Some(&newer)).await);
    assert_eq!(worker.acme_account("a").await.unwrap().unwrap(), message("k2", 7));
}

#[tokio::test]
async fn a_row_that_somebody_has_locked_is_not_waited_for_and_comes_again() {
    let fixture = Fixture::new().await;
    let (worker, keeper) = (fixture.store(Role::Worker).await, fixture.store(Role::Keeper).await);
    assert!(account(&worker, &fixture, "a", &message("k1", 1), None).await);
    let mut session = PgConnection::connect(&fixture.database.url()).await.unwrap();
    session.execute("BEGIN; SELECT * FROM acme_accounts FOR UPDATE").await.unwrap();
    assert_eq!(exchange_all(&fixture, &keeper, SealedKind::AcmeAccount, "k1", "k2").await, 0);
    session.execute("ROLLBACK").await.unwrap();
    assert_eq!(exchange_all(&fixture, &keeper, SealedKind::AcmeAccount, "k1", "k2").await, 1);
}

#[tokio::test]
async fn a_certificate_that_edges_serve_is_sent_to_them_again_and_its_former_key_stays_until_they_have_it() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let (edge, keeper) = (fixture.store(Role::Edge).await, fixture.store(Role::Keeper).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let node = fixture.edge_node(&edge).await;
    let served = fixture.serve(&worker, &domain).await;
    // What the fixture seals has no key's name in it.
    let sealed = |key: &str| {
        format!(
            "SET session_replication_role = origin; UPDATE certificates SET sealed_key = '\\x{}'; UPDATE acme_orders SET sealed_key = '\\x{0}'",
            data_encoding::HEXLOWER.encode(&message(key, 1))
        )
    };
    fixture.database.psql(&sealed("k1")).await;
    edge.acknowledge(node, served, fixture.now(), LEASE).await.unwrap();

    assert_eq!(exchange_all(&fixture, &keeper, SealedKind::OrderKey, "k1", "k2").await, 1);
    assert!(changes(&edge, served).await.is_empty(), "orders are no edge's");
    assert_eq!(exchange_all(&fixture, &keeper, SealedKind::CertificateKey, "k1", "k2").await, 1);
    let sent = changes(&edge, served).await;
    let [change] = sent.as_slice() else { panic!("{sent:?}") };
    let EdgeEntry::Host(host) = &change.entry else { panic!("{change:?}") };
    assert_eq!(host.sealed_key, message("k2", 7));

    let behind = |keys: Vec<mtasts_store::SealingKey>| {
        keys.into_iter().map(|key| (key.id, key.edges_behind)).collect::<Vec<_>>()
    };
    let keys = behind(keeper.sealing_keys().await.unwrap());
    assert_eq!(keys, [("k1".to_owned(), 1), ("k2".to_owned(), 0)]);
    assert!(!keeper.forget_sealing_key("k1").await.unwrap(), "the edge may have to open the former one");
    edge.acknowledge(node, Revision::new(change.revision.number() - 1), fixture.now(), LEASE).await.unwrap();
    assert!(!keeper.forget_sealing_key("k1").await.unwrap());
    edge.acknowledge(node, change.revision, fixture.now(), LEASE).await.unwrap();
    assert!(keeper.forget_sealing_key("k1").await.unwrap());
}

#[tokio::test]
async fn who_exchanges_secrets_sees_and_changes_nothing_else() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    fixture.domain(&api, tenant, "example.com").await;
    let refused = async |role: &str, sql: &str| {
        let mut session = PgConnection::connect(&fixture.database.url_as(role)).await.unwrap();
        match session.execute(AssertSqlSafe(sql.to_owned())).await {
            Err(sqlx::Error::Database(error)) => error.code().unwrap() == "42501",
            _ => false,
        }
    };
    for sql in [
        "SELECT name FROM domains",
        "SELECT id FROM policy_versions",
        "SELECT id FROM tenants",
        "SELECT hash FROM api_keys",
        "SELECT id FROM audit_events",
        "SELECT url FROM webhooks",
        "SELECT settings FROM dns_credentials",
        "SELECT chain FROM certificates",
        "UPDATE certificates SET not_after = now()",
        "UPDATE edge_entries SET version_id = NULL",
        "DELETE FROM certificates",
        "INSERT INTO sealing_keys VALUES ('k', now())",
    ] {
        assert!(refused("mtasts_keeper", sql).await, "{sql}");
    }
    for role in ["mtasts_api", "mtasts_worker", "mtasts_edge"] {
        for sql in ["DELETE FROM sealing_keys", "INSERT INTO sealing_keys VALUES ('k', now())"] {
            assert!(refused(role, sql).await, "{role}: {sql}");
        }
        assert!(refused(role, "UPDATE certificates SET sealed_key = 'x'").await, "{role}");
    }
}
