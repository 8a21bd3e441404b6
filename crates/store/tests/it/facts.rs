//! What the planner is told.

use chrono::TimeDelta;
use mtasts_model::{
    ConditionKind, HostName, Mode, NodeId, ReportUri, Revision, Status, SystemEntropy,
    condition::Condition,
    lifecycle::{CnameSeen, DelegationSeen, HostContentRef, HostOwner, MxHostSeen, MxSeen, Purpose, RecordFacts},
};
use mtasts_store::{Actor, NodeKind, Role, VersionReason};

use crate::fixture::{Fixture, GRACE, LEASE, line, policy, zone};

#[tokio::test]
async fn a_new_domain_has_nothing_but_its_registration() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    let new = fixture.new_domain("xn--mller-kva.example", None);
    let domain = tx.create_domain(new, &Actor::operator(), fixture.now()).await.unwrap();
    tx.commit().await.unwrap();
    let lease = fixture.claim(&worker, domain.id).await;
    let facts = fixture.facts(&worker, &lease).await;
    assert_eq!((facts.domain_id, facts.tenant_id, &facts.name), (domain.id, tenant, &domain.name));
    assert_eq!((facts.purpose, facts.nudged_at), (Purpose::Live, fixture.now()));
    assert_eq!((facts.host.owner, facts.host.revision), (HostOwner::Nobody, Revision::ZERO));
    assert_eq!((facts.version, facts.certificate, facts.order), (None, None, None));
    assert_eq!((facts.delegation, facts.mx), (None, None));
    assert_eq!(facts.record, RecordFacts::default());
    assert_eq!((facts.edges.acknowledged, facts.ledger.needed_until, facts.ledger.complete_until), (None, None, None));
    assert!(facts.attempts.is_empty() && facts.conditions.is_empty() && facts.failed_validations.is_empty());

    let mut tx = fixture.tx(&worker, &lease).await;
    let found = fixture.version(policy(Mode::Testing, &["mx.example.net"], 60), VersionReason::Discovered);
    assert!(tx.first_version(found.clone()).await.unwrap());
    let again = fixture.version(policy(Mode::None, &[], 60), VersionReason::Discovered);
    assert!(!tx.first_version(again).await.unwrap(), "there is one already");
    tx.commit().await.unwrap();
    let version = fixture.facts(&worker, &lease).await.version.unwrap();
    assert_eq!((version.id, version.policy), (found.id, found.policy));
}

#[tokio::test]
async fn what_was_seen_and_done_reads_back() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let now = fixture.now();
    let delegation = DelegationSeen {
        policy_host: CnameSeen::Ours,
        sts_record: CnameSeen::Missing,
        tls_rpt_record: CnameSeen::Elsewhere { target: "x.example".to_owned() },
        acme_challenge: CnameSeen::OtherLabel { target: "y.example".to_owned() },
        at: now,
        lost_since: Some(now),
        home_since: None,
    };
    let host = HostName::parse("mx.example.net").unwrap();
    let mx = MxSeen { hosts: vec![MxHostSeen { host, preference: 10, failure: None, looked_at: None }], at: now };
    let conditions = [
        Condition::new(ConditionKind::MxReady, Status::True, "AllPass", "fine", now),
        Condition::new(ConditionKind::Delegated, Status::Unknown, "Looking", "wait", now),
    ];
    let version = domain.version.clone().unwrap().id;
    let lease = fixture.claim(&worker, domain.id).await;
    let certificate = fixture.issue(&worker, &lease).await;
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.delegation_seen(&delegation).await.unwrap();
    tx.mx_seen(&mx).await.unwrap();
    let revision = tx.serve_host(version, certificate).await.unwrap();
    tx.version_served(version).await.unwrap();
    tx.version_verified(version).await.unwrap();
    tx.records_written(version, &mtasts_model::lifecycle::DomainZones::at(zone())).await.unwrap();
    tx.records_confirmed(version, &[]).await.unwrap();
    tx.settle(&conditions, Some(now), false).await.unwrap();
    tx.commit().await.unwrap();

    let facts = fixture.facts(&worker, &lease).await;
    assert_eq!((facts.delegation.as_ref(), facts.mx.as_ref()), (Some(&delegation), Some(&mx)));
    assert_eq!(facts.host.content, Some(HostContentRef { version_id: version, certificate_id: certificate }));
    assert_eq!((facts.host.owner, facts.host.revision, facts.host.changed_at), (HostOwner::Ours, revision, Some(now)));
    let stamped = facts.version.unwrap();
    assert_eq!([stamped.served_at, stamped.verified_at, stamped.published_at], [Some(now); 3]);
    assert_eq!((facts.record.written, facts.record.confirmed), (Some(version), Some(version)));
    assert!(!facts.record.reports_stale);
    assert_eq!(facts.conditions, [conditions[1].clone(), conditions[0].clone()], "in their own order");

    let view = fixture.view(&api, &domain).await;
    assert_eq!((view.delegation_seen, view.mx_seen), (Some(delegation), Some(mx)));
    assert_eq!(view.published_version, Some(version));
    assert_eq!(view.state, mtasts_store::DomainState::Active);
    assert_eq!(view.conditions, facts.conditions);
}

#[tokio::test]
async fn changed_report_addresses_are_stale_until_they_are_written() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let version = domain.version.clone().unwrap().id;
    let lease = fixture.claim(&worker, domain.id).await;
    let uris: [ReportUri; 1] = ["mailto:tls@example.com".parse().unwrap()];
    let set = async |uris: &[ReportUri]| {
        let mut tx = api.tenant_tx(tenant).await.unwrap();
        tx.set_report_uris(domain.id, uris, &Actor::operator(), fixture.now()).await.unwrap();
        tx.commit().await.unwrap();
    };
    let stale = async || fixture.facts(&worker, &lease).await.record.reports_stale;
    set(&uris).await;
    assert!(!stale().await, "nothing was written yet");
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.records_written(version, &mtasts_model::lifecycle::DomainZones::at(zone())).await.unwrap();
    tx.commit().await.unwrap();
    assert!(!stale().await);
    assert_eq!(worker.domain_settings(&lease).await.unwrap().report_uris, uris);
    set(&[]).await;
    assert!(stale().await);
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.records_written(version, &mtasts_model::lifecycle::DomainZones::at(zone())).await.unwrap();
    tx.commit().await.unwrap();
    assert!(!stale().await);
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.records_confirmed(version, &uris).await.unwrap();
    tx.commit().await.unwrap();
    assert!(stale().await, "the zone shows something else than the tenant wants");
    let mut tx = fixture.tx(&worker, &lease).await;
    tx.records_removed().await.unwrap();
    tx.commit().await.unwrap();
    let record = fixture.facts(&worker, &lease).await.record;
    assert_eq!(record, RecordFacts { removed_at: Some(fixture.now()), ..RecordFacts::default() });
}

#[tokio::test]
async fn the_slowest_edge_in_service_counts_and_a_retired_one_does_not() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let edge = fixture.store(Role::Edge).await;
    let domain = fixture.domain(&api, fixture.tenant(&api).await, "example.com").await;
    let lease = fixture.claim(&worker, domain.id).await;
    let acknowledged = async || fixture.facts(&worker, &lease).await.edges.acknowledged.map(Revision::number);
    assert_eq!(acknowledged().await, None);
    let (fast, slow) = (fixture.edge_node(&edge).await, fixture.edge_node(&edge).await);
    assert_eq!(acknowledged().await, Some(0), "whoever has just begun has nothing");
    let nameserver = NodeId::draw(fixture.now(), &SystemEntropy);
    edge.register_node(nameserver, NodeKind::Nameserver, "ns", fixture.now(), LEASE).await.unwrap();
    edge.acknowledge(fast, Revision::new(9), fixture.now(), LEASE).await.unwrap();
    edge.acknowledge(slow, Revision::new(4), fixture.now(), LEASE).await.unwrap();
    assert_eq!(acknowledged().await, Some(4));
    fixture.clock.advance(LEASE);
    edge.acknowledge(fast, Revision::new(9), fixture.now(), LEASE).await.unwrap();
    assert_eq!(acknowledged().await, Some(4), "waited for during the grace");
    fixture.clock.advance(GRACE);
    assert_eq!(acknowledged().await, Some(9));
    edge.acknowledge(slow, Revision::new(3), fixture.now(), LEASE).await.unwrap();
    assert_eq!(acknowledged().await, Some(3), "it is back");
    edge.retire_node(slow).await.unwrap();
    assert_eq!(acknowledged().await, Some(9));
    let again = edge.acknowledge(slow, Revision::new(4), fixture.now(), LEASE).await;
    assert!(matches!(again, Err(mtasts_store::StoreError::NotFound)));
}

#[tokio::test]
async fn the_ledger_keeps_the_latest_moment_and_adds_requests_up() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let edge = fixture.store(Role::Edge).await;
    let domain = fixture.domain(&api, fixture.tenant(&api).await, "example.com").await;
    let version = domain.version.clone().unwrap().id;
    let node = fixture.edge_node(&edge).await;
    let (early, late) = (fixture.now(), fixture.now() + TimeDelta::minutes(5));
    let (first, second) = (line(&domain, version, late), line(&domain, version, early));
    edge.flush_served(&[first.clone(), second.clone()], Some(early), node).await.unwrap();
    edge.flush_served(&[second], Some(late), node).await.unwrap();
    edge.flush_served(&[], Some(early), node).await.unwrap();
    let lease = fixture.claim(&worker, domain.id).await;
    let ledger = fixture.facts(&worker, &lease).await.ledger;
    assert_eq!(ledger.needed_until, Some(late + TimeDelta::seconds(86_400)));
    assert_eq!(ledger.complete_until, Some(late));
    assert_eq!(fixture.database.psql("SELECT requests FROM served_ledger").await.trim(), "3");
}

#[tokio::test]
async fn the_longest_memory_counts_and_none_needs_nothing() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let edge = fixture.store(Role::Edge).await;
    let domain = fixture.domain(&api, fixture.tenant(&api).await, "example.com").await;
    let node = fixture.edge_node(&edge).await;
    let long = fixture.set_policy(&api, &domain, policy(Mode::Enforce, &["mx.example.net"], 1_000_000)).await;
    let short = fixture.set_policy(&api, &domain, policy(Mode::Enforce, &["mx.example.net"], 60)).await;
    let none = fixture.set_policy(&api, &domain, policy(Mode::None, &[], 31_557_600)).await;
    let at = fixture.now();
    let lines = [(long, at), (short, at + TimeDelta::hours(1)), (none, at + TimeDelta::days(1))];
    let lines = lines.map(|(version, at)| line(&domain, version, at));
    edge.flush_served(&lines, Some(at), node).await.unwrap();
    let lease = fixture.claim(&worker, domain.id).await;
    let ledger = fixture.facts(&worker, &lease).await.ledger;
    assert_eq!(ledger.needed_until, Some(at + TimeDelta::seconds(1_000_000)));
}

#[tokio::test]
async fn an_edge_that_died_without_a_last_flush_may_have_served_until_the_end() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let edge = fixture.store(Role::Edge).await;
    let domain = fixture.domain(&api, fixture.tenant(&api).await, "example.com").await;
    fixture.serve(&worker, &domain).await;
    let never_served = fixture.domain(&api, domain.tenant_id, "idle.example").await;
    let node = fixture.edge_node(&edge).await;
    let died = fixture.now() + LEASE;
    fixture.clock.advance(LEASE + GRACE);
    let lease = fixture.claim(&worker, domain.id).await;
    let ledger = fixture.facts(&worker, &lease).await.ledger;
    assert_eq!(ledger.complete_until, None, "nobody is in service");
    assert_eq!(ledger.needed_until, Some(died + GRACE + TimeDelta::seconds(86_400)));
    let idle = fixture.claim(&worker, never_served.id).await;
    assert_eq!(fixture.facts(&worker, &idle).await.ledger.needed_until, None);

    // It comes back under its old id, without what it had in memory: the same is assumed, until now.
    let back = fixture.now() + TimeDelta::hours(1);
    fixture.clock.advance(TimeDelta::hours(1));
    edge.register_node(node, NodeKind::Edge, "an edge", fixture.now(), LEASE).await.unwrap();
    edge.flush_served(&[], Some(fixture.now()), node).await.unwrap();
    let ledger = fixture.facts(&worker, &lease).await.ledger;
    assert_eq!(ledger.needed_until, Some(back + TimeDelta::seconds(86_400)));
    assert_eq!(ledger.complete_until, Some(back));
    assert_eq!(fixture.facts(&worker, &idle).await.ledger.needed_until, None);
}

#[tokio::test]
async fn an_edge_killed_between_two_flushes_may_have_served_what_was_in_the_feed_until_it_was_back() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let edge = fixture.store(Role::Edge).await;
    let domain = fixture.domain(&api, fixture.tenant(&api).await, "example.com").await;
    fixture.serve(&worker, &domain).await;
    let node = fixture.edge_node(&edge).await;
    fixture.clock.advance(TimeDelta::seconds(20));
    edge.flush_served(&[], Some(fixture.now()), node).await.unwrap();
    let lease = fixture.claim(&worker, domain.id).await;
    assert_eq!(fixture.facts(&worker, &lease).await.ledger.needed_until, None);
    let gaps = async || fixture.database.psql("SELECT count(*) FROM ledger_gaps").await.trim().to_owned();

    // Well within its lease; twice, before it reports anything.
    for _ in 0..2 {
        fixture.clock.advance(TimeDelta::seconds(20));
        edge.register_node(node, NodeKind::Edge, "an edge", fixture.now(), LEASE).await.unwrap();
        let needed = fixture.facts(&worker, &lease).await.ledger.needed_until;
        assert_eq!(needed, Some(fixture.now() + TimeDelta::seconds(86_400)));
        assert_eq!(gaps().await, "1");
    }
    let back = fixture.now();
    fixture.clock.advance(TimeDelta::seconds(20));
    edge.flush_served(&[], Some(fixture.now()), node).await.unwrap();
    let needed = fixture.facts(&worker, &lease).await.ledger.needed_until;
    assert_eq!(needed, Some(back + TimeDelta::seconds(86_400)), "a later report does not cover it");
    edge.retire_node(node).await.unwrap();
    fixture.clock.advance(TimeDelta::minutes(1));
    edge.register_node(node, NodeKind::Edge, "an edge", fixture.now(), LEASE).await.unwrap();
    assert_eq!(gaps().await, "1", "whoever retired has told all");
}

#[tokio::test]
async fn a_node_that_was_evicted_holds_nothing_up_and_may_have_served_until_then() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let edge = fixture.store(Role::Edge).await;
    let domain = fixture.domain(&api, fixture.tenant(&api).await, "example.com").await;
    fixture.serve(&worker, &domain).await;
    let (stuck, sound) = (fixture.edge_node(&edge).await, fixture.edge_node(&edge).await);
    edge.acknowledge(sound, Revision::new(9), fixture.now(), LEASE * 2).await.unwrap();
    let nodes = worker.list_nodes().await.unwrap();
    let seen: Vec<_> = nodes.iter().map(|node| (node.id, node.kind, node.position.number())).collect();
    assert_eq!(seen, [(stuck, NodeKind::Edge, 0), (sound, NodeKind::Edge, 9)]);
    assert_eq!((nodes[0].name.as_str(), nodes[0].lease_until), ("an edge", fixture.now() + LEASE));

    let lease = fixture.claim(&worker, domain.id).await;
    assert_eq!(fixture.facts(&worker, &lease).await.edges.acknowledged, Some(Revision::ZERO));
    assert!(worker.evict_node(stuck, fixture.now()).await.unwrap());
    assert!(!worker.evict_node(stuck, fixture.now()).await.unwrap(), "there is no such node any more");
    let facts = fixture.facts(&worker, &lease).await;
    assert_eq!(facts.edges.acknowledged, Some(Revision::new(9)));
    assert_eq!(facts.ledger.needed_until, Some(fixture.now() + LEASE + TimeDelta::seconds(86_400)));
}
