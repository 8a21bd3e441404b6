//! The policy of a domain: reading, changing, going back, and the proof for enforce (invariant 6).

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::service::{Answer, Service};

fn codes(answer: &Answer) -> Vec<(Option<&str>, &str)> {
    let reasons = answer.body["reasons"].as_array().unwrap();
    reasons.iter().map(|reason| (reason["host"].as_str(), reason["code"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_policy_is_read_as_json_and_as_it_is_served() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, _) = tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test", "*.B.test"], "max_age": 86400})).await;
    let path = format!("{path}/policy");
    let policy = tenant.get(&path).await;
    let text = "version: STSv1\r\nmode: testing\r\nmx: mx.a.test\r\nmx: *.b.test\r\nmax_age: 86400\r\n";
    assert_eq!(policy.body["text"], text);
    assert_eq!((&policy.body["mode"], &policy.body["mx"]), (&json!("testing"), &json!(["mx.a.test", "*.b.test"])));
    assert_eq!((&policy.body["state"], &policy.body["reason"]), (&json!("pending"), &json!("registered")));
    assert_eq!(policy.body["created_by"], tenant.key_id.as_str());
    for time in ["served_at", "verified_at", "published_at"] {
        assert_eq!(policy.body[time], Value::Null);
    }
    assert!(policy.body["policy_id"].as_str().unwrap().starts_with("20260101000000"));
    let tag = policy.header("etag").unwrap();
    assert!(tag.starts_with(&format!("\"{}.", policy.body["id"].as_str().unwrap())), "{tag} begins with the id");
    let plain = tenant.call("GET", &path).header("Accept", "text/plain").send().await;
    assert_eq!((plain.text.as_str(), plain.header("content-type")), (text, Some("text/plain; charset=utf-8")));
    let head = tenant.call("HEAD", &path).send().await;
    assert_eq!((head.status, head.text.as_str(), head.header("etag")), (200, "", policy.header("etag")));
}

#[tokio::test]
async fn a_domain_left_to_us_has_no_policy_until_its_hosts_are_found() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, id) = tenant.domain(json!({"name": "a.test"})).await;
    tenant.get(&format!("{path}/policy")).await.is_problem(404, "no-policy-yet");
    tenant.send("PATCH", &format!("{path}/policy"), json!({"max_age": 1})).await.is_problem(404, "no-policy-yet");
    tenant.send("PUT", &format!("{path}/mode"), json!({"mode": "none"})).await.is_problem(404, "no-policy-yet");
    service.first_version(&id, &["mx.a.test"]).await;
    let policy = tenant.get(&format!("{path}/policy")).await;
    assert_eq!((&policy.body["reason"], &policy.body["mx"]), (&json!("discovered"), &json!(["mx.a.test"])));
}

#[tokio::test]
async fn each_change_makes_a_version_with_a_new_id_and_no_change_makes_none() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, _) = tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"]})).await;
    let policy = format!("{path}/policy");
    let first = tenant.get(&policy).await.body;
    let replace = async |body: Value| tenant.call("PUT", &policy).header("If-Match", "*").json(&body).send().await;
    let same = replace(json!({"mode": "testing", "mx": ["mx.a.test"]})).await;
    assert_eq!(same.body["id"], first["id"], "the same policy again is no change");
    let patched = tenant.send("PATCH", &policy, json!({"max_age": 3600})).await;
    assert_eq!((patched.status, &patched.body["max_age"], &patched.body["mx"]), (200, &json!(3600), &first["mx"]));
    assert_eq!(patched.body["warnings"][0]["code"], "max-age-below-a-day");
    let put = replace(json!({"mode": "none"})).await;
    assert_eq!(put.body["mx"], json!([]));
    tenant.send("PUT", &format!("{path}/mode"), json!({"mode": "testing"})).await.is_problem(422, "invalid-fields");

    let back = tenant.send("POST", &format!("{policy}/rollback"), json!({"version_id": first["id"]})).await;
    assert_eq!((back.status, &back.body["text"], &back.body["reason"]), (200, &first["text"], &json!("rolled-back")));
    let ids: std::collections::BTreeSet<_> =
        [&first, &patched.body, &put.body, &back.body].iter().map(|body| body["policy_id"].to_string()).collect();
    assert_eq!(ids.len(), 4, "no id is used twice (invariant 2)");

    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = tenant.get(&format!("{policy}/versions?limit=3{cursor}")).await.body;
        seen.extend(page["data"].as_array().unwrap().iter().map(|version| version["id"].clone()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, [&back.body["id"], &put.body["id"], &patched.body["id"], &first["id"]].map(Clone::clone));
    let old = tenant.get(&format!("{policy}/versions/{}", first["id"].as_str().unwrap())).await.body;
    assert_eq!((&old["state"], &old["text"]), (&json!("superseded"), &first["text"]));
}

#[tokio::test]
async fn if_match_keeps_one_from_overwriting_what_one_has_not_seen() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, _) = tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"]})).await;
    let policy = format!("{path}/policy");
    let tag = tenant.get(&policy).await.header("etag").unwrap().to_owned();
    let put = |max_age: u32| {
        let body = json!({"mode": "testing", "mx": ["mx.a.test"], "max_age": max_age});
        tenant.call("PUT", &policy).header("If-Match", &tag).json(&body).send()
    };
    let changed = put(90_000).await;
    assert_eq!(changed.status, 200);
    let lost = put(90_001).await;
    assert_eq!(lost.is_problem(412, "precondition-failed")["current"], changed.body["id"]);
    for (method, path, body) in [
        ("PATCH", policy.clone(), json!({"max_age": 1})),
        ("PUT", format!("{path}/mode"), json!({"mode": "none"})),
        ("POST", format!("{policy}/rollback"), json!({"version_id": changed.body["id"]})),
    ] {
        let answer = tenant.call(method, &path).header("If-Match", &tag).json(&body).send().await;
        answer.is_problem(412, "precondition-failed");
    }
    let any = tenant.call("PATCH", &policy).header("If-Match", "*").json(&json!({"max_age": 90_002})).send().await;
    assert_eq!(any.status, 200);
}

#[tokio::test]
async fn enforce_is_refused_without_proof_by_every_way() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, id) = tenant.domain(json!({"name": "a.test", "mx": ["mx1.a.test"]})).await;
    let enforce = json!({"mode": "enforce", "mx": ["mx1.a.test"]});
    let (policy, mode) = (format!("{path}/policy"), format!("{path}/mode"));
    let ways = [
        ("PUT", policy.clone(), enforce.clone()),
        ("PATCH", policy.clone(), json!({"mode": "enforce"})),
        ("PUT", mode.clone(), json!({"mode": "enforce"})),
    ];
    let try_all = async |expected: &[(Option<&str>, &str)]| {
        for (method, path, body) in &ways {
            let answer = tenant.call(method, path).header("If-Match", "*").json(body).send().await;
            answer.is_problem(409, "enforce-not-proven");
            assert_eq!(codes(&answer), expected, "{method} {path}");
        }
    };
    try_all(&[(None, "mx-not-checked")]).await;
    service.see_mx(&id, &[]).await;
    try_all(&[(None, "mx-none-found")]).await;
    service.see_mx(&id, &[("mx1.a.test", Some("certificate-expired")), ("mx2.a.test", None)]).await;
    try_all(&[(Some("mx1.a.test"), "certificate-expired"), (Some("mx2.a.test"), "mx-not-covered")]).await;
    service.see_mx(&id, &[("mx1.a.test", None)]).await;
    service.clock.advance(TimeDelta::hours(25));
    try_all(&[(None, "mx-check-too-old")]).await;
    assert_eq!(tenant.get(&policy).await.body["mode"], "testing");

    service.see_mx(&id, &[("mx1.a.test", None)]).await;
    let proven = tenant.send("PUT", &mode, json!({"mode": "enforce"})).await;
    assert_eq!((proven.status, &proven.body["mode"], &proven.body["forced"]), (200, &json!("enforce"), &Value::Null));

    // Back to testing, a host breaks, and the way back to enforce asks for proof again.
    tenant.send("PUT", &mode, json!({"mode": "testing"})).await;
    service.see_mx(&id, &[("mx1.a.test", Some("starttls-not-supported"))]).await;
    let back = tenant.send("POST", &format!("{policy}/rollback"), json!({"version_id": proven.body["id"]})).await;
    back.is_problem(409, "enforce-not-proven");
}

#[tokio::test]
async fn enforce_can_be_forced_with_a_reason_that_is_kept() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, _) = tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"]})).await;
    let mode = format!("{path}/mode");
    let silent = tenant.send("PUT", &mode, json!({"mode": "enforce", "force": true})).await;
    assert_eq!(silent.faults(), [("/reason".to_owned(), "missing-field".to_owned())]);
    let aimless = tenant.send("PUT", &mode, json!({"mode": "enforce", "reason": "because"})).await;
    assert_eq!(aimless.faults(), [("/reason".to_owned(), "reason-without-force".to_owned())]);
    let forced = tenant.send("PUT", &mode, json!({"mode": "enforce", "force": true, "reason": "we know"})).await;
    assert_eq!(
        (forced.status, &forced.body["mode"], &forced.body["forced"]),
        (200, &json!("enforce"), &json!("we know"))
    );
    let audit = service.database.psql("SELECT query_to_xml('SELECT * FROM audit_events', true, false, '')").await;
    assert!(audit.contains("we know"), "the reason is in the audit log");
    assert!(audit.contains(&tenant.key_id), "and who forced it");
    // What needs no force records none.
    let testing = tenant.send("PUT", &mode, json!({"mode": "testing", "force": true, "reason": "no need"})).await;
    assert_eq!(testing.body["forced"], Value::Null);
}
