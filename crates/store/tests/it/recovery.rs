//! After a restore.

use chrono::TimeDelta;
use mtasts_model::{
    DomainId, OrderId, PolicyId, Revision, SystemEntropy, TenantId,
    feed::{Challenge, EdgeEntry},
    lifecycle::OrderState,
};
use mtasts_store::{Actor, RecoveredDomain, Role, Store, StoreError, UnknownHost, VersionReason};

use crate::fixture::{Fixture, LEASE, changes};

async fn recover(fixture: &Fixture, worker: &Store, recovery: mtasts_store::Recovery, has_unknown: bool) -> usize {
    let (mut count, mut after) = (0, None);
    loop {
        let page = worker.domains_to_recover(recovery, after, 2).await.unwrap();
        let Some(last) = page.last().map(|domain| domain.id) else { return count };
        worker.expect_records(after, last).await.unwrap();
        after = Some(last);
        for domain in page {
            let (policy, _) = domain.policy.clone().unwrap();
            let version = Some(fixture.version(policy, VersionReason::Recovered));
            let found = RecoveredDomain { version, has_unknown, live_ids: Vec::new() };
            worker.recover_domain(&domain, found, &Actor::operator(), fixture.now()).await.unwrap();
            count += 1;
        }
    }
}

#[tokio::test]
async fn followers_ahead_of_a_restored_feed_are_held_until_the_end_and_then_read_all_of_it() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let (edge, owner) = (fixture.store(Role::Edge).await, fixture.store(Role::Owner).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let first = fixture.serve(&worker, &domain).await;
    fixture.domain(&api, tenant, "quiet.example").await;
    let node = fixture.edge_node(&edge).await;
    // What an edge read that the backup does not know.
    let ahead = Revision::new(first.number() + 1_000);
    assert!(matches!(edge.edge_changes(ahead, 10).await, Err(StoreError::FeedWentBack { .. })));

    fixture.clock.advance(TimeDelta::minutes(1));
    let recovery = owner.begin_recovery(fixture.now()).await.unwrap();
    assert!(!recovery.resumed);
    assert!(
        matches!(edge.acknowledge(node, ahead, fixture.now(), LEASE).await, Err(StoreError::NotFound)),
        "forgotten"
    );
    let gaps = fixture.database.psql("SELECT until_at - from_at FROM ledger_gaps").await;
    assert_eq!(gaps.trim(), "00:01:00", "what the edge served and did not tell counts as served");
    let page = edge.edge_changes(ahead, 10).await.unwrap();
    assert!(page.changes.is_empty() && page.floor <= ahead, "nothing old while the recovery is under way: {page:?}");

    // A run that was stopped in the middle is taken up.
    let one = worker.domains_to_recover(recovery, None, 1).await.unwrap().remove(0);
    let version = Some(fixture.version(one.policy.clone().unwrap().0, VersionReason::Recovered));
    let found = RecoveredDomain { version, has_unknown: false, live_ids: Vec::new() };
    worker.recover_domain(&one, found, &Actor::operator(), fixture.now()).await.unwrap();
    let again = owner.begin_recovery(fixture.now()).await.unwrap();
    assert!(again.resumed && again.started_at == recovery.started_at);
    assert_eq!(recover(&fixture, &worker, again, false).await, 1, "the other one alone");
    owner.finish_recovery(again, fixture.now()).await.unwrap();

    let page = edge.edge_changes(ahead, 10).await.unwrap();
    assert!(page.floor <= ahead, "edges keep what the database does not know: {page:?}");
    let zone = edge.zone_changes(ahead, 10).await.unwrap();
    assert!(zone.floor > ahead, "nameservers begin again: {zone:?}");
    // One that has followed all the while stands at the newest revision.
    let newest = edge.edge_changes(ahead, 10).await.unwrap().position;
    owner.release_edges().await.unwrap();
    let page = edge.edge_changes(newest, 10).await.unwrap();
    assert!(newest > ahead && page.floor > newest, "and now edges: {page:?}");
    let all = edge.edge_changes(Revision::ZERO, 10).await.unwrap();
    assert!(!all.more && all.position >= all.floor, "whoever has read it all has come to the floor: {all:?}");
    let next = edge.edge_changes(all.position, 10).await.unwrap();
    assert!(next.changes.is_empty() && next.floor <= next.position, "and does not begin again and again");
    assert!(
        owner.begin_recovery(fixture.now()).await.is_ok_and(|third| !third.resumed),
        "another restore, another one"
    );
}

#[tokio::test]
async fn each_domain_goes_on_with_its_policy_under_another_id_and_is_due() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let (edge, owner) = (fixture.store(Role::Edge).await, fixture.store(Role::Owner).await);
    let tenant = fixture.tenant(&api).await;
    let mut domains = Vec::new();
    for number in 0..5 {
        domains.push(fixture.domain(&api, tenant, &format!("d{number}.example")).await);
    }
    let served = fixture.serve(&worker, &domains[0]).await;
    let recovery = owner.begin_recovery(fixture.now()).await.unwrap();
    assert_eq!(recover(&fixture, &worker, recovery, true).await, 5);
    owner.finish_recovery(recovery, fixture.now()).await.unwrap();
    for before in &domains {
        let after = fixture.view(&api, before).await.version.unwrap();
        let before = before.version.clone().unwrap();
        assert_eq!(
            (&after.policy, after.reason, after.seq),
            (&before.policy, VersionReason::Recovered, before.seq + 1)
        );
        assert_ne!(after.policy_id, before.policy_id);
    }
    let sent = changes(&edge, served).await;
    let newest = fixture.view(&api, &domains[0]).await.version.unwrap().id;
    assert!(
        matches!(&sent[..], [change] if matches!(&change.entry, EdgeEntry::Host(host) if host.version_id == newest))
    );
    assert!(worker.next_due_at().await.unwrap().is_some_and(|at| at <= fixture.now()));

    let known = domains[0].version.clone().unwrap().policy_id;
    assert!(worker.knows_policy_id(domains[0].id, &known).await.unwrap());
    assert!(!worker.knows_policy_id(domains[1].id, &known).await.unwrap(), "another domain's");
    let never = PolicyId::draw(fixture.now(), &SystemEntropy);
    assert!(!worker.knows_policy_id(domains[0].id, &never).await.unwrap());
}

#[tokio::test]
async fn a_domain_whose_id_in_the_zone_is_unknown_is_not_withdrawn_before_senders_have_forgotten_its_policy() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let owner = fixture.store(Role::Owner).await;
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let recovery = owner.begin_recovery(fixture.now()).await.unwrap();
    assert_eq!(recover(&fixture, &worker, recovery, true).await, 1);
    let lease = fixture.claim(&worker, domain.id).await;
    let needed = fixture.facts(&worker, &lease).await.ledger.needed_until;
    assert_eq!(needed, Some(fixture.now() + TimeDelta::seconds(31_557_600)), "the longest max_age");

    let other = fixture.domain(&api, tenant, "other.example").await;
    let lease = fixture.claim(&worker, other.id).await;
    assert_eq!(fixture.facts(&worker, &lease).await.ledger.needed_until, None);
}

#[tokio::test]
async fn a_record_that_the_backup_does_not_know_is_looked_at_before_it_is_written() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    worker.claim_hosting("main", &crate::fixture::zone(), "a worker", LEASE, fixture.now()).await.unwrap().unwrap();
    worker.expect_records(None, domain.id).await.unwrap();
    let noted = fixture.database.psql("SELECT name, arrived FROM zone_writes ORDER BY name").await;
    let label = domain.label.as_str();
    let expected = ["_mta-sts", "_smtp-tls", "acme"].map(|kind| format!("{label}.{kind}.sts.example|f"));
    assert_eq!(noted.lines().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn an_order_whose_answer_edges_may_have_lost_is_answered_anew_and_others_go_on_where_they_were() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let owner = fixture.store(Role::Owner).await;
    let tenant = fixture.tenant(&api).await;
    let challenge = Challenge::Http01 { token: "t".to_owned(), key_authorization: "t.k".to_owned() };
    let mut domains = Vec::new();
    for name in ["edge.example", "zone.example", "ready.example"] {
        let domain = fixture.domain(&api, tenant, name).await;
        let lease = fixture.claim(&worker, domain.id).await;
        let order = OrderId::draw(fixture.now(), &SystemEntropy);
        let mut tx = fixture.tx(&worker, &lease).await;
        tx.take_host().await.unwrap();
        tx.draft_order(order, "an issuer", b"k").await.unwrap();
        tx.order_placed(order, "https://ca.example/order/1", None).await.unwrap();
        match name {
            "edge.example" => {
                tx.challenge_published(order, &challenge).await.unwrap();
                tx.order_answered(order).await.unwrap();
            }
            "zone.example" => tx.challenge_in_zone(order, "x.acme.sts.example", "v").await.unwrap(),
            _ => tx.order_ready(order).await.unwrap(),
        }
        tx.order_wait(order, fixture.now() + TimeDelta::hours(1)).await.unwrap();
        tx.commit().await.unwrap();
        domains.push(domain);
    }
    fixture.clock.advance(TimeDelta::days(3));
    let recovery = owner.begin_recovery(fixture.now()).await.unwrap();
    assert_eq!(recover(&fixture, &worker, recovery, false).await, 3);
    let expected = [OrderState::Placed, OrderState::ChallengePublished { revision: Revision::ZERO }, OrderState::Ready];
    for (domain, state) in domains.iter().zip(expected) {
        let lease = fixture.claim(&worker, domain.id).await;
        let order = fixture.facts(&worker, &lease).await.order.unwrap();
        assert_eq!((order.state, order.since, order.not_before), (state, fixture.now(), None), "{}", domain.name);
    }
}

#[tokio::test]
async fn registrations_that_are_not_known_are_told_with_their_tenants_where_those_are() {
    let fixture = Fixture::new().await;
    let (api, operator) = (fixture.store(Role::Api).await, fixture.store(Role::Operator).await);
    let tenant = fixture.tenant(&api).await;
    let known = fixture.domain(&api, tenant, "example.com").await;
    let ids = [(); 2].map(|()| DomainId::draw(fixture.now(), &SystemEntropy));
    let nobody = TenantId::draw(fixture.now(), &SystemEntropy);
    let mut unknown =
        operator.unknown_registrations(&[(known.id, tenant), (ids[0], tenant), (ids[1], nobody)]).await.unwrap();
    unknown.sort_by_key(|host| host.tenant.is_none());
    let expected = [Some("a tenant".to_owned()), None];
    assert_eq!(unknown, [0, 1].map(|at| UnknownHost { domain: ids[at], tenant: expected[at].clone() }));
}

/// A sequence is written ahead of what was drawn, 32 numbers at a time: that is where it goes on after archived WAL was
/// replayed, and it says nothing of how far the feed had come.
#[tokio::test]
async fn a_follower_is_known_to_be_ahead_also_where_the_sequence_has_come_up_to_it() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let edge = fixture.store(Role::Edge).await;
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let newest = fixture.serve(&worker, &domain).await;
    let ahead = Revision::new(newest.number() + 3);
    let replayed = "SELECT setval('edge_revisions', last_value + 32) FROM edge_revisions;
        SELECT setval('zone_revisions', last_value + 32) FROM zone_revisions";
    fixture.database.psql(replayed).await;
    assert!(matches!(edge.edge_changes(ahead, 10).await, Err(StoreError::FeedWentBack { .. })));
    assert!(matches!(edge.zone_changes(Revision::new(3), 10).await, Err(StoreError::FeedWentBack { .. })));
    // Whoever has read all there is is not ahead, nor is one that comes after prunings have raised the floor.
    assert!(edge.edge_changes(newest, 10).await.unwrap().changes.is_empty());
    fixture.database.psql(&format!("UPDATE feed_floors SET floor = {ahead} WHERE feed = 'edge'")).await;
    assert!(edge.edge_changes(ahead, 10).await.unwrap().changes.is_empty());
}
