//! What is done before and after the CA looks (invariant 9).

use std::sync::Arc;

use chrono::TimeDelta;
use mtasts_certs::ChallengeKind;
use mtasts_model::{ConditionKind, Status, feed::Challenge, label::DelegationPurpose};
use tokio::time::{Duration, sleep};

use crate::world::{Call, Gate, GatedCa, ScriptedCa, Verdict, World, ZONE, config, status};

#[tokio::test]
async fn the_answer_is_at_every_edge_before_the_ca_is_told_to_look_and_gone_afterwards() {
    let world = World::new().await;
    let ca = ScriptedCa::new(world.ca.clone());
    let gate = Gate::at(Call::Answer);
    let domain = world.register(world.tenant().await, "customer.test").await;
    world.delegate(&domain);
    world.edge.hold_back(true);
    let issuer = Arc::new(GatedCa { inner: ca.clone(), gate: gate.clone() });
    let mut config = config("one");
    config.challenge_preference = vec![ChallengeKind::Http01];
    let _worker = world.start_with(config, issuer);
    world.wait_until("the answer is at the edge", async || world.edge.challenge("customer.test").is_some()).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(ca.calls(Call::Answer), 0, "an edge has not acknowledged yet");

    world.edge.hold_back(false);
    gate.reached().await;
    assert!(matches!(world.edge.challenge("customer.test"), Some(Challenge::Http01 { .. })));
    gate.open();
    world.published(&domain).await;
    world.wait_until("the answer is gone", async || world.edge.challenge("customer.test").is_none()).await;
}

#[tokio::test]
async fn five_failed_validations_of_a_name_end_the_tries_for_an_hour() {
    let world = World::new().await;
    let ca = ScriptedCa::new(world.ca.clone());
    ca.script([Verdict::Invalid; 6]);
    let _worker = world.start_with(config("one"), Arc::new(ca.clone()));
    let domain = world.register(world.tenant().await, "customer.test").await;
    world.delegate(&domain);
    // A tenant who asks again and again: that skips the back-off, but not the cap.
    for failed in 1..=5 {
        world.clock.advance(TimeDelta::seconds(30));
        world.verify(&domain).await;
        let name = format!("failed_validations WHERE name = '{}'", domain.name);
        world.wait_until("a validation has failed", async || world.count(&name).await == failed).await;
    }
    for _ in 0..5 {
        world.clock.advance(TimeDelta::minutes(5));
        world.verify(&domain).await;
        sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(ca.calls(Call::Answer), 5, "no sixth try within the hour");
    let view = world.view(&domain).await;
    assert_eq!(status(&view, ConditionKind::CertificateReady).0, Status::False);

    // The sixth verdict of the script is the last bad one.
    world.clock.advance(TimeDelta::minutes(61));
    world.verify(&domain).await;
    let closed = "acme_orders WHERE closed_at IS NOT NULL";
    world.wait_until("it is tried again after the hour", async || world.count(closed).await == 6).await;
    world.clock.advance(TimeDelta::minutes(61));
    world.verify(&domain).await;
    world.published(&domain).await;
}

#[tokio::test]
async fn a_caa_record_for_another_ca_stops_the_order_before_the_ca_hears_of_it() {
    let world = World::new().await;
    let ca = ScriptedCa::new(world.ca.clone());
    world.customers.caa("test", "other.test");
    let _worker = world.start_with(config("one"), Arc::new(ca.clone()));
    let domain = world.register(world.tenant().await, "customer.test").await;
    world.delegate(&domain);
    let view = world
        .view_when(&domain, "the tenant is told", |view| {
            status(view, ConditionKind::CertificateReady) == (Status::False, "CaaForbids")
        })
        .await;
    let condition = view.conditions.iter().find(|condition| condition.kind == ConditionKind::CertificateReady);
    assert!(condition.unwrap().message.contains("ca.test"), "{condition:?}");
    assert_eq!(ca.calls(Call::Place), 0);
}

#[tokio::test]
async fn a_tenants_budget_defers_its_orders_and_nobody_elses() {
    let world = World::new().await;
    let mut config = config("one");
    config.tenant_budget.capacity = 2;
    config.tenant_budget.per_hour = 1;
    let _worker = world.start_with(config, Arc::new(world.ca.clone()));
    let (flooding, other) = (world.tenant().await, world.tenant().await);
    for number in 0..5 {
        let domain = world.register(flooding, &format!("flood{number}.test")).await;
        world.delegate(&domain);
    }
    world.wait_until("the flood has its two certificates", async || world.count("certificates").await == 2).await;
    let told = "domain_conditions WHERE reason = 'AccountBudgetUsedUp'";
    world.wait_until("the rest waits, and is told why", async || world.count(told).await == 3).await;
    world.publish(other, "customer.test").await;
    assert_eq!(world.count("certificates").await, 3);
}

#[tokio::test]
async fn a_dns_01_answer_is_in_the_zone_while_the_ca_looks_and_gone_afterwards() {
    let world = World::new().await;
    let ca = ScriptedCa::new(world.ca.clone()).offering(&[ChallengeKind::Http01, ChallengeKind::Dns01]);
    let gate = Gate::at(Call::Answer);
    let mut config = config("one");
    config.challenge_preference = vec![ChallengeKind::Dns01, ChallengeKind::Http01];
    let _worker = world.start_with(config, Arc::new(GatedCa { inner: ca.clone(), gate: gate.clone() }));
    let domain = world.register(world.tenant().await, "customer.test").await;
    let zone = ZONE.parse().unwrap();
    let (alias, answer) = (
        DelegationPurpose::AcmeChallenge.name(&domain.name),
        DelegationPurpose::AcmeChallenge.target(&domain.label, &zone),
    );
    world.customers.cname(&alias, &answer);
    world.delegate(&domain);
    gate.reached().await;
    assert_eq!(world.zone.txt(&answer).await.unwrap().len(), 1);
    assert!(world.edge.challenge("customer.test").is_none(), "the edges have nothing to do with it");
    gate.open();
    world.published(&domain).await;
    world.wait_until("the answer is gone", async || world.zone.txt(&answer).await.is_none()).await;
}

#[tokio::test]
async fn dns_01_is_not_used_where_its_name_is_not_delegated() {
    let world = World::new().await;
    let ca = ScriptedCa::new(world.ca.clone()).offering(&[ChallengeKind::Dns01]);
    let mut config = config("one");
    config.challenge_preference = vec![ChallengeKind::Dns01, ChallengeKind::Http01];
    let _worker = world.start_with(config, Arc::new(ca.clone()));
    let domain = world.register(world.tenant().await, "customer.test").await;
    world.delegate(&domain);
    world
        .view_when(&domain, "the tenant is told", |view| {
            status(view, ConditionKind::CertificateReady) == (Status::False, "NoChallenge")
        })
        .await;
    assert_eq!(ca.calls(Call::Answer), 0);
}

#[tokio::test]
async fn an_order_that_the_ca_has_forgotten_is_replaced_and_counts_as_no_failed_validation() {
    let world = World::new().await;
    let ca = ScriptedCa::new(world.ca.clone());
    ca.script([Verdict::Forgotten]);
    let _worker = world.start_with(config("one"), Arc::new(ca.clone()));
    let domain = world.register(world.tenant().await, "customer.test").await;
    world.delegate(&domain);
    world
        .wait_until("the order is closed", async || world.count("acme_orders WHERE closed_at IS NOT NULL").await == 1)
        .await;
    assert_eq!(world.count("failed_validations").await, 0);
    world.clock.advance(TimeDelta::minutes(3));
    world.published(&domain).await;
    assert_eq!(world.count("acme_orders").await, 2);
}

#[tokio::test]
async fn after_a_failed_validation_another_kind_of_challenge_has_its_turn() {
    let world = World::new().await;
    let ca = ScriptedCa::new(world.ca.clone()).offering(&[ChallengeKind::Http01, ChallengeKind::TlsAlpn01]);
    ca.script([Verdict::Invalid]);
    let _worker = world.start_with(config("one"), Arc::new(ca.clone()));
    let domain = world.register(world.tenant().await, "customer.test").await;
    world.delegate(&domain);
    world.wait_until("the first has failed", async || world.count("failed_validations").await == 1).await;
    world.clock.advance(TimeDelta::minutes(3));
    world.published(&domain).await;
    let answered_by = "acme_orders WHERE challenge->'challenge'->>'type'";
    assert_eq!(world.count(&format!("{answered_by} = 'http01'")).await, 1);
    assert_eq!(world.count(&format!("{answered_by} = 'tls-alpn01'")).await, 1);
}

#[tokio::test]
async fn an_order_that_the_ca_did_not_take_costs_no_budget() {
    let world = World::new().await;
    let ca = ScriptedCa::new(world.ca.clone()).unavailable(3);
    let mut config = config("one");
    (config.tenant_budget.capacity, config.tenant_budget.per_hour) = (1, 1);
    config.ca_budget.budget = mtasts_worker::Budget { capacity: 1, per_hour: 1 };
    config.ca_budget.reserve = 0;
    let _worker = world.start_with(config, Arc::new(ca.clone()));
    let domain = world.register(world.tenant().await, "customer.test").await;
    world.delegate(&domain);
    for tries in 1..=3 {
        world.wait_until("it was tried", async || ca.calls(Call::Place) >= tries).await;
        // And the failure is written down, and nothing else is under way: a clock that steps before ends the lease, and with it
        // the next attempt, which the CA counts and nobody notes.
        let noted = format!("step_failures WHERE kind = 'place-order' AND failures >= {tries}");
        world.wait_until("that is noted", async || world.count(&noted).await == 1).await;
        let free = "domain_schedule WHERE lease_until IS NULL";
        world.wait_until("nobody works on it", async || world.count(free).await == 1).await;
        world.clock.advance(TimeDelta::minutes(5));
        world.verify(&domain).await;
    }
    world.published(&domain).await;
}
