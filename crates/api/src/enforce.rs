//! Whether `enforce` is safe (invariant 6): every MX host passes, and the policy covers every one of them.

use mtasts_model::{
    MaxAge, Mode, Policy, Timestamp,
    lifecycle::MxSeen,
    readiness::{self, Demands, Evidence, Reason, ReportSums, Weight},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{Problem, ProblemKind};

/// One reason that speaks against `enforce`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = EnforceReason)]
pub(crate) struct Doubt {
    /// The MX host that it is about; absent when it is about all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "mx2.example.com")]
    host: Option<String>,
    /// A stable word for programs.
    #[schema(example = "starttls-not-supported")]
    code: String,
    /// `blocking`: `enforce` is refused unless it is forced. `advice`: a rollout waits for it, and nobody else needs to.
    #[schema(example = "blocking")]
    weight: &'static str,
    /// A sentence for people: what is so.
    #[schema(example = "mx2.example.com does not offer STARTTLS")]
    message: String,
    /// What to do.
    #[schema(example = "mend it at the host, then ask for a new look with verify")]
    what_to_do: String,
}

impl Doubt {
    /// Nothing is known of the MX hosts, as for a domain that is just being registered.
    pub(crate) fn not_checked(now: Timestamp) -> Vec<Self> {
        let never = Policy::new(Mode::None, Vec::new(), MaxAge::DAY);
        never.map(|policy| list(readiness::blocking(&policy, None, now))).unwrap_or_default()
    }

    /// The policy allows no host at all.
    pub(crate) fn no_patterns() -> Self {
        Self {
            host: None,
            code: "mx-missing".to_owned(),
            weight: Weight::Blocking.as_str(),
            message: "the current policy has no MX patterns".to_owned(),
            what_to_do: "set a policy with patterns by PUT /v1/domains/{domain_id}/policy".to_owned(),
        }
    }

    /// Whether `enforce` is refused for it.
    pub(crate) fn blocks(&self) -> bool {
        self.weight == Weight::Blocking.as_str()
    }
}

impl From<Reason> for Doubt {
    fn from(reason: Reason) -> Self {
        Self {
            host: reason.host.map(|host| host.to_string()),
            code: reason.code,
            weight: reason.weight.as_str(),
            message: reason.message,
            what_to_do: reason.advice,
        }
    }
}

fn list(reasons: impl IntoIterator<Item = Reason>) -> Vec<Doubt> {
    reasons.into_iter().map(Doubt::from).collect()
}

/// What blocks a policy; nothing does unless its mode is `enforce`. Pure. `entering`: what verified reports say and how
/// many failures among 1,000 sessions are borne, where senders do not enforce yet: in `enforce` a change may be the very
/// cure.
pub(crate) fn doubts(
    policy: &Policy,
    seen: Option<&MxSeen>,
    entering: Option<(ReportSums, u32)>,
    now: Timestamp,
) -> Vec<Doubt> {
    if policy.mode() != Mode::Enforce {
        return Vec::new();
    }
    let failures = entering.and_then(|(reports, borne)| readiness::verified_failures(reports, borne));
    list(readiness::blocking(policy, seen, now).into_iter().chain(failures))
}

/// Everything that speaks against a policy in mode `enforce`, advice too.
pub(crate) fn everything(evidence: &Evidence<'_>, demands: &Demands, now: Timestamp) -> Vec<Doubt> {
    list(readiness::reasons(evidence, demands, now))
}

/// The refusal that lists the doubts.
pub(crate) fn refusal(doubts: &[Doubt]) -> Problem {
    let detail = match doubts {
        [one] => format!("Mode `enforce` is not proven to be safe: {}: {}", one.message, one.what_to_do),
        _ => format!("{} reasons speak against mode `enforce`; `reasons` lists them", doubts.len()),
    };
    // A list of plain texts always serialises.
    let reasons = serde_json::to_value(doubts).unwrap_or_default();
    Problem::new(ProblemKind::EnforceNotProven, detail).with("reasons", reasons)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use mtasts_model::{
        Clock, HostName, MxPattern,
        clock::ManualClock,
        lifecycle::{MxFailure, MxHostSeen},
    };

    use super::*;

    fn policy(mode: Mode, mx: &[&str]) -> Policy {
        let mx: Vec<MxPattern> = mx.iter().map(|text| text.parse().unwrap()).collect();
        Policy::new(mode, mx, MaxAge::DAY).unwrap()
    }

    fn host(name: &str, failure: Option<&str>) -> MxHostSeen {
        let failure = failure.map(|code| MxFailure { code: code.to_owned(), message: format!("{name}: {code}") });
        MxHostSeen { host: HostName::parse(name).unwrap(), preference: 10, failure, looked_at: None }
    }

    fn seen(hosts: Vec<MxHostSeen>) -> MxSeen {
        MxSeen { hosts, at: ManualClock::default().now() }
    }

    fn codes(policy: &Policy, seen: Option<&MxSeen>, after: TimeDelta) -> Vec<(Option<String>, String)> {
        let doubts = doubts(policy, seen, None, ManualClock::default().now() + after);
        doubts.into_iter().map(|doubt| (doubt.host, doubt.code)).collect()
    }

    #[test]
    fn enforce_is_proven_when_every_host_passes_and_is_covered() {
        let seen = seen(vec![host("mx1.example.com", None), host("mx2.example.com", None)]);
        assert_eq!(codes(&policy(Mode::Enforce, &["*.example.com"]), Some(&seen), TimeDelta::hours(24)), []);
    }

    #[test]
    fn verified_failures_keep_from_entering_enforce_and_not_from_changing_it() {
        let (now, seen) = (ManualClock::default().now(), seen(vec![host("mx.example.com", None)]));
        let enforce = policy(Mode::Enforce, &["mx.example.com"]);
        let reports = ReportSums { good: 90, bad: 10, reporters: 1 };
        let found = doubts(&enforce, Some(&seen), Some((reports, 5)), now);
        assert_eq!(found.iter().map(|doubt| doubt.code.as_str()).collect::<Vec<_>>(), ["verified-failures"]);
        assert_eq!(doubts(&enforce, Some(&seen), Some((reports, 100)), now), []);
        assert_eq!(doubts(&enforce, Some(&seen), None, now), []);
        assert_eq!(doubts(&policy(Mode::Testing, &["mx.example.com"]), Some(&seen), Some((reports, 5)), now), []);
    }

    #[test]
    fn testing_and_none_need_no_proof() {
        for mode in [Mode::Testing, Mode::None] {
            assert_eq!(codes(&policy(mode, &["mx.example.com"]), None, TimeDelta::zero()), []);
        }
    }

    #[test]
    fn enforce_without_a_look_or_with_an_old_or_empty_one_is_not_proven() {
        let enforce = policy(Mode::Enforce, &["mx.example.com"]);
        assert_eq!(codes(&enforce, None, TimeDelta::zero()), [(None, "mx-not-checked".to_owned())]);
        let good = seen(vec![host("mx.example.com", None)]);
        let late = TimeDelta::hours(24) + TimeDelta::seconds(1);
        assert_eq!(codes(&enforce, Some(&good), late), [(None, "mx-check-too-old".to_owned())]);
        assert_eq!(codes(&enforce, Some(&seen(vec![])), TimeDelta::zero()), [(None, "mx-none-found".to_owned())]);
    }

    #[test]
    fn each_failing_or_uncovered_host_is_a_reason_of_its_own() {
        let enforce = policy(Mode::Enforce, &["mx1.example.com", "mx2.example.com"]);
        let seen = seen(vec![
            host("mx1.example.com", None),
            host("mx2.example.com", Some("certificate-expired")),
            host("backup.example.net", Some("starttls-not-supported")),
        ]);
        let expected = [
            ("mx2.example.com", "certificate-expired"),
            ("backup.example.net", "starttls-not-supported"),
            ("backup.example.net", "mx-not-covered"),
        ];
        let expected = expected.map(|(host, code)| (Some(host.to_owned()), code.to_owned()));
        assert_eq!(codes(&enforce, Some(&seen), TimeDelta::zero()), expected);
    }
}
