//! MX migrations as tenants begin, confirm and cancel them.

use chrono::TimeDelta;
use mtasts_model::Clock;
use serde_json::{Value, json};

use crate::service::{Service, Tenant};

async fn latest(tenant: &Tenant<'_>, path: &str) -> Value {
    tenant.get(&format!("{path}/migrations")).await.body["data"][0].clone()
}

#[tokio::test]
async fn a_migration_widens_the_policy_and_refuses_unsafe_orders_until_it_is_over() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, id) = tenant.domain(json!({"name": "a.test", "mx": ["old.a.test", "mx.a.test"]})).await;
    let migrations = format!("{path}/migrations");
    service.see_mx(&id, &[("old.a.test", None), ("mx.a.test", None)]).await;
    assert_eq!(latest(&tenant, &path).await, Value::Null);
    tenant.call("DELETE", &migrations).send().await.is_problem(404, "not-found");

    let begun = tenant.send("POST", &migrations, json!({"from": ["old.a.test"], "to": ["new.a.test"]})).await;
    assert_eq!((begun.status, &begun.body["state"]), (201, &json!("under-way")), "{}", begun.text);
    assert_eq!((&begun.body["safe_to_point_mx_at"], &begun.body["absent_since"]), (&Value::Null, &Value::Null));
    let policy = tenant.get(&format!("{path}/policy")).await.body;
    assert_eq!(policy["mx"], json!(["old.a.test", "mx.a.test", "new.a.test"]));
    assert_eq!((&policy["reason"], &policy["id"]), (&json!("migration-widened"), &begun.body["version_id"]));

    // Unsafe orders, with the time from which on they are safe.
    let again = tenant.send("POST", &migrations, json!({"from": ["mx.a.test"], "to": ["new.a.test"]})).await;
    assert_eq!(again.is_problem(409, "migration-not-safe")["safe_at"], Value::Null);
    let narrow = json!({"mx": ["mx.a.test", "new.a.test"]});
    let refused = tenant.send("PATCH", &format!("{path}/policy"), narrow.clone()).await;
    refused.is_problem(409, "migration-not-safe");
    let confirm = format!("{migrations}:confirm");
    tenant.call("POST", &confirm).send().await.is_problem(409, "migration-not-safe");
    let safe_at = service.clock.now() + TimeDelta::days(7);
    service.database.psql(&format!("UPDATE mx_migrations SET safe_to_point_mx_at = '{}'", safe_at.to_rfc3339())).await;
    let early = tenant.call("POST", &confirm).send().await;
    assert_eq!(early.is_problem(409, "migration-not-safe")["safe_at"], "2026-01-08T00:00:00Z");
    service.clock.set(safe_at);
    service.see_mx(&id, &[("old.a.test", None), ("new.a.test", None)]).await;
    let pointed = tenant.call("POST", &confirm).send().await;
    pointed.is_problem(409, "migration-not-safe");
    service.see_mx(&id, &[("new.a.test", None)]).await;
    let confirmed = tenant.call("POST", &confirm).send().await;
    assert_eq!((confirmed.status, &confirmed.body["safe_to_switch_off_at"]), (200, &json!("2026-01-08T00:00:00Z")));
    // The host is back: the word no longer holds.
    service.see_mx(&id, &[("old.a.test", None)]).await;
    let back = latest(&tenant, &path).await;
    assert_eq!((&back["confirmed_at"], &back["safe_to_switch_off_at"]), (&Value::Null, &Value::Null));

    let cancelled = tenant.call("DELETE", &migrations).send().await;
    assert_eq!((cancelled.status, &cancelled.body["state"]), (200, &json!("cancelled")));
    let policy = tenant.get(&format!("{path}/policy")).await.body;
    assert_eq!(policy["mx"], json!(["old.a.test", "mx.a.test", "new.a.test"]), "it keeps both");
    assert_eq!(tenant.send("PATCH", &format!("{path}/policy"), narrow).await.status, 200);
}

#[tokio::test]
async fn what_cannot_be_migrated_is_named() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, id) = tenant.domain(json!({"name": "a.test", "mx": ["old.a.test"]})).await;
    let migrations = format!("{path}/migrations");
    for (body, pointer, code) in [
        (json!({"from": ["other.a.test"], "to": ["new.a.test"]}), "/from/0", "no-such-pattern"),
        (json!({"from": ["old.a.test"], "to": ["old.a.test"]}), "/from", "nothing-leaves"),
        (json!({"from": [], "to": ["new.a.test"]}), "/from", "out-of-range"),
        (json!({"from": ["old.a.test"], "to": ["a*.test"]}), "/to/0", "mx-wildcard"),
    ] {
        let refused = tenant.send("POST", &migrations, body).await;
        refused.is_problem(422, "invalid-fields");
        assert_eq!(refused.faults(), [(pointer.to_owned(), code.to_owned())]);
    }
    // In enforce the MX hosts of now must pass, as with any change; force is kept with the version.
    service.see_mx(&id, &[("old.a.test", None)]).await;
    tenant.send("PUT", &format!("{path}/mode"), json!({"mode": "enforce"})).await;
    service.see_mx(&id, &[("old.a.test", Some("certificate-expired"))]).await;
    let body = json!({"from": ["old.a.test"], "to": ["new.a.test"]});
    tenant.send("POST", &migrations, body).await.is_problem(409, "enforce-not-proven");
    let body = json!({"from": ["old.a.test"], "to": ["new.a.test"], "force": true, "reason": "the old one is broken"});
    assert_eq!(tenant.send("POST", &migrations, body).await.status, 201);
    assert_eq!(tenant.get(&format!("{path}/policy")).await.body["forced"], "the old one is broken");
}
