//! The looks from outside as a tenant reads them.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::service::Service;

#[tokio::test]
async fn the_latest_look_and_the_days_before_are_shown() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, id) = tenant.domain(json!({"name": "a.test", "mx": ["mx1.a.test"]})).await;
    let checks = format!("{path}/checks");
    let none = tenant.get(&checks).await.body;
    assert_eq!(none, json!({"latest": null, "data": [], "next_cursor": null}));
    for code in [None, Some("policy-status"), Some("policy-status")] {
        service.watched(&id, code).await;
        service.clock.advance(TimeDelta::days(1));
    }
    let shown = tenant.get(&checks).await.body;
    let latest = &shown["latest"];
    assert_eq!((&latest["passed"], &latest["good"], &latest["failures"]), (&json!(false), &json!(false), &json!(2)));
    assert_eq!(latest["problem"]["code"], "policy-status");
    let days: Vec<_> = shown["data"].as_array().unwrap().iter().map(|day| day["failed"].clone()).collect();
    assert_eq!(days, [json!(1), json!(1), json!(0)]);
    let first = tenant.get(&format!("{checks}?limit=1")).await.body;
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = tenant.get(&format!("{checks}?limit=2&cursor={cursor}")).await.body;
    assert_eq!((&rest["data"][0], &rest["next_cursor"]), (&shown["data"][1], &Value::Null));
    let events = tenant.get("/v1/events?type=domain.check_failed").await.body;
    assert_eq!(events["data"][0]["data"]["code"], "policy-status");
}
