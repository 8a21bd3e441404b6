//! The account: made once, kept sealed, made again when the CA has lost it.

use mtasts_certs::{CaaIdentity, ExternalAccount, IssueError, Issuer, KeyRing, Purpose};
use mtasts_model::SystemEntropy;
use secrecy::SecretString;

use crate::{
    issuance::host,
    pebble::{EXTERNAL_KEY, Home, Options, Pebble},
};

async fn account(home: &Home) -> String {
    home.issuer().caa_identity().await.unwrap().account_uri.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_made_once_and_used_after_a_restart() {
    let pebble = Pebble::start(Options::default()).await;
    let home = Home::new(pebble.config());
    let issuer = home.issuer();
    let (first, second) = tokio::join!(issuer.caa_identity(), issuer.caa_identity());
    assert_eq!(first.unwrap(), second.unwrap());
    let kept = home.store.0.lock().unwrap().clone();
    let again = home.issuer().caa_identity().await.unwrap();
    assert_eq!(again, issuer.caa_identity().await.unwrap());
    assert_eq!(*home.store.0.lock().unwrap(), kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_race_for_the_account_use_the_same_one() {
    let pebble = Pebble::start(Options::default()).await;
    let home = Home::new(pebble.config());
    let (first, second, third) = tokio::join!(account(&home), account(&home), account(&home));
    assert!(first == second && second == third, "{first} {second} {third}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_is_kept_sealed() {
    let pebble = Pebble::start(Options::default()).await;
    let mut home = Home::new(pebble.config());
    account(&home).await;
    let sealed = home.store.0.lock().unwrap().clone().unwrap();
    let opened = home.ring.open(Purpose::AcmeAccount, None, None, &sealed).unwrap();
    assert!(opened.windows(9).any(|text| text == b"key_pkcs8"));
    assert!(!sealed.windows(9).any(|text| text == b"key_pkcs8"));

    home.ring = KeyRing::generate(&SystemEntropy).0;
    let unreadable = home.issuer().place(&host(), None).await.unwrap_err();
    assert!(matches!(unreadable, IssueError::State(_)), "{unreadable}");
    assert_eq!(*home.store.0.lock().unwrap(), Some(sealed), "an account that cannot be read must not be overwritten");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_not_shown_to_another_ca() {
    let pebble = Pebble::start(Options::default()).await;
    let mut home = Home::new(pebble.config());
    account(&home).await;
    home.config.directory.set_path("/other");
    assert!(matches!(home.issuer().caa_identity().await, Err(IssueError::State(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_lost_our_account_gets_another_and_old_orders_are_given_up() {
    let mut pebble = Pebble::start(Options::default()).await;
    let home = Home::new(pebble.config());
    let issuer = home.issuer();
    let old = issuer.place(&host(), None).await.unwrap();
    let kept = home.store.0.lock().unwrap().clone();
    pebble.restart().await;
    let gone = issuer.state(&old.url).await.unwrap_err();
    assert!(!gone.is_retryable(), "{gone}");
    issuer.place(&host(), None).await.unwrap();
    assert_ne!(*home.store.0.lock().unwrap(), kept);
    home.issuer().place(&host(), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_account_is_bound_and_a_missing_binding_is_a_refusal() {
    let pebble = Pebble::start(Options { external_accounts: true, ..Options::default() }).await;
    let mut home = Home::new(pebble.config());
    let refused = home.issuer().place(&host(), None).await.unwrap_err();
    assert!(matches!(refused, IssueError::Unauthorized { .. }), "{refused}");
    home.config.external_account =
        Some(ExternalAccount { key_id: "kid-1".to_owned(), hmac_key: SecretString::from(EXTERNAL_KEY) });
    home.issuer().place(&host(), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_for_caa_come_from_the_configuration_before_the_directory() {
    let pebble = Pebble::start(Options::default()).await;
    let mut home = Home::new(pebble.config());
    home.config.caa_identities = vec!["ca.example".to_owned()];
    let CaaIdentity { issuer_domains, account_uri } = home.issuer().caa_identity().await.unwrap();
    assert_eq!(issuer_domains, ["ca.example"]);
    assert!(account_uri.unwrap().starts_with("https://127.0.0.1:"));
}
