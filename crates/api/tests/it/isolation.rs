//! Invariant 8, for every operation that the document has: a new route is covered on the day that it appears.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    report_rows::{Report, Reports},
    scripted::Reply,
    service::{OPERATOR_TOKEN, Service},
};

const NOBODY: &str = "00000000000070008000000000000000";

#[tokio::test]
async fn another_tenants_objects_answer_as_if_they_never_were() {
    let service = Service::start().await;
    let (owner, stranger) = (service.tenant("owner").await, service.tenant("stranger").await);
    let (path, domain) = owner.domain(json!({"name": "owned.test", "mx": ["mx.owned.test"]})).await;
    let version = owner.get(&format!("{path}/policy")).await.body["id"].as_str().unwrap().to_owned();
    service.dns.expect("check cloudflare - token-of-the-owner", Reply::Done);
    let body = json!({"name": "ours", "provider": {"type": "cloudflare", "token": "token-of-the-owner"}});
    let credential = owner.send("POST", "/v1/dns-credentials", body).await.body["id"].as_str().unwrap().to_owned();
    let made = owner.send("POST", "/v1/customers", json!({"name": "beneath the owner"})).await;
    let customer = made.body["id"].as_str().unwrap().to_owned();
    let body = json!({"url": "https://hooks.owned.test/"});
    let webhook = owner.send("POST", "/v1/webhooks", body).await.body["id"].as_str().unwrap().to_owned();
    let test = owner.call("POST", &format!("/v1/webhooks/{webhook}/test")).send().await;
    let delivery = test.body["id"].as_str().unwrap().to_owned();
    let body = json!({"email": "ops@owned.test", "frequency": "daily"});
    let recipient = owner.send("POST", "/v1/digest-recipients", body).await.body["id"].as_str().unwrap().to_owned();
    let body = json!({"operations": [{"op": "create", "name": "batched.test"}]});
    let operation = owner.send("POST", "/v1/domains:batch", body).await.body["id"].as_str().unwrap().to_owned();
    let check = owner.send("POST", "/v1/checks", json!({"domain": "anybodys.test"})).await;
    let check = check.body["id"].as_str().unwrap().to_owned();
    let reports = Reports::on(&owner, &domain).await;
    let arrival = reports.arrival("read", Some(b"raw"), 1).await;
    let report = reports.report_in(&arrival, Report::default()).await;
    let before = owner.get(&path).await.body;
    let foreign = |name: &str| match name {
        "domain_id" => domain.clone(),
        "version_id" => version.clone(),
        "key_id" => owner.key_id.clone(),
        "tenant_id" => customer.clone(),
        "dns_credential_id" => credential.clone(),
        "webhook_id" => webhook.clone(),
        "digest_recipient_id" => recipient.clone(),
        "delivery_id" => delivery.clone(),
        "operation_id" => operation.clone(),
        "report_id" => report.clone(),
        "arrival_id" => arrival.clone(),
        "check_id" => check.clone(),
        other => panic!("a new path parameter: {other}; say here what a foreign one looks like"),
    };
    let never = |name: &str| match name {
        "domain_id" => format!("dom_{NOBODY}"),
        "version_id" => format!("pol_{NOBODY}"),
        "key_id" => format!("key_{NOBODY}"),
        "tenant_id" => format!("ten_{NOBODY}"),
        "dns_credential_id" => format!("dns_{NOBODY}"),
        "webhook_id" => format!("whk_{NOBODY}"),
        "digest_recipient_id" => format!("rcp_{NOBODY}"),
        "delivery_id" => format!("dlv_{NOBODY}"),
        "operation_id" => format!("op_{NOBODY}"),
        "report_id" => format!("rpt_{NOBODY}"),
        "arrival_id" => format!("arr_{NOBODY}"),
        "check_id" => format!("chk_{NOBODY}"),
        other => panic!("a new path parameter: {other}"),
    };
    let mut covered = 0;
    for operation in service.spec.operations() {
        if operation.parameters().is_empty() || operation.scheme() == "operator_token" {
            continue;
        }
        let send = async |path: String| {
            let mut call = stranger.call(&operation.method, &path).header("X-Request-Id", "same");
            if let Some(body) = service.spec.example_body(&operation) {
                call = call.json(&body);
            }
            call.send().await
        };
        let (foreign, never) = (send(operation.path_with(foreign)).await, send(operation.path_with(never)).await);
        let at = format!("{} {}", operation.method, operation.path);
        assert_eq!((foreign.status, foreign.body["code"].as_str()), (404, Some("not-found")), "{at}: {}", foreign.text);
        assert_eq!(foreign.text, never.text, "{at}: the answers differ");
        let names = |answer: &crate::service::Answer| {
            answer.headers.keys().map(|name| name.as_str().to_owned()).collect::<BTreeSet<_>>()
        };
        assert_eq!(names(&foreign), names(&never), "{at}: the headers differ");
        covered += 1;
    }
    assert!(covered >= 27, "only {covered} operations were covered");
    assert_eq!(owner.get(&path).await.body, before, "the owner's domain is untouched");
    assert_eq!(owner.get("/v1/tenant").await.status, 200, "the owner's key still works");
    assert_eq!(owner.get(&format!("/v1/dns-credentials/{credential}")).await.status, 200, "and its DNS credential");
    assert_eq!(owner.get(&format!("/v1/webhooks/{webhook}")).await.body["enabled"], true, "and its webhook");
    assert_eq!(stranger.get("/v1/domains").await.body["data"], json!([]));
    assert_eq!(stranger.get("/v1/events").await.body["data"], json!([]));
    assert_eq!(owner.get(&format!("/v1/digest-recipients/{recipient}")).await.status, 200, "and its recipient");
    assert_eq!(stranger.get("/v1/webhooks").await.body["data"], json!([]));
    assert_eq!(stranger.get("/v1/digest-recipients").await.body["data"], json!([]));
}

#[tokio::test]
async fn a_version_of_another_domain_is_not_found_under_this_one() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (a, _) = tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"]})).await;
    let (b, _) = tenant.domain(json!({"name": "b.test", "mx": ["mx.b.test"]})).await;
    let version = tenant.get(&format!("{a}/policy")).await.body["id"].as_str().unwrap().to_owned();
    tenant.get(&format!("{b}/policy/versions/{version}")).await.is_problem(404, "not-found");
    let rollback = tenant.send("POST", &format!("{b}/policy/rollback"), json!({"version_id": version})).await;
    rollback.is_problem(422, "invalid-fields");
}

#[tokio::test]
async fn every_operation_asks_for_a_credential_of_its_kind() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    for operation in service.spec.operations() {
        let path = operation.path_with(|name| match name {
            "tenant_id" => tenant.id.clone(),
            "domain_id" => format!("dom_{NOBODY}"),
            "version_id" => format!("pol_{NOBODY}"),
            "key_id" => format!("key_{NOBODY}"),
            "dns_credential_id" => format!("dns_{NOBODY}"),
            "webhook_id" => format!("whk_{NOBODY}"),
            "digest_recipient_id" => format!("rcp_{NOBODY}"),
            "delivery_id" => format!("dlv_{NOBODY}"),
            "operation_id" => format!("op_{NOBODY}"),
            "report_id" => format!("rpt_{NOBODY}"),
            "arrival_id" => format!("arr_{NOBODY}"),
            "check_id" => format!("chk_{NOBODY}"),
            other => panic!("a new path parameter: {other}"),
        });
        let call = || {
            let call = service.call(&operation.method, &path);
            match service.spec.example_body(&operation) {
                Some(body) => call.json(&body),
                None => call,
            }
        };
        let none = call().send().await;
        none.is_problem(401, "unauthenticated");
        assert_eq!(none.header("www-authenticate"), Some("Bearer realm=\"mtasts\""));
        for wrong in
            ["", "mts_live_", "mts_live_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaa", "operator", &tenant.key[1..]]
        {
            let invalid = call().token(wrong).send().await;
            invalid.is_problem(401, "unauthenticated");
            assert!(invalid.header("www-authenticate").unwrap().contains("invalid_token"));
        }
        let basic = call().header("Authorization", "Basic bXRhc3RzOm10YXN0cw==").send().await;
        basic.is_problem(401, "unauthenticated");
        let other = if operation.scheme() == "operator_token" { tenant.key.as_str() } else { OPERATOR_TOKEN };
        call().token(other).send().await.is_problem(403, "wrong-credential");
    }
}

#[tokio::test]
async fn two_tenants_that_alternate_never_see_each_others_domains() {
    let service = Service::start().await;
    let (a, b) = (service.tenant("a").await, service.tenant("b").await);
    a.domain(json!({"name": "shared.test"})).await;
    // The same name, and neither learns of the other.
    b.domain(json!({"name": "shared.test"})).await;
    let ids =
        |body: Value| body["data"].as_array().unwrap().iter().map(|domain| domain["id"].clone()).collect::<Vec<_>>();
    for _ in 0..10 {
        let (of_a, of_b) = (ids(a.get("/v1/domains").await.body), ids(b.get("/v1/domains").await.body));
        assert_eq!((of_a.len(), of_b.len()), (1, 1));
        assert_ne!(of_a, of_b);
    }
}
