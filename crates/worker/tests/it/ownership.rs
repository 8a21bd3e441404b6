//! Whose a domain is (invariant 3): THREATS, the dangling CNAME.

use chrono::TimeDelta;
use mtasts_model::{ConditionKind, Status};
use mtasts_store::{DomainState, DomainView};

use crate::world::{World, status};

/// That the registration got nothing: no place, no order, no certificate, no record.
async fn assert_nothing_for(world: &World, domain: &DomainView) {
    let id = domain.id.as_uuid();
    for table in ["acme_orders", "certificates", "edge_entries"] {
        assert_eq!(world.count(&format!("{table} WHERE domain_id = '{id}'")).await, 0, "{table}");
    }
    assert_eq!(world.count(&format!("zone_records WHERE name LIKE '{}.%'", domain.label)).await, 0);
    let served = world.edge.history("customer.test");
    assert!(served.iter().flatten().all(|content| content.domain_id != domain.id), "an edge was told to serve it");
    assert_eq!(world.txt(domain).await, None);
}

#[tokio::test]
async fn whoever_adds_a_domain_whose_cnames_name_another_label_gets_nothing() {
    let world = World::new().await;
    let _worker = world.start();
    let (a, b) = (world.tenant().await, world.tenant().await);
    let of_a = world.publish(a, "customer.test").await;

    // B registers the name while A's DNS is as it was.
    let of_b = world.register(b, "customer.test").await;
    let seen = |view: &DomainView| status(view, ConditionKind::Delegated) == (Status::False, "OtherRegistration");
    world.view_when(&of_b, "B is told that the CNAME names another label", seen).await;
    assert_nothing_for(&world, &of_b).await;
    assert_eq!(world.edge.host("customer.test").unwrap().domain_id, of_a.id, "A is served on");

    // A leaves, and forgets its CNAMEs.
    world.withdraw(&of_a).await;
    world.published(&of_a).await;
    world.clock.advance(TimeDelta::minutes(30));
    world.view_when(&of_a, "A is gone", |view| view.state == DomainState::Gone).await;
    let before = world.view(&of_b).await.delegation_seen.unwrap().at;
    world.verify(&of_b).await;
    world
        .view_when(&of_b, "B was looked at again", |view| {
            view.delegation_seen.as_ref().is_some_and(|seen| seen.at > before) && seen(view)
        })
        .await;
    assert_nothing_for(&world, &of_b).await;
    assert!(world.edge.host("customer.test").is_none());
}

#[tokio::test]
async fn a_domain_follows_its_cnames_to_the_winner_and_the_loser_stops_first() {
    let world = World::new().await;
    let _worker = world.start();
    let (a, b) = (world.tenant().await, world.tenant().await);
    let of_a = world.publish(a, "customer.test").await;
    let of_b = world.publish(b, "customer.test").await;
    let content = world.edge.host("customer.test").unwrap();
    assert_eq!((content.tenant_id, content.domain_id), (b, of_b.id));

    let history: Vec<_> = world
        .edge
        .history("customer.test")
        .into_iter()
        .map(|content| content.map(|content| content.domain_id))
        .collect();
    let last_of_a = history.iter().rposition(|owner| *owner == Some(of_a.id)).unwrap();
    let first_of_b = history.iter().position(|owner| *owner == Some(of_b.id)).unwrap();
    assert!(last_of_a < first_of_b);
    world
        .view_when(&of_a, "the loser is told", |view| {
            status(view, ConditionKind::Delegated) == (Status::False, "OtherRegistration")
        })
        .await;
}

#[tokio::test]
async fn dns_that_does_not_answer_moves_nothing() {
    let world = World::new().await;
    let _worker = world.start();
    let domain = world.publish(world.tenant().await, "customer.test").await;
    let seen = domain.delegation_seen.clone().unwrap();
    world.customers.fail(true);
    world.clock.advance(TimeDelta::seconds(20));
    world.verify(&domain).await;
    let attempts = format!("step_failures WHERE domain_id = '{}' AND kind = 'observe-delegation'", domain.id.as_uuid());
    world.wait_until("a look has failed", async || world.count(&attempts).await == 1).await;
    let view = world.view(&domain).await;
    assert_eq!(view.delegation_seen.unwrap(), seen, "the last conclusive look is kept");
    assert!(world.edge.host("customer.test").is_some());

    world.customers.fail(false);
    world.clock.advance(TimeDelta::minutes(2));
    world.wait_until("a look has succeeded again", async || world.count(&attempts).await == 0).await;
    assert_eq!(status(&world.view(&domain).await, ConditionKind::Delegated).0, Status::True);
}
