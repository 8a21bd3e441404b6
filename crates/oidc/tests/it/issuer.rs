//! How an issuer's keys come, stay and go.

use std::sync::Arc;

use chrono::TimeDelta;
use mtasts_oidc::Refused;
use mtasts_testkit::{IssuerMood, SigningKey, wait_until};
use serde_json::json;

use crate::Desk;

#[tokio::test]
async fn a_new_key_is_fetched_when_it_is_first_seen_and_an_old_one_ends_with_it() {
    let desk = Desk::new().await;
    assert!(desk.of(json!({})).await.is_ok());
    let old = desk.key.token(&desk.claims(&json!({})));
    let next = SigningKey::rsa("k2");
    desk.issuer.publish(&[&next]);
    desk.clock.advance(TimeDelta::seconds(5));
    assert!(desk.verify(&next.token(&desk.claims(&json!({})))).await.is_ok());
    assert_eq!(desk.issuer.asked(), 2);
    desk.clock.advance(TimeDelta::seconds(5));
    assert!(desk.verify(&old).await.is_err(), "the key was taken back");
}

#[tokio::test]
async fn a_flood_of_unknown_keys_is_no_flood_at_the_issuer() {
    let desk = Desk::new().await;
    assert!(desk.of(json!({})).await.is_ok());
    let unknown = Arc::new(SigningKey::p256("unknown").token(&desk.claims(&json!({}))));
    let flood = async || {
        let calls = (0..200).map(|_| {
            let (verifier, token) = (Arc::clone(&desk.verifier), Arc::clone(&unknown));
            tokio::spawn(async move { verifier.verify(&token).await })
        });
        for call in calls.collect::<Vec<_>>() {
            assert!(matches!(call.await.unwrap(), Err(Refused::Invalid(_))));
        }
    };
    flood().await;
    assert_eq!(desk.issuer.asked(), 1, "it was asked a moment ago");
    desk.clock.advance(TimeDelta::seconds(5));
    flood().await;
    assert_eq!(desk.issuer.asked(), 2);
}

#[tokio::test]
async fn many_first_tokens_at_once_ask_once() {
    let desk = Desk::new().await;
    let token = Arc::new(desk.key.token(&desk.claims(&json!({}))));
    let calls = (0..50).map(|_| {
        let (verifier, token) = (Arc::clone(&desk.verifier), Arc::clone(&token));
        tokio::spawn(async move { verifier.verify(&token).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert!(call.await.unwrap().is_ok());
    }
    assert_eq!(desk.issuer.asked(), 1);
}

#[tokio::test]
async fn whoever_loses_patience_does_not_undo_what_others_wait_for() {
    let desk = Desk::new().await;
    let token = desk.key.token(&desk.claims(&json!({})));
    let (verifier, impatient) = (Arc::clone(&desk.verifier), token.clone());
    let call = tokio::spawn(async move { verifier.verify(&impatient).await });
    tokio::task::yield_now().await;
    call.abort();
    wait_until(std::time::Duration::from_secs(10), "the keys have come", async || desk.verify(&token).await.is_ok())
        .await;
    assert_eq!(desk.issuer.asked(), 1);
}

#[tokio::test]
async fn while_the_issuer_is_away_its_keys_serve_for_a_day_and_come_anew_when_it_is_back() {
    let desk = Desk::new().await;
    assert!(desk.of(json!({})).await.is_ok());
    desk.issuer.be(IssuerMood::Failing);
    for _ in 0..11 {
        desk.clock.advance(TimeDelta::hours(2));
        assert!(desk.of(json!({})).await.is_ok());
    }
    desk.clock.advance(TimeDelta::hours(2));
    assert_eq!(desk.of(json!({})).await, Err(Refused::Unavailable), "after a day nobody goes by them");
    desk.issuer.be(IssuerMood::Well);
    desk.clock.advance(TimeDelta::seconds(5));
    assert!(desk.of(json!({})).await.is_ok());
}

#[tokio::test]
async fn keys_are_fetched_anew_every_ten_minutes_beside_the_calls() {
    let desk = Desk::new().await;
    assert!(desk.of(json!({})).await.is_ok());
    desk.clock.advance(TimeDelta::seconds(599));
    assert!(desk.of(json!({})).await.is_ok());
    assert_eq!(desk.issuer.asked(), 1);
    let old = desk.key.token(&desk.claims(&json!({})));
    desk.issuer.publish(&[&SigningKey::rsa("k2")]);
    desk.clock.advance(TimeDelta::seconds(1));
    assert!(desk.verify(&old).await.is_ok(), "this call does not wait");
    wait_until(std::time::Duration::from_secs(10), "the old key has ended", async || desk.verify(&old).await.is_err())
        .await;
    assert_eq!(desk.issuer.asked(), 2);
}

#[tokio::test]
async fn an_issuer_that_answers_wrongly_gives_no_keys_and_is_not_followed() {
    for mood in [
        IssuerMood::Failing,
        IssuerMood::Redirecting,
        IssuerMood::Verbose,
        IssuerMood::Impersonating,
        IssuerMood::Careless,
    ] {
        let desk = Desk::new().await;
        desk.issuer.be(mood);
        assert_eq!(desk.of(json!({})).await, Err(Refused::Unavailable), "{mood:?}");
        desk.issuer.be(IssuerMood::Well);
        assert_eq!(desk.of(json!({})).await, Err(Refused::Unavailable), "it was asked a moment ago");
        desk.clock.advance(TimeDelta::seconds(5));
        assert!(desk.of(json!({})).await.is_ok(), "{mood:?}");
    }
}

#[tokio::test]
async fn a_silent_issuer_is_given_up_in_time() {
    let desk = Desk::new().await;
    desk.issuer.be(IssuerMood::Silent);
    let start = std::time::Instant::now();
    assert_eq!(desk.of(json!({})).await, Err(Refused::Unavailable));
    assert!(start.elapsed() < std::time::Duration::from_secs(10), "{:?}", start.elapsed());
}
