//! An order from its placing to a proved certificate.

use std::time::{Duration, Instant};

use mtasts_certs::{ChallengeKind, IssueError, IssuedChain, Issuer, OfferedChallenge, OrderKey, OrderState, prove};
use mtasts_model::{Clock, HostName, SystemClock};

use crate::pebble::{Home, Options, Pebble};

const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn host() -> HostName {
    HostName::parse("mta-sts.customer.test").unwrap()
}

/// Asks, each time with a fresh issuer, until the answer is what is waited for.
pub(crate) async fn wait_for(home: &Home, url: &str, what: impl Fn(&OrderState) -> bool) -> OrderState {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let state = home.issuer().state(url).await.unwrap();
        if what(&state) {
            return state;
        }
        assert!(Instant::now() < deadline, "the order stays at {state:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn offered(home: &Home, url: &str, kind: ChallengeKind) -> OfferedChallenge {
    match home.issuer().state(url).await.unwrap() {
        OrderState::Pending { challenges } => challenges.into_iter().find(|offer| offer.kind == kind).unwrap(),
        other => panic!("expected a pending order, found {other:?}"),
    }
}

/// Publishes the answer as the worker and its edges or nameserver do.
pub(crate) async fn publish(pebble: &Pebble, offer: &OfferedChallenge) {
    match offer.for_edges(&host()).unwrap() {
        Some(challenge) => pebble.validation.publish(challenge),
        None => pebble.set_txt("_acme-challenge.mta-sts.customer.test", &offer.dns_01_value()).await,
    }
}

/// An order up to where its certificate request may be sent.
pub(crate) async fn validated(pebble: &Pebble, home: &Home, kind: ChallengeKind) -> String {
    let placed = home.issuer().place(&host(), None).await.unwrap();
    assert!(placed.expires_at.unwrap() > SystemClock.now());
    let offer = offered(home, &placed.url, kind).await;
    publish(pebble, &offer).await;
    home.issuer().answer(&placed.url, kind).await.unwrap();
    let state = wait_for(home, &placed.url, |state| !matches!(state, OrderState::Pending { .. })).await;
    assert_eq!(state, OrderState::Ready);
    placed.url
}

pub(crate) async fn finish(home: &Home, url: &str, key: &OrderKey) -> IssuedChain {
    wait_for(home, url, |state| *state == OrderState::Valid).await;
    let chain = home.issuer().download(url).await.unwrap();
    prove(chain.certificates(), &key.to_pkcs8_der(), &host(), SystemClock.now()).unwrap();
    chain
}

async fn issue(kind: ChallengeKind) {
    let pebble = Pebble::start(Options::default()).await;
    let home = Home::new(pebble.config());
    let url = validated(&pebble, &home, kind).await;
    let key = OrderKey::generate().unwrap();
    home.issuer().finalize(&url, &key.csr(&host()).unwrap()).await.unwrap();
    let chain = finish(&home, &url, &key).await;
    assert!(chain.certificates().len() > 1, "no intermediate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_process_at_every_step_gets_a_certificate_by_http_01() {
    issue(ChallengeKind::Http01).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_process_at_every_step_gets_a_certificate_by_tls_alpn_01() {
    issue(ChallengeKind::TlsAlpn01).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_process_at_every_step_gets_a_certificate_by_dns_01() {
    issue(ChallengeKind::Dns01).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_may_be_repeated() {
    let pebble = Pebble::start(Options::default()).await;
    let home = Home::new(pebble.config());
    let url = validated(&pebble, &home, ChallengeKind::Http01).await;
    home.issuer().answer(&url, ChallengeKind::Http01).await.unwrap();
    let key = OrderKey::generate().unwrap();
    let request = key.csr(&host()).unwrap();
    home.issuer().finalize(&url, &request).await.unwrap();
    home.issuer().finalize(&url, &request).await.unwrap();
    let chain = finish(&home, &url, &key).await;
    home.issuer().finalize(&url, &request).await.unwrap();
    assert_eq!(finish(&home, &url, &key).await, chain);
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_that_come_too_early_are_not_ready() {
    let pebble = Pebble::start(Options::default()).await;
    let home = Home::new(pebble.config());
    let placed = home.issuer().place(&host(), None).await.unwrap();
    let request = OrderKey::generate().unwrap().csr(&host()).unwrap();
    let too_early = home.issuer().finalize(&placed.url, &request).await.unwrap_err();
    assert!(matches!(too_early, IssueError::NotReady { status: "pending" }), "{too_early}");
    let too_early = home.issuer().download(&placed.url).await.unwrap_err();
    assert!(matches!(too_early, IssueError::NotReady { .. }) && too_early.is_retryable(), "{too_early}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validation_that_fails_makes_the_order_invalid_and_counts() {
    let pebble = Pebble::start(Options::default()).await;
    let home = Home::new(pebble.config());
    let placed = home.issuer().place(&host(), None).await.unwrap();
    home.issuer().answer(&placed.url, ChallengeKind::Http01).await.unwrap();
    let state = wait_for(&home, &placed.url, |state| !matches!(state, OrderState::Pending { .. })).await;
    let OrderState::Invalid { problem, validation_failed: true } = state else { panic!("{state:?}") };
    assert!(problem.contains("urn:ietf:params:acme:error:"), "{problem}");
    // Telling a dead order again, or asking it for more, does no harm.
    home.issuer().answer(&placed.url, ChallengeKind::Http01).await.unwrap();
    let request = OrderKey::generate().unwrap().csr(&host()).unwrap();
    let refused = home.issuer().finalize(&placed.url, &request).await.unwrap_err();
    assert!(matches!(refused, IssueError::Rejected { .. }) && !refused.is_retryable(), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_the_ca_does_not_know_is_gone() {
    let pebble = Pebble::start(Options::default()).await;
    let home = Home::new(pebble.config());
    let url = format!("https://{}/my-order/never-was", pebble.address);
    assert!(matches!(home.issuer().state(&url).await, Err(IssueError::OrderGone)));
    assert!(matches!(home.issuer().answer(&url, ChallengeKind::Http01).await, Err(IssueError::OrderGone)));
    assert!(matches!(home.issuer().download(&url).await, Err(IssueError::OrderGone)));
}

#[tokio::test(flavor = "multi_thread")]
async fn challenges_come_in_the_issuers_order_and_no_others() {
    let pebble = Pebble::start(Options::default()).await;
    let mut home = Home::new(pebble.config());
    home.config.challenge_kinds = vec![ChallengeKind::Dns01, ChallengeKind::Http01];
    let placed = home.issuer().place(&host(), None).await.unwrap();
    let OrderState::Pending { challenges } = home.issuer().state(&placed.url).await.unwrap() else { panic!() };
    let kinds: Vec<_> = challenges.iter().map(|offer| offer.kind).collect();
    assert_eq!(kinds, home.config.challenge_kinds);
}
