//! What is allowed in a policy and yet probably not meant.

use super::{MaxAge, Mode, Policy};
use crate::lifecycle::MxSeen;

/// Weeks are normal for `enforce` (RFC 8461 §3.2): below, a sender that writes rarely is not protected.
const WEEK: u32 = 7 * 24 * 3600;

/// One remark on a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// A stable word for programs.
    pub code: &'static str,
    /// A sentence for people: what is so and what to do.
    pub message: String,
}

/// The remarks on a policy, given what was seen of the MX hosts. Pure.
pub fn remarks(policy: &Policy, seen: Option<&MxSeen>) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let mut warn = |code, message: String| remarks.push(Remark { code, message });
    let max_age = policy.max_age();
    if policy.mode() != Mode::None && max_age < MaxAge::DAY {
        warn(
            "max-age-below-a-day",
            format!("senders forget a policy with max_age {max_age} before they write again: use 86400 or more"),
        );
    } else if policy.mode() == Mode::Enforce && max_age.seconds() < WEEK {
        warn(
            "max-age-short-for-enforce",
            format!("with max_age {max_age} an attacker has to hold out for days only: weeks are normal for enforce"),
        );
    }
    for pattern in policy.mx().iter().filter(|pattern| pattern.is_wide()) {
        warn(
            "mx-wide-wildcard",
            format!("`{}` covers hosts of strangers, as others register under that suffix", pattern.as_str()),
        );
    }
    let Some(seen) = seen.filter(|_| policy.mode() != Mode::None) else { return remarks };
    for mx in seen.hosts.iter().filter(|mx| !policy.covers(&mx.host)) {
        warn("mx-not-covered", format!("no pattern covers the MX host {}: senders report it as a failure", mx.host));
        for pattern in policy.mx().iter().filter(|pattern| pattern.misses_deeper(&mx.host)) {
            let message = format!(
                "`{}` stands for one label, and {} has more below it: add a pattern",
                pattern.as_str(),
                mx.host
            );
            warn("mx-below-wildcard", message);
        }
    }
    for pattern in policy.mx().iter().filter(|pattern| !seen.hosts.iter().any(|mx| pattern.matches(&mx.host))) {
        warn("mx-unused-pattern", format!("`{}` covers none of the MX hosts that DNS names now", pattern.as_str()));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{Clock, ManualClock},
        lifecycle::MxHostSeen,
        name::HostName,
    };

    fn codes(mode: Mode, mx: &[&str], max_age: u32, hosts: Option<&[&str]>) -> Vec<&'static str> {
        let mx = mx.iter().map(|text| text.parse().unwrap()).collect();
        let policy = Policy::new(mode, mx, MaxAge::new(max_age).unwrap()).unwrap();
        let seen = hosts.map(|hosts| MxSeen {
            hosts: hosts
                .iter()
                .map(|host| MxHostSeen {
                    host: HostName::parse(host).unwrap(),
                    preference: 10,
                    failure: None,
                    looked_at: None,
                })
                .collect(),
            at: ManualClock::default().now(),
        });
        remarks(&policy, seen.as_ref()).into_iter().map(|remark| remark.code).collect()
    }

    #[test]
    fn a_sound_policy_has_no_warnings() {
        assert!(codes(Mode::Enforce, &["mx.example.com"], WEEK, Some(&["mx.example.com"])).is_empty());
        assert!(codes(Mode::Testing, &["*.example.com"], 86_400, None).is_empty());
        assert!(codes(Mode::None, &[], 60, Some(&["mx.example.com"])).is_empty());
    }

    #[test]
    fn what_is_probably_not_meant_is_said() {
        assert_eq!(codes(Mode::Testing, &["mx.example.com"], 86_399, None), ["max-age-below-a-day"]);
        assert_eq!(codes(Mode::Enforce, &["mx.example.com"], 86_400, None), ["max-age-short-for-enforce"]);
        assert_eq!(codes(Mode::Testing, &["*.co.uk"], WEEK, None), ["mx-wide-wildcard"]);
        assert_eq!(
            codes(Mode::Testing, &["old.example.com"], WEEK, Some(&["new.example.com"])),
            ["mx-not-covered", "mx-unused-pattern"]
        );
        assert_eq!(
            codes(Mode::Testing, &["*.example.com"], WEEK, Some(&["a.b.example.com", "a.example.com"])),
            ["mx-not-covered", "mx-below-wildcard"]
        );
    }
}
