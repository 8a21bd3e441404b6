//! Rollout plans over days and weeks: never `enforce` without proof, and each step once.

use chrono::TimeDelta;
use mtasts_model::{
    ConditionKind, Mode, Status,
    lifecycle::Purpose,
    readiness::ReportSums,
    rollout::{Action, Fallback, Progress, Rollout},
};
use proptest::prelude::*;

use crate::world::{Customer, Fault, World};

const GOOD: ReportSums = ReportSums { good: 1_000, bad: 0, reporters: 3 };

/// A healthy domain in `testing`, and a plan for it.
fn world(fallback: Fallback) -> World {
    let mut world = World::new(11, 2);
    world.customer = Customer::Delegated;
    world.settle(200, |facts| facts.version.as_ref().is_some_and(|version| version.published_at.is_some()));
    world.reports = GOOD;
    world.roll_out(fallback);
    world
}

fn progress(world: &World) -> Progress {
    world.facts.rollout.as_ref().unwrap().rollout.progress.clone()
}

fn step(world: &World) -> usize {
    world.facts.rollout.as_ref().unwrap().rollout.step
}

/// Lets the world go on for so many days, or until something is so.
fn pass(world: &mut World, days: i64, done: impl Fn(&World) -> bool) -> bool {
    let end = world.now() + TimeDelta::days(days);
    while world.now() < end && world.facts.purpose != Purpose::Gone {
        if done(world) {
            return true;
        }
        world.settle(1, |_| false);
    }
    done(world)
}

#[test]
fn a_plan_takes_weeks_and_announces_each_step_a_day_before() {
    let mut world = world(Fallback::Pause);
    let begun = world.now();
    assert!(pass(&mut world, 60, |world| progress(world) == Progress::Completed), "{:?}", world.rolled);
    let days = |index: usize| (world.rolled[index].0 - begun).num_days();
    let entered: Vec<_> = world
        .rolled
        .iter()
        .enumerate()
        .filter_map(|(index, (_, action))| match action {
            Action::Enter { step, policy } => Some((*step, policy.mode(), policy.max_age().seconds(), days(index))),
            _ => None,
        })
        .collect();
    let week = 604_800;
    assert_eq!(
        entered,
        [
            (0, Mode::Testing, 86_400, 0),
            (1, Mode::Enforce, 86_400, 14),
            (2, Mode::Enforce, week, 21),
            (3, Mode::Enforce, 4 * week, 35)
        ]
    );
    let announced = world.rolled.iter().filter(|(_, action)| matches!(action, Action::Announce { .. })).count();
    assert_eq!(announced, 3);
    let version = world.facts.version.clone().unwrap();
    assert_eq!((version.policy.mode(), version.policy.max_age().seconds()), (Mode::Enforce, 4 * week));
    let condition = world.facts.conditions.iter().find(|condition| condition.kind == ConditionKind::RolloutOnTrack);
    assert_eq!(condition.map(|condition| condition.status), Some(Status::True));
}

#[test]
fn a_plan_without_reports_waits_for_ever_and_says_for_what() {
    let mut world = world(Fallback::Pause);
    world.reports = ReportSums::default();
    assert!(!pass(&mut world, 100, |world| step(world) > 0));
    assert_eq!(progress(&world), Progress::Running);
    let waits_for = world.facts.rollout_next(world.now()).unwrap().waits_for;
    assert!(waits_for.contains("0 sessions of 100"), "{waits_for}");
}

#[test]
fn a_failing_host_pauses_the_plan_and_takes_the_announced_step_back() {
    let mut world = world(Fallback::Testing);
    let announced = |world: &World| world.facts.rollout.as_ref().unwrap().rollout.announced_for.is_some();
    assert!(pass(&mut world, 14, announced));
    world.mx_fails = true;
    world.verify_now();
    assert!(pass(&mut world, 1, |world| matches!(progress(world), Progress::Paused(_))));
    let rollout = world.facts.rollout.clone().unwrap().rollout;
    assert_eq!((rollout.announced_for, rollout.step), (None, 0));
    assert!(!pass(&mut world, 30, |world| step(world) > 0));
    world.mx_fails = false;
    let mended_at = world.now();
    assert!(pass(&mut world, 3, |world| progress(world) == Progress::Running));
    assert!(world.now() - mended_at >= TimeDelta::hours(23), "it is calm for a day first");
    assert!(pass(&mut world, 10, |world| step(world) == 1));
    assert!(world.now() - mended_at >= TimeDelta::days(7), "a week of good looks");
}

#[test]
fn verified_failures_take_the_policy_back_to_testing_where_that_was_chosen() {
    for (fallback, mode) in [(Fallback::Testing, Mode::Testing), (Fallback::Pause, Mode::Enforce)] {
        let mut world = world(fallback);
        assert!(pass(&mut world, 30, |world| step(world) == 1));
        world.reports = ReportSums { good: 900, bad: 100, reporters: 3 };
        assert!(pass(&mut world, 1, |world| progress(world) != Progress::Running));
        assert_eq!(world.facts.mode(), Some(mode), "{fallback:?}");
        let fell_back = matches!(progress(&world), Progress::FellBack(_));
        assert_eq!(fell_back, fallback == Fallback::Testing);
        world.reports = GOOD;
        // It stays there until the tenant says so, and then goes through every step again.
        pass(&mut world, 30, |_| false);
        assert_eq!(step(&world) == 0, fell_back);
        if fell_back {
            world.steer(Rollout::resumed);
            assert!(pass(&mut world, 3, |world| step(world) == 1));
        }
    }
}

#[test]
fn a_tenant_who_pauses_within_the_day_prevents_the_step() {
    let mut world = world(Fallback::Pause);
    let announced = |world: &World| world.facts.rollout.as_ref().unwrap().rollout.announced_for.is_some();
    assert!(pass(&mut world, 14, announced));
    world.steer(Rollout::held);
    assert!(!pass(&mut world, 60, |world| step(world) > 0));
    world.steer(Rollout::resumed);
    assert!(pass(&mut world, 2, |world| step(world) == 1), "it is announced anew, and a day later it follows");
}

#[test]
fn a_policy_that_is_set_by_hand_stops_the_plan() {
    let mut world = world(Fallback::Pause);
    assert!(pass(&mut world, 30, |world| step(world) == 1));
    world.set_mode(Mode::Testing, 604_800);
    assert!(pass(&mut world, 1, |world| progress(world) == Progress::Overruled));
    pass(&mut world, 60, |_| false);
    assert_eq!(world.facts.mode(), Some(Mode::Testing));
}

#[derive(Debug, Clone)]
enum Event {
    Days(u8, Fault),
    Hours(u8),
    MxFails(bool),
    Reports(ReportSums),
    Mode(Mode),
    Hold,
    Resume,
    RollOut(Fallback),
    Work(Fault),
    Fetch(usize),
    Withdraw,
}

fn event() -> impl Strategy<Value = Event> {
    let fault = || {
        prop_oneof![
            6 => Just(Fault::None),
            1 => Just(Fault::Fails),
            1 => Just(Fault::KilledBefore),
            1 => Just(Fault::KilledBetween),
        ]
    };
    let sums = |good, bad, reporters| Event::Reports(ReportSums { good, bad, reporters });
    prop_oneof![
        12 => (1_u8..10, fault()).prop_map(|(days, fault)| Event::Days(days, fault)),
        6 => (1_u8..30).prop_map(Event::Hours),
        2 => prop_oneof![3 => Just(false), 1 => Just(true)].prop_map(Event::MxFails),
        2 => prop_oneof![4 => Just(sums(1_000, 0, 3)), 1 => Just(sums(900, 100, 3)), 1 => Just(sums(0, 0, 0))],
        1 => prop_oneof![Just(Mode::None), Just(Mode::Testing), Just(Mode::Enforce)].prop_map(Event::Mode),
        1 => Just(Event::Hold),
        2 => Just(Event::Resume),
        1 => prop_oneof![Just(Fallback::Testing), Just(Fallback::Pause)].prop_map(Event::RollOut),
        8 => fault().prop_map(Event::Work),
        4 => (0_usize..2).prop_map(Event::Fetch),
        1 => prop_oneof![10 => Just(Event::Hours(1)), 1 => Just(Event::Withdraw)],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// The world checks invariant 6 with each step of a plan, and invariants 1, 2, 3, 5 and 9 after every plan of the domain.
    #[test]
    fn no_history_of_days_and_faults_leads_into_enforce_without_proof(
        events in proptest::collection::vec(event(), 1..40),
    ) {
        let mut world = world(Fallback::Testing);
        for event in events {
            match event {
                Event::Days(days, fault) => {
                    pass(&mut world, days.into(), |_| false);
                    world.work(fault);
                }
                Event::Hours(hours) => world.clock.advance(TimeDelta::hours(hours.into())),
                Event::MxFails(fails) => world.mx_fails = fails,
                Event::Reports(reports) => world.reports = reports,
                Event::Mode(mode) => world.set_mode(mode, 604_800),
                Event::Hold => world.steer(Rollout::held),
                Event::Resume => world.steer(Rollout::resumed),
                Event::RollOut(fallback) => world.roll_out(fallback),
                Event::Work(fault) => { world.work(fault); }
                Event::Fetch(edge) => world.sender_fetches(edge),
                Event::Withdraw => world.withdraw(),
            }
        }
        // The weather clears up, and a plan that the tenant wants gets through.
        if world.facts.purpose == Purpose::Live {
            world.mx_fails = false;
            world.reports = GOOD;
            world.set_mode(Mode::Testing, 604_800);
            pass(&mut world, 1, |_| false);
            world.roll_out(Fallback::Pause);
            prop_assert!(pass(&mut world, 120, |world| progress(world) == Progress::Completed), "{:?}", world.rolled);
        }
    }
}
