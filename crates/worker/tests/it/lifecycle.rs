//! The main job, from registration to publication, and what a policy goes through afterwards.

use std::sync::Arc;

use chrono::TimeDelta;
use mtasts_model::{ConditionKind, Mode, Status, StsRecord, label::DelegationPurpose};
use mtasts_store::{DomainState, VersionReason};
use tokio::time::{Duration, sleep};

use crate::world::{ScriptedCa, Verdict, World, ZONE, config, status};

#[tokio::test]
async fn a_delegated_domain_gets_a_certificate_a_served_policy_and_a_published_id() {
    let world = World::new().await;
    let worker = world.start();
    let tenant = world.tenant().await;
    let domain = world.register(tenant, "customer.test").await;

    // Before the CNAMEs: a policy is found, nothing is ordered or served.
    let waiting = world
        .view_when(&domain, "the CNAMEs are missed", |view| {
            status(view, ConditionKind::Delegated) == (Status::False, "CnameMissing") && view.version.is_some()
        })
        .await;
    assert_eq!(waiting.version.as_ref().unwrap().reason, VersionReason::Discovered);
    assert_eq!(waiting.version.as_ref().unwrap().policy.mx()[0].as_str(), "mx.customer.test");
    assert_eq!(world.count("acme_orders").await, 0);
    assert!(world.edge.history("customer.test").is_empty());

    world.delegate(&domain);
    world.verify(&domain).await;
    let published = world.published(&domain).await;
    let version = published.version.unwrap();
    let (served, verified) = (version.served_at.unwrap(), version.verified_at.unwrap());
    assert!(served <= verified && verified <= version.published_at.unwrap(), "body first, id second");

    let content = world.edge.host("customer.test").unwrap();
    assert_eq!(content.policy_text, version.policy.to_text());
    assert_eq!(world.txt(&domain).await.unwrap(), [StsRecord::new(version.policy_id.clone()).to_string()]);
    let reports = DelegationPurpose::TlsRptRecord.target(&domain.label, &ZONE.parse().unwrap());
    assert_eq!(world.zone.txt(&reports).await.unwrap(), ["v=TLSRPTv1; rua=mailto:reports@customer.test;"]);

    let settled = world
        .view_when(&domain, "the conditions settle", |view| {
            status(view, ConditionKind::RecordPublished).0 == Status::True
                && status(view, ConditionKind::MxReady).0 == Status::False
        })
        .await;
    for kind in [ConditionKind::Delegated, ConditionKind::CertificateReady, ConditionKind::PolicyLive] {
        assert_eq!(status(&settled, kind).0, Status::True, "{kind:?}");
    }
    assert_eq!(status(&settled, ConditionKind::MxReady).1, "MxFails", "the MX host has no address");
    assert_eq!(settled.state, DomainState::Active);
    assert_eq!(world.count("certificates").await, 1);
    assert_eq!(world.count("policy_versions").await, 1);
    worker.stop().await;
    assert_eq!(world.count("domain_schedule WHERE lease_token IS NOT NULL").await, 0, "a stopped worker holds nothing");
}

#[tokio::test]
async fn a_changed_policy_reaches_the_edges_first_and_its_id_follows() {
    let world = World::new().await;
    let _worker = world.start();
    let domain = world.publish(world.tenant().await, "customer.test").await;
    let first = domain.version.clone().unwrap();
    let second = world.set_mode(&domain, Mode::None).await;
    let published = world.published(&domain).await.version.unwrap();
    assert_eq!(published.id, second.id);
    assert_ne!(published.policy_id, first.policy_id);
    assert_eq!(world.txt(&domain).await.unwrap(), [StsRecord::new(second.policy_id).to_string()]);
    assert_eq!(world.edge.host("customer.test").unwrap().policy_text, second.policy.to_text());
    assert_eq!(world.count("certificates").await, 1, "a new policy needs no new certificate");
}

#[tokio::test]
async fn no_id_is_published_while_an_edge_in_service_lacks_the_policy() {
    let world = World::new().await;
    let _worker = world.start();
    let domain = world.publish(world.tenant().await, "customer.test").await;
    let old = world.txt(&domain).await.unwrap();

    world.edge.hold_back(true);
    let second = world.set_mode(&domain, Mode::None).await;
    let text = second.policy.to_text();
    world
        .wait_until("the edge serves the new policy", async || {
            world.edge.host("customer.test").is_some_and(|content| content.policy_text == text)
        })
        .await;
    // Time enough to do the wrong thing: several looks of the worker.
    for _ in 0..15 {
        assert_eq!(world.txt(&domain).await.unwrap(), old, "invariant 1");
        sleep(Duration::from_millis(100)).await;
    }
    assert!(world.view(&domain).await.version.unwrap().served_at.is_none());

    world.edge.hold_back(false);
    world.published(&domain).await;
    assert_eq!(world.txt(&domain).await.unwrap(), [StsRecord::new(second.policy_id).to_string()]);
}

#[tokio::test]
async fn a_withdrawn_domain_serves_none_until_it_is_safe_and_then_nothing() {
    let world = World::new().await;
    let _worker = world.start();
    let domain = world.publish(world.tenant().await, "customer.test").await;
    world.withdraw(&domain).await;
    let none = world.published(&domain).await;
    assert_eq!(none.state, DomainState::Withdrawing);
    let version = none.version.unwrap();
    assert_eq!(version.policy.mode(), Mode::None);
    assert_eq!(world.edge.host("customer.test").unwrap().policy_text, version.policy.to_text());
    assert_eq!(world.txt(&domain).await.unwrap(), [StsRecord::new(version.policy_id).to_string()]);

    // Minutes later a sender may still have the old record in a cache.
    sleep(Duration::from_secs(1)).await;
    assert!(world.edge.host("customer.test").is_some() && world.txt(&domain).await.is_some());

    world.clock.advance(TimeDelta::minutes(30));
    world.view_when(&domain, "the domain is gone", |view| view.state == DomainState::Gone).await;
    world.wait_until("the edge serves nothing", async || world.edge.host("customer.test").is_none()).await;
    world.wait_until("the record is gone", async || world.txt(&domain).await.is_none()).await;
}

#[tokio::test]
async fn a_stranger_who_edits_the_zone_is_overruled() {
    let world = World::new().await;
    let _worker = world.start();
    let domain = world.publish(world.tenant().await, "customer.test").await;
    let ours = world.txt(&domain).await.unwrap();
    let name = DelegationPurpose::StsRecord.target(&domain.label, &ZONE.parse().unwrap());
    world.zone.overwrite(&name, "v=STSv1; id=stranger;").await;
    world
        .wait_until("the nameserver has the stranger's record", async || {
            world.txt(&domain).await.is_some_and(|values| values != ours)
        })
        .await;
    world.clock.advance(TimeDelta::hours(8));
    world
        .wait_until("our record is back", async || world.txt(&domain).await.is_some_and(|values| values == ours))
        .await;
}

#[tokio::test]
async fn a_certificate_is_renewed_in_time_and_the_id_stays() {
    let world = World::new().await;
    let _worker = world.start();
    let domain = world.publish(world.tenant().await, "customer.test").await;
    let (old, record) = (world.edge.host("customer.test").unwrap(), world.txt(&domain).await);
    world.clock.advance(TimeDelta::days(62));
    world
        .wait_until("the edge has the new certificate", async || {
            world.edge.host("customer.test").is_some_and(|content| content.certificate_id != old.certificate_id)
        })
        .await;
    let new = world.edge.host("customer.test").unwrap();
    assert_eq!((new.version_id, new.policy_text), (old.version_id, old.policy_text));
    assert!(new.not_after > old.not_after);
    assert_eq!(world.txt(&domain).await, record, "nothing has changed for senders");
    assert_eq!(world.count("policy_versions").await, 1);
}

#[tokio::test]
async fn a_working_certificate_is_never_replaced_by_a_broken_one() {
    let world = World::new().await;
    let ca = ScriptedCa::new(world.ca.clone());
    ca.script([Verdict::Valid, Verdict::Broken]);
    let _worker = world.start_with(config("one"), Arc::new(ca.clone()));
    let domain = world.publish(world.tenant().await, "customer.test").await;
    let old = world.edge.host("customer.test").unwrap();
    world.clock.advance(TimeDelta::days(62));
    let closed = "acme_orders WHERE closed_at IS NOT NULL AND problem LIKE '%another key%'";
    world.wait_until("the broken certificate was refused", async || world.count(closed).await == 1).await;
    assert_eq!(world.count("certificates").await, 1);
    assert_eq!(world.edge.host("customer.test").unwrap(), old);
    let view = world.view(&domain).await;
    assert_eq!(view.certificate.unwrap().not_after, old.not_after);

    world.clock.advance(TimeDelta::minutes(5));
    world.wait_until("the next one is good", async || world.count("certificates").await == 2).await;
}
