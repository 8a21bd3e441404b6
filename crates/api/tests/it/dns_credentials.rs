//! Credentials for the customers' own DNS: handed over once, checked, sealed, never shown.

use std::time::Duration;

use mtasts_api::CustomerDnsError;
use mtasts_testkit::wait_until;
use serde_json::{Value, json};

use crate::{
    scripted::Reply,
    service::{Answer, Service, Tenant},
};

const TOKEN: &str = "canary0123456789-of-the-token";
/// "canary of the TSIG key!!" in base64.
const TSIG: &str = "Y2FuYXJ5IG9mIHRoZSBUU0lHIGtleSEh";

fn cloudflare() -> Value {
    json!({"name": "ours", "provider": {"type": "cloudflare", "token": TOKEN}})
}

fn rfc2136() -> Value {
    json!({"name": "our server", "provider": {
        "type": "rfc2136", "server": "NS1.customer.test", "zone": "Customer.test.", "key_name": "mtasts-key.",
        "algorithm": "hmac-sha512", "secret": TSIG,
    }})
}

pub(crate) fn unavailable() -> CustomerDnsError {
    CustomerDnsError::Unavailable {
        reason: "ns1.customer.test does not answer".to_owned(),
        retry_after: Some(Duration::from_secs(7)),
        source: Some("connection refused".into()),
    }
}

pub(crate) fn unauthorized() -> CustomerDnsError {
    CustomerDnsError::Unauthorized { reason: "Invalid API Token: make a new one".to_owned() }
}

/// Hands over a Cloudflare token; gives the credential's id.
pub(crate) async fn credential(tenant: &Tenant<'_>) -> String {
    tenant.service.dns.expect(format!("check cloudflare - {TOKEN}"), Reply::Done);
    let made = tenant.send("POST", "/v1/dns-credentials", cloudflare()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.body["id"].as_str().unwrap().to_owned()
}

/// What the scripted DNS is told of a credential.
pub(crate) fn access() -> String {
    format!("cloudflare - {TOKEN}")
}

/// All tables as text, octets as hexadecimal.
async fn dump(service: &Service) -> String {
    let sql = "SET xmlbinary = hex; \
        SELECT string_agg(query_to_xml(format('SELECT * FROM %I.%I', schemaname, tablename), true, false, '')::text, '') \
        FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
    service.database.psql(sql).await.to_lowercase()
}

#[tokio::test]
async fn a_credential_is_checked_kept_sealed_and_never_shown_again() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let mut answers: Vec<Answer> = Vec::new();
    service.dns.expect(format!("check cloudflare - {TOKEN}"), Reply::Done);
    let call = tenant.call("POST", "/v1/dns-credentials").header("Idempotency-Key", "c-1").json(&cloudflare());
    answers.push(call.send().await);
    service.dns.expect(format!("check rfc2136 customer.test {TSIG}"), Reply::Done);
    answers.push(tenant.send("POST", "/v1/dns-credentials", rfc2136()).await);
    let location = answers[1].header("location").unwrap().to_owned();
    answers.push(tenant.get(&location).await);
    answers.push(tenant.get("/v1/dns-credentials").await);
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [201, 201, 200, 200]);
    let shown = &answers[2].body;
    assert_eq!(
        (&shown["name"], &shown["zone"], &shown["last_used_at"]),
        (&json!("our server"), &json!("customer.test"), &Value::Null)
    );
    assert_eq!(
        shown["provider"],
        json!({"type": "rfc2136", "server": "ns1.customer.test:53", "key_name": "mtasts-key", "algorithm": "hmac-sha512"})
    );
    assert_eq!(*shown, answers[1].body);
    let dump = dump(&service).await;
    assert!(dump.contains("our server"), "the dump has the row");
    answers.push(tenant.call("DELETE", &location).send().await);
    assert_eq!(answers[4].status, 200);
    tenant.get(&location).await.is_problem(404, "not-found");
    tenant.call("DELETE", &location).send().await.is_problem(404, "not-found");
    for secret in [TOKEN, TSIG, "canary of the TSIG key!!"] {
        let hex = data_encoding::HEXLOWER.encode(secret.as_bytes());
        assert!(!dump.contains(&secret.to_lowercase()) && !dump.contains(&hex), "{secret} is in the database");
        assert!(answers.iter().all(|answer| !answer.text.contains(secret)), "{secret} is in an answer");
    }
    let left = service.database.psql("SELECT count(*) FROM dns_credentials WHERE provider = 'rfc2136'").await;
    assert_eq!(left.trim(), "0", "the secret went with the credential");
}

#[tokio::test]
async fn a_wrong_secret_is_422_and_a_provider_that_is_away_503_and_neither_is_kept() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let call = format!("check cloudflare - {TOKEN}");
    let server = || CustomerDnsError::ServerUnusable { reason: "ns1.customer.test has no public address".to_owned() };
    let zone = || CustomerDnsError::ZoneNotCovered { reason: "the token opens other.test".to_owned() };
    for (error, status, code) in [
        (unauthorized(), 422, "dns-credential-refused"),
        (zone(), 422, "dns-zone-not-covered"),
        (server(), 422, "dns-server-unusable"),
        (unavailable(), 503, "dns-provider-unavailable"),
    ] {
        service.dns.expect(call.clone(), Reply::Fail(error));
        let answer = tenant.send("POST", "/v1/dns-credentials", cloudflare()).await;
        answer.is_problem(status, code);
        assert!(!answer.text.contains(TOKEN) && !answer.text.contains("connection refused"), "{}", answer.text);
        assert_eq!(answer.header("retry-after"), (status == 503).then_some("7"));
    }
    assert_eq!(tenant.get("/v1/dns-credentials").await.body["data"], json!([]));
}

#[tokio::test]
async fn a_repeated_request_asks_the_provider_once_and_makes_one_credential() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    service.dns.expect(format!("check cloudflare - {TOKEN}"), Reply::Done);
    let call = || {
        let call = tenant.call("POST", "/v1/dns-credentials").header("Idempotency-Key", "c-1");
        call.json(&cloudflare()).send()
    };
    let (first, second) = (call().await, call().await);
    assert_eq!((first.status, second.status, second.header("idempotent-replayed")), (201, 201, Some("true")));
    assert_eq!(first.text, second.text);
    assert_eq!(tenant.get("/v1/dns-credentials").await.body["data"].as_array().unwrap().len(), 1);
    let other = tenant.call("POST", "/v1/dns-credentials").header("Idempotency-Key", "c-1").json(&rfc2136());
    other.send().await.is_problem(422, "idempotency-key-reused");
}

#[tokio::test]
async fn each_wrong_field_of_a_credential_is_named_and_no_secret_repeated() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let with = |member: &str, value: Value| {
        let mut body = rfc2136();
        body["provider"][member] = value;
        body
    };
    let token = |token: Value| json!({"name": "n", "provider": {"type": "cloudflare", "token": token}});
    for (body, fault) in [
        (token(json!("")), ("/provider/token", "invalid-value")),
        (token(json!("canary with a blank")), ("/provider/token", "invalid-value")),
        (token(json!("canary".repeat(100))), ("/provider/token", "invalid-value")),
        (token(json!(["canary"])), ("/provider", "wrong-type")),
        (json!({"name": "n", "provider": "canary"}), ("/provider", "wrong-type")),
        (json!({"name": "n", "provider": {"type": "route53"}}), ("/provider/type", "unknown-value")),
        (json!({"name": "n", "provider": {"type": "cloudflare"}}), ("/provider/token", "missing-field")),
        (json!({"name": "", "provider": {"type": "cloudflare", "token": TOKEN}}), ("/name", "wrong-length")),
        (with("server", json!("ns1.customer.test:25")), ("/provider/server", "invalid-value")),
        (with("server", json!("http://ns1.customer.test")), ("/provider/server", "invalid-value")),
        (with("zone", json!("not a zone")), ("/provider/zone", "name-character")),
        (with("key_name", json!("a key")), ("/provider/key_name", "invalid-value")),
        (with("algorithm", json!("hmac-md5")), ("/provider/algorithm", "unknown-value")),
        (with("secret", json!("canary, no base64")), ("/provider/secret", "invalid-value")),
        (with("secret", json!("MDEy")), ("/provider/secret", "invalid-value")),
        (with("token", json!("canary")), ("/provider", "invalid-value")),
    ] {
        let answer = tenant.send("POST", "/v1/dns-credentials", body.clone()).await;
        answer.is_problem(422, "invalid-fields");
        assert_eq!(answer.faults(), [(fault.0.to_owned(), fault.1.to_owned())], "{body}");
        assert!(!answer.text.contains("canary") && !answer.text.contains(TSIG), "{}", answer.text);
    }
}

#[tokio::test]
async fn the_list_has_pages() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let mut made = Vec::new();
    for _ in 0..3 {
        service.clock.advance(chrono::TimeDelta::milliseconds(2));
        made.push(credential(&tenant).await);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = tenant.get(&format!("/v1/dns-credentials?limit=2{cursor}")).await.body;
        seen.extend(page["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, made);
}

#[tokio::test]
async fn beyond_the_quota_nothing_is_kept() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let first = credential(&tenant).await;
    service
        .database
        .psql(
            "INSERT INTO dns_credentials (id, tenant_id, name, provider, settings, sealed, created_at)
             SELECT gen_random_uuid(), tenant_id, name, provider, settings, sealed, created_at
             FROM dns_credentials, generate_series(1, 99)",
        )
        .await;
    service.dns.expect(format!("check cloudflare - {TOKEN}"), Reply::Done);
    tenant.send("POST", "/v1/dns-credentials", cloudflare()).await.is_problem(409, "dns-credential-quota");
    tenant.call("DELETE", &format!("/v1/dns-credentials/{first}")).send().await;
    credential(&tenant).await;
}

#[tokio::test]
async fn a_sealed_secret_moved_to_another_row_does_not_open() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (domain, _) = tenant.domain(json!({"name": "customer.test"})).await;
    let (one, other) = (credential(&tenant).await, credential(&tenant).await);
    let uuid = |id: &str| id.strip_prefix("dns_").unwrap().to_owned();
    let sealed = format!("SELECT sealed FROM dns_credentials WHERE id = '{}'", uuid(&other));
    service.database.psql(&format!("UPDATE dns_credentials SET sealed = ({sealed}) WHERE id = '{}'", uuid(&one))).await;
    let path = format!("{domain}/delegation:plan");
    // Whoever used it would get another answer.
    service.dns.expect(format!("open customer.test {}", access()), Reply::Fail(unauthorized()));
    tenant.send("POST", &path, json!({"dns_credential_id": one})).await.is_problem(500, "internal");
    service.dns.forget();
}

#[tokio::test]
async fn without_a_way_to_customers_dns_the_operations_say_so() {
    let service = Service::start_wired(|_| {}, |url| url, |server| server).await;
    let tenant = service.tenant("one").await;
    tenant.send("POST", "/v1/dns-credentials", cloudflare()).await.is_problem(501, "customer-dns-off");
    assert_eq!(tenant.get("/v1/dns-credentials").await.body["data"], json!([]));
}

#[tokio::test]
async fn slow_name_servers_of_one_tenant_hold_up_nobody_else_and_are_given_up() {
    let configure = |config: &mut mtasts_api::ApiConfig| {
        config.customer_dns_deadline = Duration::from_secs(3);
        config.customer_dns_calls_per_tenant = 2;
    };
    let service = Service::start_with(configure, |url| url).await;
    let (slow, other) = (service.tenant("slow").await, service.tenant("other").await);
    for _ in 0..2 {
        service.dns.expect(format!("check cloudflare - {TOKEN}"), Reply::Hang);
    }
    let hang = || slow.send("POST", "/v1/dns-credentials", cloudflare());
    let meanwhile = async {
        wait_until(Duration::from_secs(2), "both calls are under way", async || service.dns.is_empty()).await;
        let third = slow.send("POST", "/v1/dns-credentials", cloudflare()).await;
        third.is_problem(503, "dns-calls-busy");
        assert!(third.header("retry-after").is_some());
        credential(&other).await;
    };
    let (one, two, ()) = tokio::join!(hang(), hang(), meanwhile);
    for answer in [one, two] {
        answer.is_problem(503, "dns-provider-unavailable");
    }
    credential(&slow).await;
}
