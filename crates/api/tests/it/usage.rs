//! Quotas and usage, as tenants and the operator see them.

use std::time::Duration;

use chrono::TimeDelta;
use mtasts_model::{NodeId, SystemEntropy, feed::ServedLine};
use mtasts_store::{NodeKind, Quotas, Role, Store, StoreConfig};
use mtasts_testkit::wait_for;
use serde_json::{Value, json};

use crate::service::{OPERATOR_TOKEN, Service, Tenant};

async fn limited(domains: u64) -> Service {
    Service::start_with(
        |config| config.quotas = Quotas { domains, operations: 20, api_keys: 3, reports_a_day: 100 },
        |url| url,
    )
    .await
}

async fn put_quotas(tenant: &Tenant<'_>, body: Value) -> crate::service::Answer {
    let path = format!("/v1/tenants/{}/quotas", tenant.id);
    tenant.service.call("PUT", &path).token(OPERATOR_TOKEN).json(&body).send().await
}

#[tokio::test]
async fn a_tenant_has_as_many_domains_as_its_quota_and_the_operator_grants_more() {
    let service = limited(2).await;
    let tenant = service.tenant("one").await;
    let (first, _) = tenant.domain(json!({"name": "a.test"})).await;
    tenant.domain(json!({"name": "b.test"})).await;
    let refused = tenant.send("POST", "/v1/domains", json!({"name": "c.test"})).await;
    let problem = refused.is_problem(409, "quota-exceeded");
    assert_eq!((&problem["quota"], &problem["limit"], &problem["used"]), (&json!("domains"), &json!(2), &json!(2)));
    assert!(problem["detail"].as_str().unwrap().contains("operator"), "says whom to ask");

    let granted = put_quotas(&tenant, json!({"domains": 3})).await;
    assert_eq!(granted.status, 200, "{}", granted.text);
    assert_eq!(granted.body["domains"], json!({"limit": 3, "used": 2, "granted": true}));
    assert_eq!(granted.body["operations"], json!({"limit": 20, "used": 0, "granted": false}));
    tenant.domain(json!({"name": "c.test"})).await;
    let less = put_quotas(&tenant, json!({"domains": 0, "operations": 0})).await;
    assert_eq!(less.body["domains"], json!({"limit": 0, "used": 3, "granted": true}));
    tenant.send("POST", "/v1/domains", json!({"name": "d.test"})).await.is_problem(409, "quota-exceeded");
    let batch = json!({"operations": [{"op": "delete", "name": "a.test"}]});
    tenant.send("POST", "/v1/domains:batch", batch).await.is_problem(409, "quota-exceeded");
    assert_eq!(tenant.get(&first).await.body["state"], "pending", "nothing is taken away");
    put_quotas(&tenant, json!({"domains": null})).await;
    assert_eq!(tenant.call("DELETE", &first).send().await.body["state"], "gone");
    let path = format!("/v1/tenants/{}/quotas", tenant.id);
    let read = service.call("GET", &path).token(OPERATOR_TOKEN).send().await;
    assert_eq!(read.body["domains"], json!({"limit": 2, "used": 2, "granted": false}));

    let log = tenant.get("/v1/audit-events?action=tenant.quotas").await.body;
    assert_eq!(log["data"].as_array().unwrap().len(), 3);
    assert_eq!(
        log["data"][2]["after"],
        json!({"domains": 3, "operations": null, "api_keys": null, "reports_a_day": null, "report_retention_days": null})
    );
    let wrong = put_quotas(&tenant, json!({"domains": 1_000_000_001_u64, "operations": -1})).await;
    wrong.is_problem(422, "invalid-fields");
    let wrong = put_quotas(&tenant, json!({"domains": 1_000_000_001_u64, "operations": 1_000_000_001_u64})).await;
    assert_eq!(wrong.faults().len(), 2);
    let nobody = "/v1/tenants/ten_00000000000070008000000000000000";
    for path in ["quotas", "usage"] {
        let answer = service.call("GET", &format!("{nobody}/{path}")).token(OPERATOR_TOKEN).send().await;
        answer.is_problem(404, "not-found");
    }
    let answer = service.call("PUT", &format!("{nobody}/quotas")).token(OPERATOR_TOKEN).json(&json!({})).send().await;
    answer.is_problem(404, "not-found");
}

#[tokio::test]
async fn a_tenant_has_as_many_keys_that_work_as_its_quota() {
    let service = limited(1).await;
    let tenant = service.tenant("one").await;
    let make = async || tenant.send("POST", "/v1/api-keys", json!({"name": "further"})).await;
    // Two at a time where there is room for all but one.
    let made = futures_util::future::join_all((0..4).map(|_| make())).await;
    assert_eq!(made.iter().filter(|answer| answer.status == 201).count(), 2, "one of three is the first");
    let refused = make().await;
    let problem = refused.is_problem(409, "quota-exceeded");
    assert_eq!((&problem["quota"], &problem["limit"], &problem["used"]), (&json!("api_keys"), &json!(3), &json!(3)));
    let one = made.iter().find(|answer| answer.status == 201).unwrap().body["id"].as_str().unwrap().to_owned();
    let rotated = tenant.send("POST", &format!("/v1/api-keys/{one}/rotate"), json!({"overlap_seconds": 0})).await;
    assert_eq!(rotated.status, 201, "{}", rotated.text);
    make().await.is_problem(409, "quota-exceeded");
    let successor = rotated.body["id"].as_str().unwrap();
    assert_eq!(tenant.call("DELETE", &format!("/v1/api-keys/{successor}")).send().await.status, 200);
    assert_eq!(make().await.status, 201, "what is revoked does not count");
    let path = format!("/v1/tenants/{}/quotas", tenant.id);
    let read = service.call("GET", &path).token(OPERATOR_TOKEN).send().await;
    assert_eq!(read.body["api_keys"], json!({"limit": 3, "used": 3, "granted": false}));
    assert_eq!(put_quotas(&tenant, json!({"api_keys": 4})).await.status, 200);
    let customer = tenant.send("POST", "/v1/customers", json!({"name": "beneath"})).await;
    let keys = format!("/v1/customers/{}/api-keys", customer.body["id"].as_str().unwrap());
    for status in [201, 201, 201, 409] {
        assert_eq!(tenant.send("POST", &keys, json!({"name": "k"})).await.status, status, "a customer has its own");
    }
}

#[tokio::test]
async fn lines_beyond_the_quota_fail_by_themselves() {
    let service = limited(60).await;
    let tenant = service.tenant("one").await;
    let lines: Vec<_> = (0..70).map(|i| json!({"op": "create", "name": format!("d{i}.test")})).collect();
    let made = tenant.send("POST", "/v1/domains:batch", json!({ "operations": lines })).await;
    let path = made.header("location").unwrap().to_owned();
    let operation = wait_for(Duration::from_mins(1), "the operation is done", async || {
        let operation = tenant.get(&path).await.body;
        (operation["state"] == "done").then_some(operation)
    })
    .await;
    assert_eq!((operation["succeeded"].as_u64(), operation["failed"].as_u64()), (Some(60), Some(10)));
    let failed = tenant.get(&format!("{path}/results?failed=true")).await.body;
    let failed = failed["data"].as_array().unwrap();
    assert_eq!(failed[0]["line"], 61);
    assert!(failed.iter().all(|result| result["problem"]["code"] == "quota-exceeded"), "{failed:?}");
}

#[tokio::test]
async fn usage_tells_day_by_day_what_a_tenant_had_and_what_was_fetched() {
    let service = limited(10).await;
    let (tenant, other) = (service.tenant("one").await, service.tenant("two").await);
    let (path, id) = tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"]})).await;
    tenant.domain(json!({"name": "b.test"})).await;
    let version = tenant.get(&format!("{path}/policy")).await.body["id"].as_str().unwrap().to_owned();
    let (edge, worker) = (store(&service, Role::Edge).await, store(&service, Role::Worker).await);
    let now = || mtasts_model::Clock::now(&service.clock);
    let node = NodeId::draw(now(), &SystemEntropy);
    edge.register_node(node, NodeKind::Edge, "edge", now(), TimeDelta::minutes(1)).await.unwrap();
    let served = ServedLine {
        version_id: version.parse().unwrap(),
        domain_id: id.parse().unwrap(),
        tenant_id: tenant.id.parse().unwrap(),
        last_served_at: now(),
        requests: 42,
    };
    edge.flush_served(&[served], None, node).await.unwrap();
    worker.roll_up_usage(now()).await.unwrap();
    service.clock.advance(TimeDelta::days(2));
    let usage = tenant.get("/v1/usage").await;
    assert_eq!(usage.status, 200, "{}", usage.text);
    let days = usage.body["data"].as_array().unwrap();
    assert_eq!(days.len(), 3);
    assert_eq!(
        days[0],
        json!({
            "day": "2026-01-01", "domains": 2, "counted_at": "2026-01-01T00:00:00Z",
            "domains_by_mode": {"none": 0, "testing": 1, "enforce": 0, "no_policy": 1},
            "served_domains": 1, "policy_fetches": 42, "reports": 0,
        })
    );
    assert_eq!(
        (&days[2]["day"], &days[2]["domains"], &days[2]["policy_fetches"]),
        (&json!("2026-01-03"), &json!(2), &json!(0))
    );
    assert_eq!(usage.body["quotas"]["domains"], json!({"limit": 10, "used": 2, "granted": false}));
    let one = tenant.get("/v1/usage?from=2026-01-02&to=2026-01-02").await.body;
    assert_eq!(one["data"], json!([days[1]]));
    let path = format!("/v1/tenants/{}/usage?to=2026-01-01", tenant.id);
    assert_eq!(service.call("GET", &path).token(OPERATOR_TOKEN).send().await.body["data"], json!([days[0]]));
    assert_eq!(other.get("/v1/usage").await.body["data"], json!([]));
    assert_eq!(tenant.get("/v1/usage?from=2026-01-03&to=2026-01-01").await.body["data"], json!([]));
    for query in ["from=2020-01-01", "from=x", "to=2026-02-30", "day=2026-01-01"] {
        tenant.get(&format!("/v1/usage?{query}")).await.is_problem(400, "invalid-parameters");
    }
}

#[tokio::test]
async fn quotas_and_usage_tell_of_the_reports_that_were_taken() {
    let service = limited(10).await;
    let tenant = service.tenant("one").await;
    let uuid = &tenant.id[4..];
    let days = format!(
        "INSERT INTO usage_days (tenant_id, day, reports) VALUES ('{uuid}', '2025-12-30', 7), ('{uuid}', '2026-01-01', 42)"
    );
    service.database.psql(&days).await;
    let usage = tenant.get("/v1/usage").await.body;
    let reports: Vec<_> = usage["data"].as_array().unwrap().iter().map(|day| day["reports"].clone()).collect();
    assert_eq!(reports, [7, 0, 42]);
    assert_eq!(usage["quotas"]["reports_a_day"], json!({"limit": 100, "used": 42, "granted": false}));
    assert_eq!(usage["quotas"]["report_retention_days"], Value::Null);
    let granted = put_quotas(&tenant, json!({"reports_a_day": 50_000, "report_retention_days": 90})).await.body;
    assert_eq!(granted["reports_a_day"], json!({"limit": 50_000, "used": 42, "granted": true}));
    assert_eq!(granted["report_retention_days"], 90);
    assert_eq!(
        put_quotas(&tenant, json!({"report_retention_days": 3_650})).await.body["reports_a_day"]["granted"],
        false
    );
    for days in [0, 3_651] {
        let wrong = put_quotas(&tenant, json!({"report_retention_days": days})).await;
        assert_eq!(wrong.faults(), [("/report_retention_days".to_owned(), "out-of-range".to_owned())]);
    }
}

async fn store(service: &Service, role: Role) -> Store {
    let config = StoreConfig {
        url: service.database.url().into(),
        role,
        max_connections: 2,
        connect_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(5),
        redis_url: None,
    };
    Store::connect(config).await.unwrap()
}
