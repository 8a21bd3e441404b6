//! One failing domain, or a database that is away, never stops the others.

use std::sync::Arc;

use mtasts_model::{ConditionKind, Status};

use tokio::time::{Duration, sleep, timeout};

use crate::world::{Call, ScriptedCa, World, config, status};

#[tokio::test]
async fn a_panic_in_one_domains_step_fails_that_domain_alone() {
    let world = World::new().await;
    let ca = ScriptedCa::new(world.ca.clone()).cursed("mta-sts.cursed.test");
    let mut config = config("one");
    config.concurrency = 1;
    let _worker = world.start_with(config, Arc::new(ca.clone()));
    let tenant = world.tenant().await;
    let cursed = world.register(tenant, "cursed.test").await;
    world.delegate(&cursed);
    world.publish(tenant, "customer.test").await;
    world
        .view_when(&cursed, "the cursed domain has failed", |view| {
            status(view, ConditionKind::CertificateReady) == (Status::False, "InternalError")
        })
        .await;
    assert!(ca.calls(Call::Place) >= 2);
    world.publish(tenant, "another.test").await;
}

#[tokio::test]
async fn a_worker_waits_for_a_database_that_is_away_and_goes_on_when_it_is_back() {
    let world = World::new().await;
    let worker = world.start();
    let tenant = world.tenant().await;
    world.publish(tenant, "customer.test").await;
    let domain = world.register(tenant, "another.test").await;
    world.delegate(&domain);
    // Every connection is cut, again and again, in the middle of whatever is under way.
    for _ in 0..10 {
        let others = "pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        world.database.psql(&format!("SELECT pg_terminate_backend(pid) FROM {others}")).await;
        sleep(Duration::from_millis(50)).await;
    }
    world.published(&domain).await;
    timeout(Duration::from_secs(5), worker.stop()).await.unwrap();
}
