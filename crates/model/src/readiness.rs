//! Whether `enforce` is safe (invariant 6), and what speaks against it.
//!
//! Some reasons block: with them mail would be lost, as far as is known. The others are advice: more proof would be
//! better, and a rollout plan waits for it, but nobody is kept from `enforce` by them.

use std::collections::BTreeMap;

use chrono::{SecondsFormat, TimeDelta};

use crate::{
    clock::Timestamp,
    lifecycle::{MxHostSeen, MxSeen},
    name::HostName,
    policy::{Mode, Policy},
};

/// How old the look at the MX hosts may be that proves that they pass.
pub const FRESH_LOOK: TimeDelta = TimeDelta::hours(24);

/// Without a look for longer than this it is not known what was in between, and a host's good days begin anew. MX hosts
/// are looked at daily: two looks may fail.
const MOST_BETWEEN_LOOKS: TimeDelta = TimeDelta::days(3);

/// Over how many days verified reports are summed up.
pub const REPORT_DAYS: u32 = 7;

/// What the looks at one MX host on one day (UTC) came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MxDay {
    /// The host.
    pub host: HostName,
    /// The first look of the day that found it among the MX hosts.
    pub first_seen_at: Timestamp,
    /// The last one.
    pub last_seen_at: Timestamp,
    /// The last one at which it failed; None when it passed at all of them.
    pub last_failed_at: Option<Timestamp>,
}

/// Sums of verified TLS reports (RFC 8460) over the last [`REPORT_DAYS`] days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportSums {
    /// Sessions that went well.
    pub good: u64,
    /// Sessions that failed.
    pub bad: u64,
    /// How many organisations reported.
    pub reporters: u32,
}

impl ReportSums {
    /// All sessions.
    pub fn sessions(self) -> u64 {
        self.good.saturating_add(self.bad)
    }

    /// Whether more than so many of 1,000 sessions failed.
    pub fn fail_more_than(self, per_thousand: u32) -> bool {
        u128::from(self.bad) * 1_000 > u128::from(self.sessions()) * u128::from(per_thousand)
    }
}

/// How much proof is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demands {
    /// For how many days each MX host is to have passed at every look.
    pub mx_days: u32,
    /// For how many days the policy is to have been published in mode `testing`.
    pub testing_days: u32,
    /// How many sessions verified reports are to have told of in [`REPORT_DAYS`] days.
    pub sessions: u64,
    /// How many organisations are to have sent them.
    pub reporters: u32,
    /// How many of 1,000 of these sessions may have failed.
    pub failures_per_thousand: u32,
}

impl Default for Demands {
    /// A week of looks, two weeks of testing, a hundred sessions from two reporters, half a percent of failures.
    fn default() -> Self {
        Self { mx_days: 7, testing_days: 14, sessions: 100, reporters: 2, failures_per_thousand: 5 }
    }
}

/// All that is known for and against `enforce`.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The policy that is to be served in mode `enforce`.
    pub policy: &'a Policy,
    /// The latest look at the MX hosts.
    pub mx: Option<&'a MxSeen>,
    /// The looks of the last weeks.
    pub history: &'a [MxDay],
    /// Since when a policy in another mode than `none` has been published without a break.
    pub published_since: Option<Timestamp>,
    /// What verified reports say.
    pub reports: ReportSums,
}

/// How much a reason weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// `enforce` is refused unless it is forced.
    Blocking,
    /// A plan waits; whoever decides by hand may go on.
    Advice,
}

impl Weight {
    /// The word that the API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocking => "blocking",
            Self::Advice => "advice",
        }
    }
}

/// One reason against `enforce`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// How much it weighs.
    pub weight: Weight,
    /// The MX host that it is about; None when it is about all.
    pub host: Option<HostName>,
    /// A stable word for programs, such as `mx-not-covered`, or what a look at the host says (RFC 8460 §4.3).
    pub code: String,
    /// A sentence for people: what is so.
    pub message: String,
    /// What to do.
    pub advice: String,
}

impl Reason {
    fn new(weight: Weight, code: &str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { weight, host: None, code: code.to_owned(), message: message.into(), advice: advice.into() }
    }

    fn on(mut self, host: &HostName) -> Self {
        self.host = Some(host.clone());
        self
    }
}

/// Every reason against serving `evidence.policy` in mode `enforce`, what blocks first. None: it is proven.
pub fn reasons(evidence: &Evidence<'_>, demands: &Demands, now: Timestamp) -> Vec<Reason> {
    let mut reasons = blocking(evidence.policy, evidence.mx, now);
    reasons.extend(verified_failures(evidence.reports, demands.failures_per_thousand));
    reasons.extend(too_short(evidence, demands, now));
    reasons.extend(too_few(evidence.reports, demands));
    reasons
}

/// What the MX hosts say against the policy in mode `enforce`: each must pass and be covered, at a look of today.
pub fn blocking(policy: &Policy, seen: Option<&MxSeen>, now: Timestamp) -> Vec<Reason> {
    let Some(seen) = seen else {
        return vec![Reason::new(
            Weight::Blocking,
            "mx-not-checked",
            "the MX hosts were not looked at yet",
            "start in mode `testing` and wait for the condition `MxReady`",
        )];
    };
    let mut reasons = Vec::new();
    // Each host must have been connected to within the day, for this domain or another. A look from the future is one by a
    // clock that was stepped back since: it proves nothing about now.
    let oldest = seen.oldest_look();
    if now - oldest > FRESH_LOOK || seen.at - now > FRESH_LOOK {
        let at = oldest.to_rfc3339_opts(SecondsFormat::Secs, true);
        reasons.push(Reason::new(
            Weight::Blocking,
            "mx-check-too-old",
            format!("the latest look at the MX hosts is of {at}, more than 24 hours ago"),
            "ask for a new one with verify",
        ));
    }
    if seen.hosts.is_empty() {
        reasons.push(Reason::new(
            Weight::Blocking,
            "mx-none-found",
            "no MX host was found",
            "a domain that receives no mail needs mode `none` or no policy at all",
        ));
    }
    for MxHostSeen { host, failure, .. } in &seen.hosts {
        if let Some(failure) = failure {
            let advice = "mend it at the host, then ask for a new look with verify";
            reasons.push(Reason::new(Weight::Blocking, &failure.code, failure.message.clone(), advice).on(host));
        }
        if !policy.covers(host) {
            let message = format!("no `mx` pattern of the policy covers {host}");
            let advice = "add it, or remove the MX record";
            reasons.push(Reason::new(Weight::Blocking, "mx-not-covered", message, advice).on(host));
        }
    }
    reasons
}

/// Sessions that real senders say have failed are mail that `enforce` would have held up.
pub fn verified_failures(reports: ReportSums, per_thousand: u32) -> Option<Reason> {
    reports.fail_more_than(per_thousand).then(|| {
        let (bad, sessions) = (reports.bad, reports.sessions());
        Reason::new(
            Weight::Blocking,
            "verified-failures",
            format!("verified reports of the last {REPORT_DAYS} days tell of {bad} failed sessions among {sessions}"),
            "look into the reports for the host and the result, and mend it; with `enforce` such mail is held up",
        )
    })
}

fn too_short(evidence: &Evidence<'_>, demands: &Demands, now: Timestamp) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let wanted = days(demands.mx_days);
    let good = passing_since(evidence.history);
    for seen in evidence.mx.iter().flat_map(|seen| &seen.hosts).filter(|seen| seen.failure.is_none()) {
        let host = &seen.host;
        let since = good.get(host).copied().flatten();
        if since.is_none_or(|since| now - since < wanted) {
            let so_far = since.map_or(0, |since| (now - since).num_days().max(0));
            let message = format!("{host} has passed at every look for {so_far} days of {}", demands.mx_days);
            let advice = "wait: it is looked at daily";
            reasons.push(Reason::new(Weight::Advice, "mx-passing-too-short", message, advice).on(host));
        }
    }
    let wanted = days(demands.testing_days);
    if wanted > TimeDelta::zero() && evidence.published_since.is_none_or(|since| now - since < wanted) {
        let so_far = evidence.published_since.map_or(0, |since| (now - since).num_days().max(0));
        let message = format!("the policy has been published for {so_far} days of {}", demands.testing_days);
        let advice = "leave it in mode `testing` meanwhile";
        reasons.push(Reason::new(Weight::Advice, "testing-too-short", message, advice));
    }
    reasons
}

fn too_few(reports: ReportSums, demands: &Demands) -> Vec<Reason> {
    let advice = "wait for reports, and see that the CNAME of `_smtp._tls` is set; a domain with little mail may never \
                  have more";
    let mut reasons = Vec::new();
    let sessions = reports.sessions();
    if sessions < demands.sessions {
        let wanted = demands.sessions;
        let message =
            format!("verified reports of the last {REPORT_DAYS} days tell of {sessions} sessions of {wanted}");
        reasons.push(Reason::new(Weight::Advice, "too-few-sessions", message, advice));
    }
    if reports.reporters < demands.reporters {
        let (reporters, wanted) = (reports.reporters, demands.reporters);
        let message = format!("{reporters} organisations of {wanted} sent verified reports in {REPORT_DAYS} days");
        reasons.push(Reason::new(Weight::Advice, "too-few-reporters", message, advice));
    }
    reasons
}

/// Since when each host has passed at every look, without a long time between looks; None while it fails.
pub fn passing_since(history: &[MxDay]) -> BTreeMap<HostName, Option<Timestamp>> {
    let mut by_host: BTreeMap<&HostName, Vec<&MxDay>> = BTreeMap::new();
    for day in history {
        by_host.entry(&day.host).or_default().push(day);
    }
    let mut since = BTreeMap::new();
    for (host, mut days) in by_host {
        days.sort_by_key(|day| day.first_seen_at);
        let mut good: Option<Timestamp> = None;
        let mut before: Option<&MxDay> = None;
        for day in days {
            if before.is_none_or(|before| day.first_seen_at - before.last_seen_at > MOST_BETWEEN_LOOKS) {
                good = None;
            }
            good = match day.last_failed_at {
                Some(failed) if failed >= day.last_seen_at => None,
                // It has passed since; when it was mended is not known to the minute.
                Some(failed) => Some(failed),
                None => good.or(Some(day.first_seen_at)),
            };
            before = Some(day);
        }
        since.insert(host.clone(), good);
    }
    since
}

/// The policy as it would be in mode `enforce`; None for one without patterns, which cannot be.
pub fn enforced(policy: &Policy) -> Option<Policy> {
    policy.clone().with_mode(Mode::Enforce).ok()
}

pub(crate) fn days(count: u32) -> TimeDelta {
    TimeDelta::days(i64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{Clock, ManualClock},
        lifecycle::MxFailure,
        policy::MaxAge,
    };

    fn host(name: &str) -> HostName {
        HostName::parse(name).unwrap()
    }

    fn policy() -> Policy {
        Policy::new(Mode::Enforce, vec!["*.example.com".parse().unwrap()], MaxAge::DAY).unwrap()
    }

    fn seen(names: &[&str], now: Timestamp) -> MxSeen {
        let hosts = names
            .iter()
            .map(|name| MxHostSeen { host: host(name), preference: 10, failure: None, looked_at: None })
            .collect();
        MxSeen { hosts, at: now }
    }

    /// A look at each of the last `count` days that passed.
    fn good_days(name: &str, count: i64, now: Timestamp) -> Vec<MxDay> {
        let day = |back: i64| {
            let at = now - TimeDelta::days(back);
            MxDay { host: host(name), first_seen_at: at, last_seen_at: at, last_failed_at: None }
        };
        (0..=count).map(day).collect()
    }

    fn codes(evidence: &Evidence<'_>, now: Timestamp) -> Vec<String> {
        reasons(evidence, &Demands::default(), now).into_iter().map(|reason| reason.code).collect()
    }

    #[test]
    fn a_domain_with_weeks_of_good_looks_and_reports_is_ready() {
        let now = ManualClock::default().now();
        let (policy, mx, history) = (policy(), seen(&["mx.example.com"], now), good_days("mx.example.com", 7, now));
        let evidence = Evidence {
            policy: &policy,
            mx: Some(&mx),
            history: &history,
            published_since: Some(now - TimeDelta::days(14)),
            reports: ReportSums { good: 995, bad: 5, reporters: 2 },
        };
        assert_eq!(codes(&evidence, now), Vec::<String>::new());
        let worse = Evidence { reports: ReportSums { good: 994, bad: 6, reporters: 2 }, ..evidence };
        assert_eq!(codes(&worse, now), ["verified-failures"]);
        assert_eq!(reasons(&worse, &Demands::default(), now)[0].weight, Weight::Blocking);
    }

    #[test]
    fn what_only_lacks_time_or_reports_is_advice() {
        let now = ManualClock::default().now();
        let (policy, mx) = (policy(), seen(&["mx.example.com"], now));
        let evidence = Evidence {
            policy: &policy,
            mx: Some(&mx),
            history: &good_days("mx.example.com", 1, now),
            published_since: None,
            reports: ReportSums::default(),
        };
        let found = reasons(&evidence, &Demands::default(), now);
        assert!(found.iter().all(|reason| reason.weight == Weight::Advice), "{found:?}");
        assert_eq!(
            codes(&evidence, now),
            ["mx-passing-too-short", "testing-too-short", "too-few-sessions", "too-few-reporters"]
        );
    }

    #[test]
    fn a_failure_and_a_long_time_without_a_look_begin_the_good_days_anew() {
        let now = ManualClock::default().now();
        let name = host("mx.example.com");
        let since = |history: &[MxDay]| passing_since(history)[&name];
        let mut history = good_days("mx.example.com", 10, now);
        assert_eq!(since(&history), Some(now - TimeDelta::days(10)));
        // Mended on the same day.
        history[4].last_failed_at = Some(history[4].last_seen_at - TimeDelta::hours(1));
        assert_eq!(since(&history), history[4].last_failed_at);
        // Failing until the end of that day: good since the next one.
        history[4].last_failed_at = Some(history[4].last_seen_at);
        assert_eq!(since(&history), Some(now - TimeDelta::days(3)));
        history[0].last_failed_at = Some(now);
        assert_eq!(since(&history), None, "it fails at this moment");
        let mut gap = good_days("mx.example.com", 10, now);
        gap.retain(|day| {
            now - day.first_seen_at <= TimeDelta::days(2) || now - day.first_seen_at >= TimeDelta::days(6)
        });
        assert_eq!(since(&gap), Some(now - TimeDelta::days(2)));
    }

    #[test]
    fn a_look_of_yesterday_is_no_proof() {
        let now = ManualClock::default().now();
        let (policy, old) = (policy(), seen(&["mx.example.com"], now - FRESH_LOOK));
        assert_eq!(blocking(&policy, Some(&old), now), []);
        let older = blocking(&policy, Some(&old), now + TimeDelta::seconds(1));
        assert_eq!(older.iter().map(|reason| reason.code.as_str()).collect::<Vec<_>>(), ["mx-check-too-old"]);
    }

    #[test]
    fn a_look_from_a_clock_that_was_stepped_is_no_proof() {
        let now = ManualClock::default().now();
        let ahead = seen(&["mx.example.com"], now + TimeDelta::days(2));
        assert_eq!(blocking(&policy(), Some(&ahead), now)[0].code, "mx-check-too-old");
    }

    #[test]
    fn a_failing_host_blocks_whatever_the_days_before_say() {
        let now = ManualClock::default().now();
        let mut mx = seen(&["mx.example.com"], now);
        mx.hosts[0].failure = Some(MxFailure { code: "certificate-expired".to_owned(), message: "expired".to_owned() });
        let found = blocking(&policy(), Some(&mx), now);
        assert_eq!(
            (found[0].code.as_str(), found[0].host.as_ref()),
            ("certificate-expired", Some(&host("mx.example.com")))
        );
    }
}
