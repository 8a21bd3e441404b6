//! Claims, fencing, waking.

use std::collections::{HashMap, HashSet};

use chrono::TimeDelta;
use mtasts_model::{
    Mode,
    lifecycle::{MxSeen, StepKind},
};
use mtasts_store::{Actor, Role, Shares, VersionReason};

use crate::fixture::{Fixture, GRACE, LEASE, is_fenced, policy};

#[tokio::test]
async fn workers_that_claim_at_the_same_time_share_the_domains() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    for number in 0..30 {
        fixture.domain(&api, tenant, &format!("d{number}.example")).await;
    }
    let shares = Shares::default();
    let claim = || worker.claim_due("w", 10, LEASE, fixture.now(), &shares);
    let (a, b, c, d) = tokio::join!(claim(), claim(), claim(), claim());
    let mut claimed: Vec<_> = [a, b, c, d].into_iter().flat_map(Result::unwrap).collect();
    claimed.extend(claim().await.unwrap());
    assert_eq!(claimed.len(), 30);
    let domains: HashSet<_> = claimed.iter().map(|lease| lease.domain_id).collect();
    let tokens: HashSet<_> = claimed.iter().map(|lease| lease.token).collect();
    assert_eq!((domains.len(), tokens.len()), (30, 30));
    assert!(claim().await.unwrap().is_empty());
    assert_eq!(worker.next_due_at().await.unwrap(), Some(fixture.now() + LEASE));
}

#[tokio::test]
async fn whoever_lost_the_lease_can_record_nothing() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let old = worker.claim_due("one", 1, LEASE, fixture.now(), &Shares::default()).await.unwrap()[0];
    assert!(worker.claim_due("other", 1, LEASE, fixture.now(), &Shares::default()).await.unwrap().is_empty());

    fixture.clock.advance(LEASE);
    // Nobody has taken over yet: the old worker may still finish.
    fixture.tx(&worker, &old).await.commit().await.unwrap();
    let new = worker.claim_due("other", 1, LEASE, fixture.now(), &Shares::default()).await.unwrap()[0];
    assert_eq!(new.domain_id, domain.id);
    assert!(new.token > old.token);
    assert!(is_fenced(&worker.lease_tx(&old, fixture.now()).await));
    assert!(is_fenced(&worker.facts(&old, fixture.now(), GRACE, &[]).await));
    assert!(is_fenced(&worker.domain_settings(&old).await));
    assert!(worker.facts(&new, fixture.now(), GRACE, &[]).await.is_ok());
}

#[tokio::test]
async fn a_lease_cannot_be_taken_over_between_the_check_and_the_commit() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    fixture.domain(&api, tenant, "example.com").await;
    let old = worker.claim_due("one", 1, LEASE, fixture.now(), &Shares::default()).await.unwrap()[0];
    fixture.clock.advance(LEASE);
    let mut tx = fixture.tx(&worker, &old).await;
    assert!(
        worker.claim_due("other", 1, LEASE, fixture.now(), &Shares::default()).await.unwrap().is_empty(),
        "its row is locked"
    );
    tx.mx_seen(&MxSeen { hosts: Vec::new(), at: fixture.now() }).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(worker.claim_due("other", 1, LEASE, fixture.now(), &Shares::default()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_domain_that_is_woken_while_leased_is_due_at_once_when_it_settles() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let later = fixture.now() + TimeDelta::hours(5);

    let lease = fixture.claim(&worker, domain.id).await;
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    let new = fixture.version(policy(Mode::None, &[], 60), VersionReason::Changed);
    tx.set_policy(domain.id, new, None, &Actor::operator(), fixture.now()).await.unwrap();
    tx.commit().await.unwrap();
    assert!(
        worker.claim_due("other", 1, LEASE, fixture.now(), &Shares::default()).await.unwrap().is_empty(),
        "the lease holds"
    );
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.settle(&[], Some(later), true).await.unwrap();
    tx.commit().await.unwrap();
    let lease = worker.claim_due("other", 1, LEASE, fixture.now(), &Shares::default()).await.unwrap()[0];

    // Nobody has woken it since: it sleeps.
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.settle(&[], Some(later), true).await.unwrap();
    tx.commit().await.unwrap();
    assert!(worker.claim_due("other", 1, LEASE, fixture.now(), &Shares::default()).await.unwrap().is_empty());
    assert_eq!(worker.next_due_at().await.unwrap(), Some(later));
    assert!(is_fenced(&worker.lease_tx(&lease, fixture.now()).await), "released");
}

#[tokio::test]
async fn failures_are_counted_until_a_success() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let lease = fixture.claim(&worker, domain.id).await;
    let mut tx = fixture.tx(&worker, &lease).await;
    let retry = Some(fixture.now() + TimeDelta::hours(1));
    tx.step_failed(StepKind::PlaceOrder, "First", "one", None).await.unwrap();
    tx.step_failed(StepKind::PlaceOrder, "RateLimited", "two", retry).await.unwrap();
    tx.step_failed(StepKind::ProbeMx, "Third", "three", None).await.unwrap();
    tx.step_succeeded(StepKind::ProbeMx).await.unwrap();
    tx.commit().await.unwrap();
    let attempts = fixture.facts(&worker, &lease).await.attempts;
    let attempt = attempts.of(StepKind::PlaceOrder).unwrap();
    assert_eq!((attempt.failures, attempt.reason.as_str(), attempt.retry_after), (2, "RateLimited", retry));
    assert!(attempts.of(StepKind::ProbeMx).is_none());
}

#[tokio::test]
async fn a_tenant_with_a_long_queue_leaves_places_to_others_that_are_due() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let (flooding, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    for number in 0..12 {
        fixture.domain(&api, flooding, &format!("flood{number}.example")).await;
        fixture.clock.advance(TimeDelta::seconds(1));
    }
    for number in 0..2 {
        fixture.domain(&api, other, &format!("other{number}.example")).await;
    }
    let shares = Shares { most: 3, held: HashMap::from([(flooding, 1)]) };
    let claim = async |limit| {
        let claimed = worker.claim_due("w", limit, LEASE, fixture.now(), &shares).await.unwrap();
        let of = |tenant| claimed.iter().filter(|lease| lease.tenant_id == tenant).count();
        (of(flooding), of(other))
    };
    assert_eq!(claim(4).await, (2, 2), "one more would be beyond its share");
    assert_eq!(claim(4).await, (4, 0), "nobody else is due: no place stays empty");
}
