//! The sweep against a zone and a plan in memory.

mod fakes;
mod memory;

use mtasts_dns::{
    provider::{Mark, ProviderError},
    sweep::{SweepConflict, SweepError, SweepLimits, SweepReport, sweep},
};
use mtasts_model::feed::RecordType::{self, A, Cname, Txt};
use proptest::prelude::*;

use self::fakes::{Key, Plan, Zone, data, key};

/// Small, so that every border is met.
fn limits() -> SweepLimits {
    SweepLimits { chunk: 3, page: 3, ..SweepLimits::default() }
}

/// Five within our sub-trees, and four elsewhere.
const PLACES: [&str; 9] =
    ["a._mta-sts", "b._mta-sts", "c._smtp-tls", "d.acme", "*.edge", "www", "mail.www", "edge", "x._mta-sts.www"];

type Observation = Vec<(Key, &'static str, Mark)>;
type Wanted = Vec<(Key, &'static str)>;

/// What is observed, what is wanted, whether the listing tells marks, and the limit on looks.
fn property() -> impl Strategy<Value = (Observation, Wanted, bool, usize)> {
    let key = || (prop::sample::select(&PLACES[..]), prop::sample::select(&[Txt, A][..]));
    let value = || prop::sample::select(&["x", "y"][..]);
    let mark = prop::sample::select(&[Mark::Ours, Mark::NotOurs][..]);
    let observed = prop::collection::btree_map(key(), (value(), mark), 0..18);
    let desired = prop::collection::btree_map(key(), value(), 0..18);
    let named = |(name, kind): (&str, RecordType)| (format!("{name}.sts.test"), kind);
    (observed, desired, any::<bool>(), prop::sample::select(&[0, 2, 100][..])).prop_map(
        move |(observed, desired, lists_marks, looks)| {
            let observed: Observation =
                observed.into_iter().map(|(key, (value, mark))| (named(key), value, mark)).collect();
            (observed, desired.into_iter().map(|(key, value)| (named(key), value)).collect(), lists_marks, looks)
        },
    )
}

fn is_in_our_subtrees(name: &str) -> bool {
    PLACES[..5].iter().any(|place| name == format!("{place}.sts.test"))
}

proptest! {
    #[test]
    fn after_a_sweep_the_zone_is_as_desired_and_strangers_find_their_sets_as_they_were(
        (observed, desired, lists_marks, looks) in property()
    ) {
        let zone = Zone { lists_marks, ..Zone::new(observed.clone()) };
        let plan = Plan::new(desired);
        let limits = SweepLimits { looks, ..limits() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let report = runtime.block_on(sweep(&zone, &plan, limits)).unwrap();

        let wanted = plan.values();
        let mut expected = wanted.clone();
        for ((name, kind), value, mark) in observed {
            let key = (name, kind);
            if mark == Mark::NotOurs || (!is_in_our_subtrees(&key.0) && !wanted.contains_key(&key)) {
                expected.insert(key, value.to_owned());
            }
        }
        prop_assert_eq!(zone.values(), expected);
        prop_assert_eq!(report.missing + report.different + report.surplus, report.repaired);
        prop_assert_eq!((report.failed, report.postponed, report.held_back), (0, 0, 0));
        prop_assert_eq!(report.desired, wanted.len() as u64);

        let (before, applies) = (zone.values(), zone.applies());
        let again = runtime.block_on(sweep(&zone, &plan, SweepLimits { looks: 100, ..limits })).unwrap();
        prop_assert_eq!(again.repaired, 0);
        prop_assert_eq!(again.foreign, report.foreign);
        prop_assert_eq!(zone.applies(), applies, "nothing is left to be done");
        prop_assert_eq!(zone.values(), before);
    }
}

#[tokio::test]
async fn each_kind_of_drift_is_counted_and_repaired() {
    let zone = Zone::new([
        (key("same._mta-sts"), "x", Mark::Ours),
        (key("edited._mta-sts"), "theirs", Mark::Ours),
        (key("unmarked._mta-sts"), "x", Mark::NotOurs),
        (key("surplus.acme"), "x", Mark::Ours),
        (key("strangers.acme"), "x", Mark::NotOurs),
        (key("strangers.www"), "x", Mark::NotOurs),
        (key("ours.www"), "x", Mark::Ours),
    ]);
    let zone = Zone { lists_marks: true, ..zone };
    let wanted = ["same._mta-sts", "edited._mta-sts", "unmarked._mta-sts", "lost._smtp-tls"];
    let plan = Plan::new(wanted.map(|name| (key(name), "x")));
    let report = sweep(&zone, &plan, limits()).await.unwrap();
    let expected = SweepReport {
        observed: 7,
        desired: 4,
        missing: 1,
        different: 2,
        surplus: 1,
        foreign: 1,
        repaired: 4,
        ..SweepReport::default()
    };
    assert_eq!(report, expected);
    let kept = ["strangers.acme", "strangers.www", "ours.www"];
    assert_eq!(zone.values(), wanted.into_iter().chain(kept).map(|name| (key(name), "x".to_owned())).collect());
}

#[tokio::test]
async fn what_a_stranger_put_in_our_way_is_told_with_both_values_and_never_pressed() {
    let names: Vec<String> = (0..30).map(|number| format!("n{number:02}._mta-sts")).collect();
    let mut zone = Zone::new(names.iter().map(|name| (key(name), "theirs", Mark::NotOurs)));
    let alias = format!("{}.sts.test", names[0]);
    zone.sets.get_mut().unwrap().remove(&key(&names[0]));
    zone.sets.get_mut().unwrap().insert((alias.clone(), Cname), (data("elsewhere.test"), Mark::NotOurs));
    let plan = Plan::new(names.iter().map(|name| (key(name), "mine")));
    let before = zone.values();
    // With and without a second look of our own.
    for looks in [0, 100] {
        let report = sweep(&zone, &plan, SweepLimits { looks, ..limits() }).await.unwrap();
        // The alias counts for itself and for the set that it keeps out.
        assert_eq!((report.foreign, report.repaired, report.failed), (31, 0, 0));
        assert_eq!((report.missing, report.different), (0, 0), "what cannot be repaired is no drift");
        assert_eq!(report.conflicts.len(), 20);
        let told = |name: &str| report.conflicts.iter().find(|conflict| conflict.name == name);
        if let Some(SweepConflict { wanted, found, .. }) = told(&format!("{}.sts.test", names[1])) {
            assert_eq!((wanted.as_str(), found.as_str()), ("\"mine\"", "\"theirs\""));
        }
        if let Some(conflict) = told(&alias) {
            assert!(conflict.found.contains("CNAME"), "{conflict:?}");
        }
        assert_eq!(zone.values(), before);
    }
}

#[tokio::test]
async fn writes_that_are_under_way_are_no_drift() {
    let zone = Zone::new([(key("old._mta-sts"), "old", Mark::Ours)]);
    let plan = Plan::new([]);
    plan.put(key("old._mta-sts"), "new", false);
    plan.put(key("new._mta-sts"), "new", false);
    let report = sweep(&zone, &plan, limits()).await.unwrap();
    assert_eq!(report, SweepReport { observed: 1, desired: 2, ..SweepReport::default() });
    assert_eq!(zone.applies(), 0);
}

#[tokio::test]
async fn what_changed_since_the_listing_is_looked_at_as_it_is_now() {
    let zone: &'static Zone = Box::leak(Box::new(Zone::new([
        (key("edited._mta-sts"), "old", Mark::Ours),
        (key("wanted._mta-sts"), "x", Mark::Ours),
        (key("gone._mta-sts"), "x", Mark::Ours),
        (key("moving._mta-sts"), "old", Mark::Ours),
    ])));
    let plan: &'static Plan = Box::leak(Box::new(Plan::new([
        (key("edited._mta-sts"), "new"),
        (key("moving._mta-sts"), "new"),
        (key("created._mta-sts"), "x"),
    ])));
    *zone.when_listed.lock().unwrap() = Some(Box::new(|| {
        let mut sets = zone.sets.lock().unwrap();
        // Others put these right.
        sets.insert(key("edited._mta-sts"), (data("new"), Mark::Ours));
        sets.insert(key("created._mta-sts"), (data("x"), Mark::Ours));
        sets.remove(&key("gone._mta-sts"));
        // And this is wanted by now, and that is being written.
        plan.put(key("wanted._mta-sts"), "x", true);
        plan.put(key("moving._mta-sts"), "newer", false);
    }));
    // All four are compared before the listing is at its end.
    let report = sweep(zone, plan, SweepLimits { chunk: 1, ..limits() }).await.unwrap();
    assert_eq!(report, SweepReport { observed: 4, desired: 4, ..SweepReport::default() });
    assert_eq!(zone.applies(), 0);
}

#[tokio::test]
async fn a_repair_that_was_overtaken_is_corrected() {
    let zone: &'static Zone = Box::leak(Box::new(Zone::new([
        (key("changed._mta-sts"), "drift", Mark::Ours),
        (key("dropped._mta-sts"), "drift", Mark::Ours),
    ])));
    let wanted = [key("changed._mta-sts"), key("dropped._mta-sts")].map(|key| (key, "first"));
    let plan: &'static Plan = Box::leak(Box::new(Plan::new(wanted)));
    *zone.before_write.lock().unwrap() = Some(Box::new(|| {
        // The worker is faster with both, between the sweep's look and its write.
        plan.put(key("changed._mta-sts"), "second", true);
        plan.sets.lock().unwrap().remove(&key("dropped._mta-sts"));
        let mut sets = zone.sets.lock().unwrap();
        sets.insert(key("changed._mta-sts"), (data("second"), Mark::Ours));
        sets.remove(&key("dropped._mta-sts"));
    }));
    sweep(zone, plan, limits()).await.unwrap();
    assert_eq!(zone.values(), plan.values());
}

/// Settled sets with the same value.
fn many(count: usize, first: &str) -> Vec<(Key, &'static str)> {
    (0..count).map(|number| (key(&format!("{first}{number:04}._mta-sts")), "x")).collect()
}

fn ours(sets: &[(Key, &'static str)]) -> impl Iterator<Item = (Key, &'static str, Mark)> {
    sets.iter().map(|(key, value)| (key.clone(), *value, Mark::Ours))
}

#[tokio::test]
async fn after_a_listing_that_lacks_most_of_the_zone_nothing_is_removed() {
    let (surplus, wanted) = (many(5, "a"), many(200, "b"));
    for (listed, removed) in [(99, 0), (100, 5)] {
        let zone = Zone { listing_ends_after: 5 + listed, ..Zone::new(ours(&surplus).chain(ours(&wanted))) };
        let report = sweep(&zone, &Plan::new(wanted.clone()), limits()).await.unwrap();
        assert_eq!((report.repaired, report.surplus, report.held_back), (removed, removed, 5 - removed));
        assert_eq!(zone.values().len() as u64, 205 - removed);
        assert_eq!(report.missing, 0, "the second look finds them");
    }
}

#[tokio::test]
async fn an_emptied_zone_is_written_again() {
    let wanted = many(200, "a");
    let (zone, plan) = (Zone::new([]), Plan::new(wanted));
    let report = sweep(&zone, &plan, limits()).await.unwrap();
    assert_eq!((report.missing, report.repaired, report.held_back), (200, 200, 0));
    assert_eq!(zone.values(), plan.values());
}

#[tokio::test]
async fn a_plan_that_has_forgotten_most_of_the_zone_removes_nothing() {
    for (wanted, surplus, removed) in [(0, 101, 0), (0, 100, 100), (101, 102, 0), (102, 102, 102)] {
        let (kept, gone) = (many(wanted, "a"), many(surplus, "b"));
        let zone = Zone::new(ours(&kept).chain(ours(&gone)));
        let report = sweep(&zone, &Plan::new(kept), limits()).await.unwrap();
        assert_eq!((report.repaired, report.held_back), (removed as u64, (surplus - removed) as u64), "{wanted}");
    }
}

#[tokio::test]
async fn what_is_too_much_for_one_sweep_is_left_to_the_next_and_removals_first() {
    let (edited, surplus) = (many(30, "b"), many(40, "a"));
    let zone = Zone::new(ours(&surplus).chain(edited.iter().map(|(key, _)| (key.clone(), "drift", Mark::Ours))));
    let plan = Plan::new(edited);
    let limits = SweepLimits { gathered: 35, ..limits() };
    let first = sweep(&zone, &plan, limits).await.unwrap();
    assert_eq!((first.different, first.surplus, first.postponed), (30, 5, 35));
    let second = sweep(&zone, &plan, limits).await.unwrap();
    assert_eq!((second.different, second.surplus, second.postponed), (0, 35, 0));
    assert_eq!(zone.values(), plan.values());
}

#[tokio::test]
async fn a_listing_that_fails_repairs_nothing() {
    let zone = Zone::new([(key("a._mta-sts"), "drift", Mark::Ours), (key("b._mta-sts"), "surplus", Mark::Ours)]);
    let zone = Zone { listing_fails_after: 2, ..zone };
    let before = zone.values();
    let error = sweep(&zone, &Plan::new([(key("a._mta-sts"), "x")]), limits()).await.unwrap_err();
    assert!(matches!(error, SweepError::Provider { source: ProviderError::Unavailable { .. }, .. }), "{error:?}");
    assert_eq!(zone.values(), before);
}

#[tokio::test]
async fn a_provider_that_goes_away_ends_the_sweep_with_what_was_done() {
    let plan = Plan::new(many(20, "a"));
    let zone = Zone { fails_from: 2, ..Zone::new([]) };
    let limits = SweepLimits { page: 1000, ..limits() };
    let Err(SweepError::Provider { source, report }) = sweep(&zone, &plan, limits).await else {
        panic!("it went well")
    };
    assert!(source.is_passing());
    // Batches of 7.
    assert_eq!((report.missing, report.repaired, report.failed), (20, 14, 6));
    let report = sweep(&Zone { fails_from: usize::MAX, ..zone }, &plan, limits).await.unwrap();
    assert_eq!(report.repaired, 6);
}

#[tokio::test]
async fn a_plan_that_cannot_be_read_ends_the_sweep_without_removals() {
    let zone = Zone::new(ours(&many(3, "a")));
    let plan = Plan { broken: true, ..Plan::new([]) };
    let error = sweep(&zone, &plan, limits()).await.unwrap_err();
    assert!(matches!(error, SweepError::Desired { .. }), "{error:?}");
    assert_eq!(zone.values().len(), 3);
}

#[tokio::test]
async fn one_refused_set_does_not_hold_up_the_others() {
    let plan = Plan::new(many(10, "a"));
    let zone = Zone { refuses: vec!["a0003._mta-sts.sts.test".to_owned()], ..Zone::new([]) };
    let report = sweep(&zone, &plan, limits()).await.unwrap();
    assert_eq!((report.missing, report.repaired, report.failed), (10, 9, 1));
}
