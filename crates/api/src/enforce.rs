//! Whether `enforce` is safe (invariant 6): every MX host passes, and the policy covers every one of them.

use chrono::TimeDelta;
use mtasts_model::{HostName, Mode, Policy, Timestamp, lifecycle::MxSeen};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{Problem, ProblemKind};

/// How old the look at the MX hosts may be.
const MAX_AGE: TimeDelta = TimeDelta::hours(24);

/// One reason that speaks against `enforce`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Doubt {
    /// The MX host that it is about; absent when it is about all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "mx2.example.com")]
    host: Option<String>,
    /// A stable word for programs.
    #[schema(example = "starttls-not-supported")]
    code: String,
    /// A sentence for people: what is so and what to do.
    #[schema(example = "mx2.example.com does not offer STARTTLS: switch it on")]
    message: String,
}

impl Doubt {
    /// Nothing is known of the MX hosts, as for a domain that is just being registered.
    pub(crate) fn not_checked() -> Self {
        Self::general(
            "mx-not-checked",
            "the MX hosts were not looked at yet: start in mode `testing` and wait for the condition `MxReady`",
        )
    }

    fn general(code: &str, message: impl Into<String>) -> Self {
        Self { host: None, code: code.to_owned(), message: message.into() }
    }

    fn on(host: &HostName, code: &str, message: impl Into<String>) -> Self {
        Self { host: Some(host.to_string()), code: code.to_owned(), message: message.into() }
    }
}

/// What speaks against serving this policy; nothing does unless its mode is `enforce`. Pure.
pub(crate) fn doubts(policy: &Policy, seen: Option<&MxSeen>, now: Timestamp) -> Vec<Doubt> {
    if policy.mode() != Mode::Enforce {
        return Vec::new();
    }
    let Some(seen) = seen else { return vec![Doubt::not_checked()] };
    let mut doubts = Vec::new();
    if now - seen.at > MAX_AGE {
        let at = seen.at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        doubts.push(Doubt::general(
            "mx-check-too-old",
            format!(
                "the latest look at the MX hosts is of {at}, more than 24 hours ago: ask for a new one with verify"
            ),
        ));
    }
    if seen.hosts.is_empty() {
        doubts.push(Doubt::general(
            "mx-none-found",
            "no MX host was found: a domain that receives no mail needs mode `none` or no policy at all",
        ));
    }
    for mx in &seen.hosts {
        if let Some(failure) = &mx.failure {
            doubts.push(Doubt::on(&mx.host, &failure.code, failure.message.clone()));
        }
        if !policy.covers(&mx.host) {
            let message = format!("no `mx` pattern of the policy covers {}: add it, or remove the MX record", mx.host);
            doubts.push(Doubt::on(&mx.host, "mx-not-covered", message));
        }
    }
    doubts
}

/// The refusal that lists the doubts.
pub(crate) fn refusal(doubts: &[Doubt]) -> Problem {
    let detail = match doubts {
        [one] => format!("Mode `enforce` is not proven to be safe: {}", one.message),
        _ => format!("{} reasons speak against mode `enforce`; `reasons` lists them", doubts.len()),
    };
    // A list of plain texts always serialises.
    let reasons = serde_json::to_value(doubts).unwrap_or_default();
    Problem::new(ProblemKind::EnforceNotProven, detail).with("reasons", reasons)
}

#[cfg(test)]
mod tests {
    use mtasts_model::{
        Clock, MaxAge, MxPattern,
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
        MxHostSeen { host: HostName::parse(name).unwrap(), preference: 10, failure }
    }

    fn seen(hosts: Vec<MxHostSeen>) -> MxSeen {
        MxSeen { hosts, at: ManualClock::default().now() }
    }

    fn codes(policy: &Policy, seen: Option<&MxSeen>, after: TimeDelta) -> Vec<(Option<String>, String)> {
        let doubts = doubts(policy, seen, ManualClock::default().now() + after);
        doubts.into_iter().map(|doubt| (doubt.host, doubt.code)).collect()
    }

    #[test]
    fn enforce_is_proven_when_every_host_passes_and_is_covered() {
        let seen = seen(vec![host("mx1.example.com", None), host("mx2.example.com", None)]);
        assert_eq!(codes(&policy(Mode::Enforce, &["*.example.com"]), Some(&seen), TimeDelta::hours(24)), []);
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
