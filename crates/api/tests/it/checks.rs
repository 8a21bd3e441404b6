//! Looks at any domain. How they are carried out is the worker's: see its tests.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::service::Service;

#[tokio::test]
async fn any_domain_can_be_checked_and_the_report_is_read_when_it_is_there() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let asked = tenant.send("POST", "/v1/checks", json!({"domain": "Bücher.Test"})).await;
    assert_eq!((asked.status, &asked.body["state"]), (202, &json!("waiting")), "{}", asked.text);
    assert_eq!((&asked.body["domain"], &asked.body["kind"]), (&json!("xn--bcher-kva.test"), &json!("inspection")));
    let path = asked.header("location").unwrap().to_owned();
    assert_eq!(path, format!("/v1/checks/{}", asked.body["id"].as_str().unwrap()));
    assert_eq!(tenant.get(&path).await.body, asked.body);

    // What a worker does.
    let report = json!({"domain": "xn--bcher-kva.test", "verdict": {"severity": "note"}, "findings": []});
    service.finish_checks(&report).await;
    let done = tenant.get(&path).await.body;
    assert_eq!((&done["state"], &done["severity"], &done["report"]), (&json!("done"), &json!("note"), &report));
    let listed = tenant.get("/v1/checks").await.body;
    assert_eq!((&listed["data"][0]["id"], &listed["data"][0]["report"]), (&asked.body["id"], &Value::Null));
    let log = tenant.get("/v1/audit-events?action=check.").await.body;
    assert_eq!(log["data"][0]["after"]["domain"], "xn--bcher-kva.test");
}

#[tokio::test]
async fn checks_and_policies_share_a_budget_an_hour() {
    let service = Service::start_with(|config| config.checks_per_hour = 2, |url| url).await;
    let (tenant, other) = (service.tenant("one").await, service.tenant("other").await);
    let body = json!({"domain": "a.test"});
    let ask = async |path: &str| tenant.send("POST", path, body.clone()).await;
    assert_eq!(ask("/v1/checks").await.status, 202);
    service.clock.advance(TimeDelta::minutes(20));
    let policy = ask("/v1/policies:generate").await;
    assert_eq!((policy.status, &policy.body["kind"]), (202, &json!("policy")), "{}", policy.text);
    let refused = ask("/v1/checks").await;
    refused.is_problem(429, "rate-limited");
    assert_eq!(refused.header("retry-after"), Some("2400"));
    assert_eq!(other.send("POST", "/v1/checks", body.clone()).await.status, 202);
    service.clock.advance(TimeDelta::minutes(40) + TimeDelta::milliseconds(1));
    assert_eq!(ask("/v1/checks").await.status, 202);
    ask("/v1/policies:generate").await.is_problem(429, "rate-limited");
}

#[tokio::test]
async fn a_repeated_request_makes_one_check() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let ask = async || {
        let call = tenant.call("POST", "/v1/checks").header("Idempotency-Key", "k1");
        call.json(&json!({"domain": "a.test"})).send().await
    };
    let (first, again) = (ask().await, ask().await);
    assert_eq!((first.status, &first.body), (202, &again.body));
    assert_eq!(tenant.get("/v1/checks").await.body["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn every_fault_of_a_check_is_told_with_its_place() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    for (path, body, pointer) in [
        ("/v1/checks", json!({"domain": "192.0.2.1"}), "/domain"),
        ("/v1/checks", json!({"domain": "com"}), "/domain"),
        ("/v1/checks", json!({"domain": "a.test", "options": {"port": 26}}), "/options/port"),
        ("/v1/policies:generate", json!({"domain": "a.test", "max_age": 31_557_601}), "/max_age"),
        ("/v1/policies:generate", json!({"domain": "a.test", "tls_rpt": {"rua": ["ftp://a.test"]}}), "/tls_rpt/rua/0"),
        ("/v1/policies:generate", json!({"domain": "a.test", "policy_host": "a b"}), "/policy_host"),
    ] {
        let refused = tenant.send("POST", path, body.clone()).await;
        refused.is_problem(422, "invalid-fields");
        assert_eq!(refused.body["errors"][0]["pointer"], pointer, "{body}: {}", refused.text);
    }
    assert_eq!(tenant.get("/v1/checks").await.body["data"], json!([]), "nothing of it counts");
}
