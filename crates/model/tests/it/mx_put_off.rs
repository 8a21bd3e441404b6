//! Looks at MX hosts that wait for room there, and looks that were made for other domains.

use chrono::TimeDelta;
use mtasts_model::{
    ConditionKind, HostName, Mode, Status,
    lifecycle::{DomainFacts, MxHostSeen, MxPutOff, MxSeen, Step, plan},
    readiness,
};

use crate::world::{Customer, World};

fn healthy() -> World {
    let mut world = World::new(17, 2);
    world.customer = Customer::Delegated;
    let published = |facts: &DomainFacts| facts.version.as_ref().is_some_and(|version| version.published_at.is_some());
    assert!(world.settle(500, |facts| facts.mx.is_some() && published(facts)));
    pass(&mut world, TimeDelta::hours(1));
    world
}

fn pass(world: &mut World, span: TimeDelta) {
    let end = world.now() + span;
    while world.now() < end {
        world.settle(1, |_| false);
    }
}

fn shown(facts: &DomainFacts) -> (Status, String) {
    let condition = facts.conditions.iter().find(|condition| condition.kind == ConditionKind::MxReady).unwrap();
    (condition.status, condition.reason.clone())
}

#[test]
fn a_look_that_waits_for_room_holds_up_nothing_else_and_says_nothing_of_the_domain() {
    let mut world = healthy();
    let (before, looks) = (shown(&world.facts), world.watched.len());
    assert_eq!(before, (Status::True, "AllPass".to_owned()));
    world.mx_full = true;
    let last = world.facts.mx.as_ref().unwrap().at;
    pass(&mut world, TimeDelta::days(5));
    assert_eq!(world.facts.mx.as_ref().unwrap().at, last, "there was no room");
    assert!(world.facts.attempts.is_empty(), "{:?}", world.facts.attempts);
    assert_eq!(shown(&world.facts), before);
    assert!(world.watched.len() >= looks + 4, "the watch, which comes after it, goes on");
    world.mx_full = false;
    pass(&mut world, TimeDelta::minutes(11));
    assert!(world.facts.mx.as_ref().unwrap().at > last);
}

#[test]
fn what_was_put_off_comes_back_at_its_time_or_when_the_tenant_asks() {
    let mut world = healthy();
    let mut facts = world.gather();
    let now = facts.mx.as_ref().unwrap().at + TimeDelta::hours(30);
    facts.delegation.as_mut().unwrap().at = now;
    facts.record.confirmed_at = Some(now);
    facts.watch = None;
    facts.version.as_mut().unwrap().published_at = Some(now);
    let minutes = TimeDelta::minutes;
    let looks = |facts: &DomainFacts| plan(facts, now).step == Some(Step::ProbeMx);
    assert!(looks(&facts));
    let put_off = |ago: i64, ahead: i64| Some(MxPutOff { at: now - minutes(ago), until: now + minutes(ahead) });
    facts.mx_put_off = put_off(5, 3);
    assert!(!looks(&facts));
    assert!(plan(&facts, now).wake_at.unwrap() <= now + minutes(3) + TimeDelta::microseconds(1));
    facts.mx_put_off = put_off(5, 0);
    assert!(looks(&facts), "its time has come");
    facts.mx_put_off = put_off(61, 10);
    assert!(looks(&facts), "nobody is put off for so long");
    facts.mx_put_off = put_off(-30, 40);
    assert!(looks(&facts), "a clock was stepped back");
    facts.mx_put_off = put_off(5, 3);
    facts.nudged_at = now - minutes(1);
    assert!(looks(&facts), "the tenant has asked since");
    facts.nudged_at = now - minutes(6);
    assert!(!looks(&facts), "that was why it was put off");
}

#[test]
fn whoever_asks_after_the_last_look_wants_a_new_one() {
    let mut world = healthy();
    let mut facts = world.gather();
    let seen = facts.mx.as_ref().unwrap().at;
    let made = seen - TimeDelta::hours(1);
    facts.created_at = made;
    let now = seen + TimeDelta::minutes(5);
    facts.nudged_at = made;
    assert_eq!(facts.mx_nudge(now), None, "a registration is no word on the hosts");
    facts.nudged_at = now;
    assert_eq!(facts.mx_nudge(now), Some(now));
    assert_eq!(facts.mx_nudge(now - TimeDelta::minutes(1)), None, "from the future");
    facts.nudged_at = seen;
    assert_eq!(facts.mx_nudge(now), None, "it was looked since");
    facts.mx = None;
    assert_eq!(facts.mx_nudge(now), Some(seen));
}

#[test]
fn a_look_for_another_domain_proves_and_is_due_by_when_it_was_made() {
    let mut world = healthy();
    let mut facts = world.gather();
    let gone_through = facts.mx.as_ref().unwrap().at;
    let host = |name: &str, looked_at| MxHostSeen {
        host: HostName::parse(name).unwrap(),
        preference: 10,
        failure: None,
        looked_at,
    };
    let earlier = gone_through - TimeDelta::minutes(50);
    let name = facts.mx.as_ref().unwrap().hosts[0].host.clone();
    let seen = MxSeen { hosts: vec![host(name.as_str(), Some(earlier)), host(name.as_str(), None)], at: gone_through };
    assert_eq!(seen.oldest_look(), earlier);
    assert_eq!((seen.looked_at(&seen.hosts[0]), seen.looked_at(&seen.hosts[1])), (earlier, gone_through));

    // Proof of `enforce` is a day old at most, counted from the connection (invariant 6).
    let policy = facts.version.as_ref().unwrap().policy.clone().with_mode(Mode::Enforce).unwrap();
    let proven = |now| readiness::blocking(&policy, Some(&seen), now).is_empty();
    let (day, second) = (TimeDelta::hours(24), TimeDelta::seconds(1));
    assert!(proven(earlier + day) && !proven(earlier + day + second));

    // … and the next look comes as long after it as after one of its own.
    let due = |facts: &DomainFacts| {
        let mut minutes = (0..24 * 60).map(|minute| gone_through + TimeDelta::minutes(minute));
        minutes.find(|now| {
            let mut facts = facts.clone();
            facts.delegation.as_mut().unwrap().at = *now;
            facts.record.confirmed_at = Some(*now);
            facts.watch = None;
            facts.version.as_mut().unwrap().published_at = Some(*now);
            plan(&facts, *now).step == Some(Step::ProbeMx)
        })
    };
    let own = due(&facts).unwrap();
    facts.mx = Some(seen);
    let shared = due(&facts).unwrap();
    assert_eq!((own - shared).num_minutes(), 50);
}
