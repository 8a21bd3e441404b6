//! Invariant 7: a repeated request has one effect.

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::json;

use crate::service::{OPERATOR_TOKEN, Service};

#[tokio::test]
async fn the_same_key_and_body_give_the_same_answer_and_one_effect() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let call = |body| tenant.call("POST", "/v1/domains").header("Idempotency-Key", "order-1").json(&body);
    let first = call(json!({"name": "a.test"})).send().await;
    assert_eq!(first.status, 201);
    service.clock.advance(TimeDelta::minutes(5));
    let second = call(json!({"name": "a.test"})).send().await;
    assert_eq!((second.status, &second.text), (201, &first.text));
    assert_eq!(second.header("location"), first.header("location"));
    assert_eq!((first.header("idempotent-replayed"), second.header("idempotent-replayed")), (None, Some("true")));
    call(json!({"name": "b.test"})).send().await.is_problem(422, "idempotency-key-reused");
    let elsewhere =
        tenant.call("POST", "/v1/api-keys").header("Idempotency-Key", "order-1").json(&json!({"name": "a.test"}));
    elsewhere.send().await.is_problem(422, "idempotency-key-reused");
    assert_eq!(tenant.get("/v1/domains").await.body["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_unspent() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    tenant.domain(json!({"name": "a.test"})).await;
    let call = |body| tenant.call("POST", "/v1/domains").header("Idempotency-Key", "k").json(&body);
    call(json!({"name": "a.test"})).send().await.is_problem(409, "domain-exists");
    assert_eq!(call(json!({"name": "b.test"})).send().await.status, 201);
}

#[tokio::test]
async fn keys_of_two_tenants_do_not_meet() {
    let service = Service::start().await;
    let (a, b) = (service.tenant("a").await, service.tenant("b").await);
    for (tenant, name) in [(&a, "a.test"), (&b, "b.test")] {
        let made =
            tenant.call("POST", "/v1/domains").header("Idempotency-Key", "1").json(&json!({"name": name})).send().await;
        assert_eq!((made.status, made.body["name"].as_str()), (201, Some(name)));
    }
}

#[tokio::test]
async fn repeated_requests_at_the_same_time_have_one_effect() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let calls = (0..8).map(|_| {
        tenant.call("POST", "/v1/domains").header("Idempotency-Key", "race").json(&json!({"name": "race.test"})).send()
    });
    let answers = join_all(calls).await;
    let made: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert!(!made.is_empty());
    assert!(made.iter().all(|answer| answer.body["id"] == made[0].body["id"]));
    for other in answers.iter().filter(|answer| answer.status != 201) {
        other.is_problem(409, "idempotency-in-flight");
        assert!(other.header("retry-after").is_some());
    }
    assert_eq!(tenant.get("/v1/domains").await.body["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_tenant_is_made_once_for_a_key() {
    let service = Service::start().await;
    let call = |name: &str| {
        let call = service.call("POST", "/v1/tenants").token(OPERATOR_TOKEN).header("Idempotency-Key", "t-1");
        call.json(&json!({"name": name})).send()
    };
    let (first, second) = (call("Acme").await, call("Acme").await);
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.text, second.text);
    call("Other").await.is_problem(422, "idempotency-key-reused");
}

#[tokio::test]
async fn the_operators_repeated_key_request_gives_the_same_key() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let path = format!("/v1/tenants/{}/api-keys", tenant.id);
    let call = || {
        let call = service.call("POST", &path).token(OPERATOR_TOKEN).header("Idempotency-Key", "k-1");
        call.json(&json!({"name": "again"})).send()
    };
    let (first, second) = (call().await, call().await);
    assert_eq!(first.body["key"], second.body["key"]);
    assert_eq!(tenant.get("/v1/api-keys").await.body["data"].as_array().unwrap().len(), 2);
}
