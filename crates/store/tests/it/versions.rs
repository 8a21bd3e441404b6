//! Invariant 2, and what a change of policy does.

use mtasts_model::{Mode, feed::EdgeEntry, lifecycle::MxSource};
use mtasts_store::{Actor, Role, SetPolicy, StoreError, VersionReason};

use crate::fixture::{Fixture, changes, policy};

#[tokio::test]
async fn an_equal_policy_makes_no_version() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let first = domain.version.clone().unwrap();
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    let same = fixture.version(first.policy.clone(), VersionReason::Changed);
    let set = tx.set_policy(domain.id, same, None, &Actor::operator(), fixture.now()).await.unwrap();
    assert_eq!(set, SetPolicy::Unchanged(first));
    assert_eq!(tx.versions(domain.id, None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_version_supersedes_the_one_before_and_numbers_go_up() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    for max_age in [100, 200, 300] {
        fixture.clock.advance(chrono::TimeDelta::seconds(1));
        fixture.set_policy(&api, &domain, policy(Mode::Enforce, &["*.example.net"], max_age)).await;
    }
    let tx = api.tenant_tx(tenant).await.unwrap();
    let versions = tx.versions(domain.id, None, 10).await.unwrap();
    assert_eq!(versions.iter().map(|version| version.seq).collect::<Vec<_>>(), [4, 3, 2, 1]);
    assert!(versions[0].superseded_at.is_none());
    assert!(versions[1..].iter().all(|version| version.superseded_at.is_some()));
    let older = tx.versions(domain.id, Some(3), 1).await.unwrap();
    assert_eq!(older, versions[2..3]);
    assert_eq!(tx.version(domain.id, versions[3].id).await.unwrap().as_ref(), Some(&versions[3]));
    let events = tx.audit_events(None, 200).await.unwrap();
    let set: Vec<_> = events.iter().filter(|event| event.action == "policy.set").collect();
    assert_eq!(set.len(), 3);
    assert_eq!(set[2].after.as_ref().unwrap()["policy"]["max_age"], 300);
    assert_eq!(set[2].before.as_ref().unwrap()["policy"]["max_age"], 200);
}

#[tokio::test]
async fn a_policy_id_is_used_once_for_ever_over_all_tenants() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let (one, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let mine = fixture.domain(&api, one, "example.com").await;
    let theirs = fixture.domain(&api, other, "example.org").await;
    for (tenant, domain) in [(one, &mine), (other, &theirs)] {
        let mut tx = api.tenant_tx(tenant).await.unwrap();
        let mut new = fixture.version(policy(Mode::None, &[], 60), VersionReason::Changed);
        new.policy_id = mine.version.as_ref().unwrap().policy_id.clone();
        let set = tx.set_policy(domain.id, new, None, &Actor::operator(), fixture.now()).await;
        assert!(
            matches!(&set, Err(StoreError::Taken { constraint }) if constraint == "policy_versions_policy_id"),
            "{set:?}"
        );
    }
}

#[tokio::test]
async fn of_two_changes_that_expect_the_same_version_one_is_refused() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let expected = domain.version.as_ref().map(|version| version.id);
    let change = async |max_age| {
        let mut tx = api.tenant_tx(tenant).await.unwrap();
        let new = fixture.version(policy(Mode::None, &[], max_age), VersionReason::Changed);
        let set = tx.set_policy(domain.id, new, expected, &Actor::operator(), fixture.now()).await;
        tx.commit().await.unwrap();
        set
    };
    let (one, other) = tokio::join!(change(1), change(2));
    let (winner, loser) = if one.is_ok() { (one, other) } else { (other, one) };
    let current = Some(winner.unwrap().version().id);
    assert!(matches!(&loser, Err(StoreError::VersionConflict { current: c }) if *c == current), "{loser:?}");
}

#[tokio::test]
async fn changes_at_the_same_time_get_numbers_of_their_own() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let change = async |max_age| fixture.set_policy(&api, &domain, policy(Mode::None, &[], max_age)).await;
    tokio::join!(change(1), change(2), change(3), change(4));
    let versions = api.tenant_tx(tenant).await.unwrap().versions(domain.id, None, 10).await.unwrap();
    assert_eq!(versions.iter().map(|version| version.seq).collect::<Vec<_>>(), [5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn a_new_version_is_in_the_feed_when_its_transaction_commits_and_not_before() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let edge = fixture.store(Role::Edge).await;
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let served = fixture.serve(&worker, &domain).await;

    let new_policy = policy(Mode::Enforce, &["mx.example.net"], 777);
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    let new = fixture.version(new_policy.clone(), VersionReason::Changed);
    let set = tx.set_policy(domain.id, new, None, &Actor::operator(), fixture.now()).await.unwrap();
    assert!(changes(&edge, served).await.is_empty());
    tx.commit().await.unwrap();

    let news = changes(&edge, served).await;
    assert_eq!(news.len(), 1);
    assert!(news[0].revision > served);
    let EdgeEntry::Host(content) = &news[0].entry else { panic!("{news:?}") };
    assert_eq!(content.version_id, set.version().id);
    assert_eq!(content.policy_text, new_policy.to_text());
    assert_eq!((content.mode, content.max_age), (Mode::Enforce, 777));
    assert_eq!(content.sealed_key, b"sealed");
    assert_eq!(content.chain, [vec![0x30, 2, 1, 1], vec![0x30, 0]]);
}

#[tokio::test]
async fn a_change_of_a_domain_that_is_not_served_tells_the_edges_nothing() {
    let fixture = Fixture::new().await;
    let (api, edge) = (fixture.store(Role::Api).await, fixture.store(Role::Edge).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    fixture.set_policy(&api, &domain, policy(Mode::None, &[], 60)).await;
    assert!(changes(&edge, mtasts_model::Revision::ZERO).await.is_empty());
}

#[tokio::test]
async fn whoever_lists_mx_hosts_goes_on_listing_them_and_a_change_of_mode_keeps_the_discovered_ones() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let first = fixture.version(policy(Mode::Testing, &["mx.example.com"], 86_400), VersionReason::Registered);
    let mut new = fixture.new_domain("example.com", Some(first));
    new.mx_source = MxSource::Auto;
    let mut tx = api.tenant_tx(tenant).await.unwrap();
    let domain = tx.create_domain(new, &Actor::operator(), fixture.now()).await.unwrap();
    tx.commit().await.unwrap();
    fixture.set_policy(&api, &domain, policy(Mode::Enforce, &["mx.example.com"], 86_400)).await;
    assert_eq!(fixture.view(&api, &domain).await.mx_source, MxSource::Auto);
    fixture.set_policy(&api, &domain, policy(Mode::Enforce, &["*.example.net"], 86_400)).await;
    assert_eq!(fixture.view(&api, &domain).await.mx_source, MxSource::Listed);
}
