//! Quotas and usage: counts that are always right, and days that are counted once.

use chrono::{DateTime, NaiveDate, TimeDelta};
use mtasts_model::{Mode, NodeId, SystemEntropy, TenantId, feed::ServedLine};
use mtasts_store::{Actor, DomainView, GrantedQuotas, NodeKind, QuotaUse, Quotas, Role, Store, StoreError, UsageDay};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::fixture::{Fixture, LEASE, policy};

/// Domains, and those with mode `none`, `testing` and `enforce`.
async fn counts(fixture: &Fixture, tenant: TenantId) -> String {
    let sql = format!(
        "SELECT domains, mode_none, mode_testing, mode_enforce FROM domain_counts WHERE tenant_id = '{}'",
        tenant.as_uuid()
    );
    fixture.database.psql(&sql).await.trim().to_owned()
}

async fn register(fixture: &Fixture, api: &Store, tenant: TenantId, name: &str) -> Result<(), StoreError> {
    let mut tx = api.tenant_tx(tenant).await?;
    tx.make_room_for_domain(3).await?;
    tx.create_domain(fixture.new_domain(name, None), &Actor::operator(), fixture.now()).await?;
    tx.commit().await
}

async fn withdraw(fixture: &Fixture, api: &Store, domain: &DomainView) {
    let mut tx = api.tenant_tx(domain.tenant_id).await.unwrap();
    tx.request_withdrawal(domain.id, fixture.none(), &Actor::operator(), fixture.now()).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn domains_are_counted_by_mode_whatever_becomes_of_them() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let (tenant, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let first = fixture.domain(&api, tenant, "a.example").await;
    let second = fixture.domain(&api, tenant, "b.example").await;
    register(&fixture, &api, tenant, "without-policy.example").await.unwrap();
    assert_eq!(counts(&fixture, tenant).await, "3|0|2|0");
    fixture.set_policy(&api, &first, policy(Mode::Enforce, &["mx.example.net"], 60)).await;
    assert_eq!(counts(&fixture, tenant).await, "3|0|1|1");
    fixture.set_policy(&api, &first, policy(Mode::Enforce, &["mx.example.net"], 61)).await;
    assert_eq!(counts(&fixture, tenant).await, "3|0|1|1");
    withdraw(&fixture, &api, &second).await;
    withdraw(&fixture, &api, &second).await;
    assert_eq!(counts(&fixture, tenant).await, "2|0|0|1");
    // What is rolled back was never there.
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    tx.create_domain(fixture.new_domain("c.example", None), &Actor::operator(), fixture.now()).await.unwrap();
    drop(tx);
    fixture.domain(&api, other, "a.example").await;
    assert_eq!(counts(&fixture, tenant).await, "2|0|0|1");
    assert_eq!(counts(&fixture, other).await, "1|0|1|0");
    let truth = "SELECT bool_and(c.domains = (SELECT count(*) FROM domains d WHERE d.tenant_id = c.tenant_id
        AND d.state <> 'gone')) FROM domain_counts c";
    assert_eq!(fixture.database.psql(truth).await.trim(), "t");
}

#[tokio::test]
async fn a_withdrawing_domain_counts_until_the_worker_has_let_it_go() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "served.example").await;
    fixture.serve(&worker, &domain).await;
    withdraw(&fixture, &api, &domain).await;
    assert_eq!(counts(&fixture, tenant).await, "1|1|0|0");
}

#[tokio::test]
async fn no_more_domains_than_the_quota_however_many_are_added_at_once() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let names: Vec<_> = (0..12).map(|i| format!("d{i}.example")).collect();
    let added = names.iter().map(|name| register(&fixture, &api, tenant, name));
    let added = futures_util::future::join_all(added).await;
    assert_eq!(added.iter().filter(|added| added.is_ok()).count(), 3, "{added:?}");
    for error in added.iter().filter_map(|added| added.as_ref().err()) {
        let told = matches!(error, StoreError::QuotaExceeded { quota: "domains", limit: 3, used: 3 });
        assert!(told || error.is_transient(), "{error:?}");
    }
    let refused = register(&fixture, &api, tenant, "late.example").await;
    assert!(matches!(refused, Err(StoreError::QuotaExceeded { used: 3, .. })), "{refused:?}");
    // One transaction counts its own.
    let other = fixture.tenant(&api).await;
    let mut tx = api.tenant_tx(other).await.unwrap();
    for i in 0..3 {
        tx.make_room_for_domain(3).await.unwrap();
        let new = fixture.new_domain(&format!("d{i}.example"), None);
        tx.create_domain(new, &Actor::operator(), fixture.now()).await.unwrap();
    }
    assert!(matches!(tx.make_room_for_domain(3).await, Err(StoreError::QuotaExceeded { used: 3, .. })));
    tx.commit().await.unwrap();
    // Room is made again, by whoever removes one.
    let tx = api.tenant_tx(other).await.unwrap();
    let removed = tx.list_domains(&mtasts_store::DomainFilter::default(), None, 1).await.unwrap();
    tx.commit().await.unwrap();
    withdraw(&fixture, &api, &removed[0]).await;
    register(&fixture, &api, other, "again.example").await.unwrap();
}

#[tokio::test]
async fn the_operator_grants_quotas_and_the_audit_log_tells_of_it() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let defaults = Quotas { domains: 3, operations: 20, api_keys: 5, reports_a_day: 7 };
    let granted = GrantedQuotas { domains: Some(1), report_retention_days: Some(90), ..GrantedQuotas::default() };
    for _ in 0..2 {
        api.set_quotas(tenant, granted, &Actor::operator(), fixture.now()).await.unwrap();
    }
    assert_eq!(granted.over(defaults), Quotas { domains: 1, operations: 20, api_keys: 5, reports_a_day: 7 });
    register(&fixture, &api, tenant, "a.example").await.unwrap();
    let refused = register(&fixture, &api, tenant, "b.example").await;
    assert!(matches!(refused, Err(StoreError::QuotaExceeded { limit: 1, used: 1, .. })), "{refused:?}");
    let tx = api.tenant_tx(tenant).await.unwrap();
    assert_eq!(tx.granted_quotas().await.unwrap(), granted);
    assert_eq!(tx.quota_use(fixture.now()).await.unwrap(), QuotaUse { domains: 1, ..QuotaUse::default() });
    let log = tx.audit_events(None, 200).await.unwrap();
    let changes: Vec<_> = log.iter().filter(|event| event.action == "tenant.quotas").collect();
    assert_eq!(changes.len(), 1, "the same again changes nothing");
    let after = serde_json::json!({
        "domains": 1, "operations": null, "api_keys": null, "reports_a_day": null, "report_retention_days": 90,
    });
    assert_eq!(changes[0].after, Some(after));
    let nobody = TenantId::draw(fixture.now(), &SystemEntropy);
    let unknown = api.set_quotas(nobody, granted, &Actor::operator(), fixture.now()).await;
    assert!(matches!(unknown, Err(StoreError::NotFound)), "{unknown:?}");
}

#[tokio::test]
async fn nobody_writes_counts_by_hand_and_no_tenant_its_quotas_or_its_usage() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    fixture.domain(&api, tenant, "a.example").await;
    for role in ["mtasts_api", "mtasts_worker"] {
        let mut session = PgConnection::connect(&fixture.database.url_as(role)).await.unwrap();
        let become_tenant = format!("SELECT set_config('app.tenant', '{}', false)", tenant.as_uuid());
        session.execute(AssertSqlSafe(become_tenant)).await.unwrap();
        assert!(session.execute("UPDATE domain_counts SET domains = 0").await.is_err(), "{role}");
        assert!(session.execute("DELETE FROM domain_counts").await.is_err(), "{role}");
    }
    let mut session = PgConnection::connect(&fixture.database.url_as("mtasts_api")).await.unwrap();
    let id = tenant.as_uuid();
    session.execute(AssertSqlSafe(format!("SELECT set_config('app.tenant', '{id}', false)"))).await.unwrap();
    for insert in [
        format!("INSERT INTO tenant_quotas VALUES ('{id}', 9, 9, now())"),
        format!("INSERT INTO usage_days (tenant_id, day) VALUES ('{id}', '2026-01-01')"),
    ] {
        assert!(session.execute(AssertSqlSafe(insert)).await.is_err());
    }
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn line(domain: &DomainView, at: &str, requests: u64) -> ServedLine {
    ServedLine {
        version_id: domain.version.as_ref().unwrap().id,
        domain_id: domain.id,
        tenant_id: domain.tenant_id,
        last_served_at: DateTime::parse_from_rfc3339(at).unwrap().into(),
        requests,
    }
}

async fn usage(api: &Store, tenant: TenantId, from: &str, to: &str) -> Vec<UsageDay> {
    api.tenant_tx(tenant).await.unwrap().usage(day(from), day(to)).await.unwrap()
}

#[tokio::test]
async fn fetches_are_added_up_and_a_domain_counts_once_a_day_over_all_edges() {
    let fixture = Fixture::new().await;
    let (api, edge) = (fixture.store(Role::Api).await, fixture.store(Role::Edge).await);
    let (tenant, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let (a, b) = (fixture.domain(&api, tenant, "a.example").await, fixture.domain(&api, tenant, "b.example").await);
    let foreign = fixture.domain(&api, other, "a.example").await;
    let node = NodeId::draw(fixture.now(), &SystemEntropy);
    let registered = edge.register_node(node, NodeKind::Edge, "edge", fixture.now(), LEASE).await;
    registered.unwrap();
    let first = [
        line(&a, "2026-01-01T10:00:00Z", 3),
        line(&b, "2026-01-01T11:00:00Z", 1),
        line(&foreign, "2026-01-01T11:00:00Z", 7),
    ];
    // Several edges at once.
    let flushes = (0..6).map(|_| edge.flush_served(&first, None, node));
    for flushed in futures_util::future::join_all(flushes).await {
        flushed.unwrap();
    }
    edge.flush_served(&[line(&a, "2026-01-02T00:00:01Z", 5)], None, node).await.unwrap();
    // A line of an edge that was cut off: its fetches count for their day, its domain does not count again.
    edge.flush_served(&[line(&a, "2026-01-01T23:59:00Z", 2)], None, node).await.unwrap();
    let days = usage(&api, tenant, "2025-12-30", "2026-01-03").await;
    let told: Vec<_> = days.iter().map(|day| (day.day.to_string(), day.served_domains, day.policy_fetches)).collect();
    let expected = [("2026-01-01", 2, 26), ("2026-01-02", 1, 5), ("2026-01-03", 0, 0)];
    assert_eq!(told, expected.map(|(day, domains, fetches)| (day.to_owned(), domains, fetches)));
    assert_eq!(usage(&api, other, "2026-01-01", "2026-01-01").await[0].policy_fetches, 42);
}

#[tokio::test]
async fn a_domain_counts_once_a_day_also_when_edges_report_two_of_its_versions_at_once() {
    let fixture = Fixture::new().await;
    let (api, edge) = (fixture.store(Role::Api).await, fixture.store(Role::Edge).await);
    let tenant = fixture.tenant(&api).await;
    let old = fixture.domain(&api, tenant, "a.example").await;
    fixture.set_policy(&api, &old, policy(Mode::Enforce, &["mx.example.net"], 60)).await;
    let new = fixture.view(&api, &old).await;
    let node = NodeId::draw(fixture.now(), &SystemEntropy);
    edge.register_node(node, NodeKind::Edge, "edge", fixture.now(), LEASE).await.unwrap();
    for day in 1..=9 {
        let at = format!("2026-01-0{day}T12:00:00Z");
        let lines = [[line(&old, &at, 1)], [line(&new, &at, 1)]];
        let flushes = lines.iter().chain(&lines).chain(&lines).map(|lines| edge.flush_served(lines, None, node));
        for flushed in futures_util::future::join_all(flushes).await {
            flushed.unwrap();
        }
    }
    let days = usage(&api, tenant, "2026-01-01", "2026-01-09").await;
    assert!(days.iter().all(|day| (day.served_domains, day.policy_fetches) == (1, 6)), "{days:?}");
}

#[tokio::test]
async fn the_last_counts_of_a_day_stand_and_days_without_any_have_those_of_the_day_before() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    fixture.domain(&api, tenant, "a.example").await;
    assert_eq!(worker.roll_up_usage(fixture.now()).await.unwrap(), 1);
    fixture.clock.advance(TimeDelta::hours(23));
    fixture.domain(&api, tenant, "b.example").await;
    let last = fixture.now();
    for _ in 0..2 {
        worker.roll_up_usage(last).await.unwrap();
    }
    // All workers are away for two days.
    fixture.clock.advance(TimeDelta::days(3));
    fixture.domain(&api, tenant, "c.example").await;
    worker.roll_up_usage(fixture.now()).await.unwrap();
    let days = usage(&api, tenant, "2025-12-01", "2026-01-04").await;
    let told: Vec<_> = days
        .iter()
        .map(|day| {
            let counts = day.counts.unwrap();
            (day.day.to_string(), counts.domains, counts.testing, counts.at == last)
        })
        .collect();
    let expected =
        [("2026-01-01", 2, true), ("2026-01-02", 2, true), ("2026-01-03", 2, true), ("2026-01-04", 3, false)];
    assert_eq!(told, expected.map(|(day, domains, is_last)| (day.to_owned(), domains, domains, is_last)));
    assert_eq!(usage(&api, tenant, "2026-01-02", "2026-01-03").await, days[1..3]);
    assert!(usage(&api, fixture.tenant(&api).await, "2025-12-01", "2026-01-04").await.is_empty());
    assert_eq!(worker.prune_usage(fixture.now() + TimeDelta::days(398)).await.unwrap(), 1);
    assert_eq!(worker.prune_usage(fixture.now() + TimeDelta::days(398)).await.unwrap(), 0);
}
