//! What looks from outside came to, alerts before a certificate ends, and what senders may hold.

use chrono::TimeDelta;
use mtasts_model::{
    EventType, Mode,
    lifecycle::{RenewalTrouble, WatchProblem},
};
use mtasts_store::{DomainView, Event, EventFilter, Role, Store};
use serde_json::json;

use crate::fixture::{Fixture, line, policy};

async fn told(api: &Store, domain: &DomainView, event_type: EventType) -> Vec<Event> {
    let tx = api.tenant_tx(domain.tenant_id).await.unwrap();
    let filter = EventFilter { event_type: Some(event_type), domain: Some(domain.id) };
    tx.events(&filter, None, 201).await.unwrap()
}

async fn look(fixture: &Fixture, worker: &Store, domain: &DomainView, code: Option<&str>) {
    let lease = fixture.claim(worker, domain.id).await;
    let version = fixture.facts(worker, &lease).await.version.unwrap().id;
    let problem = code.map(|code| WatchProblem { code: code.to_owned(), message: format!("{code}!") });
    let mut tx = fixture.tx(worker, &lease).await;
    tx.watched(fixture.now(), version, problem, json!({"findings": [code]})).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_verdict_that_changes_is_told_once_and_days_are_kept_for_sixty() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    assert_eq!(api.tenant_tx(tenant).await.unwrap().watch(domain.id).await.unwrap(), None);
    for code in [None, Some("a"), None, Some("b"), Some("c"), Some("c"), None, None] {
        look(&fixture, &worker, &domain, code).await;
        fixture.clock.advance(TimeDelta::minutes(1));
    }
    let failed = told(&api, &domain, EventType::CheckFailed).await;
    assert_eq!(failed.iter().map(|event| &event.data["code"]).collect::<Vec<_>>(), ["c"], "one look alone is no news");
    assert_eq!(told(&api, &domain, EventType::CheckRecovered).await.len(), 1);

    look(&fixture, &worker, &domain, Some("d")).await;
    let tx = api.tenant_tx(tenant).await.unwrap();
    let latest = tx.watch(domain.id).await.unwrap().unwrap();
    assert_eq!((latest.watch.failures, latest.watch.good), (1, Some(true)));
    assert_eq!(latest.report, json!({"findings": ["d"]}));
    let days = tx.watch_days(domain.id, None, 10).await.unwrap();
    assert_eq!(days.iter().map(|day| (day.looks, day.failed)).collect::<Vec<_>>(), [(9, 5)]);
    assert_eq!(days[0].problem.as_ref().unwrap().code, "d");
    drop(tx);
    let lease = fixture.claim(&worker, domain.id).await;
    assert_eq!(fixture.facts(&worker, &lease).await.watch, Some(latest.watch), "the planner knows it");

    let first = days[0].day;
    fixture.clock.advance(TimeDelta::days(2));
    look(&fixture, &worker, &domain, None).await;
    let tx = api.tenant_tx(tenant).await.unwrap();
    let page = tx.watch_days(domain.id, None, 1).await.unwrap();
    assert!(page.len() == 1 && page[0].day > first);
    assert_eq!(tx.watch_days(domain.id, Some(page[0].day), 10).await.unwrap()[0].day, first);
    drop(tx);
    fixture.clock.advance(TimeDelta::days(59));
    assert_eq!(worker.prune_watch_history(fixture.now()).await.unwrap(), 1);
    assert_eq!(worker.prune_watch_history(fixture.now()).await.unwrap(), 0);
}

#[tokio::test]
async fn another_tenants_looks_are_not_seen() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let (tenant, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let domain = fixture.domain(&api, tenant, "example.com").await;
    look(&fixture, &worker, &domain, None).await;
    let tx = api.tenant_tx(other).await.unwrap();
    assert_eq!(tx.watch(domain.id).await.unwrap(), None);
    assert_eq!(tx.watch_days(domain.id, None, 10).await.unwrap(), []);
    assert_eq!(tx.held_policies(domain.id, fixture.now()).await.unwrap(), []);
}

#[tokio::test]
async fn the_end_of_a_certificate_is_told_once_for_each_threshold_with_the_cas_reason() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let lease = fixture.claim(&worker, domain.id).await;
    let certificate = fixture.issue(&worker, &lease).await;
    let trouble = RenewalTrouble {
        reason: "ValidationFailed".to_owned(),
        message: "The CA says: no route".to_owned(),
        what_to_do: "Open the door.",
    };
    fixture.clock.advance(TimeDelta::days(76) + TimeDelta::hours(1));
    for days in [30, 30, 14, 30] {
        let lease = fixture.claim(&worker, domain.id).await;
        let mut tx = fixture.tx(&worker, &lease).await;
        tx.tell_of_expiry(certificate, days, trouble.clone()).await.unwrap();
        tx.commit().await.unwrap();
    }
    let told = told(&api, &domain, EventType::CertificateExpiring).await;
    assert_eq!(told.len(), 2);
    assert_eq!((&told[0].data["days_left"], &told[0].data["reason"]), (&json!(13), &json!("ValidationFailed")));
    assert_eq!(told[0].data["what_to_do"], "Open the door.");
    let lease = fixture.claim(&worker, domain.id).await;
    assert_eq!(fixture.facts(&worker, &lease).await.certificate.unwrap().told_days, Some(14));
}

#[tokio::test]
async fn senders_may_hold_what_was_served_until_its_max_age_is_over() {
    let fixture = Fixture::new().await;
    let (api, edge) = (fixture.store(Role::Api).await, fixture.store(Role::Edge).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let first = domain.version.as_ref().unwrap().id;
    let second = fixture.set_policy(&api, &domain, policy(Mode::Enforce, &["mx.example.net"], 3_600)).await;
    let never = fixture.set_policy(&api, &domain, policy(Mode::Enforce, &["mx2.example.net"], 3_600)).await;
    let (node, served_at) = (fixture.edge_node(&edge).await, fixture.now());
    let lines = [line(&domain, first, served_at), line(&domain, second, served_at)];
    edge.flush_served(&lines, Some(served_at), node).await.unwrap();
    let held = async || api.tenant_tx(tenant).await.unwrap().held_policies(domain.id, fixture.now()).await.unwrap();
    let now = held().await;
    assert_eq!(now.iter().map(|held| held.version).collect::<Vec<_>>(), [first, second]);
    assert!(now.iter().all(|held| held.version != never));
    assert_eq!((now[1].policy.mode(), now[1].until), (Mode::Enforce, served_at + TimeDelta::hours(1)));
    fixture.clock.advance(TimeDelta::hours(1));
    assert_eq!(held().await.iter().map(|held| held.version).collect::<Vec<_>>(), [first]);
}
