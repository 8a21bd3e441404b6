//! MX migrations over weeks: nobody is led to a host that a sender's policy lacks.

use chrono::TimeDelta;
use mtasts_model::Mode;
use proptest::prelude::*;

use crate::world::{Customer, Fault, NEW_MX, OLD_MX, World};

/// A healthy domain that senders know in `enforce` with a week of `max_age`.
fn world() -> World {
    let mut world = World::new(5, 2);
    world.customer = Customer::Delegated;
    world.settle(200, |facts| facts.version.as_ref().is_some_and(|version| version.published_at.is_some()));
    world.set_mode(Mode::Enforce, 604_800);
    pass(&mut world, 1, |_| false);
    world.sender_fetches(0);
    world
}

fn pass(world: &mut World, days: i64, done: impl Fn(&World) -> bool) -> bool {
    let end = world.now() + TimeDelta::days(days);
    while world.now() < end {
        if done(world) {
            return true;
        }
        world.settle(1, |_| false);
    }
    done(world)
}

fn patterns(world: &World) -> Vec<&str> {
    world.facts.version.as_ref().unwrap().policy.mx().iter().map(mtasts_model::MxPattern::as_str).collect()
}

#[test]
fn a_migration_waits_for_senders_then_for_dns_and_then_drops_the_old_host() {
    let mut world = world();
    let fetched_at = world.now();
    world.migrate();
    assert_eq!(patterns(&world), [OLD_MX, NEW_MX]);
    let safe_at = |world: &World| world.facts.migration.as_ref().and_then(|facts| facts.migration.safe_to_point_mx_at);
    assert!(pass(&mut world, 1, |world| safe_at(world).is_some()));
    assert_eq!(safe_at(&world), Some(fetched_at + TimeDelta::days(7)), "as long as a sender may hold the older one");
    assert!(!pass(&mut world, 30, |world| world.facts.migration.is_none()), "DNS names the old host");
    world.point_mx(NEW_MX);
    let pointed_at = world.now();
    assert!(pass(&mut world, 7, |world| world.facts.migration.is_none()));
    assert!(world.now() - pointed_at >= TimeDelta::hours(48), "resolvers may keep the older MX record");
    assert_eq!((patterns(&world), world.facts.mode()), (vec![NEW_MX], Some(Mode::Enforce)));
}

#[test]
fn a_tenant_who_points_too_early_does_not_cut_the_wait_short() {
    let mut world = world();
    world.migrate();
    world.point_mx(NEW_MX);
    assert!(!pass(&mut world, 6, |world| world.facts.migration.is_none()));
    assert!(pass(&mut world, 3, |world| world.facts.migration.is_none()));
}

#[derive(Debug, Clone)]
enum Event {
    Days(u8),
    Hours(u8),
    Work(Fault),
    Fetch(usize),
    Toggle(usize),
    Flush(usize),
    Migrate,
    Point(&'static str),
    Mode(Mode),
}

fn event() -> impl Strategy<Value = Event> {
    let fault = prop_oneof![
        6 => Just(Fault::None),
        1 => Just(Fault::Fails),
        1 => Just(Fault::KilledBefore),
        1 => Just(Fault::KilledBetween),
    ];
    prop_oneof![
        4 => (1_u8..5).prop_map(Event::Days),
        4 => (1_u8..30).prop_map(Event::Hours),
        20 => fault.prop_map(Event::Work),
        6 => (0_usize..2).prop_map(Event::Fetch),
        1 => (0_usize..2).prop_map(Event::Toggle),
        2 => (0_usize..2).prop_map(Event::Flush),
        2 => Just(Event::Migrate),
        2 => prop_oneof![Just(OLD_MX), Just(NEW_MX)].prop_map(Event::Point),
        1 => prop_oneof![Just(Mode::Testing), Just(Mode::Enforce)].prop_map(Event::Mode),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// The world checks, as the migration goes on, that no sender holds an enforced policy without the new host.
    #[test]
    fn no_history_points_senders_to_a_host_that_their_policy_lacks(
        events in proptest::collection::vec(event(), 1..60),
    ) {
        let mut world = world();
        for event in events {
            match event {
                Event::Days(days) => { pass(&mut world, days.into(), |_| false); }
                Event::Hours(hours) => world.clock.advance(TimeDelta::hours(hours.into())),
                Event::Work(fault) => { world.work(fault); }
                Event::Fetch(edge) => world.sender_fetches(edge),
                Event::Toggle(edge) => world.edge_toggles(edge),
                Event::Flush(edge) => world.edge_flushes(edge),
                Event::Migrate => world.migrate(),
                Event::Point(host) => world.point_mx(host),
                Event::Mode(mode) => world.set_mode(mode, 604_800),
            }
        }
    }
}
