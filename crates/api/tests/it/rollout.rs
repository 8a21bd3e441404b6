//! Rollout plans as tenants set, watch and stop them. What follows from them is carried out by the worker.

use serde_json::{Value, json};

use crate::service::Service;

#[tokio::test]
async fn a_plan_is_set_read_paused_resumed_and_ended() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, id) = tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"]})).await;
    let rollout = format!("{path}/rollout");
    tenant.get(&rollout).await.is_problem(404, "not-found");
    tenant.call("POST", &format!("{rollout}:pause")).send().await.is_problem(404, "not-found");
    let made = tenant.send("PUT", &rollout, json!({"fallback": "testing"})).await;
    assert_eq!((made.status, &made.body["state"], &made.body["step"]), (200, &json!("running"), &json!(1)));
    let usual: Vec<_> =
        made.body["steps"].as_array().unwrap().iter().map(|s| (s["mode"].clone(), s["max_age"].clone())).collect();
    let day = 86_400;
    assert_eq!(
        usual,
        [
            (json!("testing"), json!(day)),
            (json!("enforce"), json!(day)),
            (json!("enforce"), json!(7 * day)),
            (json!("enforce"), json!(28 * day))
        ]
    );
    service.see_mx(&id, &[("mx.a.test", None)]).await;

    tenant.call("POST", &format!("{rollout}:resume")).send().await.is_problem(409, "rollout-not-possible");
    let held = tenant.call("POST", &format!("{rollout}:pause")).send().await;
    assert_eq!((held.status, &held.body["state"]), (200, &json!("held")), "{}", held.text);
    let told = tenant.get("/v1/events?type=rollout.paused").await.body;
    assert_eq!(told["data"][0]["data"]["reason"], "held");
    tenant.call("POST", &format!("{rollout}:pause")).send().await.is_problem(409, "rollout-not-possible");
    let resumed = tenant.call("POST", &format!("{rollout}:resume")).send().await;
    assert_eq!(resumed.body["state"], "running");

    let ended = tenant.call("DELETE", &rollout).send().await;
    assert_eq!((ended.status, &ended.body["fallback"]), (200, &json!("testing")));
    tenant.get(&rollout).await.is_problem(404, "not-found");
    let log = tenant.get("/v1/audit-events").await.text;
    for action in ["rollout.put", "rollout.pause", "rollout.resume", "rollout.delete"] {
        assert!(log.contains(action), "{action} is not in the audit log");
    }
}

#[tokio::test]
async fn steps_that_would_prove_nothing_are_named() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, _) = tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"]})).await;
    let testing = json!({"mode": "testing", "max_age": 86_400, "days": 14});
    let enforce = |max_age: u64| json!({"mode": "enforce", "max_age": max_age, "days": 7});
    for (steps, pointer, code) in [
        (json!([testing]), "/steps", "plan-steps"),
        (json!([enforce(1), enforce(2)]), "/steps/0/mode", "plan-modes"),
        (json!([{"mode": "testing", "max_age": 1, "days": 3}, enforce(2)]), "/steps/0/days", "plan-testing-too-short"),
        (json!([testing, enforce(600), enforce(600)]), "/steps/2/max_age", "plan-max-age"),
        (json!([testing, enforce(40_000_000)]), "/steps/1/max_age", "max-age-too-large"),
    ] {
        let refused = tenant.send("PUT", &format!("{path}/rollout"), json!({"steps": steps})).await;
        refused.is_problem(422, "invalid-fields");
        assert_eq!(refused.faults(), [(pointer.to_owned(), code.to_owned())]);
    }
}

#[tokio::test]
async fn a_plan_is_for_a_domain_that_has_a_policy_and_does_not_enforce_it_yet() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, id) = tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"]})).await;
    service.see_mx(&id, &[("mx.a.test", None)]).await;
    tenant.send("PUT", &format!("{path}/mode"), json!({"mode": "enforce"})).await;
    let refused = tenant.send("PUT", &format!("{path}/rollout"), json!({})).await;
    refused.is_problem(409, "rollout-not-possible");
    let (fresh, _) = tenant.domain(json!({"name": "b.test"})).await;
    tenant.send("PUT", &format!("{fresh}/rollout"), json!({})).await.is_problem(404, "no-policy-yet");
    // A domain that is taken back has no plan any more.
    let (leaving, _) = tenant.domain(json!({"name": "c.test", "mx": ["mx.c.test"]})).await;
    assert_eq!(tenant.send("PUT", &format!("{leaving}/rollout"), json!({})).await.status, 200);
    tenant.call("DELETE", &leaving).send().await;
    let rollout: Value = tenant.get(&format!("{leaving}/rollout")).await.body;
    assert_eq!(rollout["code"], "not-found");
}
