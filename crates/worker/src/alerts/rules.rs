//! What a look at a domain's reports comes to: a pure function of what is known.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate, NaiveTime, TimeDelta};
use mtasts_model::{
    AlertKind, DomainId, EventData, ReportKind, Timestamp,
    event::{AlertState, FailureNew, FailureRate, ReportQuarantined, ReporterBack, ReporterSilent},
};
use mtasts_store::{AlertFacts, AlertMemory, DaySessions, ReporterDays, SilentReporter};

/// The most new failures that a tenant is told of in a day and domain: whoever writes reports can make up any number.
const FAILURES_A_DAY: u32 = 20;

/// The alarm ends below four fifths of the threshold, so that a rate which wavers about it does not ring each day.
const CLEARED_AT: (u64, u64) = (4, 5);

/// Whoever reported on more than half of these days is regular.
const REGULAR_OF: u32 = 14;
const REGULAR_FROM: u32 = 8;

/// Who was not heard of for so long is not told to be silent any more: the alert was off, or the service was.
const SILENCE_IS_NEWS: i64 = 30;

/// A report on a day comes in the course of the next.
const REPORTS_COME_AFTER: u64 = 2;

/// How often tenants are told that something could not be read, for each domain.
const QUARANTINE_PAUSE: TimeDelta = TimeDelta::hours(1);

/// Looks that are planned for a day are spread over its first hours.
const SPREAD_SECONDS: i64 = 6 * 3600;

/// What follows from a look.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Decision {
    /// To tell.
    pub(super) events: Vec<EventData>,
    /// To remember.
    pub(super) remember: Vec<AlertMemory>,
    /// To forget.
    pub(super) forget: Vec<(AlertKind, String)>,
    /// When to look next, if no reports come before.
    pub(super) next: Option<Timestamp>,
    /// Whether what could not be read is told, or is not to be.
    pub(super) quarantine_told: bool,
}

impl Decision {
    fn look_at(&mut self, at: Timestamp) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    fn remember(&mut self, alert: AlertKind, subject: String, raised: bool, day: NaiveDate) {
        self.remember.push(AlertMemory { alert, subject, raised, day });
    }
}

pub(super) fn decide(facts: &AlertFacts, now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    failures(facts, now, &mut decision);
    rate(facts, &mut decision);
    silence(facts, now, &mut decision);
    quarantine(facts, now, &mut decision);
    decision
}

fn wants(facts: &AlertFacts, alert: AlertKind) -> bool {
    facts.settings.alerts.contains(&alert)
}

/// Each kind is told once. While nobody wants to know, they pass for told: who switches the alert on is not told of the past.
fn failures(facts: &AlertFacts, now: Timestamp, decision: &mut Decision) {
    let wanted = wants(facts, AlertKind::FailureNew);
    let room = FAILURES_A_DAY.saturating_sub(facts.failures_told_today);
    let room = if wanted { usize::try_from(room).unwrap_or(0) } else { facts.failures.len() };
    for failure in facts.failures.iter().take(room) {
        if wanted {
            let event = FailureNew {
                domain: facts.domain.clone(),
                result: failure.result.clone(),
                receiving_mx: Some(failure.receiving_mx.clone()).filter(|mx| !mx.is_empty()),
                first_day: failure.first_day,
                sessions: count(failure.sessions),
                verified: failure.verified,
            };
            decision.events.push(event.into());
        }
        decision.remember(AlertKind::FailureNew, failure.subject(), false, failure.first_day);
    }
    if facts.failures.len() > room {
        decision.look_at(midnight(facts.domain.domain_id, now.date_naive() + Days::new(1)));
    }
}

/// The newest day that says anything decides. A change a day at most: later reports on the same day change nothing.
fn rate(facts: &AlertFacts, decision: &mut Decision) {
    if !wants(facts, AlertKind::FailureRate) {
        if facts.rate.is_some() {
            decision.forget.push((AlertKind::FailureRate, String::new()));
        }
        return;
    }
    let least = u128::from(facts.settings.least_sessions);
    let Some(day) = facts.days.iter().find(|day| sessions(day) >= least) else { return };
    let (raised, changed) = facts.rate.map_or((false, None), |(raised, day)| (raised, Some(day)));
    if changed.is_some_and(|changed| day.day <= changed) {
        return;
    }
    let threshold = u128::from(facts.settings.threshold_percent);
    let (bad, all) = (u128::from(count(day.bad)), sessions(day));
    let state = if !raised && bad * 100 > all * threshold {
        AlertState::Raised
    } else if raised && bad * 100 * u128::from(CLEARED_AT.1) < all * threshold * u128::from(CLEARED_AT.0) {
        AlertState::Cleared
    } else {
        return;
    };
    let event = FailureRate {
        domain: facts.domain.clone(),
        state,
        day: day.day,
        good: count(day.good),
        failed: count(day.bad),
        rate_percent: percent(bad, all),
        threshold_percent: facts.settings.threshold_percent,
    };
    decision.events.push(event.into());
    decision.remember(AlertKind::FailureRate, String::new(), state == AlertState::Raised, day.day);
}

fn sessions(day: &DaySessions) -> u128 {
    u128::from(count(day.good)) + u128::from(count(day.bad))
}

/// With two digits after the point.
fn percent(part: u128, all: u128) -> f64 {
    let hundredths = (part * 10_000 + all / 2).checked_div(all).unwrap_or(0);
    f64::from(u32::try_from(hundredths).unwrap_or(u32::MAX)) / 100.0
}

fn silence(facts: &AlertFacts, now: Timestamp, decision: &mut Decision) {
    let wanted = wants(facts, AlertKind::ReporterSilent);
    let today = now.date_naive();
    let patience = Days::new(u64::from(facts.settings.silence_days) + REPORTS_COME_AFTER);
    let reporters = merged(&facts.reporters);
    for silent in &facts.silent {
        let heard = reporters.get(&(silent.kind, silent.organization.as_str()));
        if !wanted {
            decision.forget.push((AlertKind::ReporterSilent, silent.subject()));
        } else if let Some((day, _)) = heard.filter(|(day, _)| *day > silent.last_day) {
            let event = ReporterBack {
                domain: facts.domain.clone(),
                kind: silent.kind,
                organization: silent.organization.clone(),
                last_day: silent.last_day,
                day: *day,
            };
            decision.events.push(event.into());
            decision.forget.push((AlertKind::ReporterSilent, silent.subject()));
        }
    }
    if !wanted {
        return;
    }
    for ((kind, organization), (last_day, days)) in reporters {
        let known = facts
            .silent
            .iter()
            .any(|silent| silent.kind == kind && silent.organization == organization && silent.last_day >= last_day);
        if known || !is_regular(days) {
            continue;
        }
        let silent_on = last_day + patience;
        if today < silent_on {
            decision.look_at(midnight(facts.domain.domain_id, silent_on));
        } else if (today - last_day).num_days() <= SILENCE_IS_NEWS {
            let silent = SilentReporter { kind, organization: organization.to_owned(), last_day };
            let subject = silent.subject();
            let SilentReporter { organization, .. } = silent;
            let event = ReporterSilent { domain: facts.domain.clone(), kind, organization, last_day };
            decision.events.push(event.into());
            // Whoever is back and silent again within one look is silent.
            decision.forget.retain(|(alert, forgotten)| *alert != AlertKind::ReporterSilent || *forgotten != subject);
            decision.remember(AlertKind::ReporterSilent, subject, true, last_day);
        }
    }
}

/// One entry for each organisation, whether its reports are verified or not.
fn merged(reporters: &[ReporterDays]) -> BTreeMap<(ReportKind, &str), (NaiveDate, u64)> {
    let mut merged: BTreeMap<(ReportKind, &str), (NaiveDate, u64)> = BTreeMap::new();
    for reporter in reporters {
        let entry = (reporter.last_day, reporter.days);
        merged
            .entry((reporter.kind, reporter.organization.as_str()))
            .and_modify(|known| {
                let (newer, older) = if known.0 >= entry.0 { (*known, entry) } else { (entry, *known) };
                let shift = u32::try_from((newer.0 - older.0).num_days()).unwrap_or(u32::MAX);
                *known = (newer.0, newer.1 | older.1.checked_shl(shift).unwrap_or(0));
            })
            .or_insert(entry);
    }
    merged
}

fn is_regular(days: u64) -> bool {
    (days & ((1 << REGULAR_OF) - 1)).count_ones() >= REGULAR_FROM
}

fn quarantine(facts: &AlertFacts, now: Timestamp, decision: &mut Decision) {
    let Some(quarantined) = &facts.quarantined else { return };
    if !wants(facts, AlertKind::Quarantined) {
        decision.quarantine_told = true;
        return;
    }
    if let Some(until) = facts.quarantine_told_at.map(|at| at + QUARANTINE_PAUSE).filter(|until| *until > now) {
        decision.look_at(until);
        return;
    }
    let event = ReportQuarantined {
        domain: facts.domain.clone(),
        arrivals: quarantined.arrivals,
        arrival_id: quarantined.arrival,
        reason: quarantined.reason.clone(),
    };
    decision.events.push(event.into());
    decision.remember(AlertKind::Quarantined, String::new(), false, now.date_naive());
    decision.quarantine_told = true;
}

/// Early on this day, each domain at its own time: a million at once would be late all together.
fn midnight(domain: DomainId, day: NaiveDate) -> Timestamp {
    let [.., high, low] = *domain.as_uuid().as_bytes();
    let spread = i64::from(u16::from_be_bytes([high, low])) * SPREAD_SECONDS / i64::from(u16::MAX);
    day.and_time(NaiveTime::MIN).and_utc() + TimeDelta::seconds(spread)
}

/// Never below 0 in the table.
fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests;
