//! Entity tags: reads that cost nothing, and writes that never overwrite what their author has not seen.

use chrono::TimeDelta;
use mtasts_model::{Clock, Condition, ConditionKind, Status};
use serde_json::{Value, json};

use crate::service::{Answer, Service, Tenant};

fn tag(answer: &Answer) -> String {
    answer.header("etag").unwrap_or_else(|| panic!("no ETag: {}", answer.text)).to_owned()
}

async fn known(tenant: &Tenant<'_>, path: &str, tag: &str) -> u16 {
    tenant.call("GET", path).header("If-None-Match", tag).send().await.status
}

#[tokio::test]
async fn what_the_caller_has_already_is_not_sent_again_until_anything_of_it_changes() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, id) = tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"]})).await;
    let policy = format!("{path}/policy");
    let (of_domain, of_policy) = (tag(&tenant.get(&path).await), tag(&tenant.get(&policy).await));
    assert_eq!((known(&tenant, &path, &of_domain).await, known(&tenant, &policy, &of_policy).await), (304, 304));
    assert_eq!(known(&tenant, &path, &format!("\"x\", W/{of_domain}")).await, 304);
    assert_eq!(tag(&tenant.call("HEAD", &path).send().await), of_domain);

    // A stamp of the worker's is no new version, and yet another answer.
    service.database.psql("UPDATE policy_versions SET served_at = '2026-01-01'").await;
    assert_eq!((known(&tenant, &path, &of_domain).await, known(&tenant, &policy, &of_policy).await), (200, 200));
    let of_domain = tag(&tenant.get(&path).await);
    let since = service.clock.now();
    let (reason, message) = ("CnameMissing".to_owned(), "not there".to_owned());
    let condition = Condition { kind: ConditionKind::Delegated, status: Status::False, reason, message, since };
    service.settle(&id, &[condition]).await;
    assert_eq!(known(&tenant, &path, &of_domain).await, 200, "a condition is part of what is shown");

    // The text is another representation than the JSON, and its tag outlives the stamps.
    let plain = tenant.call("GET", &policy).header("Accept", "text/plain");
    let of_text = tag(&plain.clone().send().await);
    assert_ne!(of_text, tag(&tenant.get(&policy).await));
    assert_eq!(plain.clone().header("If-None-Match", &of_text).send().await.status, 304);
    assert_eq!(known(&tenant, &policy, &of_text).await, 200);
    let malformed = tenant.call("GET", &path).header("If-None-Match", "bare").send().await;
    assert_eq!(malformed.faults(), [("If-None-Match".to_owned(), "invalid-entity-tag".to_owned())]);
}

#[tokio::test]
async fn a_domain_is_changed_and_deleted_only_as_it_was_seen() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, _) = tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"]})).await;
    let seen = tag(&tenant.get(&path).await);
    let patch = async |tag: &str, uri: &str| {
        let body = json!({"tls_rpt": {"rua": [uri]}});
        tenant.call("PATCH", &path).header("If-Match", tag).json(&body).send().await
    };
    let changed = patch(&seen, "mailto:a@a.test").await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert_eq!(tag(&changed), tag(&tenant.get(&path).await), "the answer carries the tag of what is now");
    let lost = patch(&seen, "mailto:b@a.test").await;
    let current = lost.is_problem(412, "precondition-failed")["current"].as_str().unwrap();
    assert_eq!((format!("\"{current}\""), tag(&lost)), (tag(&changed), tag(&changed)));
    tenant.call("DELETE", &path).header("If-Match", &seen).send().await.is_problem(412, "precondition-failed");
    let now = tenant.get(&path).await.body;
    assert_eq!((&now["tls_rpt"]["rua"][0], &now["state"]), (&json!("mailto:a@a.test"), &json!("pending")));
    assert_eq!(patch("*", "mailto:c@a.test").await.status, 200);
    let last = tag(&tenant.get(&path).await);
    assert_eq!(tenant.call("DELETE", &path).header("If-Match", &last).send().await.status, 202);
}

#[tokio::test]
async fn a_policy_that_exists_is_not_replaced_unseen() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, _) = tenant.domain(json!({"name": "a.test"})).await;
    let policy = format!("{path}/policy");
    let body = |max_age: u32| json!({"mode": "testing", "mx": ["mx.a.test"], "max_age": max_age});
    let first = tenant.send("PUT", &policy, body(90_000)).await;
    assert_eq!(first.status, 200, "there is none to be overwritten: {}", first.text);
    let refused = tenant.send("PUT", &policy, body(90_001)).await;
    refused.is_problem(428, "precondition-required");
    assert_eq!(tag(&refused), format!("{}", first.body["id"]));
    assert_eq!(tenant.get(&policy).await.body["max_age"], 90_000);
    // The tag of the answer, that of the refusal, and that from before the service's own stamps.
    let mut with = tag(&first);
    for (max_age, next) in [(90_001, None), (90_002, Some("*"))] {
        service.clock.advance(TimeDelta::seconds(1));
        service.database.psql("UPDATE policy_versions SET served_at = created_at WHERE superseded_at IS NULL").await;
        let with = next.unwrap_or(&with).to_owned();
        let put = tenant.call("PUT", &policy).header("If-Match", &with).json(&body(max_age)).send().await;
        assert_eq!((put.status, &put.body["max_age"]), (200, &json!(max_age)), "{}", put.text);
    }
    with = tag(&tenant.send("PUT", &policy, body(1)).await);
    let put = tenant.call("PUT", &policy).header("If-Match", &with).json(&body(90_003)).send().await;
    assert_eq!(put.status, 200, "{}", put.text);
    // Intentions need no condition.
    assert_eq!(tenant.send("PATCH", &policy, json!({"max_age": 90_004})).await.status, 200);
    assert_eq!(tenant.send("PUT", &format!("{path}/mode"), json!({"mode": "none"})).await.status, 200);
    let to: Value = json!({"version_id": first.body["id"]});
    assert_eq!(tenant.send("POST", &format!("{policy}/rollback"), to).await.status, 200);
}

#[tokio::test]
async fn of_many_who_saw_the_same_version_one_replaces_it() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (path, _) = tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"]})).await;
    let (of_domain, policy) = (tag(&tenant.get(&path).await), format!("{path}/policy"));
    let of_policy = tag(&tenant.get(&policy).await);
    let statuses = |answers: Vec<Answer>| {
        let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        statuses
    };
    let patches = (0..6).map(|number| {
        let body = json!({"tls_rpt": {"rua": [format!("mailto:r{number}@a.test")]}});
        tenant.call("PATCH", &path).header("If-Match", &of_domain).json(&body).send()
    });
    assert_eq!(statuses(futures_util::future::join_all(patches).await), [200, 412, 412, 412, 412, 412]);
    let puts = (0..6).map(|number| {
        let body = json!({"mode": "testing", "mx": ["mx.a.test"], "max_age": 90_000 + number});
        tenant.call("PUT", &policy).header("If-Match", &of_policy).json(&body).send()
    });
    assert_eq!(statuses(futures_util::future::join_all(puts).await), [200, 412, 412, 412, 412, 412]);
}
