//! Webhooks and events over the API. What is delivered, and how, is the worker's: see its tests.

use chrono::TimeDelta;
use mtasts_model::Clock;
use serde_json::{Value, json};

use crate::service::{Service, Tenant};

const URL: &str = "https://hooks.example.com/mtasts";

async fn create(tenant: &Tenant<'_>, body: Value) -> Value {
    let made = tenant.send("POST", "/v1/webhooks", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.body
}

fn path(webhook: &Value) -> String {
    format!("/v1/webhooks/{}", webhook["id"].as_str().unwrap())
}

async fn actions(tenant: &Tenant<'_>) -> Vec<String> {
    let log = tenant.get("/v1/audit-events?action=webhook.").await.body;
    log["data"].as_array().unwrap().iter().map(|line| line["action"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_webhook_shows_its_secret_once_and_again_only_to_the_same_request() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let call = || tenant.call("POST", "/v1/webhooks").header("Idempotency-Key", "k").json(&json!({"url": URL}));
    let made = call().send().await;
    let secret = made.body["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_") && secret.len() == 50, "{secret}");
    assert_eq!(made.header("location"), Some(path(&made.body).as_str()));
    let again = call().send().await;
    assert_eq!((again.body, again.headers.get("idempotent-replayed").is_some()), (made.body.clone(), true));
    assert_eq!(tenant.get("/v1/webhooks").await.body["data"].as_array().unwrap().len(), 1);
    for shown in [tenant.get(&path(&made.body)).await.text, tenant.get("/v1/webhooks").await.text] {
        assert!(!shown.contains("whsec_") && !shown.contains("secret\":\""), "{shown}");
    }
    let dump = "SELECT string_agg(query_to_xml(format('SELECT * FROM %I.%I', schemaname, tablename), true, false, '')::text, '')
        FROM pg_tables WHERE schemaname = 'public'";
    assert!(!service.database.psql(dump).await.contains(&secret["whsec_".len()..]));
    let sealed = service.database.psql("SELECT convert_from(sealed, 'UTF8') FROM webhooks").await;
    assert_eq!(sealed.trim(), format!("{} {} 32", tenant.id, made.body["id"].as_str().unwrap()));
}

#[tokio::test]
async fn every_fault_of_a_webhook_is_told_with_its_place() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    for (body, fault) in [
        (json!({"url": "http://hooks.example.com"}), ("/url", "url-scheme")),
        (json!({"url": "https://127.0.0.1/"}), ("/url", "url-host")),
        (json!({"url": "https://2130706433/"}), ("/url", "url-host")),
        (json!({"url": "https://[::ffff:127.0.0.1]/"}), ("/url", "url-host")),
        (json!({"url": "https://u:p@hooks.example.com"}), ("/url", "url-credentials")),
        (json!({"url": "https://hooks.example.com:25"}), ("/url", "url-port")),
        (json!({"url": format!("https://hooks.example.com/{}", "a".repeat(2048))}), ("/url", "url-too-long")),
        (json!({"url": URL, "description": "a\u{0}b"}), ("/description", "control-character")),
        (json!({"url": URL, "event_types": []}), ("/event_types", "wrong-length")),
        (json!({"url": URL, "event_types": ["domain.created", "domain"]}), ("/event_types/1", "event-type-unknown")),
        (json!({"url": URL, "colour": 1}), ("/colour", "unknown-field")),
    ] {
        let refused = tenant.send("POST", "/v1/webhooks", body.clone()).await;
        refused.is_problem(422, "invalid-fields");
        assert_eq!(refused.faults(), [(fault.0.to_owned(), fault.1.to_owned())], "{body}");
    }
    let webhook = create(&tenant, json!({"url": URL})).await;
    let refused = tenant.send("PATCH", &path(&webhook), json!({"url": "ftp://a.test", "event_types": ["x"]})).await;
    assert_eq!(refused.faults().len(), 2);
    assert_eq!(tenant.get(&path(&webhook)).await.body["url"], URL);
}

#[tokio::test]
async fn a_webhook_is_changed_field_by_field_and_deleted() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let types = json!(["policy.changed", "domain.created", "policy.changed"]);
    let webhook = create(&tenant, json!({"url": URL, "event_types": types, "description": " alerts "})).await;
    assert_eq!(webhook["event_types"], json!(["domain.created", "policy.changed"]));
    assert_eq!((&webhook["description"], &webhook["enabled"]), (&json!("alerts"), &json!(true)));
    let path = path(&webhook);
    let changed = tenant.send("PATCH", &path, json!({"enabled": false})).await.body;
    assert_eq!((&changed["enabled"], &changed["event_types"]), (&json!(false), &webhook["event_types"]));
    tenant.call("POST", &format!("{path}/test")).send().await.is_problem(409, "webhook-disabled");
    let changed =
        tenant.send("PATCH", &path, json!({"event_types": null, "enabled": true, "description": ""})).await.body;
    assert_eq!(
        (&changed["event_types"], &changed["description"], &changed["url"]),
        (&json!(null), &json!(""), &json!(URL))
    );
    assert_eq!(tenant.call("DELETE", &path).send().await.status, 200);
    tenant.get(&path).await.is_problem(404, "not-found");
    tenant.call("DELETE", &path).send().await.is_problem(404, "not-found");
    assert_eq!(actions(&tenant).await, ["webhook.delete", "webhook.update", "webhook.update", "webhook.create"]);
}

#[tokio::test]
async fn the_eleventh_webhook_is_refused() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    for _ in 0..10 {
        create(&tenant, json!({"url": URL})).await;
    }
    tenant.send("POST", "/v1/webhooks", json!({"url": URL})).await.is_problem(409, "webhook-quota");
}

#[tokio::test]
async fn a_secret_is_rotated_with_an_overlap() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let webhook = create(&tenant, json!({"url": URL})).await;
    let rotate = format!("{}/rotate-secret", path(&webhook));
    let rotated = tenant.send("POST", &rotate, json!({})).await;
    assert_eq!(rotated.status, 201, "{}", rotated.text);
    assert_ne!(rotated.body["secret"], webhook["secret"]);
    let until = service.clock.now() + TimeDelta::days(1);
    assert_eq!(rotated.body["former_secret_until"], serde_json::to_value(until).unwrap());
    service.clock.advance(TimeDelta::days(1));
    assert_eq!(tenant.get(&path(&webhook)).await.body["former_secret_until"], Value::Null);
    let at_once = tenant.send("POST", &rotate, json!({"overlap_seconds": 0})).await.body;
    assert_eq!(at_once["former_secret_until"], Value::Null);
    let refused = tenant.send("POST", &rotate, json!({"overlap_seconds": 604_801})).await;
    assert_eq!(refused.faults(), [("/overlap_seconds".to_owned(), "out-of-range".to_owned())]);
}

#[tokio::test]
async fn a_test_and_a_replay_make_deliveries_that_are_listed() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let webhook = create(&tenant, json!({"url": URL, "event_types": ["policy.published"]})).await;
    let path = path(&webhook);
    tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"]})).await;
    let call = || tenant.call("POST", &format!("{path}/test")).header("Idempotency-Key", "k");
    let test = call().send().await;
    assert_eq!((test.status, &test.body["event_type"]), (202, &json!("webhook.test")), "{}", test.text);
    assert_eq!(call().send().await.body["id"], test.body["id"]);
    let listed = tenant.get(&format!("{path}/deliveries")).await.body;
    assert_eq!(listed["data"], json!([test.body]), "nothing that it did not ask for");
    assert_eq!(tenant.get(&format!("{path}/deliveries?status=failed")).await.body["data"], json!([]));
    tenant.get(&format!("{path}/deliveries?status=lost")).await.is_problem(400, "invalid-parameters");
    let replay = format!("{path}/deliveries/{}/replay", test.body["id"].as_str().unwrap());
    let again = tenant.call("POST", &replay).send().await;
    assert_eq!((again.status, &again.body["event_id"]), (202, &test.body["event_id"]));
    // A delivery of one webhook is none of another's.
    let other = create(&tenant, json!({"url": URL})).await;
    let crossed = replay.replace(webhook["id"].as_str().unwrap(), other["id"].as_str().unwrap());
    tenant.call("POST", &crossed).send().await.is_problem(404, "not-found");
    assert_eq!(actions(&tenant).await, ["webhook.create", "webhook.replay", "webhook.test", "webhook.create"]);
}

#[tokio::test]
async fn events_are_listed_whether_or_not_a_webhook_was_told() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (_, a) = tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"]})).await;
    tenant.domain(json!({"name": "b.test", "mx": ["mx.b.test"]})).await;
    let list = async |query: &str| tenant.get(&format!("/v1/events{query}")).await.body;
    let page = list("?limit=3").await;
    let types: Vec<_> = page["data"].as_array().unwrap().iter().map(|event| event["type"].clone()).collect();
    assert_eq!(types, ["policy.changed", "domain.created", "policy.changed"]);
    assert_eq!(page["data"][2]["data"]["domain"], "a.test");
    let rest = list(&format!("?cursor={}", page["next_cursor"].as_str().unwrap())).await;
    assert_eq!((&rest["data"][0]["domain_id"], &rest["next_cursor"]), (&json!(a), &Value::Null));
    let both = list(&format!("?type=domain.created&domain_id={a}")).await;
    assert_eq!(both["data"], rest["data"]);
    tenant.get("/v1/events?type=x").await.is_problem(400, "invalid-parameters");
    tenant.get("/v1/events?domain_id=x").await.is_problem(400, "invalid-parameters");
}

#[tokio::test]
async fn without_a_key_ring_there_are_no_webhooks_but_events() {
    let service = Service::start_wired(|_| {}, |url| url, |server| server).await;
    let tenant = service.tenant("one").await;
    tenant.send("POST", "/v1/webhooks", json!({"url": URL})).await.is_problem(501, "webhooks-off");
    assert_eq!(tenant.get("/v1/webhooks").await.body["data"], json!([]));
    assert_eq!(tenant.get("/v1/events").await.status, 200);
}
