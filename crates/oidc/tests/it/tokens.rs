//! Which tokens are believed, and what they say.

use chrono::TimeDelta;
use mtasts_model::Role;
use mtasts_oidc::{Refused, Verifier};
use mtasts_testkit::SigningKey;
use serde_json::{Value, json};

use crate::{Desk, TENANT};

#[tokio::test]
async fn a_sound_token_says_who_for_which_tenant_and_in_which_role() {
    let desk = Desk::new().await;
    let identity = desk.of(json!({})).await.unwrap();
    assert_eq!((identity.issuer.as_str(), identity.subject.as_str()), (desk.issuer.url(), "somebody"));
    assert_eq!((identity.tenant, identity.role), (Some(TENANT.parse().unwrap()), Some(Role::Editor)));
    assert_eq!(desk.of(json!({"aud": ["other", "mtasts"]})).await, Ok(identity), "one audience of several");
    assert_eq!(desk.issuer.asked(), 1, "the keys are kept");
}

#[tokio::test]
async fn every_algorithm_that_a_key_allows_is_taken() {
    for algorithm in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
        let desk = Desk::new().await;
        let token = desk.key.token_by(algorithm, &desk.claims(&json!({})));
        assert!(desk.verify(&token).await.is_ok(), "{algorithm}");
    }
    for key in [SigningKey::p256("k1"), SigningKey::p384("k1"), SigningKey::ed25519("k1")] {
        let desk = Desk::with(key, |_| {}).await;
        assert!(desk.of(json!({})).await.is_ok(), "{}", desk.key.jwk());
    }
}

#[tokio::test]
async fn a_token_that_is_not_for_us_or_not_in_its_time_is_refused() {
    let desk = Desk::new().await;
    let now = 1_767_225_600;
    for wrong in [
        json!({"aud": "other"}),
        json!({"aud": ["other"]}),
        json!({"aud": null}),
        json!({"aud": 7}),
        json!({"iss": "https://other.example"}),
        json!({"iss": format!("{}/", desk.issuer.url())}),
        json!({"iss": null}),
        json!({"iss": [desk.issuer.url()]}),
        json!({"exp": null}),
        json!({"exp": "never"}),
        json!({"exp": now - 60}),
        json!({"exp": 0}),
        json!({"exp": -1}),
        json!({"nbf": now + 61}),
        json!({"nbf": "soon"}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": 7}),
        json!({"sub": "x".repeat(256)}),
        json!({"sub": "a\nb"}),
    ] {
        let outcome = desk.of(wrong.clone()).await;
        assert!(matches!(outcome, Err(Refused::Invalid(_))), "{wrong}: {outcome:?}");
    }
    for right in [
        json!({"exp": now - 59}),
        json!({"exp": f64::from(now) + 0.5}),
        json!({"nbf": now + 60}),
        json!({"sub": "ü".repeat(255)}),
    ] {
        assert!(desk.of(right.clone()).await.is_ok(), "{right}");
    }
}

#[tokio::test]
async fn no_signature_that_anybody_could_make_is_believed() {
    let desk = Desk::new().await;
    let claims = desk.claims(&json!({}));
    let refused = async |token: String, what: &str| {
        let outcome = desk.verify(&token).await;
        assert!(matches!(outcome, Err(Refused::Invalid(_))), "{what}: {outcome:?}");
    };
    let sound = desk.key.token(&claims);
    assert!(desk.verify(&sound).await.is_ok());
    let unsigned = desk.key.token_by("none", &claims);
    refused(unsigned.clone(), "alg none").await;
    refused(format!("{unsigned}AA"), "alg none with something behind it").await;
    refused(desk.key.token_by("HS256", &claims), "the public key as a secret").await;
    let (head, signature) = sound.rsplit_once('.').unwrap();
    refused(format!("{head}."), "no signature").await;
    refused(format!("{head}.{}", signature.chars().rev().collect::<String>()), "another signature").await;
    let other = desk.key.token(&desk.claims(&json!({"role": "owner"})));
    let forged = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
    refused(forged, "other claims under this signature").await;
    let stranger = SigningKey::rsa("k1");
    refused(stranger.token(&claims), "a stranger's key under the same id").await;
    let with_key = json!({"alg": "RS256", "kid": "k1", "jwk": stranger.jwk()});
    refused(stranger.token_with(&with_key, &claims), "a key that the token brings along").await;
    let of_curve = SigningKey::p256("k1");
    refused(of_curve.token(&claims), "an algorithm that the key does not allow").await;
    let header = |more: Value| {
        let mut header = json!({"alg": "RS256", "kid": "k1"});
        header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        header
    };
    for bad in [json!({"crit": ["exp"]}), json!({"typ": "logout+jwt"}), json!({"alg": "RS256", "kid": 7})] {
        refused(desk.key.token_with(&header(bad.clone()), &claims), &bad.to_string()).await;
    }
    for good in [json!({}), json!({"typ": "at+jwt"}), json!({"typ": "JWT"})] {
        assert!(desk.verify(&desk.key.token_with(&header(good.clone()), &claims)).await.is_ok(), "{good}");
    }
    let without_id = json!({"alg": "RS256"});
    assert!(desk.verify(&desk.key.token_with(&without_id, &claims)).await.is_ok(), "the one key that there is");
    desk.clock.advance(TimeDelta::seconds(5));
    let claims = desk.claims(&json!({}));
    refused(desk.key.token_with(&json!({"alg": "HS256", "kid": "k9"}), &claims), "a secret under an unknown id").await;
    assert_eq!(desk.issuer.asked(), 1, "nothing of this makes the issuer be asked again");
}

#[tokio::test]
async fn what_is_no_token_is_refused_without_asking_anybody() {
    let desk = Desk::new().await;
    let long = format!("{}.a.a", "a".repeat(8 << 10));
    for text in ["", "a", "a.b", "a.b.c", "a.b.c.d", "..", "mts_live_x", "a b.c.d", "ü.ü.ü", &long] {
        assert!(matches!(desk.verify(text).await, Err(Refused::Invalid(_))), "{text}");
    }
    assert!(Verifier::is_token("a.b.c") && !Verifier::is_token("mts_live_a_b"));
    let elsewhere = desk.claims(&json!({"iss": "https://other.example"}));
    assert!(desk.verify(&desk.key.token(&elsewhere)).await.is_err());
    assert_eq!(desk.issuer.asked(), 0);
}

#[tokio::test]
async fn tenant_and_role_are_read_where_the_configuration_says() {
    let desk = Desk::with(SigningKey::p256("k1"), |config| {
        config.tenant_claim = "https://mtasts.example/tenant".parse().unwrap();
        config.role_claim = "/realm_access/roles".parse().unwrap();
        config.roles = [("sts-staff".to_owned(), Role::Editor), ("sts-lead".to_owned(), Role::Admin)].into();
    })
    .await;
    let said = async |claims: Value| {
        let identity = desk.of(claims).await.unwrap();
        (identity.tenant.is_some(), identity.role)
    };
    let roles = |roles: Value| json!({"https://mtasts.example/tenant": TENANT, "realm_access": {"roles": roles}});
    assert_eq!(
        said(roles(json!(["other", "sts-staff", "sts-lead", 7]))).await,
        (true, Some(Role::Admin)),
        "the highest"
    );
    assert_eq!(said(roles(json!("sts-staff"))).await, (true, Some(Role::Editor)));
    for unknown in [json!(["owner"]), json!([]), json!({"owner": true}), json!(null), json!(7)] {
        assert_eq!(said(roles(unknown.clone())).await, (true, None), "{unknown}");
    }
    for tenant in [json!("ten_1"), json!([TENANT]), json!(7), json!(TENANT.to_uppercase())] {
        assert_eq!(said(json!({"https://mtasts.example/tenant": tenant})).await, (false, None));
    }
    assert_eq!(said(json!({})).await, (false, None), "claims of other names say nothing");
}
