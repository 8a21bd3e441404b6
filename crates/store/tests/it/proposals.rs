//! What follows from MX hosts in DNS by itself, for a tenant who chose so.

use chrono::TimeDelta;
use mtasts_model::{
    HostName, Mode, MxPattern, PolicyId, PolicyVersionId, SystemEntropy, Timestamp,
    lifecycle::{MxFailure, MxHostSeen, MxSeen},
};
use mtasts_store::{DomainView, Role, SpareIds, Store, VersionReason};

use crate::fixture::{Fixture, policy};

/// What the worker records after a look, for a domain whose MX hosts are followed.
async fn look(fixture: &Fixture, worker: &Store, domain: &DomainView, hosts: &[(&str, bool)]) -> bool {
    shared_look(fixture, worker, domain, hosts, None).await
}

/// The same, by a look that was made for another domain.
async fn shared_look(
    fixture: &Fixture,
    worker: &Store,
    domain: &DomainView,
    hosts: &[(&str, bool)],
    looked_at: Option<Timestamp>,
) -> bool {
    let lease = fixture.claim(worker, domain.id).await;
    let failure = || MxFailure { code: "starttls-not-supported".to_owned(), message: "no".to_owned() };
    let hosts = hosts.iter().map(|(name, passes)| MxHostSeen {
        host: HostName::parse(name).unwrap(),
        preference: 10,
        failure: (!passes).then(failure),
        looked_at,
    });
    let seen = MxSeen { hosts: hosts.collect(), at: fixture.now() };
    let ids = SpareIds {
        version: PolicyVersionId::draw(fixture.now(), &SystemEntropy),
        policy: PolicyId::draw(fixture.now(), &SystemEntropy),
    };
    let mut tx = fixture.tx(worker, &lease).await;
    tx.mx_seen(&seen).await.unwrap();
    let made = tx.follow_mx(&seen, ids).await.unwrap();
    tx.commit().await.unwrap();
    made
}

async fn patterns(fixture: &Fixture, api: &Store, domain: &DomainView) -> Vec<String> {
    let version = fixture.view(api, domain).await.version.unwrap();
    version.policy.mx().iter().map(MxPattern::to_string).collect()
}

#[tokio::test]
async fn a_new_host_is_followed_once_a_second_look_finds_it_and_it_passes() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let hosts = [("mx2.example.com", true), ("mx3.example.com", false)];
    assert!(!look(&fixture, &worker, &domain, &hosts).await, "one look is one answer, which may be forged");
    fixture.clock.advance(TimeDelta::minutes(29));
    assert!(!look(&fixture, &worker, &domain, &hosts).await);
    fixture.clock.advance(TimeDelta::minutes(1));
    assert!(look(&fixture, &worker, &domain, &hosts).await);
    assert_eq!(patterns(&fixture, &api, &domain).await, ["mx.example.net", "mx2.example.com"], "and none has left");
    let version = fixture.view(&api, &domain).await.version.unwrap();
    assert_eq!((version.reason, version.created_by.as_str()), (VersionReason::Followed, "worker"));
    assert!(!look(&fixture, &worker, &domain, &hosts).await, "the failing one waits");
}

#[tokio::test]
async fn two_steps_that_go_by_one_look_are_no_second_look() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    let hosts = [("mx2.example.com", true)];
    let first = fixture.now();
    assert!(!shared_look(&fixture, &worker, &domain, &hosts, Some(first)).await);
    fixture.clock.advance(TimeDelta::minutes(59));
    assert!(!shared_look(&fixture, &worker, &domain, &hosts, Some(first)).await);
    let soon = first + TimeDelta::minutes(29);
    assert!(!shared_look(&fixture, &worker, &domain, &hosts, Some(soon)).await, "half an hour later at the earliest");
    let second = first + TimeDelta::minutes(30);
    assert!(shared_look(&fixture, &worker, &domain, &hosts, Some(second)).await);
}

#[tokio::test]
async fn in_enforce_a_look_never_changes_the_policy_for_hosts_of_strangers() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    let domain = fixture.domain(&api, tenant, "example.com").await;
    fixture.set_policy(&api, &domain, policy(Mode::Enforce, &["mx.example.com"], 86_400)).await;
    let forged = [("mx.attacker.test", true)];
    for _ in 0..5 {
        assert!(!look(&fixture, &worker, &domain, &forged).await);
        fixture.clock.advance(TimeDelta::hours(1));
    }
    assert_eq!(patterns(&fixture, &api, &domain).await, ["mx.example.com"]);
    let proposal = api.tenant_tx(tenant).await.unwrap().proposal(domain.id).await.unwrap().unwrap();
    assert_eq!(proposal.proposed_at, fixture.now() - TimeDelta::hours(5), "it stands as a proposal");
}
