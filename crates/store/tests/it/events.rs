//! Events are written with what they tell of, once, and with it or not at all.

use chrono::TimeDelta;
use mtasts_model::{
    Condition, ConditionKind, EventType, HostName, Mode, OrderId, Status, SystemEntropy,
    lifecycle::{DomainZones, MxHostSeen, MxSeen, StepKind},
};
use mtasts_store::{Actor, DomainView, Event, EventFilter, Role, Store, VersionReason};

use crate::fixture::{Fixture, is_fenced, policy, zone};

async fn told(api: &Store, domain: &DomainView) -> Vec<Event> {
    let tx = api.tenant_tx(domain.tenant_id).await.unwrap();
    let mut events = tx.events(&EventFilter::default(), None, 201).await.unwrap();
    events.reverse();
    events
}

async fn types(api: &Store, domain: &DomainView) -> Vec<&'static str> {
    told(api, domain).await.iter().map(|event| event.event_type.as_str()).collect()
}

fn seen(hosts: &[&str], fixture: &Fixture) -> MxSeen {
    let hosts = hosts
        .iter()
        .map(|host| MxHostSeen { host: HostName::parse(host).unwrap(), preference: 10, failure: None, looked_at: None })
        .collect();
    MxSeen { hosts, at: fixture.now() }
}

#[tokio::test]
async fn a_change_that_is_rolled_back_leaves_no_event() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    let first = fixture.version(policy(Mode::Testing, &["mx.example.net"], 86_400), VersionReason::Registered);
    let new = fixture.new_domain("example.com", Some(first));
    tx.create_domain(new, &Actor::operator(), fixture.now()).await.unwrap();
    assert_eq!(tx.events(&EventFilter::default(), None, 10).await.unwrap().len(), 2);
    drop(tx);
    let count = "SELECT count(*) FROM events";
    assert_eq!(fixture.database.psql(count).await.trim(), "0");

    let domain = fixture.domain(&api, tenant, "example.com").await;
    assert_eq!(types(&api, &domain).await, ["domain.created", "policy.changed"]);
}

#[tokio::test]
async fn a_life_of_a_domain_is_told_in_order_and_each_thing_once() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    fixture.serve(&worker, &domain).await;
    let lease = fixture.claim(&worker, domain.id).await;
    let version = fixture.facts(&worker, &lease).await.version.unwrap().id;
    for _ in 0..2 {
        let mut tx = fixture.tx(&worker, &lease).await;
        tx.records_written(version, &DomainZones::at(zone())).await.unwrap();
        tx.records_confirmed(version, &[]).await.unwrap();
        tx.commit().await.unwrap();
    }
    // The same policy again is no change.
    fixture.set_policy(&api, &domain, policy(Mode::Testing, &["mx.example.net"], 86_400)).await;
    fixture.set_policy(&api, &domain, policy(Mode::Enforce, &["mx.example.net"], 86_400)).await;
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    for _ in 0..2 {
        tx.request_withdrawal(domain.id, fixture.none(), &Actor::operator(), fixture.now()).await.unwrap();
    }
    tx.commit().await.unwrap();
    let lease = fixture.claim(&worker, domain.id).await;
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.finished().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        types(&api, &domain).await,
        [
            "domain.created",
            "policy.changed",
            "certificate.issued",
            "policy.published",
            "policy.changed",
            "policy.changed",
            "domain.withdrawing",
            "domain.removed",
        ]
    );
    let events = told(&api, &domain).await;
    assert_eq!(events[1].data["mode_before"], serde_json::Value::Null);
    assert_eq!((&events[4].data["mode_before"], &events[4].data["mode"]), (&"testing".into(), &"enforce".into()));
    assert_eq!(events[5].data["mode"], "none");
    assert!(events.iter().all(|event| event.domain == Some(domain.id) && event.data["domain"] == "example.com"));
}

#[tokio::test]
async fn what_a_worker_did_not_commit_or_was_fenced_off_from_is_not_told() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let before = types(&api, &domain).await;
    let condition = |status| {
        Condition::new(ConditionKind::Delegated, status, "CnameMissing", "The CNAME is absent.", fixture.now())
    };
    let lost = fixture.claim(&worker, domain.id).await;
    let mut tx = fixture.tx(&worker, &lost).await;
    tx.settle(&[condition(Status::False)], None, true).await.unwrap();
    drop(tx);
    let lease = fixture.claim(&worker, domain.id).await;
    assert!(is_fenced(&worker.lease_tx(&lost, fixture.now()).await));
    assert_eq!(types(&api, &domain).await, before);

    // What appears as unknown, and what stays as it is, is no news.
    for status in [Status::Unknown, Status::False, Status::False, Status::True] {
        let mut tx = fixture.tx(&worker, &lease).await;
        tx.settle(&[condition(status)], None, false).await.unwrap();
        tx.commit().await.unwrap();
    }
    let events = told(&api, &domain).await;
    let changes: Vec<_> = events[before.len()..]
        .iter()
        .map(|event| {
            let word = |member: &str| event.data[member].as_str().unwrap().to_owned();
            [event.event_type.to_string(), word("condition"), word("status_before"), word("status"), word("reason")]
        })
        .collect();
    let change = |before, after| ["domain.condition_changed", "Delegated", before, after, "CnameMissing"];
    assert_eq!(changes, [change("Unknown", "False"), change("False", "True")]);
}

#[tokio::test]
async fn mx_hosts_that_the_policy_does_not_cover_are_told_once_for_each_set_of_them() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let lease = fixture.claim(&worker, domain.id).await;
    let covered = "mx.example.net";
    for hosts in [
        &[covered][..],
        &[covered, "mx2.example.net"],
        &["mx2.example.net", covered],
        &[covered, "mx2.example.net", "mx3.example.net"],
        &[covered],
        &["mx2.example.net"],
    ] {
        let mut tx = fixture.tx(&worker, &lease).await;
        tx.mx_seen(&seen(hosts, &fixture)).await.unwrap();
        tx.commit().await.unwrap();
    }
    let events = told(&api, &domain).await;
    let found: Vec<_> = events
        .iter()
        .filter(|event| event.event_type == EventType::DriftFound)
        .map(|event| event.data["uncovered_mx"].to_string())
        .collect();
    assert_eq!(found, [r#"["mx2.example.net"]"#, r#"["mx2.example.net","mx3.example.net"]"#, r#"["mx2.example.net"]"#]);
}

#[tokio::test]
async fn a_renewal_that_fails_is_told_at_its_first_failure_and_a_late_first_certificate_is_not() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let lease = fixture.claim(&worker, domain.id).await;
    let fail = async || {
        let mut tx = fixture.tx(&worker, &lease).await;
        tx.step_failed(StepKind::Issuance, "ValidationFailed", "The CA could not connect.", None).await.unwrap();
        tx.commit().await.unwrap();
    };
    let succeed = async || {
        let mut tx = fixture.tx(&worker, &lease).await;
        tx.step_succeeded(StepKind::Issuance).await.unwrap();
        tx.commit().await.unwrap();
    };
    fail().await;
    succeed().await;
    let first = fixture.issue(&worker, &lease).await;
    fail().await;
    fail().await;
    succeed().await;
    let mut tx = fixture.tx(&worker, &lease).await;
    let order = OrderId::draw(fixture.now(), &SystemEntropy);
    tx.draft_order(order, "an issuer", b"sealed").await.unwrap();
    tx.certificate_issued(order, fixture.certificate()).await.unwrap();
    tx.commit().await.unwrap();
    let events = told(&api, &domain).await;
    let [issued, failed, renewed] = &events[2..] else { panic!("{events:?}") };
    assert_eq!((issued.event_type, &issued.data["renewal"]), (EventType::CertificateIssued, &false.into()));
    assert_eq!(failed.event_type, EventType::RenewalFailed);
    assert_eq!(failed.data["certificate_id"], first.to_string());
    assert_eq!(failed.data["reason"], "ValidationFailed");
    assert_eq!((renewed.event_type, &renewed.data["renewal"]), (EventType::CertificateIssued, &true.into()));
}

#[tokio::test]
async fn events_are_listed_newest_first_in_pages_by_type_and_domain() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let (tenant, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let one = fixture.domain(&api, tenant, "one.example").await;
    let two = fixture.domain(&api, tenant, "two.example").await;
    fixture.domain(&api, other, "three.example").await;
    let tx = api.tenant_tx(tenant).await.unwrap();
    let list = async |filter: EventFilter| tx.events(&filter, None, 201).await.unwrap();
    let all = list(EventFilter::default()).await;
    assert_eq!(all.len(), 4);
    assert!(all.windows(2).all(|pair| pair[0].id > pair[1].id));
    let rest = tx.events(&EventFilter::default(), Some(all[1].id), 1).await.unwrap();
    assert_eq!(rest, all[2..3]);
    let of_one = list(EventFilter { domain: Some(one.id), ..EventFilter::default() }).await;
    assert_eq!(of_one, all[2..]);
    let created = list(EventFilter { domain: Some(two.id), event_type: Some(EventType::DomainCreated) }).await;
    assert_eq!(created, all[1..2]);
}

#[tokio::test]
async fn events_are_forgotten_after_thirty_days_with_their_deliveries() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let webhook = crate::webhooks::webhook(&fixture, &api, tenant, "https://a.example.net/").await;
    fixture.domain(&api, tenant, "old.example").await;
    fixture.clock.advance(TimeDelta::days(29));
    let domain = fixture.domain(&api, tenant, "new.example").await;
    assert_eq!(worker.prune_events(fixture.now()).await.unwrap(), 0);
    fixture.clock.advance(TimeDelta::days(1) + TimeDelta::seconds(1));
    assert_eq!(worker.prune_events(fixture.now()).await.unwrap(), 2);
    assert_eq!(worker.prune_events(fixture.now()).await.unwrap(), 0);
    assert!(told(&api, &domain).await.iter().all(|event| event.data["domain"] == "new.example"));
    let tx = api.tenant_tx(tenant).await.unwrap();
    let deliveries = tx.deliveries(webhook.id, mtasts_store::DeliveryFilter::default(), None, 201).await.unwrap();
    assert_eq!(deliveries.len(), 2);
}
