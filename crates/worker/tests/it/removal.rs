//! Removals that are forced, and CNAMEs that are left behind.

use chrono::TimeDelta;
use mtasts_model::{Clock, MaxAge, Mode, Policy, PolicyId, PolicyVersionId, SystemEntropy, label::DelegationPurpose};
use mtasts_store::{Actor, DomainState, NewVersion, RemovalGround, VersionReason};

use crate::world::World;

#[tokio::test]
async fn a_forced_removal_is_done_at_once_and_what_it_leaves_behind_is_told() {
    let world = World::new().await;
    let _worker = world.start();
    let domain = world.publish(world.tenant().await, "customer.test").await;
    let now = world.clock.now();
    let none = NewVersion {
        id: PolicyVersionId::draw(now, &SystemEntropy),
        policy_id: PolicyId::draw(now, &SystemEntropy),
        policy: Policy::new(Mode::None, Vec::new(), MaxAge::DAY).unwrap(),
        reason: VersionReason::Withdrawn,
        forced: None,
    };
    let mut tx = world.api.tenant_tx(domain.tenant_id).await.unwrap();
    let why = (RemovalGround::Abuse, "it sends what nobody wants");
    tx.force_removal(domain.id, none, why, &Actor::operator(), now).await.unwrap();
    tx.commit().await.unwrap();
    let gone = world.view_when(&domain, "it is gone", |view| view.state == DomainState::Gone).await;
    assert!(gone.gone_at.unwrap() - now < TimeDelta::minutes(1), "nobody was waited for");
    assert_eq!(world.txt(&domain).await, None);
    // The edge follows what is committed.
    let history = || world.edge.history("customer.test");
    world.wait_until("the edge serves it no longer", async || history().last() == Some(&None)).await;

    // Its CNAMEs stand there still, and are looked for on the next day.
    assert_eq!(world.count("events WHERE type = 'domain.still_delegated'").await, 0);
    world.clock.advance(TimeDelta::hours(30));
    world
        .view_when(&domain, "they are found", |view| {
            view.dangling() == ["mta-sts.customer.test", "_mta-sts.customer.test", "_smtp._tls.customer.test"]
        })
        .await;
    assert_eq!(world.count("events WHERE type = 'domain.still_delegated'").await, 1);
    let target = "elsewhere.test";
    for purpose in [DelegationPurpose::PolicyHost, DelegationPurpose::StsRecord, DelegationPurpose::TlsRptRecord] {
        world.customers.cname(&purpose.name(&domain.name), target);
    }
    world.clock.advance(TimeDelta::hours(30));
    world.view_when(&domain, "they have gone too", |view| view.dangling().is_empty()).await;
    // The name can be registered again, and is another domain.
    let again = world.register(domain.tenant_id, "customer.test").await;
    assert_ne!(again.id, domain.id);
}
