//! A worker that comes back after its lease is refused, and one that is told to stop leaves nothing half-done.

use std::sync::Arc;

use chrono::TimeDelta;
use mtasts_certs::ChallengeKind;
use mtasts_model::{Clock, label::DelegationPurpose};
use mtasts_testkit::wait_until;
use mtasts_worker::WorkerConfig;
use tokio::time::{Duration, timeout};

use crate::world::{Call, Gate, GatedCa, ScriptedCa, World, ZONE, config};

#[tokio::test]
async fn what_a_worker_brings_after_its_lease_is_refused() {
    let world = World::new().await;
    let ca = ScriptedCa::new(world.ca.clone());
    let gate = Gate::at(Call::Place);
    let domain = world.register(world.tenant().await, "customer.test").await;
    world.delegate(&domain);
    let mut slow = config("slow");
    slow.lease = TimeDelta::seconds(2);
    let issuer = Arc::new(GatedCa { inner: ca.clone(), gate: gate.clone() });
    let slow = world.start_with(slow, issuer);
    gate.reached().await;

    // As after SIGSTOP: its deadline does not run either. The lease ends all the same.
    world.clock.advance(TimeDelta::seconds(10));
    let fast = world.start_with(config("fast"), Arc::new(ca.clone()));
    let published = world.published(&domain).await;
    let placed = world.count("acme_orders WHERE url IS NOT NULL").await;
    gate.open();
    timeout(Duration::from_secs(10), slow.stop()).await.unwrap();
    assert_eq!(world.view(&domain).await.version, published.version);
    assert_eq!(world.count("acme_orders WHERE url IS NOT NULL").await, placed);
    assert_eq!(world.count("certificates").await, 1);
    assert_eq!(ca.orders(Call::Finalize).len(), 1);
    fast.stop().await;
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_ends_soon_and_gives_the_domain_back() {
    let world = World::new().await;
    let ca = ScriptedCa::new(world.ca.clone());
    let gate = Gate::at(Call::Place);
    let domain = world.register(world.tenant().await, "customer.test").await;
    world.delegate(&domain);
    let worker = world.start_with(config("stopped"), Arc::new(GatedCa { inner: ca.clone(), gate: gate.clone() }));
    gate.reached().await;
    timeout(Duration::from_secs(4), worker.stop()).await.expect("a call that hangs is abandoned");
    assert_eq!(world.count("domain_schedule WHERE lease_token IS NOT NULL").await, 0);
    gate.open();
    let _next = world.start_with(config("next"), Arc::new(ca));
    world.published(&domain).await;
    assert_eq!(world.count("acme_orders").await, 1);
}

#[tokio::test]
async fn a_step_that_outlasts_the_lease_is_not_taken_over() {
    let world = World::new().await;
    let ca = ScriptedCa::new(world.ca.clone());
    let gate = Gate::at(Call::Place);
    let domain = world.register(world.tenant().await, "customer.test").await;
    world.delegate(&domain);
    let mut slow = config("slow");
    slow.lease = TimeDelta::seconds(1);
    let slow = world.start_with(slow, Arc::new(GatedCa { inner: ca.clone(), gate: gate.clone() }));
    gate.reached().await;
    let fast = world.start_with(config("fast"), Arc::new(ca.clone()));
    let first_end = world.clock.now() + TimeDelta::seconds(1);
    wait_until(Duration::from_secs(20), "the lease was lengthened more than once", || async {
        let later = first_end + TimeDelta::seconds(1);
        world.count(&format!("domain_schedule WHERE worker = 'slow' AND lease_until > '{later}'")).await == 1
    })
    .await;
    gate.open();
    world.published(&domain).await;
    assert_eq!(ca.orders(Call::Place).len(), 1, "two workers ordered");
    assert_eq!(world.count("acme_orders").await, 1);
    fast.stop().await;
    slow.stop().await;
}

#[tokio::test]
async fn a_worker_that_was_frozen_past_its_lease_writes_nothing_into_the_zone() {
    let world = World::new().await;
    let ca = ScriptedCa::new(world.ca.clone()).offering(&[ChallengeKind::Dns01]);
    let gate = Gate::at(Call::State);
    let domain = world.register(world.tenant().await, "customer.test").await;
    let answer = DelegationPurpose::AcmeChallenge.target(&domain.label, &ZONE.parse().unwrap());
    world.customers.cname(&DelegationPurpose::AcmeChallenge.name(&domain.name), &answer);
    world.delegate(&domain);
    let dns_01 = |name| WorkerConfig { challenge_preference: vec![ChallengeKind::Dns01], ..config(name) };
    // A lease so long that it does not notice by itself before it writes, and one place, so that it claims nothing more.
    let frozen = WorkerConfig { lease: TimeDelta::minutes(10), concurrency: 1, ..dns_01("frozen") };
    let frozen = world.start_with(frozen, Arc::new(GatedCa { inner: ca.clone(), gate: gate.clone() }));
    gate.reached().await;

    world.clock.advance(TimeDelta::minutes(11));
    let fast = world.start_with(dns_01("fast"), Arc::new(ca.clone()));
    world.published(&domain).await;
    world.wait_until("the answer is gone", async || world.zone.txt(&answer).await.is_none()).await;
    fast.stop().await;
    gate.open();
    timeout(Duration::from_secs(10), frozen.stop()).await.unwrap();
    let left = format!("zone_records WHERE name = '{answer}' AND ttl IS NOT NULL");
    assert_eq!(world.count(&left).await, 0, "the frozen worker wrote its answer");
}
