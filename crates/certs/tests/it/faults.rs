//! The CA and the way to it fail, at every step.

use std::time::Duration;

use chrono::TimeDelta;
use mtasts_certs::{ChallengeKind, IssueError, Issuer, OrderKey, OrderState};
use mtasts_model::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::{
    acme_proxy::{AcmeProxy, Fault},
    issuance::{finish, host, offered, publish, validated, wait_for},
    pebble::{Home, Options, Pebble},
};

async fn behind_proxy() -> (Pebble, AcmeProxy, Home) {
    behind_proxy_with(Options { nonce_reject: 0, ..Options::default() }).await
}

async fn behind_proxy_with(options: Options) -> (Pebble, AcmeProxy, Home) {
    let pebble = Pebble::start(options).await;
    let proxy = AcmeProxy::start(&pebble).await;
    let mut home = Home::new(pebble.config_at(proxy.address));
    // Long enough for a loaded machine: only hung requests reach it.
    home.config.request_timeout = Duration::from_secs(5);
    (pebble, proxy, home)
}

fn problem(status: u16, kind: &str, retry_after: Option<&str>) -> Fault {
    let headers = retry_after.map(|value| ("Retry-After", value.to_owned())).into_iter().collect();
    let body = json!({"type": format!("urn:ietf:params:acme:error:{kind}"), "detail": "as asked for"});
    Fault::Answer(status, headers, body.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_says_when_to_come_back() {
    let (_pebble, proxy, home) = behind_proxy().await;
    proxy.inject("/order-plz", 1, problem(429, "rateLimited", Some("120")));
    let limited = home.issuer().place(&host(), None).await.unwrap_err();
    assert!(matches!(&limited, IssueError::RateLimited { detail, .. } if detail == "as asked for"), "{limited}");
    assert_eq!(limited.retry_after(), Some(Duration::from_mins(2)));
    home.issuer().place(&host(), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_in_retry_after_is_understood() {
    let (_pebble, proxy, home) = behind_proxy().await;
    let in_an_hour = (SystemClock.now() + TimeDelta::hours(1)).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    proxy.inject("/order-plz", 1, problem(503, "serverInternal", Some(&in_an_hour)));
    let unavailable = home.issuer().place(&host(), None).await.unwrap_err();
    assert!(matches!(unavailable, IssueError::Unavailable { .. }), "{unavailable}");
    let wait = unavailable.retry_after().unwrap();
    assert!(Duration::from_mins(58) < wait && wait <= Duration::from_hours(1), "{wait:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_errors_are_retryable_whatever_their_body() {
    let (_pebble, proxy, home) = behind_proxy().await;
    for fault in [problem(500, "serverInternal", None), Fault::Answer(502, vec![], "<html>".to_owned())] {
        proxy.inject("/order-plz", 1, fault);
        let unavailable = home.issuer().place(&host(), None).await.unwrap_err();
        assert!(matches!(unavailable, IssueError::Unavailable { retry_after: None, .. }), "{unavailable}");
        assert!(unavailable.is_retryable());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_away_or_not_found_gives_no_order_up() {
    let (_pebble, proxy, home) = behind_proxy().await;
    let placed = home.issuer().place(&host(), None).await.unwrap();
    for fault in [problem(503, "serverInternal", Some("7")), Fault::Answer(404, vec![], String::new())] {
        proxy.inject("/dir", 1, fault);
        let error = home.issuer().state(&placed.url).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
    }
    home.issuer().state(&placed.url).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_hangs_is_given_up_in_time() {
    let (_pebble, proxy, mut home) = behind_proxy().await;
    home.issuer().caa_identity().await.unwrap();
    home.config.request_timeout = Duration::from_millis(300);
    proxy.inject("/order-plz", 1, Fault::Hang);
    let hung = tokio::time::timeout(Duration::from_secs(5), home.issuer().place(&host(), None)).await.unwrap();
    assert!(matches!(hung, Err(IssueError::Unavailable { .. })), "{hung:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_an_end_is_not_read_to_the_end() {
    let (_pebble, proxy, home) = behind_proxy().await;
    proxy.inject("/order-plz", 1, Fault::Answer(201, vec![], "a".repeat(2 * 1024 * 1024)));
    let refused = home.issuer().place(&host(), None).await.unwrap_err();
    assert!(matches!(&refused, IssueError::Unavailable { detail, .. } if detail.contains("limit")), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_acme_is_malformed_and_gives_no_order_up() {
    let (_pebble, proxy, home) = behind_proxy().await;
    let placed = home.issuer().place(&host(), None).await.unwrap();
    proxy.inject("/my-order/", 1, Fault::Answer(200, vec![], "<html>log in to the hotel</html>".to_owned()));
    let malformed = home.issuer().state(&placed.url).await.unwrap_err();
    assert!(matches!(malformed, IssueError::Malformed { .. }) && malformed.is_retryable(), "{malformed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_went_on_between_look_and_word_is_no_failure_and_one_that_did_not_is() {
    let (pebble, proxy, home) = behind_proxy().await;
    let url = home.issuer().place(&host(), None).await.unwrap().url;
    let offer = offered(&home, &url, ChallengeKind::Http01).await;
    publish(&pebble, &offer).await;
    let refusal = r#"{"type": "urn:ietf:params:acme:error:malformed", "status": 400, "detail": "not so"}"#;
    proxy.inject("/chalZ/", 1, Fault::Answer(400, vec![], refusal.to_owned()));
    let refused = home.issuer().answer(&url, ChallengeKind::Http01).await.unwrap_err();
    assert!(matches!(refused, IssueError::Rejected { .. }), "the CA still waits: {refused}");

    home.issuer().answer(&url, ChallengeKind::Http01).await.unwrap();
    wait_for(&home, &url, |state| *state == OrderState::Ready).await;
    // The look is of a moment before; the word comes now, and Pebble refuses it.
    let words = proxy.count("/chalZ/");
    let before = |body: &str, _| body.replace("\"valid\"", "\"pending\"").replace("\"ready\"", "\"pending\"");
    proxy.inject("/my-order/", 1, Fault::Rewrite(before));
    proxy.inject("/authZ/", 1, Fault::Rewrite(before));
    home.issuer().answer(&url, ChallengeKind::Http01).await.unwrap();
    assert!(proxy.count("/chalZ/") > words, "the CA was not spoken to: nothing was shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_lost_after_every_step_took_effect_still_end_in_a_certificate() {
    let (pebble, proxy, home) = behind_proxy().await;
    let lost = |error: &IssueError| assert!(matches!(error, IssueError::Unavailable { .. }), "{error}");

    proxy.inject("/sign-me-up", 1, Fault::DropAnswer);
    lost(&home.issuer().place(&host(), None).await.unwrap_err());
    proxy.inject("/order-plz", 1, Fault::DropAnswer);
    lost(&home.issuer().place(&host(), None).await.unwrap_err());
    let url = home.issuer().place(&host(), None).await.unwrap().url;

    let offer = offered(&home, &url, ChallengeKind::Http01).await;
    publish(&pebble, &offer).await;
    proxy.inject("/chalZ/", 1, Fault::DropAnswer);
    lost(&home.issuer().answer(&url, ChallengeKind::Http01).await.unwrap_err());
    home.issuer().answer(&url, ChallengeKind::Http01).await.unwrap();
    wait_for(&home, &url, |state| *state == OrderState::Ready).await;

    let key = OrderKey::generate().unwrap();
    let request = key.csr(&host()).unwrap();
    proxy.inject("/finalize-order/", 1, Fault::DropAnswer);
    lost(&home.issuer().finalize(&url, &request).await.unwrap_err());
    home.issuer().finalize(&url, &request).await.unwrap();
    wait_for(&home, &url, |state| *state == OrderState::Valid).await;
    assert_eq!(proxy.count("/finalize-order/"), 1, "the request must not be sent twice");

    proxy.inject("/certZ/", 1, Fault::DropAnswer);
    lost(&home.issuer().download(&url).await.unwrap_err());
    finish(&home, &url, &key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_is_looking_already_is_not_told_again() {
    let (_pebble, proxy, home) = behind_proxy().await;
    let url = home.issuer().place(&host(), None).await.unwrap().url;
    let looking = |authorization: &str, _| {
        let mut authorization: Value = serde_json::from_str(authorization).unwrap();
        for challenge in authorization["challenges"].as_array_mut().unwrap() {
            challenge["status"] = json!("processing");
        }
        authorization.to_string()
    };
    proxy.inject("/authZ/", 1, Fault::Rewrite(looking));
    home.issuer().answer(&url, ChallengeKind::Http01).await.unwrap();
    assert_eq!(proxy.count("/chalZ/"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_without_a_challenge_that_we_may_use_is_refused() {
    let (_pebble, proxy, home) = behind_proxy().await;
    let url = home.issuer().place(&host(), None).await.unwrap().url;
    let other = |authorization: &str, _| {
        let mut authorization: Value = serde_json::from_str(authorization).unwrap();
        let url = authorization["challenges"][0]["url"].clone();
        authorization["challenges"] = json!([
            {"type": "dns-persist-99", "url": url, "status": "pending"},
            {"type": "http-01", "url": url, "status": "pending", "token": "../../etc/passwd"},
        ]);
        authorization.to_string()
    };
    proxy.inject("/authZ/", 1, Fault::Rewrite(other));
    let refused = home.issuer().state(&url).await.unwrap_err();
    assert!(matches!(&refused, IssueError::Rejected { problem, .. } if problem == "challengeNotOffered"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_refuses_most_nonces_wears_nobody_out() {
    let (pebble, _proxy, home) = behind_proxy_with(Options { nonce_reject: 50, ..Options::default() }).await;
    let url = validated(&pebble, &home, ChallengeKind::Http01).await;
    let key = OrderKey::generate().unwrap();
    home.issuer().finalize(&url, &key.csr(&host()).unwrap()).await.unwrap();
    finish(&home, &url, &key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonces_that_are_never_right_end_in_a_retryable_error() {
    let (_pebble, proxy, home) = behind_proxy().await;
    home.issuer().caa_identity().await.unwrap();
    proxy.inject("/order-plz", usize::MAX, problem(400, "badNonce", None));
    let error = home.issuer().place(&host(), None).await.unwrap_err();
    assert!(matches!(error, IssueError::Unavailable { .. }), "{error}");
    assert_eq!(proxy.count("/order-plz"), 18, "3 by instant-acme in 6 rounds");
}

#[tokio::test(flavor = "multi_thread")]
async fn processing_says_when_to_ask_again() {
    let (_pebble, proxy, home) = behind_proxy().await;
    let url = home.issuer().place(&host(), None).await.unwrap().url;
    let order = json!({"status": "processing", "authorizations": [], "finalize": "https://127.0.0.1/finalize"});
    proxy.inject("/my-order/", 1, Fault::Answer(200, vec![("Retry-After", "33".to_owned())], order.to_string()));
    let state = home.issuer().state(&url).await.unwrap();
    assert_eq!(state, OrderState::Processing { retry_after: Some(Duration::from_secs(33)) });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_lags_behind_its_validation_is_still_pending() {
    let (pebble, proxy, home) = behind_proxy().await;
    let url = validated(&pebble, &home, ChallengeKind::Http01).await;
    let lagging = |order: &str, _| {
        let mut order: Value = serde_json::from_str(order).unwrap();
        order["status"] = json!("pending");
        order.to_string()
    };
    proxy.inject("/my-order/", 2, Fault::Rewrite(lagging));
    let OrderState::Pending { challenges } = home.issuer().state(&url).await.unwrap() else { panic!() };
    assert!(!challenges.is_empty());
    let told = proxy.count("/chalZ/");
    home.issuer().answer(&url, ChallengeKind::Http01).await.unwrap();
    assert_eq!(proxy.count("/chalZ/"), told);
    assert_eq!(home.issuer().state(&url).await.unwrap(), OrderState::Ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_behind_an_unknown_root_is_not_spoken_to() {
    let (_pebble, _proxy, mut home) = behind_proxy().await;
    home.config.roots_pem = None;
    let refused = home.issuer().place(&host(), None).await.unwrap_err();
    assert!(matches!(&refused, IssueError::Unavailable { detail, .. } if detail.contains("certificate")), "{refused}");
}
