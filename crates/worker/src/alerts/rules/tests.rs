use mtasts_model::{
    ArrivalId, Clock, MailDomain,
    clock::{ManualClock, SeededEntropy},
    event::EventDomain,
};
use mtasts_store::{FailureKind, Quarantined, ReportSettings};

use super::*;

fn now() -> Timestamp {
    ManualClock::default().now() + TimeDelta::hours(12)
}

/// So many days ago.
fn day(ago: u64) -> NaiveDate {
    now().date_naive() - Days::new(ago)
}

fn facts() -> AlertFacts {
    let domain_id = DomainId::draw(now(), &SeededEntropy::new(1));
    AlertFacts {
        domain: EventDomain { domain_id, domain: MailDomain::from_stored("example.com").unwrap() },
        settings: ReportSettings::default(),
        days: Vec::new(),
        rate: None,
        failures: Vec::new(),
        failures_told_today: 0,
        reporters: Vec::new(),
        silent: Vec::new(),
        quarantined: None,
        quarantine_told_at: None,
    }
}

fn failure(mx: &str) -> FailureKind {
    FailureKind {
        result: "certificate-expired".to_owned(),
        receiving_mx: mx.to_owned(),
        first_day: day(1),
        sessions: 3,
        verified: false,
    }
}

fn reporter(last: u64, days: u64) -> ReporterDays {
    ReporterDays { kind: ReportKind::TlsRpt, organization: "Org".to_owned(), last_day: day(last), days }
}

fn types(decision: &Decision) -> Vec<&'static str> {
    decision.events.iter().map(|event| event.event_type().as_str()).collect()
}

#[test]
fn the_rate_rings_above_the_threshold_holds_and_ends_well_below_it_once_a_day() {
    // (good, bad) of a day, what was told before and of which day, and what is told now of yesterday.
    let raised = Some((true, day(2)));
    let cleared = Some((false, day(2)));
    for (good, bad, before, expected) in [
        (95, 5, None, None),
        (9499, 501, None, Some(AlertState::Raised)),
        (94, 6, None, Some(AlertState::Raised)),
        (94, 6, cleared, Some(AlertState::Raised)),
        (94, 6, raised, None),
        (95, 5, raised, None),
        (96, 4, raised, None),
        (961, 39, raised, Some(AlertState::Cleared)),
        (100, 0, raised, Some(AlertState::Cleared)),
        (100, 0, cleared, None),
        (0, 99, None, None),
        (0, 100, None, Some(AlertState::Raised)),
        // One change a day.
        (0, 100, Some((false, day(1))), None),
        (100, 0, Some((true, day(1))), None),
        (i64::MAX, i64::MAX, None, Some(AlertState::Raised)),
    ] {
        let days = vec![DaySessions { day: day(0), good: 0, bad: 99 }, DaySessions { day: day(1), good, bad }];
        let decision = decide(&AlertFacts { days, rate: before, ..facts() }, now());
        let told = decision.events.iter().map(|event| match event {
            EventData::FailureRate(data) => (data.state, data.day),
            other => panic!("{other:?}"),
        });
        let told: Vec<_> = told.collect();
        assert_eq!(
            told,
            expected.map(|state| (state, day(1))).into_iter().collect::<Vec<_>>(),
            "{good} {bad} {before:?}"
        );
        assert_eq!(decision.remember.len(), told.len());
    }
}

#[test]
fn the_rate_is_told_with_its_figures() {
    let days = vec![DaySessions { day: day(1), good: 1855, bad: 145 }];
    let decision = decide(&AlertFacts { days, ..facts() }, now());
    let [EventData::FailureRate(told)] = &decision.events[..] else { panic!("{decision:?}") };
    assert_eq!((told.good, told.failed, told.threshold_percent), (1855, 145, 5));
    assert!((told.rate_percent - 7.25).abs() < f64::EPSILON, "{told:?}");
}

#[test]
fn new_failures_are_told_until_the_day_is_full_and_the_others_on_the_next() {
    let failures: Vec<_> = (0..25).map(|i| failure(&format!("mx{i}.example.com"))).collect();
    let decision = decide(&AlertFacts { failures: failures.clone(), ..facts() }, now());
    assert_eq!((decision.events.len(), decision.remember.len()), (20, 20));
    let next = decision.next.unwrap();
    assert_eq!(next.date_naive(), now().date_naive() + Days::new(1));
    let full = decide(&AlertFacts { failures: failures.clone(), failures_told_today: 20, ..facts() }, now());
    assert!(full.events.is_empty() && full.remember.is_empty() && full.next.is_some());
    // Nobody wants to know: all pass for told.
    let settings = ReportSettings { alerts: vec![AlertKind::FailureRate], ..ReportSettings::default() };
    let off = decide(&AlertFacts { failures, settings, ..facts() }, now());
    assert_eq!((off.events.len(), off.remember.len(), off.next), (0, 25, None));
    let [EventData::FailureNew(told)] =
        &decide(&AlertFacts { failures: vec![failure("")], ..facts() }, now()).events[..]
    else {
        panic!("told once")
    };
    assert_eq!((told.receiving_mx.as_deref(), told.verified, told.sessions), (None, false, 3));
}

#[test]
fn a_reporter_of_most_days_is_silent_after_its_days_and_others_never() {
    let most = 0b10_1010_1011_1101;
    assert_eq!(u64::count_ones(most), 9);
    for (last, days, silence_days, silent, planned) in [
        (4, most, 3, false, Some(5)),
        (5, most, 3, true, None),
        (5, most, 4, false, Some(6)),
        (30, most, 3, true, None),
        (31, most, 3, false, None),
        // On half of the days only, and on days before those that count.
        (5, 0b10_1010_1010_1010, 3, false, None),
        (5, 1 | (u64::MAX << 14), 3, false, None),
        (0, 1, 3, false, None),
    ] {
        let settings = ReportSettings { silence_days, ..ReportSettings::default() };
        let decision = decide(&AlertFacts { reporters: vec![reporter(last, days)], settings, ..facts() }, now());
        assert_eq!(decision.events.len(), usize::from(silent), "{last} {days:b}");
        let expected = planned.map(|after| day(last) + Days::new(after));
        assert_eq!(decision.next.map(|next| next.date_naive()), expected, "{last} {days:b}");
        assert!(decision.next.is_none_or(|next| next > now()));
    }
}

#[test]
fn who_is_silent_is_told_once_and_so_is_that_it_is_back() {
    let silent =
        |last| SilentReporter { kind: ReportKind::TlsRpt, organization: "Org".to_owned(), last_day: day(last) };
    let told = AlertFacts { reporters: vec![reporter(6, 0xFFFF)], silent: vec![silent(6)], ..facts() };
    assert_eq!(decide(&told, now()), Decision::default());
    let back = AlertFacts { reporters: vec![reporter(1, 0b1_1111_1100_0001)], silent: vec![silent(7)], ..facts() };
    let decision = decide(&back, now());
    assert_eq!(types(&decision), ["report.reporter_back"]);
    assert_eq!(decision.forget, [(AlertKind::ReporterSilent, silent(7).subject())]);
    let again = AlertFacts { reporters: vec![reporter(6, 0xFFFF)], silent: vec![silent(20)], ..facts() };
    let decision = decide(&again, now());
    assert_eq!(types(&decision), ["report.reporter_back", "report.reporter_silent"]);
    assert!(decision.forget.is_empty() && decision.remember.len() == 1);
    let settings = ReportSettings { alerts: Vec::new(), ..ReportSettings::default() };
    let off = decide(&AlertFacts { settings, ..back }, now());
    assert!(off.events.is_empty() && off.forget.len() == 1);
}

#[test]
fn verified_and_unverified_reports_of_an_organisation_are_those_of_one() {
    // Neither has most of the days; together they do.
    let reporters = vec![reporter(5, 0b0101_0101_0101), reporter(6, 0b0101_0101_0101)];
    assert!(decide(&AlertFacts { reporters: vec![reporters[0].clone()], ..facts() }, now()).events.is_empty());
    assert_eq!(types(&decide(&AlertFacts { reporters, ..facts() }, now())), ["report.reporter_silent"]);
    let far = vec![reporter(1, 1), reporter(40, u64::MAX)];
    assert_eq!(merged(&far).into_values().collect::<Vec<_>>(), [(day(1), 1 | (u64::MAX << 39))]);
    let farther = vec![reporter(100, u64::MAX), reporter(1, 1)];
    assert_eq!(merged(&farther).into_values().collect::<Vec<_>>(), [(day(1), 1)]);
}

#[test]
fn what_could_not_be_read_is_told_once_an_hour() {
    let arrival = ArrivalId::draw(now(), &SeededEntropy::new(1));
    let quarantined = Some(Quarantined { arrivals: 3, arrival, reason: "not-json".to_owned() });
    let told_at = |minutes| Some(now() - TimeDelta::minutes(minutes));
    for (quarantine_told_at, told) in [(None, true), (told_at(59), false), (told_at(60), true)] {
        let decision = decide(&AlertFacts { quarantined: quarantined.clone(), quarantine_told_at, ..facts() }, now());
        assert_eq!((types(&decision).len(), decision.quarantine_told), (usize::from(told), told));
        let next = quarantine_told_at.filter(|_| !told).map(|at| at + TimeDelta::hours(1));
        assert_eq!(decision.next, next);
    }
    let settings = ReportSettings { alerts: Vec::new(), ..ReportSettings::default() };
    let off = decide(&AlertFacts { quarantined, settings, ..facts() }, now());
    assert!(off.events.is_empty() && off.quarantine_told);
}
