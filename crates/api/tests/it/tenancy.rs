//! Tenants and API keys.

use chrono::TimeDelta;
use serde_json::json;

use crate::service::{OPERATOR_TOKEN, Service};

#[tokio::test]
async fn the_operator_creates_lists_and_reads_tenants() {
    let service = Service::start().await;
    let mut made = Vec::new();
    for number in 0..5 {
        service.clock.advance(TimeDelta::milliseconds(2));
        made.push(service.tenant(&format!("tenant {number}")).await.id);
    }
    let operator = |path: String| service.call("GET", &path).token(OPERATOR_TOKEN).send();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = operator(format!("/v1/tenants?limit=2{cursor}")).await.body;
        seen.extend(page["data"].as_array().unwrap().iter().map(|tenant| tenant["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, made);
    let one = operator(format!("/v1/tenants/{}", made[3])).await;
    assert_eq!(one.body["name"], "tenant 3");
    assert_eq!(one.body["created_at"].as_str().unwrap().split_once('T').unwrap().0, "2026-01-01");
    operator("/v1/tenants/ten_00000000000070008000000000000000".to_owned()).await.is_problem(404, "not-found");
}

#[tokio::test]
async fn a_key_for_a_tenant_that_never_was_is_refused() {
    let service = Service::start().await;
    let path = "/v1/tenants/ten_00000000000070008000000000000000/api-keys";
    let answer = service.call("POST", path).token(OPERATOR_TOKEN).json(&json!({"name": "a"})).send().await;
    answer.is_problem(404, "not-found");
}

#[tokio::test]
async fn a_tenant_makes_lists_and_revokes_its_keys() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    assert_eq!(tenant.get("/v1/tenant").await.body["id"], tenant.id.as_str());
    service.clock.advance(TimeDelta::seconds(1));
    let made = tenant.send("POST", "/v1/api-keys", json!({"name": "second"})).await;
    assert_eq!(made.status, 201);
    let key = made.body["key"].as_str().unwrap();
    assert!(key.starts_with(made.body["prefix"].as_str().unwrap()));
    assert_eq!(service.call("GET", "/v1/tenant").token(key).send().await.body["id"], tenant.id.as_str());

    let list = tenant.get("/v1/api-keys").await;
    assert_eq!(list.body["data"].as_array().unwrap().len(), 2);
    assert!(!list.text.contains(key), "a list never shows a key");

    let path = format!("/v1/api-keys/{}", made.body["id"].as_str().unwrap());
    let revoked = tenant.call("DELETE", &path).send().await;
    assert_eq!(revoked.status, 200);
    assert!(revoked.body["revoked_at"].is_string());
    service.call("GET", "/v1/tenant").token(key).send().await.is_problem(401, "unauthenticated");
    let again = tenant.call("DELETE", &path).send().await;
    assert_eq!(again.body["revoked_at"], revoked.body["revoked_at"]);
}

#[tokio::test]
async fn a_key_ends_when_it_expires() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let body = json!({"name": "short", "expires_at": "2026-01-01T01:00:00Z"});
    let made = tenant.send("POST", "/v1/api-keys", body).await;
    let key = made.body["key"].as_str().unwrap();
    assert_eq!(service.call("GET", "/v1/tenant").token(key).send().await.status, 200);
    service.clock.advance(TimeDelta::hours(1));
    service.call("GET", "/v1/tenant").token(key).send().await.is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn no_key_is_stored_in_the_clear() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let call = || tenant.call("POST", "/v1/api-keys").header("Idempotency-Key", "k1").json(&json!({"name": "second"}));
    let (first, second) = (call().send().await, call().send().await);
    assert_eq!(first.text, second.text, "the same answer, with the same key");
    let key = first.body["key"].as_str().unwrap();
    assert_eq!(service.call("GET", "/v1/tenant").token(key).send().await.status, 200);
    let random = key.split('_').nth(2).unwrap();
    // Any column of any table, the kept answer (which is bytes, shown as hexadecimal) and the audit log included.
    let dump = service
        .database
        .psql(
            "SET xmlbinary = hex; \
             SELECT string_agg(query_to_xml(format('SELECT * FROM %I.%I', schemaname, tablename), true, false, '')::text, '') \
             FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
        )
        .await
        .to_lowercase();
    let hex = |text: &str| data_encoding::HEXLOWER.encode(text.as_bytes());
    assert!(dump.contains("second") && dump.contains(&hex("second")), "the dump has the key's row and the kept answer");
    assert!(!dump.contains(random) && !dump.contains(&hex(random)), "a part of the key is in the database");
}
