//! Invariant 9, and the walk of an order.

use chrono::TimeDelta;
use mtasts_model::{OrderId, Revision, SystemEntropy, feed::Challenge, lifecycle::OrderState};
use mtasts_store::{BucketEmpty, OrderChallenge, Role, StoreError, TokenBucket};

use crate::fixture::Fixture;

fn http01() -> Challenge {
    Challenge::Http01 { token: "token".to_owned(), key_authorization: "token.thumb".to_owned() }
}

#[tokio::test]
async fn a_domain_has_one_live_order() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let domain = fixture.domain(&api, fixture.tenant(&api).await, "example.com").await;
    let lease = fixture.claim(&worker, domain.id).await;
    let draw = || OrderId::draw(fixture.now(), &SystemEntropy);
    let (first, second) = (draw(), draw());
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.take_host().await.unwrap();
    tx.draft_order(first, "an issuer", b"k").await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = fixture.tx(&worker, &lease).await;
    assert!(matches!(tx.draft_order(second, "an issuer", b"k").await, Err(StoreError::OrderLive)));
    drop(tx);
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.order_failed(first, "refused", false).await.unwrap();
    tx.draft_order(second, "an issuer", b"k").await.unwrap();
    tx.commit().await.unwrap();
    let order = fixture.facts(&worker, &lease).await.order.unwrap();
    assert_eq!((order.id, order.state), (second, OrderState::Drafted));
}

#[tokio::test]
async fn an_order_walks_through_its_states_and_ends_as_a_certificate() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let domain = fixture.domain(&api, fixture.tenant(&api).await, "example.com").await;
    let lease = fixture.claim(&worker, domain.id).await;
    let order = OrderId::draw(fixture.now(), &SystemEntropy);
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.take_host().await.unwrap();
    tx.draft_order(order, "an issuer", b"the key").await.unwrap();
    tx.order_placed(order, "https://ca.example/order/1", Some(fixture.now() + TimeDelta::days(7))).await.unwrap();
    tx.order_wait(order, fixture.now() + TimeDelta::seconds(9)).await.unwrap();
    tx.commit().await.unwrap();
    let facts = fixture.facts(&worker, &lease).await.order.unwrap();
    assert_eq!((facts.state, facts.since), (OrderState::Placed, fixture.now()));
    assert_eq!(facts.not_before, Some(fixture.now() + TimeDelta::seconds(9)));

    fixture.clock.advance(TimeDelta::minutes(1));
    let mut tx = fixture.tx(&worker, &lease).await;
    let revision = tx.challenge_published(order, &http01()).await.unwrap();
    tx.commit().await.unwrap();
    let facts = fixture.facts(&worker, &lease).await.order.unwrap();
    assert_eq!(facts.state, OrderState::ChallengePublished { revision });
    assert_eq!((facts.since, facts.not_before), (fixture.now(), None));
    let stored = worker.order(&lease, order).await.unwrap().unwrap();
    assert_eq!(stored.url.as_deref(), Some("https://ca.example/order/1"));
    assert_eq!(
        (stored.sealed_key, stored.challenge),
        (b"the key".to_vec(), Some(OrderChallenge::Edge { challenge: http01() }))
    );

    let mut tx = fixture.tx(&worker, &lease).await;
    tx.order_answered(order).await.unwrap();
    tx.order_ready(order).await.unwrap();
    tx.order_finalizing(order).await.unwrap();
    let new = fixture.certificate();
    tx.certificate_issued(order, new.clone()).await.unwrap();
    tx.commit().await.unwrap();
    let facts = fixture.facts(&worker, &lease).await;
    assert_eq!((facts.order, facts.certificate.unwrap().id), (None, new.id));
    let stored = worker.certificate(&lease, new.id).await.unwrap().unwrap();
    assert_eq!((stored.sealed_key, stored.chain_der), (b"the key".to_vec(), new.chain_der));
    assert_eq!(fixture.view(&api, &domain).await.certificate.unwrap().serial, "00ff");
    assert!(worker.order(&lease, order).await.unwrap().unwrap().closed_at.is_some());
    let gone = "SELECT challenge IS NULL FROM edge_entries WHERE kind = 'challenge'";
    assert_eq!(fixture.database.psql(gone).await.trim(), "t");

    let mut tx = fixture.tx(&worker, &lease).await;
    assert!(matches!(tx.order_ready(order).await, Err(StoreError::OrderClosed)));
    assert!(matches!(tx.order_failed(order, "late", true).await, Err(StoreError::OrderClosed)));
    let advice = fixture.now() + TimeDelta::days(1);
    tx.renewal_advice(new.id, advice, Some(advice)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(fixture.facts(&worker, &lease).await.certificate.unwrap().renew_at, advice);
}

#[tokio::test]
async fn a_challenge_in_the_zone_waits_for_no_edge() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let domain = fixture.domain(&api, fixture.tenant(&api).await, "example.com").await;
    let lease = fixture.claim(&worker, domain.id).await;
    let order = OrderId::draw(fixture.now(), &SystemEntropy);
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.take_host().await.unwrap();
    tx.draft_order(order, "an issuer", b"k").await.unwrap();
    tx.challenge_in_zone(order, "x.acme.sts.example", "digest").await.unwrap();
    tx.commit().await.unwrap();
    let facts = fixture.facts(&worker, &lease).await.order.unwrap();
    assert_eq!(facts.state, OrderState::ChallengePublished { revision: Revision::ZERO });
    let stored = worker.order(&lease, order).await.unwrap().unwrap().challenge;
    let zone = OrderChallenge::Zone { name: "x.acme.sts.example".to_owned(), value: "digest".to_owned() };
    assert_eq!(stored, Some(zone));
}

#[tokio::test]
async fn failed_validations_count_by_name_whoever_ordered() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let mut counted = Vec::new();
    for _ in 0..2 {
        let domain = fixture.domain(&api, fixture.tenant(&api).await, "example.com").await;
        let lease = fixture.claim(&worker, domain.id).await;
        let order = OrderId::draw(fixture.now(), &SystemEntropy);
        let mut tx = fixture.tx(&worker, &lease).await;
        tx.take_host().await.unwrap();
        tx.draft_order(order, "an issuer", b"k").await.unwrap();
        tx.order_failed(order, "urn:ietf:params:acme:error:unauthorized", true).await.unwrap();
        tx.commit().await.unwrap();
        counted.push(fixture.facts(&worker, &lease).await.failed_validations.len());
        fixture.clock.advance(TimeDelta::minutes(40));
        counted.push(fixture.facts(&worker, &lease).await.failed_validations.len());
    }
    assert_eq!(counted, [1, 1, 2, 1], "the first is more than an hour old in the end");
}

#[tokio::test]
async fn budgets_are_shared_and_a_reserve_is_kept_for_what_is_urgent() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let now = fixture.now();
    let ca = |urgent: bool| TokenBucket::of_issuer("ca", 3, 60, u32::from(!urgent));
    let take = async |urgent| worker.take_tokens(&[ca(urgent)], now).await.unwrap();
    let (a, b, c) = tokio::join!(take(false), take(false), take(false));
    assert_eq!([a, b, c].iter().filter(|taken| taken.is_ok()).count(), 2);
    let until = now + TimeDelta::minutes(1);
    assert_eq!(take(false).await, Err(BucketEmpty { index: 0, until }));
    assert_eq!(take(true).await, Ok(()));
    assert!(take(true).await.is_err());
    let (tenant, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let of = |tenant| [TokenBucket::of_tenant(tenant, "issuance", 1, 1)];
    assert_eq!(worker.take_tokens(&of(tenant), now).await.unwrap(), Ok(()));
    let until = now + TimeDelta::hours(1);
    assert_eq!(worker.take_tokens(&of(tenant), now).await.unwrap(), Err(BucketEmpty { index: 0, until }));
    assert_eq!(worker.take_tokens(&of(other), now).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn an_order_takes_from_both_budgets_or_from_none_and_gives_back_what_it_did_not_spend() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let (now, tenant) = (fixture.now(), fixture.tenant(&api).await);
    let both = [TokenBucket::of_tenant(tenant, "issuance", 5, 1), TokenBucket::of_issuer("ca", 1, 1, 0)];
    let levels = async || {
        let levels = fixture.database.psql("SELECT tokens FROM token_buckets ORDER BY tokens DESC").await;
        levels.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(worker.take_tokens(&both, now).await.unwrap(), Ok(()));
    assert_eq!(levels().await, ["4", "0"]);
    let refused = worker.take_tokens(&both, now).await.unwrap().unwrap_err();
    assert_eq!(refused, BucketEmpty { index: 1, until: now + TimeDelta::hours(1) });
    assert_eq!(levels().await, ["4", "0"], "the tenant pays nothing for an empty bucket of the CA");
    for _ in 0..2 {
        worker.return_tokens(&both).await.unwrap();
    }
    assert_eq!(levels().await, ["5", "1"], "never more than a bucket holds");
}

#[tokio::test]
async fn keys_that_nobody_needs_any_more_are_forgotten_and_those_in_use_are_not() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let (served, gone) =
        (fixture.domain(&api, tenant, "example.com").await, fixture.domain(&api, tenant, "gone.example").await);
    for domain in [&served, &gone] {
        fixture.serve(&worker, domain).await;
    }
    let lease = fixture.claim(&worker, served.id).await;
    let failed = OrderId::draw(fixture.now(), &SystemEntropy);
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.draft_order(failed, "an issuer", b"k").await.unwrap();
    tx.order_failed(failed, "refused", false).await.unwrap();
    tx.commit().await.unwrap();
    let kept = async || {
        let query = "SELECT (SELECT count(*) FROM certificates) || ' ' || (SELECT count(*) FROM acme_orders)";
        fixture.database.psql(query).await.trim().to_owned()
    };
    assert_eq!(kept().await, "2 3");
    assert_eq!(worker.prune_issued(fixture.now()).await.unwrap(), 0);

    // A domain that is gone leaves nothing sealed behind.
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    tx.request_withdrawal(gone.id, fixture.none(), &mtasts_store::Actor::operator(), fixture.now()).await.unwrap();
    tx.commit().await.unwrap();
    let lease = fixture.claim(&worker, gone.id).await;
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.finished().await.unwrap();
    tx.commit().await.unwrap();
    assert!(worker.prune_issued(fixture.now()).await.unwrap() > 0);
    assert_eq!((worker.prune_issued(fixture.now()).await.unwrap(), kept().await), (0, "1 2".to_owned()));

    // Renewed, but the old one is what the edges have; a month after its end only what is in use stays.
    let lease = fixture.claim(&worker, served.id).await;
    let newer = fixture.issue(&worker, &lease).await;
    fixture.clock.advance(TimeDelta::days(121));
    worker.prune_issued(fixture.now()).await.unwrap();
    assert_eq!(kept().await, "2 2", "the failed order is forgotten");
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.serve_host(served.version.unwrap().id, newer).await.unwrap();
    tx.commit().await.unwrap();
    worker.prune_issued(fixture.now()).await.unwrap();
    assert_eq!(kept().await, "1 1");
    assert!(worker.certificate(&lease, newer).await.unwrap().is_some());
}

#[tokio::test]
async fn of_two_accounts_that_are_made_at_the_same_time_the_first_is_kept() {
    let fixture = Fixture::new().await;
    let worker = fixture.store(Role::Worker).await;
    assert_eq!(worker.acme_account("ca").await.unwrap(), None);
    let (a, b) = tokio::join!(
        worker.save_acme_account("ca", b"a", None, fixture.now()),
        worker.save_acme_account("ca", b"b", None, fixture.now())
    );
    let kept = a.unwrap();
    assert_eq!(b.unwrap(), kept);
    assert_eq!(worker.acme_account("ca").await.unwrap(), Some(kept.clone()));
    // Likewise when an account is replaced that the CA has forgotten.
    let replace = |new: &'static [u8]| worker.save_acme_account("ca", new, Some(&kept), fixture.now());
    let (c, d) = tokio::join!(replace(b"c"), replace(b"d"));
    let replaced = c.unwrap();
    assert_eq!(d.unwrap(), replaced);
    assert_ne!(replaced, kept);
}
