//! Invariant 3: a name has one place in the feed, and one owner.

use mtasts_model::{
    CertificateId, OrderId, PolicyVersionId, Revision, SystemEntropy,
    feed::{Challenge, EdgeEntry},
    lifecycle::HostOwner,
};
use mtasts_store::{Role, StoreError};

use crate::fixture::{Fixture, changes};

#[tokio::test]
async fn when_the_name_is_taken_over_the_losers_policy_stops_before_the_winners_starts() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let edge = fixture.store(Role::Edge).await;
    let (one, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let loser = fixture.domain(&api, one, "example.com").await;
    let winner = fixture.domain(&api, other, "example.com").await;
    let served = fixture.serve(&worker, &loser).await;

    fixture.clock.advance(chrono::TimeDelta::minutes(1));
    let lease = fixture.claim(&worker, winner.id).await;
    assert_eq!(fixture.facts(&worker, &lease).await.host.owner, HostOwner::Other);
    let mut tx = fixture.tx(&worker, &lease).await;
    let taken = tx.take_host().await.unwrap();
    assert_eq!(taken.previous_owner, Some(loser.id));
    assert_eq!(tx.take_host().await.unwrap().previous_owner, None, "it is ours already");
    tx.commit().await.unwrap();

    let news = changes(&edge, served).await;
    let held = EdgeEntry::HostHeld { domain_id: winner.id };
    assert_eq!(news.iter().map(|change| &change.entry).collect::<Vec<_>>(), [&held], "nothing of the loser's");
    // The loser is told in its own log, not to whom it lost, and looks at its delegation again.
    let events = api.tenant_tx(one).await.unwrap().audit_events(None, 200).await.unwrap();
    let lost = events.iter().find(|event| event.action == "host.lost").unwrap();
    assert!(!format!("{lost:?}").contains(&winner.id.as_uuid().simple().to_string()));
    let after = fixture.view(&api, &loser).await;
    assert_eq!(after.nudged_at, fixture.now());
    let lease = fixture.claim(&worker, loser.id).await;
    let facts = fixture.facts(&worker, &lease).await;
    assert_eq!((facts.host.owner, facts.host.content), (HostOwner::Other, None));

    // And can no longer serve, order or answer challenges.
    let (version, certificate) = (facts.version.unwrap().id, facts.certificate.unwrap().id);
    let mut tx = fixture.tx(&worker, &lease).await;
    assert!(matches!(tx.serve_host(version, certificate).await, Err(StoreError::HostNotHeld)));
    let order = OrderId::draw(fixture.now(), &SystemEntropy);
    assert!(matches!(tx.draft_order(order, "an issuer", b"k").await, Err(StoreError::HostNotHeld)));
    drop(tx);
    let revision = fixture.serve(&worker, &winner).await;
    let news = changes(&edge, served).await;
    assert_eq!(news.len(), 1);
    assert_eq!(news[0].revision, revision);
    assert!(matches!(&news[0].entry, EdgeEntry::Host(content) if content.domain_id == winner.id));
}

#[tokio::test]
async fn only_the_newest_version_with_a_certificate_of_its_own_is_served() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let foreign = fixture.domain(&api, tenant, "example.org").await;
    let lease = fixture.claim(&worker, foreign.id).await;
    let foreign_certificate = fixture.issue(&worker, &lease).await;
    let lease = fixture.claim(&worker, domain.id).await;
    let certificate = fixture.issue(&worker, &lease).await;
    let version = domain.version.unwrap().id;

    let mut tx = fixture.tx(&worker, &lease).await;
    let old = PolicyVersionId::draw(fixture.now(), &SystemEntropy);
    let refused = tx.serve_host(old, certificate).await;
    assert!(matches!(refused, Err(StoreError::VersionConflict { current: Some(c) }) if c == version), "{refused:?}");
    let never = CertificateId::draw(fixture.now(), &SystemEntropy);
    for certificate in [foreign_certificate, never] {
        assert!(matches!(tx.serve_host(version, certificate).await, Err(StoreError::NotFound)));
    }
    let revision = tx.serve_host(version, certificate).await.unwrap();
    assert_eq!(tx.serve_host(version, certificate).await.unwrap(), revision, "what is so already is not news");
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_host_that_is_released_is_nobodys_and_can_be_served_again() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let edge = fixture.store(Role::Edge).await;
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    fixture.serve(&worker, &domain).await;
    let lease = fixture.claim(&worker, domain.id).await;
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.release_host().await.unwrap();
    tx.release_host().await.unwrap();
    tx.commit().await.unwrap();
    let host = fixture.facts(&worker, &lease).await.host;
    assert_eq!((host.owner, host.content), (HostOwner::Nobody, None));
    let news = changes(&edge, Revision::ZERO).await;
    assert!(matches!(news[..], [mtasts_model::feed::EdgeChange { entry: EdgeEntry::HostGone, .. }]), "{news:?}");
    let revision = fixture.serve(&worker, &domain).await;
    let news = changes(&edge, Revision::ZERO).await;
    assert_eq!(news.iter().map(|change| change.revision).collect::<Vec<_>>(), [revision]);
}

#[tokio::test]
async fn a_challenge_of_the_loser_leaves_the_feed_with_its_host() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let edge = fixture.store(Role::Edge).await;
    let (one, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let loser = fixture.domain(&api, one, "example.com").await;
    let winner = fixture.domain(&api, other, "example.com").await;
    let lease = fixture.claim(&worker, loser.id).await;
    let order = OrderId::draw(fixture.now(), &SystemEntropy);
    let challenge = Challenge::Http01 { token: "t".to_owned(), key_authorization: "t.k".to_owned() };
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.take_host().await.unwrap();
    tx.draft_order(order, "an issuer", b"k").await.unwrap();
    let published = tx.challenge_published(order, &challenge).await.unwrap();
    tx.commit().await.unwrap();
    let news = changes(&edge, Revision::ZERO).await;
    let found = news.iter().find(|change| change.revision == published).unwrap();
    assert_eq!(found.entry, EdgeEntry::Challenge(challenge));

    let lease = fixture.claim(&worker, winner.id).await;
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.take_host().await.unwrap();
    tx.commit().await.unwrap();
    let entries: Vec<_> = changes(&edge, published).await.into_iter().map(|change| change.entry).collect();
    assert_eq!(entries, [EdgeEntry::HostHeld { domain_id: winner.id }, EdgeEntry::ChallengeGone]);
}

#[tokio::test]
async fn registrations_that_take_a_name_from_each_other_leave_it_to_one() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let mut leases = Vec::new();
    for _ in 0..4 {
        let tenant = fixture.tenant(&api).await;
        let domain = fixture.domain(&api, tenant, "example.com").await;
        leases.push(fixture.claim(&worker, domain.id).await);
    }
    let take = async |lease: mtasts_store::Lease| {
        for _ in 0..20 {
            let attempt = async {
                let mut tx = worker.lease_tx(&lease, fixture.now()).await?;
                tx.take_host().await?;
                tx.commit().await
            };
            match attempt.await {
                Err(error) if error.is_transient() => {}
                done => return done,
            }
        }
        panic!("never got through");
    };
    let (a, b, c, d) = tokio::join!(take(leases[0]), take(leases[1]), take(leases[2]), take(leases[3]));
    for done in [a, b, c, d] {
        done.unwrap();
    }
    let mut owners = 0;
    for lease in &leases {
        owners += usize::from(fixture.facts(&worker, lease).await.host.owner == HostOwner::Ours);
    }
    assert_eq!(owners, 1);
}
