//! Rollout plans: each step once, whatever happens in between.

use mtasts_model::{
    DomainId, EventType, Mode, PolicyId, PolicyVersionId, SystemEntropy,
    lifecycle::DomainFacts,
    rollout::{Action, Fallback, Finding, Progress, Rollout, RolloutPlan},
};
use mtasts_store::{Actor, DomainView, EventFilter, Role, SpareIds, Store, StoreError, VersionReason};

use crate::fixture::{Fixture, is_fenced, policy};

fn ids(fixture: &Fixture) -> SpareIds {
    SpareIds {
        version: PolicyVersionId::draw(fixture.now(), &SystemEntropy),
        policy: PolicyId::draw(fixture.now(), &SystemEntropy),
    }
}

async fn plan(fixture: &Fixture, api: &Store, domain: &DomainView) {
    let mut tx = api.tenant_tx(domain.tenant_id).await.unwrap();
    let locked = tx.domain_locked(domain.id).await.unwrap().unwrap();
    tx.put_rollout(&locked, RolloutPlan::usual(Fallback::Testing), &Actor::operator(), fixture.now()).await.unwrap();
    tx.commit().await.unwrap();
}

async fn rollout(api: &Store, domain: &DomainView) -> Rollout {
    api.tenant_tx(domain.tenant_id).await.unwrap().rollout(domain.id).await.unwrap().unwrap().rollout
}

fn decided_on(facts: &DomainFacts) -> (i64, PolicyVersionId) {
    (facts.rollout.as_ref().unwrap().revision, facts.version.as_ref().unwrap().id)
}

fn enter(facts: &DomainFacts, step: usize, mode: Mode, max_age: u32) -> Action {
    let patterns: Vec<_> =
        facts.version.as_ref().unwrap().policy.mx().iter().map(|mx| mx.as_str().to_owned()).collect();
    let patterns: Vec<_> = patterns.iter().map(String::as_str).collect();
    Action::Enter { step, policy: policy(mode, &patterns, max_age) }
}

async fn told(api: &Store, domain: &DomainView, event_type: EventType) -> usize {
    let filter = EventFilter { event_type: Some(event_type), domain: Some(domain.id) };
    api.tenant_tx(domain.tenant_id).await.unwrap().events(&filter, None, 50).await.unwrap().len()
}

#[tokio::test]
async fn a_step_is_one_version_and_one_event_with_its_reason() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    plan(&fixture, &api, &domain).await;
    let lease = fixture.claim(&worker, domain.id).await;
    let facts = fixture.facts(&worker, &lease).await;
    let action = facts.rollout_next(fixture.now()).unwrap().action.unwrap();
    assert!(matches!(action, Action::Enter { step: 0, .. }), "{action:?}");
    for (action, reason) in [
        // The policy is that of the first step already, so that no version is made.
        (action, VersionReason::Registered),
        (enter(&facts, 1, Mode::Enforce, 86_400), VersionReason::RolloutPromoted),
    ] {
        let facts = fixture.facts(&worker, &lease).await;
        let mut tx = fixture.tx(&worker, &lease).await;
        tx.advance_rollout(&action, decided_on(&facts), ids(&fixture)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(fixture.view(&api, &domain).await.version.unwrap().reason, reason);
        // A worker that was killed after the commit decided on what is no more.
        let mut again = fixture.tx(&worker, &lease).await;
        let repeated = again.advance_rollout(&action, decided_on(&facts), ids(&fixture)).await;
        assert!(matches!(repeated, Err(StoreError::VersionConflict { .. })), "{repeated:?}");
    }
    assert_eq!(rollout(&api, &domain).await.step, 1);
    assert_eq!(told(&api, &domain, EventType::RolloutPromoted).await, 1);
    let version = fixture.view(&api, &domain).await.version.unwrap();
    assert_eq!((version.seq, version.policy.mode(), version.created_by.as_str()), (2, Mode::Enforce, "worker"));

    let facts = fixture.facts(&worker, &lease).await;
    let finding = Finding { code: "verified-failures".to_owned(), message: "40 of 1000".to_owned() };
    let Action::Enter { policy, .. } = enter(&facts, 0, Mode::Testing, 86_400) else { unreachable!() };
    let mut tx = fixture.tx(&worker, &lease).await;
    let back = Action::FallBack { finding: finding.clone(), policy };
    tx.advance_rollout(&back, decided_on(&facts), ids(&fixture)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(rollout(&api, &domain).await.progress, Progress::FellBack(finding));
    let version = fixture.view(&api, &domain).await.version.unwrap();
    assert_eq!((version.policy.mode(), version.reason), (Mode::Testing, VersionReason::RolloutFellBack));
    assert_eq!(told(&api, &domain, EventType::RolloutFellBack).await, 1);
}

#[tokio::test]
async fn what_was_decided_on_another_policy_plan_or_lease_is_not_done() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    plan(&fixture, &api, &domain).await;
    let lease = fixture.claim(&worker, domain.id).await;
    let facts = fixture.facts(&worker, &lease).await;
    let action = enter(&facts, 1, Mode::Enforce, 86_400);
    let attempt = async |facts: &DomainFacts| {
        let mut tx = fixture.tx(&worker, &lease).await;
        tx.advance_rollout(&action, decided_on(facts), ids(&fixture)).await
    };
    // The tenant sets a policy in between.
    fixture.set_policy(&api, &domain, policy(Mode::Testing, &["other.example.net"], 86_400)).await;
    assert!(matches!(attempt(&facts).await, Err(StoreError::VersionConflict { .. })));
    // The tenant pauses in between.
    let facts = fixture.facts(&worker, &lease).await;
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    let locked = tx.domain_locked(domain.id).await.unwrap().unwrap();
    let held = rollout(&api, &domain).await.held().unwrap();
    tx.change_rollout(&locked, &held, &Actor::operator(), fixture.now()).await.unwrap();
    tx.commit().await.unwrap();
    assert!(matches!(attempt(&facts).await, Err(StoreError::VersionConflict { .. })));
    // Another worker has the domain.
    let facts = fixture.facts(&worker, &lease).await;
    fixture.claim(&worker, domain.id).await;
    assert!(is_fenced(&worker.lease_tx(&lease, fixture.now()).await));
    let _ = facts;
    assert_eq!(mode(&api, domain.id, tenant).await, Mode::Testing);
}

async fn mode(api: &Store, domain: DomainId, tenant: mtasts_model::TenantId) -> Mode {
    api.tenant_tx(tenant).await.unwrap().domain(domain).await.unwrap().unwrap().version.unwrap().policy.mode()
}
