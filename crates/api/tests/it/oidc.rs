//! Tokens of identity providers as credentials. Which tokens are believed is tested where they are verified.

use std::{collections::BTreeMap, sync::Arc};

use chrono::TimeDelta;
use mtasts_api::{ApiConfig, LimitSettings};
use mtasts_model::{Clock, clock::ManualClock};
use mtasts_oidc::{IssuerConfig, Verifier};
use mtasts_store::Quota;
use mtasts_testkit::{IssuerMood, SigningKey, TestIssuer};
use serde_json::{Value, json};

use crate::service::{Answer, Call, OPERATOR_TOKEN, SCOPES, Service};

const NOBODY: &str = "00000000000070008000000000000000";
/// The table of roles, written here anew.
const ROLES: [(&str, &[&str]); 4] = [
    ("viewer", &["domains:read", "reports:read"]),
    ("editor", &["domains:read", "domains:write", "policy:write", "reports:read"]),
    (
        "admin",
        &[
            "domains:read",
            "domains:write",
            "policy:write",
            "reports:read",
            "keys:write",
            "webhooks:write",
            "audit:read",
            "customers:act",
        ],
    ),
    ("owner", &SCOPES),
];

/// An API that trusts an issuer.
struct Desk {
    service: Service,
    issuer: TestIssuer,
    key: SigningKey,
}

impl Desk {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(configure: impl FnOnce(&mut ApiConfig)) -> Self {
        let key = SigningKey::p256("k1");
        let issuer = TestIssuer::start(&[&key]).await;
        let config = IssuerConfig {
            name: "test".to_owned(),
            issuer: issuer.url().parse().unwrap(),
            audience: "mtasts".to_owned(),
            tenant_claim: "tenant".parse().unwrap(),
            role_claim: "role".parse().unwrap(),
            leeway: TimeDelta::seconds(60),
            roles: BTreeMap::new(),
        };
        let verifier = Arc::new(Verifier::new(vec![config], Arc::new(ManualClock::default())).unwrap());
        let service = Service::start_wired(configure, |url| url, |server| server.with_oidc(verifier)).await;
        Self { service, issuer, key }
    }

    fn token(&self, subject: &str, tenant: &str, role: &str) -> String {
        self.token_of(&json!({"sub": subject, "tenant": tenant, "role": role}))
    }

    fn token_of(&self, more: &Value) -> String {
        let exp = ManualClock::default().now().timestamp() + 300;
        let mut claims = json!({"iss": self.issuer.url(), "aud": "mtasts", "exp": exp});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.key.token(&claims)
    }

    fn call(&self, token: &str, method: &str, path: &str) -> Call<'_> {
        self.service.call(method, path).token(token)
    }

    async fn get(&self, token: &str, path: &str) -> Answer {
        self.call(token, "GET", path).send().await
    }
}

#[tokio::test]
async fn every_operation_is_open_to_the_roles_that_have_its_scope_and_closed_to_the_others() {
    let desk = Desk::new().await;
    let tenant = desk.service.tenant("one").await;
    let mut covered = 0;
    for operation in desk.service.spec.operations() {
        let Some(scope) = operation.value["security"][0]["api_key"][0].as_str() else { continue };
        let path = operation.path_with(|name| match name {
            "domain_id" => format!("dom_{NOBODY}"),
            "version_id" => format!("pol_{NOBODY}"),
            "key_id" => format!("key_{NOBODY}"),
            "dns_credential_id" => format!("dns_{NOBODY}"),
            "tenant_id" => format!("ten_{NOBODY}"),
            _ => NOBODY.to_owned(),
        });
        for (role, scopes) in ROLES {
            let call = desk.call(&desk.token("somebody", &tenant.id, role), &operation.method, &path);
            // A body that no operation takes: whoever is let in hears of that or of the id, and nothing happens.
            let takes_body = operation.value["requestBody"].is_object();
            let call = if takes_body { call.json(&json!({"no-such-field": 1})) } else { call };
            let answer = call.send().await;
            let at = format!("{} {} as {role}: {}", operation.method, operation.path, answer.text);
            if scopes.contains(&scope) {
                assert!(!matches!(answer.status, 401 | 403 | 500), "{at}");
            } else {
                assert_eq!(answer.is_problem(403, "scope-missing")["missing_scopes"], json!([scope]), "{at}");
            }
        }
        covered += 1;
    }
    assert!(covered >= 30, "only {covered} operations were covered");
}

#[tokio::test]
async fn a_user_works_in_the_tenant_of_the_token_and_is_named_in_its_log() {
    let desk = Desk::new().await;
    let tenant = desk.service.tenant("one").await;
    let token = desk.token("somebody@example.com", &tenant.id, "owner");
    assert_eq!(desk.get(&token, "/v1/tenant").await.body["id"], tenant.id.as_str());
    let body = json!({"name": "a.test", "mx": ["mx.a.test"]});
    let made = desk.call(&token, "POST", "/v1/domains").json(&body).send().await;
    assert_eq!(made.status, 201, "{}", made.text);
    let customer = desk.call(&token, "POST", "/v1/customers").json(&json!({"name": "beneath"})).send().await;
    let customer = customer.body["id"].as_str().unwrap();
    let within = desk.call(&token, "POST", "/v1/domains").header("X-Tenant", customer).json(&body).send().await;
    assert_eq!(within.status, 201, "{}", within.text);
    let actor = |tenant_id: Option<&str>| {
        let issuer = desk.issuer.url();
        json!({"kind": "user", "id": "somebody@example.com", "issuer": issuer, "tenant_id": tenant_id})
    };
    let line = tenant.get("/v1/audit-events?action=domain.create").await.body["data"][0].clone();
    assert_eq!(line["actor"], actor(None));
    let log = tenant.call("GET", "/v1/audit-events?action=domain.create").header("X-Tenant", customer).send().await;
    assert_eq!(log.body["data"][0]["actor"], actor(Some(&tenant.id)));
    // Out of reach as with a key.
    let stranger = desk.service.tenant("stranger").await;
    for other in [stranger.id.as_str(), &format!("ten_{NOBODY}")] {
        let refused = desk.call(&token, "GET", "/v1/domains").header("X-Tenant", other).send().await;
        refused.is_problem(404, "not-found");
    }
    let editor = desk.token("somebody", &tenant.id, "editor");
    let refused = desk.call(&editor, "GET", "/v1/domains").header("X-Tenant", customer).send().await;
    refused.is_problem(404, "not-found");
    desk.get(&token, "/v1/tenants").await.is_problem(403, "wrong-credential");
}

#[tokio::test]
async fn a_key_that_a_user_makes_may_do_no_more_than_the_role() {
    let desk = Desk::new().await;
    let tenant = desk.service.tenant("one").await;
    let token = desk.token("somebody", &tenant.id, "admin");
    let make = |body: Value| desk.call(&token, "POST", "/v1/api-keys").header("Idempotency-Key", "k").json(&body);
    let made = make(json!({"name": "mine"})).send().await;
    assert_eq!((made.status, &made.body["scopes"]), (201, &json!(SCOPES[..7])));
    assert_eq!(desk.get(made.body["key"].as_str().unwrap(), "/v1/tenant").await.status, 200);
    assert_eq!(make(json!({"name": "mine"})).send().await.text, made.text, "with the same token the same key");
    let more = desk.call(&token, "POST", "/v1/api-keys").json(&json!({"name": "more", "scopes": ["customers:write"]}));
    more.send().await.is_problem(403, "scope-missing");
}

#[tokio::test]
async fn whether_the_tenant_exists_is_told_to_nobody() {
    let desk = Desk::new().await;
    let tenant = desk.service.tenant("one").await;
    let unknown = format!("ten_{NOBODY}");
    let mut told = Vec::new();
    for claims in [
        json!({"sub": "s", "role": "owner", "tenant": unknown}),
        json!({"sub": "s", "role": "owner", "tenant": "Acme"}),
        json!({"sub": "s", "role": "owner"}),
    ] {
        let call = desk.call(&desk.token_of(&claims), "GET", "/v1/domains").header("X-Request-Id", "same").send().await;
        call.is_problem(403, "identity-not-admitted");
        told.push(call.text);
    }
    assert!(told.iter().all(|text| *text == told[0]), "{told:?}");
    told.clear();
    for tenant in [tenant.id.as_str(), &unknown] {
        for role in [json!("root"), json!(null), json!(["none"])] {
            let token = desk.token_of(&json!({"sub": "s", "role": role, "tenant": tenant}));
            let call = desk.call(&token, "GET", "/v1/domains").header("X-Request-Id", "same").send().await;
            call.is_problem(403, "identity-not-admitted");
            told.push(call.text);
        }
    }
    assert!(told.iter().all(|text| *text == told[0]), "{told:?}");
    let token = desk.token("s", &unknown, "owner");
    desk.get(&token, "/v1/tenants").await.is_problem(403, "identity-not-admitted");
}

#[tokio::test]
async fn a_token_that_is_not_believed_is_as_no_credential() {
    let desk = Desk::new().await;
    let tenant = desk.service.tenant("one").await;
    let expired = json!({"sub": "s", "role": "owner", "tenant": tenant.id, "exp": 1});
    let other = SigningKey::p256("k1").token(&json!({"iss": desk.issuer.url(), "aud": "mtasts"}));
    for token in [desk.token_of(&expired), other, "a.b.c".to_owned()] {
        let refused = desk.get(&token, "/v1/domains").await;
        refused.is_problem(401, "unauthenticated");
        assert!(refused.header("www-authenticate").unwrap().contains("invalid_token"));
    }
    let plain = Service::start().await;
    let token = desk.token("s", &tenant.id, "owner");
    plain.call("GET", "/v1/domains").token(&token).send().await.is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn without_its_issuer_the_api_starts_and_keys_work_and_tokens_are_told_to_wait() {
    let desk = Desk::new().await;
    desk.issuer.be(IssuerMood::Failing);
    let tenant = desk.service.tenant("one").await;
    assert_eq!(tenant.get("/v1/domains").await.status, 200);
    let away = desk.get(&desk.token("s", &tenant.id, "viewer"), "/v1/domains").await;
    away.is_problem(503, "identity-provider-unavailable");
    assert_eq!(away.header("retry-after"), Some("5"));
}

#[tokio::test]
async fn each_user_has_a_bucket_whatever_the_token_and_is_counted_before_being_admitted_too() {
    let quota = |burst| Quota::per_minute(1, burst).unwrap();
    let settings = LimitSettings { key: quota(3), tenant: quota(100), ..LimitSettings::default() };
    let desk = Desk::with(|config| config.limits = Some(settings)).await;
    let tenant = desk.service.tenant("one").await;
    let left = |answer: &Answer| answer.header("ratelimit").unwrap().to_owned();
    for expected in ["\"user\";r=2;", "\"user\";r=1;", "\"user\";r=0;"] {
        // Another token each time, as a refresh gives it.
        let answer = desk.get(&desk.token("greedy", &tenant.id, "viewer"), "/v1/domains").await;
        assert!(answer.status == 200 && left(&answer).starts_with(expected), "{}", left(&answer));
    }
    desk.get(&desk.token("greedy", &tenant.id, "owner"), "/v1/domains").await.is_problem(429, "rate-limited");
    assert_eq!(desk.get(&desk.token("other", &tenant.id, "viewer"), "/v1/domains").await.status, 200);
    let not_admitted = || desk.token("lost", &format!("ten_{NOBODY}"), "viewer");
    for _ in 0..3 {
        desk.get(&not_admitted(), "/v1/domains").await.is_problem(403, "identity-not-admitted");
    }
    desk.get(&not_admitted(), "/v1/domains").await.is_problem(429, "rate-limited");
    let operator = desk.service.call("GET", "/v1/tenants").token(OPERATOR_TOKEN).send().await;
    assert_eq!(operator.status, 200);
}
