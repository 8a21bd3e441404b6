//! Registering, listing, reading, changing and deleting domains.

use chrono::TimeDelta;
use mtasts_model::{Clock, Condition, ConditionKind, Status};
use serde_json::{Value, json};

use crate::service::{Service, Tenant};

async fn names(tenant: &Tenant<'_>, query: &str) -> Vec<String> {
    let list = tenant.get(&format!("/v1/domains?{query}")).await;
    assert_eq!(list.status, 200, "{}", list.text);
    list.body["data"].as_array().unwrap().iter().map(|domain| domain["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_registration_shows_the_records_to_set() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let body = json!({"name": "Bücher.Test.", "tls_rpt": {"rua": ["mailto:tls@example.test"]}});
    let made = tenant.send("POST", "/v1/domains", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let domain = &made.body;
    assert_eq!((&domain["name"], &domain["unicode_name"]), (&json!("xn--bcher-kva.test"), &json!("bücher.test")));
    assert_eq!(
        (&domain["state"], &domain["mode"], &domain["policy"]),
        (&json!("pending"), &json!("testing"), &Value::Null)
    );
    assert_eq!(domain["tls_rpt"]["rua"], json!(["mailto:tls@example.test"]));
    assert_eq!(domain["mx"]["source"], "auto");
    let records = domain["delegation"]["records"].as_array().unwrap();
    let purposes: Vec<_> = records
        .iter()
        .map(|record| (record["purpose"].as_str().unwrap(), record["required"].as_bool().unwrap()))
        .collect();
    assert_eq!(
        purposes,
        [("policy-host", true), ("sts-record", true), ("tls-rpt-record", true), ("acme-challenge", false)]
    );
    assert_eq!(records[0]["name"], "mta-sts.xn--bcher-kva.test");
    assert!(records[0]["target"].as_str().unwrap().ends_with(".edge.sts.example.net"));
    let zone_file = domain["delegation"]["zone_file"].as_str().unwrap();
    assert!(records.iter().all(|record| zone_file.contains(record["target"].as_str().unwrap())));
    let location = made.header("location").unwrap();
    assert_eq!(tenant.get(location).await.body, *domain);
}

#[tokio::test]
async fn a_name_can_be_registered_once_by_a_tenant() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, id) = tenant.domain(json!({"name": "a.test"})).await;
    let again = tenant.send("POST", "/v1/domains", json!({"name": "A.test"})).await;
    let problem = again.is_problem(409, "domain-exists");
    assert_eq!(
        (problem["domain_id"].as_str(), problem["domain_url"].as_str()),
        (Some(id.as_str()), Some(path.as_str()))
    );
}

#[tokio::test]
async fn no_domain_starts_in_enforce() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    for mx in [json!("auto"), json!(["mx.a.test"])] {
        let answer = tenant.send("POST", "/v1/domains", json!({"name": "a.test", "mode": "enforce", "mx": mx})).await;
        assert_eq!(answer.is_problem(409, "enforce-not-proven")["reasons"][0]["code"], "mx-not-checked");
    }
    assert!(names(&tenant, "").await.is_empty());
}

#[tokio::test]
async fn lists_have_pages_and_filters() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let mut ids = Vec::new();
    for name in ["c.test", "a.test", "shop.b.test", "b.test"] {
        service.clock.advance(TimeDelta::milliseconds(2));
        let mode = if name == "b.test" { "none" } else { "testing" };
        ids.push(tenant.domain(json!({"name": name, "mx": ["mx.x.test"], "mode": mode})).await.1);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = tenant.get(&format!("/v1/domains?limit=3{cursor}")).await.body;
        seen.extend(page["data"].as_array().unwrap().iter().map(|domain| domain["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ids, "in the order of registration, each once");

    assert_eq!(names(&tenant, "mode=none").await, ["b.test"]);
    assert_eq!(names(&tenant, "mode=enforce").await, [""; 0]);
    assert_eq!(names(&tenant, "name_prefix=SHOP").await, ["shop.b.test"]);
    assert_eq!(names(&tenant, "state=pending").await.len(), 4);
    assert_eq!(names(&tenant, "state=active").await, [""; 0]);
    let now = service.clock.now();
    service
        .settle(&ids[0], &[Condition::new(ConditionKind::MxReady, Status::False, "HostFails", "mx.x.test fails", now)])
        .await;
    assert_eq!(names(&tenant, "condition=MxReady:False").await, ["c.test"]);
    assert_eq!(names(&tenant, "condition=MxReady:False&mode=none").await, [""; 0]);
    let shown = tenant.get(&format!("/v1/domains/{}", ids[0])).await.body;
    assert_eq!(
        shown["conditions"],
        json!([{"kind": "MxReady", "status": "False", "reason": "HostFails", "message": "mx.x.test fails", "since": shown["conditions"][0]["since"]}])
    );
}

#[tokio::test]
async fn mx_hosts_are_shown_as_they_were_seen() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, id) = tenant.domain(json!({"name": "a.test", "mx": ["mx1.a.test"]})).await;
    service.see_mx(&id, &[("mx1.a.test", None), ("mx2.a.test", Some("starttls-not-supported"))]).await;
    let mx = tenant.get(&path).await.body["mx"].clone();
    assert_eq!(mx["source"], "listed");
    let at = &mx["checked_at"];
    assert!(at.is_string());
    assert_eq!(
        mx["hosts"],
        json!([
            {"host": "mx1.a.test", "preference": 10, "looked_at": at, "ready": true, "covered": true, "failure": null},
            {"host": "mx2.a.test", "preference": 10, "looked_at": at, "ready": false, "covered": false,
             "failure": {"code": "starttls-not-supported", "message": "mx2.a.test: starttls-not-supported"}},
        ])
    );
}

#[tokio::test]
async fn report_addresses_can_be_changed() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, _) = tenant.domain(json!({"name": "a.test"})).await;
    let rua = json!(["https://reports.a.test/tls", "mailto:tls@a.test"]);
    let changed = tenant.send("PATCH", &path, json!({"tls_rpt": {"rua": rua}})).await;
    assert_eq!((changed.status, &changed.body["tls_rpt"]["rua"]), (200, &rua));
    assert_eq!(tenant.send("PATCH", &path, json!({})).await.body["tls_rpt"]["rua"], rua, "what is absent stays");
    assert_eq!(tenant.send("PATCH", &path, json!({"tls_rpt": {"rua": []}})).await.body["tls_rpt"]["rua"], json!([]));
}

#[tokio::test]
async fn verify_asks_for_a_new_look() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, _) = tenant.domain(json!({"name": "a.test"})).await;
    service.clock.advance(TimeDelta::minutes(1));
    let answer = tenant.call("POST", &format!("{path}/verify")).send().await;
    assert_eq!((answer.status, answer.body["nudged_at"].as_str()), (202, Some("2026-01-01T00:01:00Z")));
}

#[tokio::test]
async fn a_domain_that_was_never_served_is_gone_at_once_and_can_be_registered_anew() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, id) = tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"]})).await;
    let deleted = tenant.call("DELETE", &path).send().await;
    assert_eq!((deleted.status, &deleted.body["state"]), (202, &json!("gone")), "{}", deleted.text);
    assert_eq!(deleted.body["withdrawal"]["safe_now"], true);
    assert!(deleted.body["withdrawal"]["remove_records"].as_array().unwrap().contains(&json!("mta-sts.a.test")));
    assert_eq!(tenant.call("DELETE", &path).send().await.status, 202, "to delete again changes nothing");
    assert!(names(&tenant, "").await.is_empty());
    assert_eq!(names(&tenant, "state=gone").await, ["a.test"]);
    let policy = tenant.send("PUT", &format!("{path}/policy"), json!({"mode": "none"})).await;
    policy.is_problem(409, "domain-withdrawing");
    let (_, anew) = tenant.domain(json!({"name": "a.test"})).await;
    assert_ne!(anew, id);
}
