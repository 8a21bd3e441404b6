//! The watch over what senders find, and alerts before a certificate ends.

use chrono::TimeDelta;
use mtasts_model::{Condition, ConditionKind, Mode, Status, Timestamp, lifecycle::EXPIRY_ALERT_DAYS};

use crate::world::{Customer, World};

fn condition(world: &World, kind: ConditionKind) -> &Condition {
    world.facts.conditions.iter().find(|condition| condition.kind == kind).unwrap()
}

/// Lets the world go on until then, or until something is so.
fn pass(world: &mut World, span: TimeDelta, done: impl Fn(&World) -> bool) -> bool {
    let end = world.now() + span;
    while world.now() < end {
        if done(world) {
            return true;
        }
        world.settle(1, |_| false);
    }
    done(world)
}

fn published_at(world: &World) -> Option<Timestamp> {
    world.facts.version.as_ref().and_then(|version| version.published_at)
}

fn published() -> World {
    let mut world = World::new(11, 2);
    world.customer = Customer::Delegated;
    assert!(pass(&mut world, TimeDelta::hours(1), |world| published_at(world).is_some()));
    world
}

#[test]
fn a_published_policy_is_looked_at_once_resolvers_can_have_it_and_daily() {
    let mut world = published();
    let publication = published_at(&world).unwrap();
    pass(&mut world, TimeDelta::days(10), |_| false);
    let first = world.watched[0];
    assert!((10..=11).contains(&(first - publication).num_minutes()), "{first}");
    let gaps: Vec<_> = world.watched.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| (20..=24).contains(&gap.num_hours())), "{gaps:?}");
    assert_eq!(condition(&world, ConditionKind::PolicyVisible).status, Status::True);

    // A change of policy.
    let before = world.watched.len();
    world.set_mode(Mode::Testing, 86_400);
    assert!(pass(&mut world, TimeDelta::hours(1), |world| published_at(world).is_some()));
    let publication = published_at(&world).unwrap();
    assert!(pass(&mut world, TimeDelta::hours(1), |world| world.watched.len() > before));
    assert!((world.now() - publication).num_minutes() <= 11);
}

#[test]
fn what_is_found_wrong_is_looked_at_again_soon_then_hourly_until_it_is_well() {
    let mut world = published();
    assert!(pass(&mut world, TimeDelta::hours(1), |world| world.watched.len() == 1));
    world.hidden = true;
    assert!(pass(&mut world, TimeDelta::days(2), |world| world.watched.len() == 2));
    assert_eq!(condition(&world, ConditionKind::PolicyVisible).status, Status::True, "one look is no verdict");
    assert!(pass(&mut world, TimeDelta::minutes(7), |world| world.watched.len() == 3));
    world.settle(1, |_| false);
    let visible = condition(&world, ConditionKind::PolicyVisible);
    assert_eq!((visible.status, visible.reason.as_str()), (Status::False, "CheckFailed"));
    pass(&mut world, TimeDelta::hours(12), |_| false);
    assert!((10..=13).contains(&(world.watched.len() - 3)), "{:?}", world.watched);
    world.hidden = false;
    assert!(pass(&mut world, TimeDelta::minutes(80), |world| {
        condition(world, ConditionKind::PolicyVisible).status == Status::True
    }));
}

#[test]
fn a_name_that_does_not_lead_here_is_not_looked_at() {
    let mut world = published();
    world.customer = Customer::Elsewhere;
    world.verify_now();
    pass(&mut world, TimeDelta::hours(2), |_| false);
    let before = world.watched.len();
    pass(&mut world, TimeDelta::days(5), |_| false);
    assert_eq!(world.watched.len(), before, "its delegation says enough");
}

#[test]
fn a_certificate_that_is_not_renewed_is_told_of_once_for_each_threshold() {
    let mut world = published();
    world.ca_refuses = true;
    let certificate = world.facts.certificate.unwrap();
    pass(&mut world, TimeDelta::days(85), |_| false);
    let told: Vec<_> =
        world.expiries.iter().map(|(at, id, days)| (*id, *days, (certificate.not_after - *at).num_days())).collect();
    let ids = EXPIRY_ALERT_DAYS.map(|days| (certificate.id, days));
    assert_eq!(told.iter().map(|(id, days, _)| (*id, *days)).collect::<Vec<_>>(), ids);
    // The renewal is due at thirty days, and a day late is when it is news.
    assert_eq!(told.iter().map(|(.., left)| *left).collect::<Vec<_>>(), [28, 13, 6]);
    let ready = condition(&world, ConditionKind::CertificateReady);
    assert_eq!((ready.status, ready.reason.as_str()), (Status::False, "Expiring"));

    world.ca_refuses = false;
    world.verify_now();
    assert!(pass(&mut world, TimeDelta::days(1), |world| world.certificates == 2));
    pass(&mut world, TimeDelta::days(40), |_| false);
    assert_eq!(world.expiries.len(), 3, "the new one is in order");
    assert_eq!(condition(&world, ConditionKind::CertificateReady).status, Status::True);
}

#[test]
fn a_renewal_that_works_is_no_news() {
    let mut world = published();
    pass(&mut world, TimeDelta::days(200), |_| false);
    assert!(world.certificates >= 3);
    assert_eq!(world.expiries, []);
}
