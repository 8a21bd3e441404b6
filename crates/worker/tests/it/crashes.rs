//! A worker that dies anywhere is followed by one that goes on: one certificate, one id, the same order.

use std::sync::Arc;

use chrono::TimeDelta;
use mtasts_store::DomainView;
use mtasts_worker::{Worker, Zones};
use tokio::time::{Duration, sleep};

use crate::world::{Call, KillSwitch, Killed, Running, ScriptedCa, World, config};

async fn assert_one_of_each(world: &World, domain: &DomainView, ca: &ScriptedCa) {
    assert_eq!(world.count("certificates").await, 1);
    assert_eq!(world.count("policy_versions").await, 1);
    assert_eq!(world.count("acme_orders").await, 1, "the same order was resumed");
    for told in ["domain.created", "policy.changed", "certificate.issued", "policy.published"] {
        assert_eq!(world.count(&format!("events WHERE type = '{told}'")).await, 1, "{told} was told once");
    }
    for call in [Call::Answer, Call::Finalize, Call::Download] {
        assert_eq!(ca.orders(call).len(), 1, "{call:?} went to one order");
    }
    let content = world.edge.host("customer.test").unwrap();
    assert_eq!(content.policy_text, domain.version.as_ref().unwrap().policy.to_text());
    assert_eq!(world.txt(domain).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_worker_killed_after_each_call_and_before_its_outcome_is_recorded_loses_nothing() {
    let world = World::new().await;
    let ca = ScriptedCa::new(world.ca.clone());
    let killed = Killed::after([
        Call::Caa,
        Call::Place,
        Call::State,
        Call::Answer,
        Call::Finalize,
        Call::Download,
        Call::Renewal,
    ]);
    let domain = world.register(world.tenant().await, "customer.test").await;
    world.delegate(&domain);
    let mut life = 0;
    let published = loop {
        life += 1;
        assert!(life < 20, "the worker makes no progress");
        let mut config = config(&format!("life-{life}"));
        config.lease = TimeDelta::seconds(2);
        let issuer = Arc::new(KillSwitch { inner: ca.clone(), killed: killed.clone() });
        let zones = Zones::one(Arc::new(world.zone.provider()));
        let worker = Running::new(Worker::new(config, world.deps(issuer, zones)));
        tokio::select! {
            () = killed.fell() => worker.kill().await,
            published = world.published(&domain) => {
                worker.stop().await;
                break published;
            }
        }
    };
    assert_eq!(killed.left(), 0, "each call has killed once");
    assert_one_of_each(&world, &published, &ca).await;
}

#[tokio::test]
async fn a_worker_killed_at_any_moment_loses_nothing() {
    let world = World::new().await;
    let ca = ScriptedCa::new(world.ca.clone());
    let domain = world.register(world.tenant().await, "customer.test").await;
    world.delegate(&domain);
    let mut lives = 0_u64;
    let published = loop {
        lives += 1;
        assert!(lives < 60, "the worker makes no progress");
        let mut config = config(&format!("life-{lives}"));
        config.lease = TimeDelta::milliseconds(800);
        let worker = world.start_with(config, Arc::new(ca.clone()));
        // Some die at once, some live through several steps.
        tokio::select! {
            () = sleep(Duration::from_millis(20 + lives * 37 % 300)) => worker.kill().await,
            published = world.published(&domain) => break published,
        }
    };
    assert_one_of_each(&world, &published, &ca).await;
}
