//! What senders would do with a draft. The rules are in the model's tests.

use mtasts_model::Clock;
use serde_json::{Value, json};

use crate::service::Service;

fn of<'a>(body: &'a Value, sender: &str, holds: &Value) -> &'a Value {
    let cases = body["senders"].as_array().unwrap();
    cases.iter().find(|case| case["sender"] == sender && case["holds"] == *holds).unwrap()
}

#[tokio::test]
async fn a_draft_is_held_against_what_senders_hold_and_find() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, id) = tenant.domain(json!({"name": "a.test", "mx": ["mx1.a.test"]})).await;
    let simulate = format!("{path}/policy:simulate");
    let unseen = tenant.send("POST", &simulate, json!({})).await;
    assert_eq!((unseen.status, &unseen.body["checked_at"]), (200, &Value::Null), "{}", unseen.text);
    assert_eq!((&unseen.body["loses_mail"], &unseen.body["record_found"]), (&json!(false), &json!(false)));
    assert_eq!(of(&unseen.body, "strict", &Value::Null)["mail"], "unknown");

    // Delegated, published, served an hour ago, with a certificate; the MX hosts have moved since.
    service.see_mx(&id, &[("mx2.a.test", None)]).await;
    service.reached(&id).await;
    let held = tenant.get(&format!("{path}/policy")).await.body["id"].clone();
    let before = tenant.get(&path).await.body;
    let draft = json!({"mode": "enforce", "mx": ["mx1.a.test"]});
    let refused = tenant.send("POST", &simulate, draft).await.body;
    assert_eq!((&refused["loses_mail"], &refused["draft"]["mode"]), (&json!(true), &json!("enforce")));
    let strict = of(&refused, "strict", &Value::Null);
    assert_eq!(strict["hosts"], json!([{"host": "mx2.a.test", "fate": "refuses", "reason": "mx-not-covered"}]));
    let holding = of(&refused, "holds-cache", &held);
    assert_eq!((&holding["acts_by"], &holding["hosts"][0]["fate"]), (&json!("held"), &json!("delivers-and-reports")));
    assert_eq!(holding["draft_from"], refused["held"][0]["until"]);

    let good = tenant.send("POST", &simulate, json!({"mode": "enforce", "mx": ["mx2.a.test"]})).await.body;
    assert_eq!(good["loses_mail"], false);
    let learns = (service.clock.now() + chrono::TimeDelta::minutes(5)).to_rfc3339();
    let told = of(&good, "strict", &held)["draft_from"].as_str().unwrap();
    assert_eq!(told.parse::<chrono::DateTime<chrono::Utc>>().unwrap().to_rfc3339(), learns, "the TTL of the record");
    assert_eq!(tenant.get(&path).await.body, before, "nothing has changed");
    let bad = tenant.send("POST", &simulate, json!({"mx": ["*"], "max_age": 31_557_601})).await;
    bad.is_problem(422, "invalid-fields");
    assert_eq!(bad.body["errors"].as_array().unwrap().len(), 2);
}
