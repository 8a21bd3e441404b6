//! Rollout plans, carried out by the worker. Weeks of them are in the planner's tests.

use mtasts_model::{
    ConditionKind, Mode, Status,
    rollout::{Fallback, RolloutPlan},
};
use mtasts_store::{Actor, VersionReason};

use crate::world::{World, status};

#[tokio::test]
async fn a_plan_begins_with_a_version_of_its_own_and_pauses_for_a_host_that_fails() {
    let world = World::new().await;
    let _worker = world.start();
    let domain = world.publish(world.tenant().await, "customer.test").await;
    let mut tx = world.api.tenant_tx(domain.tenant_id).await.unwrap();
    let locked = tx.domain_locked(domain.id).await.unwrap().unwrap();
    let plan = RolloutPlan::usual(Fallback::Pause);
    let max_age = plan.steps()[0].max_age;
    tx.put_rollout(&locked, plan, &Actor::operator(), domain.created_at).await.unwrap();
    tx.commit().await.unwrap();

    let begun = world
        .view_when(&domain, "the first step is taken", |view| {
            view.version.as_ref().is_some_and(|version| version.reason == VersionReason::RolloutBegun)
        })
        .await;
    let policy = begun.version.unwrap().policy;
    assert_eq!((policy.mode(), policy.max_age()), (Mode::Testing, max_age));
    // The MX host has no address.
    let paused = "rollouts WHERE progress = 'paused' AND step = 0 AND code IS NOT NULL";
    world.wait_until("the plan is paused", async || world.count(paused).await == 1).await;
    world
        .view_when(&domain, "the condition says so", |view| {
            status(view, ConditionKind::RolloutOnTrack) == (Status::False, "Paused")
        })
        .await;
    let published = world.published(&domain).await;
    assert_eq!(published.version.unwrap().policy, policy, "a plan that pauses leaves the policy as it is");
    assert_eq!(world.count("events WHERE type = 'rollout.paused'").await, 1);
    assert_eq!(world.count("policy_versions").await, 2);
}
