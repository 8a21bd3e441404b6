//! MX migrations: what the ledger says of them, and each step once.

use chrono::TimeDelta;
use mtasts_model::{
    HostName, MigrationId, Mode, MxPattern, PolicyId, PolicyVersionId, SystemEntropy,
    lifecycle::{MxHostSeen, MxSeen},
    migration::{Action, Migration, TXT_SETTLES},
};
use mtasts_store::{Actor, DomainView, MigrationState, Role, SpareIds, Store, StoreError, VersionReason};

use crate::fixture::{Fixture, line, policy};

fn patterns(texts: &[&str]) -> Vec<MxPattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn ids(fixture: &Fixture) -> SpareIds {
    SpareIds {
        version: PolicyVersionId::draw(fixture.now(), &SystemEntropy),
        policy: PolicyId::draw(fixture.now(), &SystemEntropy),
    }
}

/// As the API does: the policy with both, then the migration.
async fn begin(fixture: &Fixture, api: &Store, domain: &DomainView) -> PolicyVersionId {
    let both = policy(Mode::Enforce, &["mx.example.net", "mx2.example.net"], 604_800);
    let version = fixture.set_policy(api, domain, both).await;
    let migration = Migration {
        from: patterns(&["mx.example.net"]),
        to: patterns(&["mx2.example.net"]),
        created_at: fixture.now(),
        safe_to_point_mx_at: None,
        absent_since: None,
        confirmed_at: None,
    };
    let mut tx = api.tenant_tx(domain.tenant_id).await.unwrap();
    let locked = tx.domain_locked(domain.id).await.unwrap().unwrap();
    let id = MigrationId::draw(fixture.now(), &SystemEntropy);
    tx.begin_migration(&locked, (id, version), &migration, &Actor::operator(), fixture.now()).await.unwrap();
    tx.commit().await.unwrap();
    version
}

#[tokio::test]
async fn the_longest_enforced_policy_that_an_edge_served_before_decides_when_mx_records_may_move() {
    let fixture = Fixture::new().await;
    let (api, worker, edge) =
        (fixture.store(Role::Api).await, fixture.store(Role::Worker).await, fixture.store(Role::Edge).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    fixture.serve(&worker, &domain).await;
    let node = fixture.edge_node(&edge).await;
    let testing = fixture.view(&api, &domain).await.version.unwrap().id;
    let enforced = fixture.set_policy(&api, &domain, policy(Mode::Enforce, &["mx.example.net"], 604_800)).await;
    let served = fixture.now();
    // Served later and for longer, but in testing: senders deliver to any host.
    let lines = [line(&domain, testing, served + TimeDelta::days(30)), line(&domain, enforced, served)];
    edge.flush_served(&lines, Some(fixture.now()), node).await.unwrap();
    let version = begin(&fixture, &api, &domain).await;
    let lease = fixture.claim(&worker, domain.id).await;
    let facts = fixture.facts(&worker, &lease).await;
    let migration = facts.migration.clone().unwrap();
    assert_eq!(migration.needed_until, Some(served + TimeDelta::days(7)));
    assert_eq!(
        facts.migration_next(fixture.now()).0,
        None,
        "nothing is known before the policy with both is published"
    );

    let mut tx = fixture.tx(&worker, &lease).await;
    tx.version_served(version).await.unwrap();
    tx.version_verified(version).await.unwrap();
    tx.records_confirmed(version, &[]).await.unwrap();
    tx.commit().await.unwrap();
    let facts = fixture.facts(&worker, &lease).await;
    let Some(action @ Action::Schedule { safe_to_point_mx_at }) = facts.migration_next(fixture.now()).0 else {
        panic!("{:?}", facts.migration);
    };
    assert_eq!(safe_to_point_mx_at, (served + TimeDelta::days(7)).max(fixture.now() + TXT_SETTLES));
    let decided_on = (facts.migration.as_ref().unwrap().revision, version);
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.advance_migration(&action, decided_on, ids(&fixture)).await.unwrap();
    tx.commit().await.unwrap();
    let view = api.tenant_tx(tenant).await.unwrap().migration(domain.id).await.unwrap().unwrap();
    assert_eq!(view.migration.safe_to_point_mx_at, Some(safe_to_point_mx_at));
}

#[tokio::test]
async fn the_old_host_leaves_by_one_version_and_never_by_a_decision_that_is_out_of_date() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let version = begin(&fixture, &api, &domain).await;
    let lease = fixture.claim(&worker, domain.id).await;
    let revision = async || fixture.facts(&worker, &lease).await.migration.unwrap().revision;
    let before = revision().await;
    // A look finds no old host.
    let host = HostName::parse("mx2.example.net").unwrap();
    let seen =
        MxSeen { hosts: vec![MxHostSeen { host, preference: 10, failure: None, looked_at: None }], at: fixture.now() };
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.mx_seen(&seen).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(fixture.facts(&worker, &lease).await.migration.unwrap().migration.absent_since, Some(fixture.now()));
    let narrow = Action::Narrow { policy: policy(Mode::Enforce, &["mx2.example.net"], 604_800) };
    let mut tx = fixture.tx(&worker, &lease).await;
    let stale = tx.advance_migration(&narrow, (before, version), ids(&fixture)).await;
    assert!(matches!(stale, Err(StoreError::VersionConflict { .. })), "{stale:?}");
    drop(tx);
    let decided_on = (revision().await, version);
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.advance_migration(&narrow, decided_on, ids(&fixture)).await.unwrap();
    tx.commit().await.unwrap();
    let newest = fixture.view(&api, &domain).await.version.unwrap();
    assert_eq!((newest.reason, newest.policy.mx().len()), (VersionReason::MigrationNarrowed, 1));
    let view = api.tenant_tx(tenant).await.unwrap().migration(domain.id).await.unwrap().unwrap();
    assert_eq!(view.state, MigrationState::Done);
    assert_eq!(fixture.facts(&worker, &lease).await.migration, None);
    let mut tx = fixture.tx(&worker, &lease).await;
    let again = tx.advance_migration(&narrow, decided_on, ids(&fixture)).await;
    assert!(matches!(again, Err(StoreError::VersionConflict { .. })), "{again:?}");
}
