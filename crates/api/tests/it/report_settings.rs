//! What a tenant is told of reports. What follows from it is the worker's: see its tests.

use serde_json::json;

use crate::service::Service;

const PATH: &str = "/v1/report-settings";

#[tokio::test]
async fn settings_have_defaults_and_are_replaced_by_whoever_has_seen_them() {
    let service = Service::start().await;
    let (tenant, other) = (service.tenant("one").await, service.tenant("other").await);
    let first = tenant.get(PATH).await;
    let defaults = json!({
        "alerts": ["failure_new", "failure_rate", "reporter_silent", "quarantined"],
        "threshold_percent": 5,
        "least_sessions": 100,
        "silence_days": 3,
        "count_unverified": false,
        "changed_at": null,
    });
    assert_eq!(first.body, defaults);
    let tag = first.header("etag").unwrap().to_owned();
    assert_eq!(tenant.call("GET", PATH).header("If-None-Match", &tag).send().await.status, 304);
    let wanted = json!({"alerts": ["quarantined", "failure_rate", "quarantined"], "threshold_percent": 1});
    let stale = tenant.call("PUT", PATH).header("If-Match", "\"0\"").json(&wanted).send().await;
    stale.is_problem(412, "precondition-failed");
    let set = tenant.call("PUT", PATH).header("If-Match", &tag).json(&wanted).send().await;
    assert_eq!((set.status, &set.body["alerts"]), (200, &json!(["failure_rate", "quarantined"])), "{}", set.text);
    assert_eq!((&set.body["threshold_percent"], &set.body["least_sessions"]), (&json!(1), &json!(100)));
    assert!(set.body["changed_at"].is_string());
    // Once there is something to overwrite, it has to have been seen.
    tenant.send("PUT", PATH, json!({})).await.is_problem(428, "precondition-required");
    tenant.call("PUT", PATH).header("If-Match", &tag).json(&wanted).send().await.is_problem(412, "precondition-failed");
    assert_eq!(tenant.get(PATH).await.body, set.body);
    let tag = set.header("etag").unwrap().to_owned();
    let none = tenant.call("PUT", PATH).header("If-Match", &tag).json(&json!({"alerts": []})).send().await;
    assert_eq!((none.status, &none.body["alerts"]), (200, &json!([])));
    assert_eq!(other.get(PATH).await.body, defaults, "nobody else's are changed");
    let log = tenant.get("/v1/audit-events?action=report-settings.").await.body;
    assert_eq!(log["data"].as_array().unwrap().len(), 2);
    assert_eq!(log["data"][0]["before"]["threshold_percent"], 1);
}

#[tokio::test]
async fn every_fault_of_settings_is_told_with_its_place() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    for (body, fault) in [
        (json!({"alerts": ["failure_new", "x"]}), ("/alerts/1", "alert-unknown")),
        (json!({"alerts": vec!["failure_new"; 21]}), ("/alerts", "too-many")),
        (json!({"threshold_percent": 0}), ("/threshold_percent", "out-of-range")),
        (json!({"threshold_percent": 101}), ("/threshold_percent", "out-of-range")),
        (json!({"least_sessions": 0}), ("/least_sessions", "out-of-range")),
        (json!({"least_sessions": 1_000_000_001}), ("/least_sessions", "out-of-range")),
        (json!({"silence_days": 15}), ("/silence_days", "out-of-range")),
        (json!({"colour": 1}), ("/colour", "unknown-field")),
    ] {
        let refused = tenant.send("PUT", PATH, body.clone()).await;
        refused.is_problem(422, "invalid-fields");
        assert_eq!(refused.faults(), [(fault.0.to_owned(), fault.1.to_owned())], "{body}");
    }
    assert!(tenant.get(PATH).await.body["changed_at"].is_null());
}
