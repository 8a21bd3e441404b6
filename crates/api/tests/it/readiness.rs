//! Whether `enforce` is safe: what blocks, and what is advice.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::service::Service;

fn codes(body: &Value, weight: &str) -> Vec<String> {
    let reasons = body["reasons"].as_array().unwrap().iter().filter(|reason| reason["weight"] == weight);
    reasons.map(|reason| reason["code"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn readiness_tells_what_blocks_enforce_from_what_more_time_would_prove() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, id) = tenant.domain(json!({"name": "a.test", "mx": ["mx1.a.test"]})).await;
    let readiness = format!("{path}/readiness");
    let unseen = tenant.get(&readiness).await.body;
    assert_eq!((&unseen["ready"], &unseen["proven"]), (&json!(false), &json!(false)));
    assert_eq!(codes(&unseen, "blocking"), ["mx-not-checked"]);

    service.see_mx(&id, &[("mx1.a.test", Some("certificate-expired")), ("mx2.a.test", None)]).await;
    let failing = tenant.get(&readiness).await.body;
    assert_eq!(codes(&failing, "blocking"), ["certificate-expired", "mx-not-covered"]);
    assert_eq!(failing["evidence"]["hosts"][0]["failed_on"][0]["code"], "certificate-expired");
    assert_eq!(failing["evidence"]["hosts"][0]["passing_since"], Value::Null);

    service.see_mx(&id, &[("mx1.a.test", None)]).await;
    let ready = tenant.get(&readiness).await.body;
    assert_eq!((&ready["ready"], &ready["proven"]), (&json!(true), &json!(false)));
    let advice = ["mx-passing-too-short", "testing-too-short", "too-few-sessions", "too-few-reporters"];
    assert_eq!(codes(&ready, "advice"), advice, "a new domain is not locked out of enforce for weeks");
    let enforce = tenant.send("PUT", &format!("{path}/mode"), json!({"mode": "enforce"})).await;
    assert_eq!(enforce.status, 200, "{}", enforce.text);
}

#[tokio::test]
async fn failures_in_verified_reports_refuse_enforce() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, id) = tenant.domain(json!({"name": "a.test", "mx": ["mx1.a.test"]})).await;
    service.see_mx(&id, &[("mx1.a.test", None)]).await;
    service.reported(&tenant.id, &id, 90, 10).await;
    let body = tenant.get(&format!("{path}/readiness")).await.body;
    assert_eq!(codes(&body, "blocking"), ["verified-failures"]);
    assert_eq!(body["evidence"]["reports"], json!({"days": 7, "sessions": 100, "failed": 10, "reporters": 1}));
    let refused = tenant.send("PUT", &format!("{path}/mode"), json!({"mode": "enforce"})).await;
    refused.is_problem(409, "enforce-not-proven");
    let forced = json!({"mode": "enforce", "force": true, "reason": "they are of a test"});
    assert_eq!(tenant.send("PUT", &format!("{path}/mode"), forced).await.status, 200);
    // A change of a policy that senders enforce already may be the cure.
    let change = json!({"max_age": 86_400});
    assert_eq!(tenant.send("PATCH", &format!("{path}/policy"), change).await.status, 200);
    // A week later the failures are history; the look must be of today.
    tenant.send("PUT", &format!("{path}/mode"), json!({"mode": "testing"})).await;
    service.clock.advance(TimeDelta::days(8));
    service.see_mx(&id, &[("mx1.a.test", None)]).await;
    let later = tenant.send("PUT", &format!("{path}/mode"), json!({"mode": "enforce"})).await;
    assert_eq!((later.status, &later.body["forced"]), (200, &Value::Null));
}

#[tokio::test]
async fn a_domain_without_a_policy_has_no_readiness_yet() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, _) = tenant.domain(json!({"name": "a.test"})).await;
    tenant.get(&format!("{path}/readiness")).await.is_problem(404, "no-policy-yet");
}
