//! Who gets digests, and the pages behind the links of their mails. What is sent, and how, is the worker's: see its tests.

use chrono::TimeDelta;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::service::{Service, Tenant};

const PATH: &str = "/v1/digest-recipients";
const TOKEN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

async fn ask(tenant: &Tenant<'_>, email: &str) -> Value {
    let made = tenant.send("POST", PATH, json!({"email": email, "frequency": "daily"})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.body
}

fn path(recipient: &Value) -> String {
    format!("{PATH}/{}", recipient["id"].as_str().unwrap())
}

async fn status(tenant: &Tenant<'_>, recipient: &Value) -> String {
    tenant.get(&path(recipient)).await.body["status"].as_str().unwrap().to_owned()
}

/// A link as a worker makes it.
async fn link(service: &Service, tenant: &Tenant<'_>, recipient: &Value, purpose: &str, token: &str, hours: i64) {
    let expires_at = mtasts_model::Clock::now(&service.clock) + TimeDelta::hours(hours);
    let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(token.as_bytes()));
    let uuid = |id: &str| id.split_once('_').unwrap().1.to_owned();
    let sql = format!(
        "INSERT INTO digest_tokens VALUES (decode('{hash}', 'hex'), '{}', '{}', '{purpose}', '{}')",
        uuid(&tenant.id),
        uuid(recipient["id"].as_str().unwrap()),
        expires_at.to_rfc3339(),
    );
    service.database.psql(&sql).await;
}

async fn page(service: &Service, method: &str, purpose: &str, token: &str) -> (u16, String) {
    let answer = service.call(method, &format!("/digest/{purpose}/{token}")).send().await;
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(answer.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
    assert!(!answer.text.contains(token), "the page repeats nothing of the request");
    (answer.status, answer.text)
}

#[tokio::test]
async fn an_address_is_asked_and_gets_digests_once_the_button_was_pressed_and_not_by_looking_at_the_link() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let recipient = ask(&tenant, "Ops@Example.COM").await;
    assert_eq!((&recipient["email"], &recipient["status"]), (&json!("Ops@example.com"), &json!("pending")));
    assert_eq!(recipient["kinds"], json!(["tls-rpt", "dmarc"]));
    let mails = "SELECT string_agg(purpose || ' ' || state, ',') FROM digest_mails";
    assert_eq!(service.database.psql(mails).await.trim(), "confirm pending");
    link(&service, &tenant, &recipient, "confirm", TOKEN, 1).await;
    for method in ["GET", "HEAD", "GET"] {
        assert_eq!(page(&service, method, "confirm", TOKEN).await.0, 200);
    }
    assert!(page(&service, "GET", "confirm", TOKEN).await.1.contains("<form method=\"post\">"));
    assert_eq!(status(&tenant, &recipient).await, "pending");
    // A link to say yes is none to get no more, and the other way round.
    assert_eq!(page(&service, "POST", "unsubscribe", TOKEN).await.0, 404);
    assert_eq!(page(&service, "POST", "confirm", TOKEN).await.0, 200);
    let confirmed = tenant.get(&path(&recipient)).await.body;
    assert_eq!(confirmed["status"], "confirmed");
    assert!(confirmed["next_at"].is_string() && confirmed["confirmed_at"].is_string());
    assert_eq!(page(&service, "POST", "confirm", TOKEN).await.0, 404, "it holds once");
    let log = tenant.get("/v1/audit-events?action=digest-recipient.").await.body;
    let actions: Vec<_> = log["data"].as_array().unwrap().iter().map(|line| line["action"].clone()).collect();
    assert_eq!(actions, ["digest-recipient.confirm", "digest-recipient.ask"]);
}

#[tokio::test]
async fn links_that_are_unknown_over_or_of_a_deleted_recipient_do_nothing() {
    let service = Service::start().await;
    let (tenant, other) = (service.tenant("one").await, service.tenant("other").await);
    let recipient = ask(&tenant, "a@example.com").await;
    let foreign = ask(&other, "a@example.com").await;
    link(&service, &tenant, &recipient, "confirm", TOKEN, -1).await;
    for token in [TOKEN, &TOKEN.replace('A', "B"), "short", "%00", &"A".repeat(2000)] {
        assert_eq!(page(&service, "POST", "confirm", token).await.0, 404, "{token}");
    }
    // A link confirms its own recipient, and nobody's of the same address elsewhere.
    let valid = TOKEN.replace('A', "C");
    link(&service, &other, &foreign, "confirm", &valid, 1).await;
    assert_eq!(page(&service, "POST", "confirm", &valid).await.0, 200);
    assert_eq!(
        (status(&tenant, &recipient).await, status(&other, &foreign).await),
        ("pending".into(), "confirmed".into())
    );
    let dead = TOKEN.replace('A', "D");
    link(&service, &tenant, &recipient, "confirm", &dead, 1).await;
    assert_eq!(tenant.call("DELETE", &path(&recipient)).send().await.status, 200);
    assert_eq!(page(&service, "POST", "confirm", &dead).await.0, 404);
    assert_eq!(service.database.psql("SELECT count(*) FROM digest_mails").await.trim(), "1", "only the other's");
}

#[tokio::test]
async fn one_click_ends_the_digests_and_who_is_added_again_is_asked_again() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let recipient = ask(&tenant, "a@example.com").await;
    link(&service, &tenant, &recipient, "confirm", TOKEN, 1).await;
    page(&service, "POST", "confirm", TOKEN).await;
    let body = json!({"email": "A@example.com", "frequency": "weekly"});
    let exists = tenant.send("POST", PATH, body.clone()).await;
    exists.is_problem(409, "digest-recipient-exists");
    assert!(exists.text.contains(recipient["id"].as_str().unwrap()));
    let token = TOKEN.replace('A', "E");
    link(&service, &tenant, &recipient, "unsubscribe", &token, 1).await;
    assert_eq!(page(&service, "GET", "unsubscribe", &token).await.0, 200);
    assert_eq!(status(&tenant, &recipient).await, "confirmed");
    // As mail programs do it (RFC 8058 §3.2); a second time as well.
    for _ in 0..2 {
        let answer = service
            .call("POST", &format!("/digest/unsubscribe/{token}"))
            .raw("application/x-www-form-urlencoded", "List-Unsubscribe=One-Click")
            .send()
            .await;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(status(&tenant, &recipient).await, "unsubscribed");
    let again = tenant.send("POST", PATH, body).await;
    assert_eq!((again.status, &again.body["status"], &again.body["id"]), (201, &json!("pending"), &recipient["id"]));
    assert!(again.body["next_at"].is_null());
    assert_eq!(page(&service, "POST", "confirm", TOKEN).await.0, 404, "the yes of before does not count");
}

#[tokio::test]
async fn there_are_twenty_recipients_at_most_and_faults_are_told_with_their_place() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    for (body, fault) in [
        (json!({"email": "nobody", "frequency": "daily"}), ("/email", "email-local-part")),
        (json!({"email": "a@b.example\r\nBcc: c@d.example", "frequency": "daily"}), ("/email", "email-local-part")),
        (json!({"email": "a@localhost", "frequency": "daily"}), ("/email", "email-domain")),
        (json!({"email": "a@b.example", "frequency": "hourly"}), ("/frequency", "frequency-unknown")),
        (json!({"email": "a@b.example", "frequency": "daily", "kinds": []}), ("/kinds", "wrong-length")),
        (json!({"email": "a@b.example", "frequency": "daily", "kinds": ["arf"]}), ("/kinds/0", "kind-unknown")),
    ] {
        let refused = tenant.send("POST", PATH, body.clone()).await;
        refused.is_problem(422, "invalid-fields");
        assert_eq!(refused.faults(), [(fault.0.to_owned(), fault.1.to_owned())], "{body}");
    }
    for index in 0..20 {
        ask(&tenant, &format!("a{index}@example.com")).await;
    }
    let body = json!({"email": "b@example.com", "frequency": "daily"});
    tenant.send("POST", PATH, body).await.is_problem(409, "digest-recipient-quota");
    ask(&tenant, "a0@example.com").await;
    let listed = tenant.get(PATH).await.body;
    assert_eq!(listed["data"].as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn a_service_without_a_relay_says_so() {
    let service = Service::start_with(|config| config.mail = false, |url| url).await;
    let tenant = service.tenant("one").await;
    let body = json!({"email": "a@example.com", "frequency": "daily"});
    tenant.send("POST", PATH, body).await.is_problem(501, "mail-off");
    assert_eq!(tenant.get(PATH).await.body["data"], json!([]));
}
