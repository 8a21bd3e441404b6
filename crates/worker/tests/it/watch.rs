//! The look from outside: what senders find is held against what they are meant to find.

use chrono::TimeDelta;
use mtasts_model::{ConditionKind, Status, StsRecord, label::DelegationPurpose};
use mtasts_store::DomainView;
use mtasts_testkit::wait_for;

use crate::world::{PATIENCE, World, ZONE, status};

/// Has resolvers of the world answer this for the domain's record.
fn shows(world: &World, domain: &DomainView, text: &str) {
    world.customers.txt(&DelegationPurpose::StsRecord.target(&domain.label, &ZONE.parse().unwrap()), text);
}

async fn looks(world: &World, domain: &DomainView, wanted: u32) {
    wait_for(PATIENCE, &format!("look {wanted}"), async || {
        let tx = world.api.tenant_tx(domain.tenant_id).await.unwrap();
        let days = tx.watch_days(domain.id, None, 10).await.unwrap();
        (days.iter().map(|day| day.looks).sum::<u32>() >= wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_senders_find_is_told_when_it_is_not_what_is_meant_and_when_it_is_again() {
    let world = World::new().await;
    let _worker = world.start();
    let domain = world.publish(world.tenant().await, "customer.test").await;
    let record = StsRecord::new(domain.version.as_ref().unwrap().policy_id.clone()).to_string();
    shows(&world, &domain, &record);
    world.clock.advance(TimeDelta::minutes(13));
    let seen = async |wanted: (Status, &'static str)| {
        world.view_when(&domain, wanted.1, |view| status(view, ConditionKind::PolicyVisible) == wanted).await
    };
    seen((Status::True, "CheckPassed")).await;
    assert_eq!(world.count("events WHERE type LIKE 'domain.check%'").await, 0, "all is as it should be: no news");

    // Somebody's resolver answers an older id: one look alone is no verdict.
    shows(&world, &domain, "v=STSv1; id=20200101000000;");
    world.clock.advance(TimeDelta::hours(25));
    seen((Status::True, "LooksAgain")).await;
    assert_eq!(world.count("events WHERE type LIKE 'domain.check%'").await, 0);
    world.clock.advance(TimeDelta::minutes(7));
    seen((Status::False, "CheckFailed")).await;
    let told = world.database.psql("SELECT data ->> 'code' FROM events WHERE type = 'domain.check_failed'").await;
    assert_eq!(told.trim(), "sts-record-outdated");

    shows(&world, &domain, &record);
    let before = world.highest("watch_days", "looks").await;
    world.verify(&domain).await;
    seen((Status::True, "CheckPassed")).await;
    assert!(before >= 1);
    assert_eq!(world.count("events WHERE type = 'domain.check_recovered'").await, 1);
    let tx = world.api.tenant_tx(domain.tenant_id).await.unwrap();
    let report = tx.watch(domain.id).await.unwrap().unwrap().report;
    assert_eq!(report["policy_host"]["addresses"][0]["status"], 200);
    assert!(report.get("mx").is_none(), "they have looks of their own");
}

#[tokio::test]
async fn another_policy_than_the_one_that_is_meant_is_found() {
    let world = World::new().await;
    let _worker = world.start();
    let domain = world.publish(world.tenant().await, "customer.test").await;
    let record = StsRecord::new(domain.version.as_ref().unwrap().policy_id.clone()).to_string();
    shows(&world, &domain, &record);
    // An edge that nobody knows of, behind the customer's name.
    world.edge.serves_instead("customer.test", "version: STSv1\r\nmode: none\r\nmax_age: 60\r\n");
    world.clock.advance(TimeDelta::minutes(13));
    looks(&world, &domain, 1).await;
    let tx = world.api.tenant_tx(domain.tenant_id).await.unwrap();
    let watch = tx.watch(domain.id).await.unwrap().unwrap().watch;
    assert_eq!(watch.problem.unwrap().code, "policy-outdated");
}

#[tokio::test]
async fn a_resolver_that_is_away_says_nothing_of_the_domain() {
    let world = World::new().await;
    let _worker = world.start();
    let domain = world.publish(world.tenant().await, "customer.test").await;
    shows(&world, &domain, &StsRecord::new(domain.version.as_ref().unwrap().policy_id.clone()).to_string());
    world.customers.silence(true);
    world.clock.advance(TimeDelta::minutes(13));
    world
        .wait_until("the look has failed", async || world.count("step_failures WHERE kind = 'watch'").await == 1)
        .await;
    assert_eq!(world.count("domain_watches").await, 0);
    world.customers.silence(false);
    world.clock.advance(TimeDelta::minutes(5));
    looks(&world, &domain, 1).await;
}
