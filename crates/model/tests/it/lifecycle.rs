//! From any facts, with any fault, the plan converges and breaks no invariant.

use chrono::TimeDelta;
use mtasts_model::{
    Clock, ConditionKind, Status,
    lifecycle::{CnameSeen, DomainFacts, HostOwner, OrderState, Purpose, RecordProblem, Step, StepKind, plan},
    policy::Mode,
};
use mtasts_model::{
    readiness::ReportSums,
    rollout::{Fallback, Rollout},
};
use proptest::prelude::*;

use crate::world::{Customer, Fault, World};

fn status(facts: &DomainFacts, kind: ConditionKind) -> Status {
    facts.conditions.iter().find(|condition| condition.kind == kind).map_or(Status::Unknown, |c| c.status)
}

fn healthy(facts: &DomainFacts) -> bool {
    [
        ConditionKind::Delegated,
        ConditionKind::CertificateReady,
        ConditionKind::PolicyLive,
        ConditionKind::RecordPublished,
        ConditionKind::MxReady,
    ]
    .into_iter()
    .all(|kind| status(facts, kind) == Status::True)
}

fn published(facts: &DomainFacts) -> bool {
    facts.version.as_ref().is_some_and(|version| version.published_at.is_some())
}

fn delegated_world() -> World {
    let mut world = World::new(7, 2);
    world.customer = Customer::Delegated;
    assert!(world.settle(200, healthy), "{:#?}", world.facts.conditions);
    world
}

#[test]
fn a_delegated_domain_becomes_healthy_with_one_certificate() {
    let world = delegated_world();
    assert_eq!(world.certificates, 1);
    assert_eq!(world.answer(), world.facts.version.as_ref().map(|version| version.id));
}

#[test]
fn nothing_is_ordered_or_served_before_the_cname_names_the_label() {
    let mut world = World::new(1, 1);
    for customer in [Customer::NoRecords, Customer::Elsewhere, Customer::OtherTenant] {
        world.customer = customer;
        world.verify_now();
        world.settle(60, |_| false);
        assert_eq!(world.certificates, 0);
        assert_eq!(world.facts.host.owner, HostOwner::Nobody);
        assert!(world.facts.order.is_none());
    }
}

#[test]
fn the_record_waits_for_an_edge_that_lags() {
    let mut world = delegated_world();
    let before = world.answer();
    world.set_mode(Mode::Enforce, 604_800);
    world.edge_catches_up(0);
    for _ in 0..50 {
        world.work(Fault::None);
        world.clock.advance(TimeDelta::seconds(1));
    }
    assert_eq!(world.answer(), before, "the id moved although edge 1 lags");
    world.edge_catches_up(1);
    assert!(world.settle(20, published));
    assert_ne!(world.answer(), before);
}

#[test]
fn the_record_waits_while_no_edge_is_in_service() {
    let mut world = World::new(3, 1);
    world.customer = Customer::Delegated;
    world.edge_toggles(0);
    for _ in 0..200 {
        let made = world.work(Fault::None);
        if made.step.is_none() {
            world.clock.advance(TimeDelta::minutes(1));
        }
    }
    assert_eq!(world.answer(), None);
    assert_eq!(world.certificates, 0);
}

#[test]
fn a_cname_that_moves_to_another_label_ends_serving_at_once() {
    let mut world = delegated_world();
    world.customer = Customer::OtherTenant;
    world.verify_now();
    assert!(world.settle(5, |facts| facts.host.owner == HostOwner::Nobody));
}

#[test]
fn a_missing_cname_is_forgiven_for_an_hour() {
    let mut world = delegated_world();
    world.customer = Customer::NoRecords;
    world.verify_now();
    let start = world.now();
    assert!(world.settle(400, |facts| facts.host.owner == HostOwner::Nobody));
    assert!(world.now() - start >= TimeDelta::hours(1));
    world.customer = Customer::Delegated;
    world.verify_now();
    assert!(world.settle(100, healthy));
    assert_eq!(world.certificates, 1, "the old certificate serves again");
}

#[test]
fn could_not_resolve_is_not_moved() {
    let mut world = delegated_world();
    world.verify_now();
    let now = world.now();
    for _ in 0..20 {
        world.facts.attempts.failed(StepKind::ObserveDelegation, "ResolverFailed", "SERVFAIL", None, now);
    }
    world.clock.advance(TimeDelta::days(3));
    world.work(Fault::Fails);
    assert_eq!(world.facts.host.owner, HostOwner::Ours);
    assert_eq!(status(&world.facts, ConditionKind::Delegated), Status::True);
}

#[test]
fn a_refusing_ca_is_asked_ever_more_rarely_and_never_more_than_five_times_an_hour() {
    let mut world = World::new(5, 1);
    world.customer = Customer::Delegated;
    world.ca_refuses = true;
    world.settle(600, |_| false);
    assert_eq!(status(&world.facts, ConditionKind::CertificateReady), Status::False);
    // Verify-now in a loop must not get around the cap (checked in the world after each step).
    for _ in 0..400 {
        world.verify_now();
        world.work(Fault::None);
        world.clock.advance(TimeDelta::seconds(5));
    }
    world.ca_refuses = false;
    world.clock.advance(TimeDelta::hours(13));
    assert!(world.settle(200, healthy));
}

#[test]
fn a_certificate_is_renewed_in_time_and_the_id_stays() {
    let mut world = delegated_world();
    let zone = world.answer();
    let expiry = world.facts.certificate.unwrap().not_after;
    assert!(world.settle(4_000, |facts| facts.certificate.unwrap().not_after > expiry));
    assert!(world.now() < expiry - TimeDelta::days(25));
    assert!(world.settle(50, |facts| facts.host.content.unwrap().certificate_id == facts.certificate.unwrap().id));
    assert_eq!(world.answer(), zone, "a new certificate is no change of policy (invariant 2)");
}

#[test]
fn a_withdrawal_serves_none_until_no_sender_can_hold_an_older_policy() {
    let mut world = delegated_world();
    world.set_mode(Mode::Enforce, 2_419_200);
    assert!(world.settle(50, published));
    world.sender_fetches(1);
    let fetched_at = world.now();
    world.clock.advance(TimeDelta::minutes(1));
    world.withdraw();
    assert!(world.settle(4_000, |facts| facts.purpose == Purpose::Gone));
    assert!(world.now() >= fetched_at + TimeDelta::seconds(2_419_200));
    assert_eq!(world.answer(), None);
    assert!(world.gather().host.content.is_none());
}

#[test]
fn a_withdrawal_of_what_was_never_served_is_done_at_once() {
    let mut world = World::new(2, 1);
    world.settle(10, |_| false);
    let asked_at = world.now();
    world.withdraw();
    assert!(world.settle(20, |facts| facts.purpose == Purpose::Gone));
    assert!(world.now() - asked_at < TimeDelta::minutes(1));
}

#[test]
fn a_record_edited_by_a_stranger_is_written_again() {
    let mut world = delegated_world();
    let ours = world.answer();
    world.answers.clear();
    world.clock.advance(TimeDelta::hours(8));
    for _ in 0..400 {
        if world.answer() == ours {
            break;
        }
        world.provider_works();
        let made = world.work(Fault::None);
        if made.step.is_none() {
            world.clock.set(made.wake_at.unwrap());
        }
    }
    assert_eq!(world.answer(), ours);
}

#[test]
fn a_plan_is_made_from_the_facts_alone() {
    let mut world = delegated_world();
    let facts = world.gather();
    assert_eq!(plan(&facts, world.now()), plan(&facts, world.now()));
}

#[test]
fn a_clock_that_was_set_back_does_not_stop_the_plan() {
    let mut world = delegated_world();
    world.clock.advance(TimeDelta::days(-2));
    world.set_mode(Mode::Enforce, 604_800);
    let start = world.now();
    assert!(world.settle(50, published));
    assert!(world.now() - start < TimeDelta::minutes(1));
}

#[test]
fn an_order_that_lost_its_delegation_is_abandoned() {
    let mut world = World::new(9, 1);
    world.customer = Customer::Delegated;
    let ordering = |facts: &DomainFacts| facts.order.as_ref().is_some_and(|o| o.state == OrderState::Placed);
    assert!(world.settle(50, ordering));
    world.customer = Customer::Elsewhere;
    world.verify_now();
    assert!(world.settle(5, |facts| facts.order.is_none()));
    assert!(world.failed_validations.is_empty(), "the CA was told to look at a name that is not ours");
    let seen = &world.facts.delegation.as_ref().unwrap().policy_host;
    assert!(matches!(seen, CnameSeen::Elsewhere { .. }));
}

#[test]
fn a_refusing_ca_is_asked_ever_more_rarely() {
    let mut world = World::new(6, 1);
    world.customer = Customer::Delegated;
    world.ca_refuses = true;
    let start = world.now();
    world.settle(1_000, |_| false);
    let first_day = world.failed_validations.iter().filter(|at| **at < start + TimeDelta::hours(24)).count();
    assert!((5..=14).contains(&first_day), "{first_day} tries within a day");
}

#[test]
fn a_step_that_fails_is_tried_ever_more_rarely() {
    let mut world = delegated_world();
    world.set_mode(Mode::Enforce, 604_800);
    for index in 0..2 {
        world.edge_catches_up(index);
    }
    let (start, mut tries) = (world.now(), 0);
    while world.now() < start + TimeDelta::hours(1) {
        let verifying = |made: &mtasts_model::lifecycle::Plan| matches!(made.step, Some(Step::VerifyServed { .. }));
        let facts = world.gather();
        let fails = verifying(&plan(&facts, world.now()));
        let made = world.work(if fails { Fault::Fails } else { Fault::None });
        tries += usize::from(fails);
        assert!(tries < 40, "{tries} tries by {}", world.now());
        if made.step.is_none() {
            world.clock.set(made.wake_at.unwrap());
        }
    }
    assert!(tries > 10, "only {tries} tries in an hour");
}

#[test]
fn removed_records_are_not_written_again() {
    let mut world = delegated_world();
    world.withdraw();
    assert!(world.settle(4_000, |facts| facts.record.removed_at.is_some()));
    // No edge can say any more that its ledger is complete.
    world.edge_toggles(0);
    world.edge_toggles(1);
    for _ in 0..20 {
        world.work(Fault::KilledBetween);
        assert_eq!(world.answer(), None);
        world.work(Fault::None);
    }
}

#[test]
fn verify_now_tries_again_at_once_what_the_tenant_has_mended() {
    let mut world = World::new(4, 1);
    let now = world.now();
    for _ in 0..9 {
        world.facts.attempts.failed(StepKind::DiscoverMx, "NullMx", "the domain receives no mail", None, now);
    }
    world.clock.advance(TimeDelta::minutes(1));
    let waits = |world: &mut World| {
        let facts = world.gather();
        plan(&facts, world.now()).step != Some(Step::DiscoverMx)
    };
    assert!(waits(&mut world));
    world.verify_now();
    assert!(!waits(&mut world));
    // What somebody else asked for still holds.
    let later = world.now() + TimeDelta::hours(1);
    world.facts.attempts.failed(StepKind::DiscoverMx, "Limited", "later", Some(later), now);
    assert!(waits(&mut world));
}

#[test]
fn the_record_counts_as_published_only_where_senders_can_see_it() {
    let mut world = delegated_world();
    assert_eq!(status(&world.facts, ConditionKind::RecordPublished), Status::True);
    world.facts.delegation.as_mut().unwrap().sts_record = CnameSeen::Missing;
    world.work(Fault::None);
    assert_eq!(status(&world.facts, ConditionKind::RecordPublished), Status::False);
}

#[test]
fn the_record_of_a_name_that_moved_away_is_removed_and_comes_back_with_it() {
    let mut world = delegated_world();
    let ours = world.answer();
    world.customer = Customer::OtherTenant;
    world.verify_now();
    world.settle(20, |facts| facts.record.written.is_none());
    assert_eq!(world.answer(), None, "senders would take another's policy for our version");
    assert_eq!(status(&world.facts, ConditionKind::PolicyLive), Status::False);
    world.customer = Customer::Delegated;
    world.verify_now();
    assert!(world.settle(100, healthy));
    assert_eq!(world.answer(), ours);
}

#[test]
fn a_provider_that_does_not_take_the_record_is_waited_for_and_named() {
    let mut world = delegated_world();
    let before = world.answer();
    world.set_mode(Mode::Enforce, 86_400);
    world.provider_away = true;
    let mut written = false;
    for _ in 0..50 {
        for edge in 0..2 {
            world.edge_catches_up(edge);
        }
        let made = world.work(Fault::None);
        written |= matches!(made.step, Some(Step::WriteRecords { .. }));
        assert!(!matches!(made.step, Some(Step::ConfirmRecords { .. })), "nothing can be confirmed yet");
        if made.step.is_none() {
            world.clock.set(made.wake_at.unwrap());
        }
    }
    assert!(written);
    assert_eq!(world.answer(), before);
    let problem = RecordProblem { reason: "DnsProviderUnauthorized".to_owned(), message: "a new token".to_owned() };
    world.facts.record.problem = Some(problem);
    world.work(Fault::None);
    assert_eq!(status(&world.facts, ConditionKind::RecordPublished), Status::False);
    world.facts.record.problem = None;
    assert!(world.settle(100, healthy));
    assert_ne!(world.answer(), before);
}

#[test]
fn a_domain_moves_to_another_zone_and_leaves_the_old_one_when_nobody_asks_there() {
    let mut world = delegated_world();
    let (id, old) = (world.answer(), world.facts.zones.home.clone());
    world.drain();
    let entered = |facts: &DomainFacts| facts.zones.former.is_some();
    assert!(world.settle(50, entered));
    let new = world.facts.zones.home.clone();
    assert_ne!(new, old);
    assert_eq!(world.answers.get(&new).copied(), id, "the record stands there before anybody is told to go there");
    world.clock.advance(TimeDelta::days(30));
    world.settle(50, |_| false);
    assert_eq!(world.answers.get(&old).copied(), id, "the CNAMEs still lead there");
    world.customer_follows();
    let followed_at = world.now();
    assert!(world.settle(200, |facts| facts.zones.former.is_none()));
    assert!(world.now() - followed_at >= TimeDelta::hours(48), "resolvers may keep a CNAME");
    world.provider_works();
    assert_eq!(world.answers.get(&old), None);
    assert_eq!(world.answers.get(&new).copied(), id, "a move changes no id (invariant 2)");
}

#[test]
fn an_order_that_waits_for_a_budget_is_not_given_up() {
    let mut world = World::new(8, 1);
    world.customer = Customer::Delegated;
    let drafted = |facts: &DomainFacts| facts.order.as_ref().is_some_and(|o| o.state == OrderState::Drafted);
    assert!(world.settle(50, drafted));
    let id = world.facts.order.as_ref().unwrap().id;
    for _ in 0..60 {
        let next = world.now() + TimeDelta::hours(1);
        world.facts.attempts.failed(StepKind::PlaceOrder, "CaBudgetUsedUp", "later", Some(next), world.clock.now());
        world.work(Fault::None);
        world.clock.advance(TimeDelta::minutes(59));
    }
    assert_eq!(world.facts.order.as_ref().map(|order| order.id), Some(id));
    world.clock.advance(TimeDelta::hours(2));
    assert!(world.settle(100, healthy));
}

#[test]
fn a_gone_domains_cnames_are_looked_for_daily_for_thirty_days_and_then_nothing_is_to_do_ever() {
    let mut world = World::new(2, 1);
    world.withdraw();
    assert!(world.settle(20, |facts| facts.purpose == Purpose::Gone));
    let gone_at = world.now();
    let mut looks = 0;
    loop {
        let made = world.work(Fault::None);
        if let Some(step) = made.step {
            assert_eq!(step, Step::ObserveDelegation);
            looks += 1;
        } else if let Some(wake_at) = made.wake_at {
            assert!(wake_at - world.now() <= TimeDelta::hours(29), "{wake_at}");
            world.clock.set(wake_at);
        } else {
            break;
        }
    }
    assert!((24..=30).contains(&looks), "{looks}");
    assert!(world.now() < gone_at + TimeDelta::days(30));
    world.clock.advance(TimeDelta::days(100));
    let facts = world.gather();
    let made = plan(&facts, world.now());
    assert_eq!((made.step, made.wake_at), (None::<Step>, None));
}

#[test]
fn a_forced_removal_waits_for_no_sender() {
    let mut world = delegated_world();
    world.set_mode(Mode::Enforce, 2_419_200);
    assert!(world.settle(50, published));
    world.sender_fetches(1);
    let asked_at = world.now();
    world.force_out();
    assert!(world.settle(50, |facts| facts.purpose == Purpose::Gone));
    assert!(world.now() - asked_at < TimeDelta::minutes(5));
    assert_eq!(world.answer(), None);
    assert!(world.gather().host.content.is_none());
}

#[derive(Debug, Clone)]
enum Event {
    Work(Fault),
    Pass(i64),
    CatchUp(usize),
    Toggle(usize),
    Flush(usize),
    Fetch(usize),
    Customer(Customer),
    Mode(Mode, u32),
    Verify,
    CaRefuses(bool),
    Withdraw,
    ForceOut,
    Provider(bool),
    Drain,
    Follow,
    MxFails(bool),
    MxFull(bool),
    Reports(ReportSums),
    RollOut(Fallback),
    Steer(fn(Rollout) -> Option<Rollout>),
}

fn event() -> impl Strategy<Value = Event> {
    let fault = prop_oneof![
        8 => Just(Fault::None),
        1 => Just(Fault::Fails),
        1 => Just(Fault::KilledBefore),
        2 => Just(Fault::KilledBetween),
    ];
    let customer = prop_oneof![
        4 => Just(Customer::Delegated),
        1 => Just(Customer::NoRecords),
        1 => Just(Customer::OtherTenant),
        1 => Just(Customer::Elsewhere),
    ];
    let mode = prop_oneof![Just(Mode::None), Just(Mode::Testing), Just(Mode::Enforce)];
    prop_oneof![
        40 => fault.prop_map(Event::Work),
        6 => prop_oneof![Just(1_i64), Just(7), Just(60), Just(4_000), Just(90_000)].prop_map(Event::Pass),
        12 => (0_usize..3).prop_map(Event::CatchUp),
        2 => (0_usize..3).prop_map(Event::Toggle),
        4 => (0_usize..3).prop_map(Event::Flush),
        6 => (0_usize..3).prop_map(Event::Fetch),
        3 => customer.prop_map(Event::Customer),
        3 => (mode, prop_oneof![Just(0_u32), Just(86_400), Just(604_800)]).prop_map(|(mode, age)| Event::Mode(mode, age)),
        2 => Just(Event::Verify),
        1 => any::<bool>().prop_map(Event::CaRefuses),
        1 => Just(Event::Withdraw),
        1 => Just(Event::ForceOut),
        12 => prop_oneof![5 => Just(false), 1 => Just(true)].prop_map(Event::Provider),
        1 => Just(Event::Drain),
        1 => Just(Event::Follow),
        2 => prop_oneof![3 => Just(false), 1 => Just(true)].prop_map(Event::MxFails),
        1 => prop_oneof![1 => Just(false), 1 => Just(true)].prop_map(Event::MxFull),
        2 => reports().prop_map(Event::Reports),
        1 => prop_oneof![Just(Fallback::Testing), Just(Fallback::Pause)].prop_map(Event::RollOut),
        1 => prop_oneof![Just(Rollout::held as fn(_) -> _), Just(Rollout::resumed as fn(_) -> _)].prop_map(Event::Steer),
    ]
}

fn reports() -> impl Strategy<Value = ReportSums> {
    let sums = |good, bad, reporters| ReportSums { good, bad, reporters };
    prop_oneof![
        4 => Just(sums(1_000, 0, 3)),
        1 => Just(sums(990, 10, 3)),
        1 => Just(sums(50, 0, 1)),
        1 => Just(ReportSums::default()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// The world checks invariants 1, 2, 3, 5 and 9 after every plan.
    #[test]
    fn any_history_keeps_the_invariants_and_then_converges(
        seed in any::<u64>(),
        events in proptest::collection::vec(event(), 1..250),
    ) {
        let mut world = World::new(seed, 3);
        world.customer = Customer::Delegated;
        for event in events {
            match event {
                Event::Work(fault) => { world.work(fault); }
                Event::Pass(seconds) => world.clock.advance(TimeDelta::seconds(seconds)),
                Event::CatchUp(index) => world.edge_catches_up(index),
                Event::Toggle(index) => world.edge_toggles(index),
                Event::Flush(index) => world.edge_flushes(index),
                Event::Fetch(index) => world.sender_fetches(index),
                Event::Customer(customer) => world.customer = customer,
                Event::Mode(mode, max_age) => world.set_mode(mode, max_age),
                Event::Verify => world.verify_now(),
                Event::CaRefuses(refuses) => world.ca_refuses = refuses,
                Event::Withdraw => world.withdraw(),
                Event::ForceOut => world.force_out(),
                Event::Provider(away) => {
                    world.provider_away = away;
                    world.provider_works();
                }
                Event::Drain => world.drain(),
                Event::Follow => world.customer_follows(),
                Event::MxFails(fails) => world.mx_fails = fails,
                Event::MxFull(full) => world.mx_full = full,
                Event::Reports(reports) => world.reports = reports,
                Event::RollOut(fallback) => world.roll_out(fallback),
                Event::Steer(change) => world.steer(change),
            }
        }
        // The weather clears up.
        world.customer = Customer::Delegated;
        world.ca_refuses = false;
        world.mx_fails = false;
        world.mx_full = false;
        for index in 0..3 {
            if !world.edges[index].in_service {
                world.edge_toggles(index);
            }
        }
        if world.facts.purpose == Purpose::Live {
            // A `none` policy holds no MX host to anything, so MxReady stays unknown there.
            world.set_mode(Mode::Testing, 604_800);
            prop_assert!(world.settle(3_000, healthy), "not healthy: {:#?}", world.facts);
        } else {
            prop_assert!(world.settle(6_000, |facts| facts.purpose == Purpose::Gone), "not gone: {:#?}", world.facts);
        }
    }
}

#[test]
fn reports_are_said_to_arrive_while_they_do() {
    use mtasts_model::lifecycle::ReportFacts;
    let mut world = World::new(1, 1);
    let mut verdict = |ago: Option<i64>, verified_ago: Option<i64>| {
        let mut facts = world.gather();
        let day = |ago: i64| (facts.created_at - TimeDelta::days(ago)).date_naive();
        facts.reports = ReportFacts { last_day: ago.map(day), last_verified_day: verified_ago.map(day) };
        let now = facts.created_at;
        let conditions = plan(&facts, now).conditions;
        let condition = conditions.into_iter().find(|condition| condition.kind == ConditionKind::ReportsArriving);
        let condition = condition.unwrap();
        (condition.status, condition.reason.clone(), condition.message.clone())
    };
    for (ago, verified, status, reason, says) in [
        (None, None, Status::Unknown, "NoneYet", "once a day"),
        (Some(1), Some(1), Status::True, "Arriving", "is of"),
        (Some(3), None, Status::True, "Arriving", "None of them has proved its sender"),
        (Some(1), Some(9), Status::True, "Arriving", "whose sender is proved is of"),
        (Some(4), Some(4), Status::Unknown, "Quiet", "days without mail"),
        (Some(7), Some(7), Status::Unknown, "Quiet", "days without mail"),
        (Some(8), Some(8), Status::False, "Stopped", "8 days ago"),
    ] {
        let (found, because, message) = verdict(ago, verified);
        assert_eq!((found, because.as_str()), (status, reason), "{ago:?}");
        assert!(message.contains(says), "{message}");
    }
}
