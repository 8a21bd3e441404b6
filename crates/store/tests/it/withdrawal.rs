//! Invariant 5: a domain that was served is withdrawn only when no sender can need it.

use chrono::TimeDelta;
use mtasts_model::{
    EventType, Mode, Revision,
    feed::EdgeEntry,
    lifecycle::{CnameSeen, DelegationSeen, HostOwner, Purpose},
};
use mtasts_store::{Actor, DomainState, EventFilter, RemovalGround, Role, StoreError, VersionReason};

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
    assert_eq!(entries, [EdgeEntry::HostHeld { domain_id: domain.id }, EdgeEntry::ChallengeGone]);
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
    assert_eq!(facts.purpose, Purpose::Withdraw { since: fixture.now(), forced: false });
    assert_eq!(facts.ledger.needed_until, Some(served_at + TimeDelta::seconds(86_400)));
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.records_removed().await.unwrap();
    tx.release_host().await.unwrap();
    tx.finished().await.unwrap();
    tx.settle(&[], Some(fixture.now()), true).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(fixture.view(&api, &domain).await.state, DomainState::Gone);
    let next = worker.next_due_at().await.unwrap();
    assert_eq!(next, Some(fixture.now() + TimeDelta::days(1)), "its CNAMEs are looked for");
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

#[tokio::test]
async fn a_forced_removal_says_why_and_waits_for_nobody() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    fixture.serve(&worker, &domain).await;
    let (actor, begun) = (Actor::operator(), fixture.now());
    for _ in 0..2 {
        let mut tx = api.tenant_tx(tenant).await.unwrap();
        let why = (RemovalGround::Law, "order 4711");
        let view = tx.force_removal(domain.id, fixture.none(), why, &actor, fixture.now()).await.unwrap();
        assert_eq!((view.state, view.forced_removal), (DomainState::Withdrawing, Some((begun, RemovalGround::Law))));
        tx.commit().await.unwrap();
        fixture.clock.advance(TimeDelta::minutes(1));
    }
    let lease = fixture.claim(&worker, domain.id).await;
    assert_eq!(fixture.facts(&worker, &lease).await.purpose, Purpose::Withdraw { since: begun, forced: true });
    let log = api.tenant_tx(tenant).await.unwrap().audit_events(None, 200).await.unwrap();
    let told: Vec<_> = log.iter().filter(|line| line.action == "domain.force-removal").collect();
    assert_eq!(told.len(), 1, "forced again it stays as it is");
    assert_eq!(told[0].after.as_ref().unwrap()["reason"], "order 4711");
}

#[tokio::test]
async fn cnames_that_are_left_behind_are_told_of_weekly() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    fixture.serve(&worker, &domain).await;
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    tx.request_withdrawal(domain.id, fixture.none(), &Actor::operator(), fixture.now()).await.unwrap();
    tx.commit().await.unwrap();
    let lease = fixture.claim(&worker, domain.id).await;
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.delegation_seen(&seen(&fixture, CnameSeen::Ours)).await.unwrap();
    tx.records_removed().await.unwrap();
    tx.release_host().await.unwrap();
    tx.finished().await.unwrap();
    tx.commit().await.unwrap();
    let told = async || {
        let filter = EventFilter { event_type: Some(EventType::DomainStillDelegated), domain: Some(domain.id) };
        api.tenant_tx(tenant).await.unwrap().events(&filter, None, 10).await.unwrap()
    };
    assert_eq!(fixture.view(&api, &domain).await.dangling(), Vec::<String>::new(), "that was before it was gone");
    for day in 1..=8 {
        fixture.clock.advance(TimeDelta::days(1));
        let lease = fixture.claim(&worker, domain.id).await;
        let mut tx = fixture.tx(&worker, &lease).await;
        tx.delegation_seen(&seen(&fixture, CnameSeen::Ours)).await.unwrap();
        tx.settle(&[], Some(fixture.now() + TimeDelta::days(1)), true).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(told().await.len(), if day < 8 { 1 } else { 2 }, "day {day}");
        assert_eq!(worker.next_due_at().await.unwrap(), Some(fixture.now() + TimeDelta::days(1)));
    }
    assert_eq!(told().await[0].data["remove_records"], serde_json::json!(["mta-sts.example.com"]));
    assert_eq!(fixture.view(&api, &domain).await.dangling(), ["mta-sts.example.com"]);
    fixture.clock.advance(TimeDelta::days(8));
    let lease = fixture.claim(&worker, domain.id).await;
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.delegation_seen(&seen(&fixture, CnameSeen::Missing)).await.unwrap();
    tx.settle(&[], None, true).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(told().await.len(), 2);
    assert_eq!(fixture.view(&api, &domain).await.dangling(), Vec::<String>::new());
    assert_eq!(worker.next_due_at().await.unwrap(), None);
}

fn seen(fixture: &Fixture, policy_host: CnameSeen) -> DelegationSeen {
    DelegationSeen {
        policy_host,
        sts_record: CnameSeen::Missing,
        tls_rpt_record: CnameSeen::Elsewhere { target: "elsewhere.example".to_owned() },
        acme_challenge: CnameSeen::Missing,
        at: fixture.now(),
        lost_since: None,
        home_since: None,
    }
}
