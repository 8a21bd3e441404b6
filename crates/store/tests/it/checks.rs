//! Looks at any domain that tenants ask for: budget, queue, fence, and the pace that all share.

use std::{net::IpAddr, time::Duration};

use chrono::TimeDelta;
use mtasts_model::{CheckId, MailDomain, SystemEntropy, TenantId, check::CheckWanted};
use mtasts_store::{Actor, AskedCheck, Check, CheckOutcome, CheckState, NewCheck, Role, Store, StoreError};
use serde_json::json;

use crate::fixture::{Fixture, LEASE};

async fn ask(fixture: &Fixture, api: &Store, tenant: TenantId, per_hour: u32) -> AskedCheck {
    let new = NewCheck {
        id: CheckId::draw(fixture.now(), &SystemEntropy),
        domain: MailDomain::from_stored("example.com").unwrap(),
        wanted: CheckWanted::Inspection { mx_hosts: true },
    };
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    let asked = tx.ask_for_check(&new, per_hour, &Actor::operator(), fixture.now()).await.unwrap();
    tx.commit().await.unwrap();
    asked
}

async fn made(fixture: &Fixture, api: &Store, tenant: TenantId) -> Check {
    match ask(fixture, api, tenant, 100).await {
        AskedCheck::Made(check) => *check,
        AskedCheck::TooMany { .. } => panic!("there is room"),
    }
}

fn found() -> CheckOutcome {
    CheckOutcome { severity: Some("ok"), report: Some(json!({"looked": true})), ..CheckOutcome::default() }
}

#[tokio::test]
async fn a_tenant_may_ask_so_often_an_hour_and_another_one_still_may() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let (tenant, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let begun = fixture.now();
    for _ in 0..3 {
        assert!(matches!(ask(&fixture, &api, tenant, 3).await, AskedCheck::Made(_)));
        fixture.clock.advance(TimeDelta::minutes(10));
    }
    let free_at = begun + TimeDelta::hours(1);
    assert_eq!(ask(&fixture, &api, tenant, 3).await, AskedCheck::TooMany { free_at });
    assert!(matches!(ask(&fixture, &api, other, 3).await, AskedCheck::Made(_)));
    fixture.clock.set(free_at + TimeDelta::milliseconds(1));
    assert!(matches!(ask(&fixture, &api, tenant, 3).await, AskedCheck::Made(_)), "the first is an hour old");
    assert!(matches!(ask(&fixture, &api, tenant, 3).await, AskedCheck::TooMany { .. }), "and no other");
}

#[tokio::test]
async fn many_that_ask_at_the_same_time_get_no_more_than_one_after_the_other() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let asked = futures_util::future::join_all((0..8).map(|_| ask(&fixture, &api, tenant, 5))).await;
    assert_eq!(asked.iter().filter(|asked| matches!(asked, AskedCheck::Made(_))).count(), 5);
}

#[tokio::test]
async fn checks_are_shared_among_tenants_and_a_worker_that_is_late_records_nothing() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let (greedy, modest) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    for _ in 0..6 {
        made(&fixture, &api, greedy).await;
        fixture.clock.advance(TimeDelta::seconds(1));
    }
    let last = made(&fixture, &api, modest).await;
    let now = fixture.now();
    let first = worker.claim_checks(10, 2, now + LEASE, now).await.unwrap();
    let of = |tenant| first.iter().filter(|check| check.tenant == tenant).count();
    assert_eq!((of(greedy), of(modest)), (2, 1));
    assert_eq!(worker.claim_checks(10, 2, now + LEASE, now).await.unwrap(), [], "both places of the tenant are taken");
    let running = api.tenant_tx(modest).await.unwrap().check(last.id).await.unwrap().unwrap();
    assert_eq!((last.state(), running.state()), (CheckState::Waiting, CheckState::Running));

    // A worker that was away for longer than its lease.
    fixture.clock.advance(LEASE);
    let now = fixture.now();
    let second = worker.claim_checks(10, 2, now + LEASE, now).await.unwrap();
    let again = second.iter().find(|check| check.id == last.id).unwrap();
    assert_eq!(again.attempts, 2);
    let stale = first.iter().find(|check| check.id == last.id).unwrap();
    assert!(matches!(worker.finish_check(stale, found(), now).await, Err(StoreError::Fenced)));
    worker.finish_check(again, found(), now).await.unwrap();
    assert!(matches!(worker.finish_check(again, found(), now).await, Err(StoreError::Fenced)), "it is over");
    let done = api.tenant_tx(modest).await.unwrap().check(last.id).await.unwrap().unwrap();
    assert_eq!((done.state(), done.severity.as_deref(), done.report), (CheckState::Done, Some("ok"), found().report));
    assert_eq!(api.tenant_tx(greedy).await.unwrap().check(last.id).await.unwrap(), None, "of another tenant");
    let listed = api.tenant_tx(modest).await.unwrap().checks(None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|check| (check.id, check.report.is_some())).collect::<Vec<_>>(), [(last.id, false)]);
}

#[tokio::test]
async fn a_check_is_forgotten_after_a_week() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    made(&fixture, &api, tenant).await;
    fixture.clock.advance(TimeDelta::days(6));
    let kept = made(&fixture, &api, tenant).await;
    fixture.clock.advance(TimeDelta::days(1) + TimeDelta::seconds(1));
    assert_eq!(worker.prune_checks(fixture.now()).await.unwrap(), 1);
    let left = api.tenant_tx(tenant).await.unwrap().checks(None, 10).await.unwrap();
    assert_eq!(left.iter().map(|check| check.id).collect::<Vec<_>>(), [kept.id]);
}

#[tokio::test]
async fn all_workers_together_keep_one_pace_at_a_host() {
    let fixture = Fixture::new().await;
    let (one, other) = (fixture.store(Role::Worker).await, fixture.store(Role::Worker).await);
    let (host, neighbour): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    // Thirty a minute, of which ten at once.
    for number in 0..10 {
        let worker = if number % 2 == 0 { &one } else { &other };
        assert_eq!(worker.pace_probe(host, 30, fixture.now()).await.unwrap(), Ok(()), "{number}");
    }
    let wait = one.pace_probe(host, 30, fixture.now()).await.unwrap().unwrap_err();
    assert_eq!(wait, Duration::from_secs(2));
    assert!(other.pace_probe(host, 30, fixture.now()).await.unwrap().is_err());
    assert_eq!(other.pace_probe(neighbour, 30, fixture.now()).await.unwrap(), Ok(()));
    fixture.clock.advance(TimeDelta::from_std(wait).unwrap());
    assert_eq!(other.pace_probe(host, 30, fixture.now()).await.unwrap(), Ok(()));
    assert!(one.pace_probe(host, 30, fixture.now()).await.unwrap().is_err());
    fixture.clock.advance(TimeDelta::seconds(21));
    assert_eq!(one.prune_checks(fixture.now()).await.unwrap(), 2, "both hosts have rested");
}
