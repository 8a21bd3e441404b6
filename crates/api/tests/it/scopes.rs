//! What a key may do, and how it ends: scopes, rotation, revocation.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use mtasts_model::Clock;
use serde_json::{Value, json};

use crate::service::{Answer, Call, OPERATOR_TOKEN, SCOPES, Service, Tenant};

const NOBODY: &str = "00000000000070008000000000000000";

/// A further key of the tenant, with its id.
async fn key(tenant: &Tenant<'_>, body: Value) -> (String, String) {
    let made = tenant.send("POST", "/v1/api-keys", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    secret_and_id(&made)
}

fn secret_and_id(made: &Answer) -> (String, String) {
    (made.body["key"].as_str().unwrap().to_owned(), made.body["id"].as_str().unwrap().to_owned())
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

async fn works(service: &Service, key: &str) -> bool {
    let answer = service.call("GET", "/v1/tenant").token(key).send().await;
    if answer.status != 200 {
        answer.is_problem(401, "unauthenticated");
    }
    answer.status == 200
}

#[tokio::test]
async fn every_operation_is_closed_to_a_key_without_its_scope_and_open_to_one_with_it() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (mut alone, mut without) = (Vec::new(), Vec::new());
    for scope in SCOPES {
        alone.push(key(&tenant, json!({"name": scope, "scopes": [scope]})).await.0);
        let others: Vec<_> = SCOPES.into_iter().filter(|other| *other != scope).collect();
        without.push(key(&tenant, json!({"name": "all others", "scopes": others})).await.0);
    }
    let mut covered = 0;
    for operation in service.spec.operations() {
        let Some(scope) = operation.value["security"][0]["api_key"][0].as_str() else { continue };
        let at = format!("{} {} needs {scope}", operation.method, operation.path);
        let path = operation.path_with(|name| match name {
            "domain_id" => format!("dom_{NOBODY}"),
            "version_id" => format!("pol_{NOBODY}"),
            "key_id" => format!("key_{NOBODY}"),
            "dns_credential_id" => format!("dns_{NOBODY}"),
            "webhook_id" => format!("whk_{NOBODY}"),
            "digest_recipient_id" => format!("rcp_{NOBODY}"),
            "delivery_id" => format!("dlv_{NOBODY}"),
            // An id that cannot be read is refused behind the scope, as one that is not there is.
            _ => NOBODY.to_owned(),
        });
        let send = async |key: &str| {
            // A body that no operation takes: whoever is let in hears of that or of the id, and nothing happens.
            let call = service.call(&operation.method, &path).token(key);
            let takes_body = operation.value["requestBody"].is_object();
            if takes_body { call.json(&json!({"no-such-field": 1})).send().await } else { call.send().await }
        };
        let index = SCOPES.iter().position(|one| *one == scope).unwrap();
        let refused = send(&without[index]).await;
        let problem = refused.is_problem(403, "scope-missing");
        assert_eq!(problem["missing_scopes"], json!([scope]), "{at}");
        assert!(problem["detail"].as_str().unwrap().contains(scope), "{at}");
        let challenge = format!("Bearer realm=\"mtasts\", error=\"insufficient_scope\", scope=\"{scope}\"");
        assert_eq!(refused.header("www-authenticate"), Some(challenge.as_str()), "{at}");
        let open = send(&alone[index]).await;
        assert!(!matches!(open.status, 401 | 403 | 500), "{at}: {}", open.text);
        covered += 1;
    }
    assert!(covered >= 29, "only {covered} operations were covered");
}

#[tokio::test]
async fn a_path_in_another_spelling_needs_the_same_scope() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (reader, _) = key(&tenant, json!({"name": "reader", "scopes": ["domains:read"]})).await;
    let (path, id) = tenant.domain(json!({"name": "a.test", "mx": ["mx.a.test"]})).await;
    for spelling in [path, format!("/v1/%64omains/{id}"), format!("/v1/domains/%64{}", &id[1..])] {
        let refused = service.call("DELETE", &spelling).token(&reader).send().await;
        refused.is_problem(403, "scope-missing");
        assert_eq!(service.call("GET", &spelling).token(&reader).send().await.status, 200, "{spelling}");
    }
}

#[tokio::test]
async fn a_key_makes_no_key_that_may_do_more_than_itself() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (maker, _) = key(&tenant, json!({"name": "maker", "scopes": ["keys:write", "domains:read"]})).await;
    let make = |body: Value| service.call("POST", "/v1/api-keys").token(&maker).json(&body).send();
    let refused = make(json!({"name": "more", "scopes": ["domains:read", "policy:write", "audit:read"]})).await;
    assert_eq!(refused.is_problem(403, "scope-missing")["missing_scopes"], json!(["policy:write", "audit:read"]));
    let less = make(json!({"name": "less", "scopes": ["domains:read", "domains:read"]})).await;
    assert_eq!((less.status, &less.body["scopes"]), (201, &json!(["domains:read"])));
    let same = make(json!({"name": "same"})).await;
    assert_eq!((same.status, &same.body["scopes"]), (201, &json!(["domains:read", "keys:write"])));
    let listed = tenant.get("/v1/api-keys").await.body["data"].as_array().unwrap().len();
    assert_eq!(listed, 4, "nothing was made by the refused request");
}

#[tokio::test]
async fn the_operator_makes_keys_with_all_scopes_or_some() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let path = format!("/v1/tenants/{}/api-keys", tenant.id);
    let unnamed = service.call("POST", &path).token(OPERATOR_TOKEN).json(&json!({"name": "unnamed"})).send().await;
    assert_eq!(unnamed.body["scopes"], json!(SCOPES[..7]), "all but those on customers, where none are named");
    let body = json!({"name": "auditor", "scopes": ["audit:read"]});
    let made = service.call("POST", &path).token(OPERATOR_TOKEN).json(&body).send().await;
    assert_eq!((made.status, &made.body["scopes"]), (201, &json!(["audit:read"])));
    let refused = service.call("GET", "/v1/domains").token(made.body["key"].as_str().unwrap()).send().await;
    refused.is_problem(403, "scope-missing");
}

#[tokio::test]
async fn wrong_scopes_and_ends_are_named_with_their_place() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let faults = async |more: Value| {
        let mut body = json!({"name": "key"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = tenant.send("POST", "/v1/api-keys", body).await;
        answer.is_problem(422, "invalid-fields");
        answer.faults()
    };
    let one = |pointer: &str, code: &str| vec![(pointer.to_owned(), code.to_owned())];
    assert_eq!(faults(json!({"scopes": []})).await, one("/scopes", "no-scope"));
    assert_eq!(faults(json!({"scopes": ["domains:read", "all"]})).await, one("/scopes/1", "scope-unknown"));
    assert_eq!(faults(json!({"scopes": vec!["audit:read"; 10]})).await, one("/scopes", "too-many"));
    assert_eq!(faults(json!({"expires_at": "2026-01-01T00:00:00Z"})).await, one("/expires_at", "not-in-future"));
    assert_eq!(faults(json!({"expires_at": "2031-06-01T00:00:00Z"})).await, one("/expires_at", "too-far"));
    assert_eq!(faults(json!({"expires_at": "tomorrow"})).await.len(), 1);
    let both = faults(json!({"scopes": ["x"], "expires_at": "2020-01-01T00:00:00Z"})).await;
    assert_eq!(both.len(), 2, "{both:?}");
}

#[tokio::test]
async fn a_rotated_key_works_beside_its_successor_until_the_overlap_ends() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let body = json!({"name": "ci", "scopes": ["domains:read"], "expires_at": "2026-01-11T00:00:00Z"});
    let (old, old_id) = key(&tenant, body).await;
    let made_at = service.clock.now();
    service.clock.advance(TimeDelta::days(2));
    let path = format!("/v1/api-keys/{old_id}/rotate");
    let rotated = tenant.send("POST", &path, json!({"overlap_seconds": 3600})).await;
    assert_eq!(rotated.status, 201, "{}", rotated.text);
    let (new, new_id) = secret_and_id(&rotated);
    assert_eq!((&rotated.body["name"], &rotated.body["scopes"]), (&json!("ci"), &json!(["domains:read"])));
    let span = time(&json!("2026-01-11T00:00:00Z")) - made_at;
    assert_eq!(time(&rotated.body["expires_at"]), service.clock.now() + span, "it lives as long as the old one was to");
    let replaced = &rotated.body["replaced"];
    assert_eq!((&replaced["id"], &replaced["successor_id"]), (&json!(old_id), &json!(new_id)));
    assert_eq!(time(&replaced["expires_at"]), service.clock.now() + TimeDelta::hours(1));
    assert_eq!(rotated.body["successor_id"], Value::Null);

    let list = tenant.get("/v1/api-keys").await;
    assert!(!list.text.contains(&new), "a list never shows a key");
    assert!(works(&service, &old).await && works(&service, &new).await);
    tenant.send("POST", &path, json!({})).await.is_problem(409, "api-key-ended");
    service.clock.advance(TimeDelta::hours(1));
    assert!(!works(&service, &old).await && works(&service, &new).await);
}

#[tokio::test]
async fn the_overlap_is_a_day_where_none_is_given_and_a_week_at_most() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (old, id) = key(&tenant, json!({"name": "lasting"})).await;
    let path = format!("/v1/api-keys/{id}/rotate");
    for (wrong, code) in [(json!(604_801), "out-of-range"), (json!(5_000_000_000_u64), "out-of-range")] {
        let answer = tenant.send("POST", &path, json!({"overlap_seconds": wrong})).await;
        answer.is_problem(422, "invalid-fields");
        assert_eq!(answer.faults(), [("/overlap_seconds".to_owned(), code.to_owned())]);
    }
    tenant.send("POST", &path, json!({"overlap_seconds": -1})).await.is_problem(422, "invalid-fields");
    let rotated = tenant.send("POST", &path, json!({})).await;
    assert_eq!(rotated.body["expires_at"], Value::Null, "a key without end gets one without end");
    assert_eq!(time(&rotated.body["replaced"]["expires_at"]), service.clock.now() + TimeDelta::days(1));
    assert!(works(&service, &old).await);

    let (at_once, id) = key(&tenant, json!({"name": "leaked"})).await;
    let path = format!("/v1/api-keys/{id}/rotate");
    let rotated = service.call("POST", &path).token(&at_once).json(&json!({"overlap_seconds": 0})).send().await;
    assert_eq!(rotated.status, 201, "a key may rotate itself");
    assert!(!works(&service, &at_once).await);
    assert!(works(&service, rotated.body["key"].as_str().unwrap()).await);
}

#[tokio::test]
async fn rotation_gives_nobody_the_secret_of_a_key_that_may_do_more() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (small, _) = key(&tenant, json!({"name": "small", "scopes": ["keys:write"]})).await;
    let path = format!("/v1/api-keys/{}/rotate", tenant.key_id);
    let refused = service.call("POST", &path).token(&small).json(&json!({"overlap_seconds": 0})).send().await;
    let missing = refused.is_problem(403, "scope-missing")["missing_scopes"].as_array().unwrap();
    assert_eq!(missing.len(), SCOPES.len() - 1);
    assert!(works(&service, &tenant.key).await, "nothing happened to it");
}

#[tokio::test]
async fn a_key_that_has_ended_is_not_rotated() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (_, revoked) = key(&tenant, json!({"name": "revoked"})).await;
    tenant.call("DELETE", &format!("/v1/api-keys/{revoked}")).send().await;
    let (_, expired) = key(&tenant, json!({"name": "expired", "expires_at": "2026-01-01T01:00:00Z"})).await;
    service.clock.advance(TimeDelta::hours(2));
    for id in [revoked, expired] {
        let answer = tenant.send("POST", &format!("/v1/api-keys/{id}/rotate"), json!({})).await;
        answer.is_problem(409, "api-key-ended");
    }
}

#[tokio::test]
async fn of_rotations_at_the_same_time_one_makes_a_key() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (_, id) = key(&tenant, json!({"name": "raced"})).await;
    let path = format!("/v1/api-keys/{id}/rotate");
    let answers = join_all((0..6).map(|_| tenant.send("POST", &path, json!({})))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    for other in answers.iter().filter(|answer| answer.status != 201) {
        other.is_problem(409, "api-key-ended");
    }
    assert_eq!(tenant.get("/v1/api-keys").await.body["data"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_repeated_rotation_gives_the_same_secret_and_stores_none() {
    let service = Service::start().await;
    let tenant = service.tenant("one").await;
    let (other, _) = key(&tenant, json!({"name": "other"})).await;
    let (_, id) = key(&tenant, json!({"name": "rotating"})).await;
    let path = format!("/v1/api-keys/{id}/rotate");
    let rotate = |token: &str| -> Call<'_> {
        let call = service.call("POST", &path).token(token).header("Idempotency-Key", "r1");
        call.json(&json!({"overlap_seconds": 60}))
    };
    let (first, second) = (rotate(&tenant.key).send().await, rotate(&tenant.key).send().await);
    assert_eq!((first.status, &first.text), (201, &second.text));
    assert_eq!(second.header("idempotent-replayed"), Some("true"));
    let secret = first.body["key"].as_str().unwrap();
    assert!(works(&service, secret).await);
    // With another credential the secret cannot be computed: no wrong one is given out.
    rotate(&other).send().await.is_problem(422, "idempotency-key-reused");

    let random = secret.split('_').nth(2).unwrap();
    let kept = "SELECT string_agg(encode(body, 'escape'), '') || string_agg(after::text, '') \
                FROM idempotency_keys, audit_events";
    let kept = service.database.psql(kept).await;
    assert!(kept.contains("rotating") && kept.contains("successor"), "{kept}");
    assert!(!kept.contains(random), "a secret is kept");
    let rotations = "SELECT count(*) FROM audit_events WHERE action = 'api-key.rotate'";
    assert_eq!(service.database.psql(rotations).await.trim(), "1");
}

#[tokio::test]
async fn what_ends_at_one_replica_has_ended_at_every_other() {
    let one = Service::start().await;
    let url = one.database.url();
    let other = Service::start_with(|_| {}, move |_| url).await;
    let tenant = one.tenant("one").await;
    let (revoked, revoked_id) = key(&tenant, json!({"name": "revoked"})).await;
    let (rotated, rotated_id) = key(&tenant, json!({"name": "rotated"})).await;
    for key in [&revoked, &rotated] {
        // Both have served it, so that a cache would have it.
        assert!(works(&one, key).await && works(&other, key).await);
    }
    tenant.call("DELETE", &format!("/v1/api-keys/{revoked_id}")).send().await;
    assert!(!works(&other, &revoked).await && !works(&one, &revoked).await, "in the very next call");
    let path = format!("/v1/api-keys/{rotated_id}/rotate");
    let answer = tenant.send("POST", &path, json!({"overlap_seconds": 0})).await;
    assert!(!works(&other, &rotated).await && works(&other, answer.body["key"].as_str().unwrap()).await);
}
