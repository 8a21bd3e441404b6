//! Invariant 5: a domain that was served is withdrawn only when no sender can need it.

use chrono::TimeDelta;
use mtasts_model::{
    Mode, Revision,
    feed::EdgeEntry,
    lifecycle::{HostOwner, Purpose},
};
use mtasts_store::{Actor, DomainState, Role, StoreError, VersionReason};

use crate::fixture::{Fixture, changes, is_fenced, line, policy};

#[tokio::test]
async fn a_domain_that_was_never_served_is_gone_at_once() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let edge = fixture.store(Role::Edge).await;
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let lease = fixture.claim(&worker, domain.id).await;
    let order = mtasts_model::OrderId::draw(fixture.now(), &mtasts_model::SystemEntropy);
    let challenge =
        mtasts_model::feed::Challenge::Http01 { token: "t".to_owned(), key_authorization: "t.k".to_owned() };
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.take_host().await.unwrap();
    tx.draft_order(order, "an issuer", b"k").await.unwrap();
    tx.challenge_published(order, &challenge).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = api.tenant_tx(tenant).await.unwrap();
    let view = tx.request_withdrawal(domain.id, fixture.none(), &Actor::operator(), fixture.now()).await.unwrap();
    assert_eq!(view.state, DomainState::Gone);
    assert!(matches!(tx.request_verify(domain.id, &Actor::operator(), fixture.now()).await, Err(StoreError::NotFound)));
    tx.commit().await.unwrap();
    assert!(is_fenced(&worker.lease_tx(&lease, fixture.now()).await));
    assert_eq!(worker.next_due_at().await.unwrap(), None);
    let entries: Vec<_> = changes(&edge, Revision::ZERO).await.into_iter().map(|change| change.entry).collect();
    assert_eq!(entries, [EdgeEntry::HostGone, EdgeEntry::ChallengeGone]);
    // The name can be registered again.
    fixture.domain(&api, tenant, "example.com").await;
}

#[tokio::test]
async fn a_served_domain_serves_none_until_it_is_finished() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let edge = fixture.store(Role::Edge).await;
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let first = domain.version.clone().unwrap().id;
    let served = fixture.serve(&worker, &domain).await;
    let node = fixture.edge_node(&edge).await;
    let served_at = fixture.now() + TimeDelta::minutes(3);
    edge.flush_served(&[line(&domain, first, served_at)], Some(served_at), node).await.unwrap();

    let actor = Actor::operator();
    let mut versions = 0;
    for _ in 0..2 {
        let mut tx = api.tenant_tx(tenant).await.unwrap();
        let view = tx.request_withdrawal(domain.id, fixture.none(), &actor, fixture.now()).await.unwrap();
        assert_eq!(view.state, DomainState::Withdrawing);
        assert_eq!(view.version.as_ref().unwrap().policy.mode(), Mode::None);
        assert_eq!(view.safe_to_remove_at, Some(served_at + TimeDelta::seconds(86_400)));
        versions = tx.versions(domain.id, None, 10).await.unwrap().len();
        let change = fixture.version(policy(Mode::Testing, &["mx.example.net"], 60), VersionReason::Changed);
        let refused = tx.set_policy(domain.id, change, None, &actor, fixture.now()).await;
        assert!(matches!(refused, Err(StoreError::Withdrawing)));
        tx.commit().await.unwrap();
    }
    assert_eq!(versions, 2, "asking again changes nothing");
    let news = changes(&edge, served).await;
    assert!(matches!(&news[0].entry, EdgeEntry::Host(content) if content.mode == Mode::None));

    let lease = fixture.claim(&worker, domain.id).await;
    let facts = fixture.facts(&worker, &lease).await;
    assert_eq!(facts.purpose, Purpose::Withdraw { since: fixture.now() });
    assert_eq!(facts.ledger.needed_until, Some(served_at + TimeDelta::seconds(86_400)));
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.records_removed().await.unwrap();
    tx.release_host().await.unwrap();
    tx.finished().await.unwrap();
    tx.settle(&[], Some(fixture.now()), true).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(fixture.view(&api, &domain).await.state, DomainState::Gone);
    assert_eq!(worker.next_due_at().await.unwrap(), None, "nothing of it is ever due again");
    assert!(is_fenced(&worker.lease_tx(&lease, fixture.now()).await));
    assert!(matches!(changes(&edge, served).await[0].entry, EdgeEntry::HostGone));
}

#[tokio::test]
async fn a_live_domain_cannot_be_finished() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    fixture.serve(&worker, &domain).await;
    let lease = fixture.claim(&worker, domain.id).await;
    let mut tx = fixture.tx(&worker, &lease).await;
    assert!(matches!(tx.finished().await, Err(StoreError::NotFound)));
    drop(tx);
    assert_eq!(fixture.facts(&worker, &lease).await.host.owner, HostOwner::Ours);
}

#[tokio::test]
async fn a_domain_with_an_answer_to_the_ca_in_the_zone_is_not_gone_before_a_worker_took_it_out() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let lease = fixture.claim(&worker, domain.id).await;
    let order = mtasts_model::OrderId::draw(fixture.now(), &mtasts_model::SystemEntropy);
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.take_host().await.unwrap();
    tx.draft_order(order, "an issuer", b"k").await.unwrap();
    tx.challenge_in_zone(order, "x.acme.sts.example", "digest").await.unwrap();
    tx.settle(&[], None, true).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    let view = tx.request_withdrawal(domain.id, fixture.none(), &Actor::operator(), fixture.now()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(view.state, DomainState::Withdrawing);
    let lease = fixture.claim(&worker, domain.id).await;
    assert_eq!(fixture.facts(&worker, &lease).await.order.unwrap().id, order, "the worker closes it");
}
