//! `GET /v1/audit-events`: who did what, as the tenant reads it.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::{
    scripted::Reply,
    service::{Service, Tenant},
};

async fn listed(tenant: &Tenant<'_>, query: &str) -> Vec<Value> {
    let answer = tenant.get(&format!("/v1/audit-events?{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body["data"].as_array().unwrap().clone()
}

fn actions(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["action"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn each_change_is_told_with_who_from_where_by_which_request_and_what_was_before_and_after() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    service.clock.advance(TimeDelta::seconds(1));
    let (path, id) = tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"]})).await;
    service.clock.advance(TimeDelta::seconds(1));
    let body = json!({"mode": "testing", "mx": ["mx2.a.test"], "max_age": 86_400});
    let call =
        tenant.call("PUT", &format!("{path}/policy")).header("X-Request-Id", "the-request").header("If-Match", "*");
    assert_eq!(call.json(&body).send().await.status, 200);

    let lines = listed(&tenant, "").await;
    assert_eq!(actions(&lines), ["policy.set", "domain.create", "api-key.create", "tenant.create"]);
    let numbers: Vec<_> = lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [4, 3, 2, 1]);
    let set = &lines[0];
    assert_eq!(set["actor"], json!({"kind": "api-key", "id": tenant.key_id, "issuer": null, "tenant_id": null}));
    assert_eq!((&set["source"], &set["request_id"]), (&json!("127.0.0.1"), &json!("the-request")));
    assert_eq!(set["object"], id.as_str());
    assert_eq!(set["at"], "2026-01-01T00:00:02Z");
    assert!(set["before"].to_string().contains("mx.a.test") && set["after"].to_string().contains("mx2.a.test"));
    assert_eq!(lines[3]["actor"], json!({"kind": "operator", "id": null, "issuer": null, "tenant_id": null}));
    let hash = service.database.psql("SELECT encode(hash, 'hex') FROM audit_heads").await;
    assert_eq!(set["hash"], hash.trim());
}

#[tokio::test]
async fn the_log_is_paged_and_filtered_and_shows_nothing_of_other_tenants() {
    let service = Service::start().await;
    let (tenant, stranger) = (service.tenant("one").await, service.tenant("other").await);
    let mut ids = Vec::new();
    for number in 0..4 {
        service.clock.advance(TimeDelta::seconds(1));
        ids.push(tenant.domain(json!({"name": format!("d{number}.test"), "mx": ["mx.d.test"]})).await.1);
    }
    let all = listed(&tenant, "limit=200").await;
    assert_eq!(all.len(), 6);
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = tenant.get(&format!("/v1/audit-events?limit=4{cursor}")).await.body;
        paged.extend(page["data"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(paged, all);
    assert_eq!(actions(&listed(&tenant, "action=domain.").await), ["domain.create"; 4]);
    assert_eq!(actions(&listed(&tenant, "action=api-").await), ["api-key.create"]);
    let of_one = listed(&tenant, &format!("object={}", ids[1])).await;
    assert_eq!((of_one.len(), &of_one[0]["object"]), (1, &json!(ids[1])));
    let between = listed(&tenant, "from=2026-01-01T00:00:02Z&to=2026-01-01T00:00:04Z").await;
    assert_eq!(between.iter().map(|line| &line["object"]).collect::<Vec<_>>(), [ids[2].as_str(), ids[1].as_str()]);

    assert!(listed(&tenant, "to=0000-01-01T00:00:00Z").await.is_empty());
    assert_eq!(listed(&tenant, "from=0000-01-01T00:00:00Z&to=9999-12-31T23:59:59Z&limit=200").await, all);

    assert_eq!(actions(&listed(&stranger, "").await), ["api-key.create", "tenant.create"]);
    assert!(listed(&stranger, &format!("object={}", ids[1])).await.is_empty());
    for query in [
        "limit=201",
        "action=",
        "action=Domain",
        "action=domain%25",
        "object=",
        "object=a%00",
        "object=a%20b",
        "from=yesterday",
        "from=2026-01-01",
        "to=%2B99999-01-01T00:00:00Z",
    ] {
        tenant.get(&format!("/v1/audit-events?{query}")).await.is_problem(400, "invalid-parameters");
    }
}

#[tokio::test]
async fn no_secret_is_in_the_log() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let made = tenant.send("POST", "/v1/api-keys", json!({"name": "second"})).await;
    let key = made.body["key"].as_str().unwrap();
    service.dns.expect("check cloudflare - canary-token-of-a-customer", Reply::Done);
    let body = json!({"name": "ours", "provider": {"type": "cloudflare", "token": "canary-token-of-a-customer"}});
    let credential = tenant.send("POST", "/v1/dns-credentials", body).await;
    assert_eq!(credential.status, 201, "{}", credential.text);
    let path = format!("/v1/dns-credentials/{}", credential.body["id"].as_str().unwrap());
    tenant.call("DELETE", &path).send().await;

    let log = tenant.get("/v1/audit-events?limit=200").await.text;
    assert!(log.contains("dns-credential.create") && log.contains("dns-credential.delete"), "{log}");
    for secret in [key, &tenant.key, "canary-token-of-a-customer"] {
        let told = secret.rsplit('_').next().unwrap();
        assert!(!log.contains(secret) && !log.contains(told), "{secret} is in {log}");
    }
}
