//! Invariant 7: a repeated request has one effect.

use chrono::TimeDelta;
use mtasts_store::{Idempotency, Role, StoreError};

use crate::fixture::Fixture;

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let (tenant, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let now = fixture.now();
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    assert_eq!(tx.begin_idempotent("key", &[1; 32], now).await.unwrap(), Idempotency::Fresh);
    tx.finish_idempotent("key", 201, b"made").await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = api.tenant_tx(tenant).await.unwrap();
    let again = tx.begin_idempotent("key", &[1; 32], now).await.unwrap();
    assert_eq!(again, Idempotency::Replay { status: 201, body: b"made".to_vec() });
    assert_eq!(tx.begin_idempotent("key", &[2; 32], now).await.unwrap(), Idempotency::Conflict);
    drop(tx);
    let mut tx = api.tenant_tx(other).await.unwrap();
    assert_eq!(tx.begin_idempotent("key", &[2; 32], now).await.unwrap(), Idempotency::Fresh, "another tenant's key");
}

#[tokio::test]
async fn a_request_that_failed_left_no_trace() {
    let fixture = Fixture::new().await;
    // One connection: the next transaction begins once the last is rolled back.
    let api = fixture.store_of(Role::Api, 1).await;
    let tenant = fixture.tenant(&api).await;
    for _ in 0..2 {
        let mut tx = api.tenant_tx(tenant).await.unwrap();
        assert_eq!(tx.begin_idempotent("key", &[1; 32], fixture.now()).await.unwrap(), Idempotency::Fresh);
        tx.finish_idempotent("key", 201, b"made").await.unwrap();
        drop(tx);
    }
}

#[tokio::test]
async fn a_request_that_is_under_way_is_not_carried_out_twice() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let mut first = api.tenant_tx(tenant).await.unwrap();
    let mut second = api.tenant_tx(tenant).await.unwrap();
    assert_eq!(first.begin_idempotent("key", &[1; 32], fixture.now()).await.unwrap(), Idempotency::Fresh);
    assert_eq!(second.begin_idempotent("key", &[1; 32], fixture.now()).await.unwrap(), Idempotency::InFlight);
    first.finish_idempotent("key", 200, b"").await.unwrap();
    first.commit().await.unwrap();
    let now = second.begin_idempotent("key", &[1; 32], fixture.now()).await.unwrap();
    assert_eq!(now, Idempotency::Replay { status: 200, body: Vec::new() });
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    tx.begin_idempotent("key", &[1; 32], fixture.now()).await.unwrap();
    tx.finish_idempotent("key", 200, b"").await.unwrap();
    tx.commit().await.unwrap();
    fixture.clock.advance(TimeDelta::hours(24));
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    assert_eq!(tx.begin_idempotent("key", &[2; 32], fixture.now()).await.unwrap(), Idempotency::Fresh);
    drop(tx);
    worker.prune_expired(fixture.now() + TimeDelta::seconds(1)).await.unwrap();
    assert_eq!(fixture.database.psql("SELECT count(*) FROM idempotency_keys").await.trim(), "0");
}

#[tokio::test]
async fn an_answer_is_kept_only_under_the_key_that_was_begun() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let mut tx = api.tenant_tx(fixture.tenant(&api).await).await.unwrap();
    assert!(matches!(tx.finish_idempotent("key", 200, b"").await, Err(StoreError::NotFound)));
}
