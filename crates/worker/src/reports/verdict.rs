//! Failures at the policy host, and what it had at that time: whose fault it was.

use mtasts_model::{EdgeVerdict, Timestamp};
use mtasts_store::DomainHistory;

/// Judges a failure at the policy host within a period, by what is known of the host: in words for the verdict and the
/// reason.
pub(super) fn verdict(
    history: Option<&DomainHistory>,
    period: (Option<Timestamp>, Option<Timestamp>),
) -> (EdgeVerdict, &'static str) {
    let (Some(history), (Some(begin), Some(end))) = (history, period) else {
        return (EdgeVerdict::Unclear, "no-facts");
    };
    if let Some(lost) = history.delegation_lost_since
        && lost <= end
    {
        // Before that, the host was the service's for a part of the time.
        let verdict = if lost <= begin { EdgeVerdict::NotOurs } else { EdgeVerdict::Unclear };
        return (verdict, "not-delegated-then");
    }
    if history.delegation_seen_at.is_none() {
        return (EdgeVerdict::Unclear, "no-facts");
    }
    let fed = history.versions.iter().filter_map(|version| Some((version.fed_at?, version.unfed_at)));
    let fed = fed.map(|(from, until)| (from, until.unwrap_or(Timestamp::MAX_UTC)));
    match coverage(fed, begin, end) {
        Coverage::None => return (EdgeVerdict::Ours, "nothing-served-then"),
        Coverage::Part => return (EdgeVerdict::Unclear, "served-part-of-the-time"),
        Coverage::All => {}
    }
    match coverage(history.certificates.iter().copied(), begin, end) {
        Coverage::All => (EdgeVerdict::NotOurs, "served-all-the-time"),
        Coverage::Part | Coverage::None => (EdgeVerdict::Ours, "certificate-expired-then"),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Coverage {
    All,
    Part,
    None,
}

/// How much of a period some spans of time cover together.
fn coverage(spans: impl Iterator<Item = (Timestamp, Timestamp)>, begin: Timestamp, end: Timestamp) -> Coverage {
    let mut spans: Vec<_> = spans.filter(|(from, until)| *from <= end && *until >= begin).collect();
    spans.sort_unstable();
    if spans.is_empty() {
        return Coverage::None;
    }
    let mut covered = begin;
    for (from, until) in spans {
        if from > covered {
            return Coverage::Part;
        }
        covered = covered.max(until);
    }
    if covered >= end { Coverage::All } else { Coverage::Part }
}

#[cfg(test)]
mod tests {
    use mtasts_model::{DomainId, PolicyVersionId, SystemEntropy, TenantId};
    use mtasts_store::VersionThen;

    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-03-{text}:00Z").parse().unwrap()
    }

    fn history(fed: &[(&str, Option<&str>)], certificates: &[(&str, &str)], lost: Option<&str>) -> DomainHistory {
        let version = |(from, until): &(&str, Option<&str>)| VersionThen {
            id: PolicyVersionId::draw(at("01T00:00"), &SystemEntropy),
            text: String::new(),
            fed_at: Some(at(from)),
            unfed_at: until.map(at),
        };
        DomainHistory {
            domain: DomainId::draw(at("01T00:00"), &SystemEntropy),
            tenant: TenantId::draw(at("01T00:00"), &SystemEntropy),
            name: "shop.example".to_owned(),
            versions: fed.iter().map(version).collect(),
            certificates: certificates.iter().map(|(from, until)| (at(from), at(until))).collect(),
            delegation_seen_at: Some(at("20T00:00")),
            delegation_lost_since: lost.map(at),
        }
    }

    #[test]
    fn the_verdict_follows_from_what_the_edges_had() {
        use EdgeVerdict::{NotOurs, Ours, Unclear};
        let long = &[("01T00:00", "30T00:00")][..];
        let always = &[("01T00:00", None)][..];
        for (fed, certificates, lost, wanted) in [
            (always, long, None, (NotOurs, "served-all-the-time")),
            // One version took over from another without a gap.
            (&[("01T00:00", Some("10T12:00")), ("10T12:00", None)][..], long, None, (NotOurs, "served-all-the-time")),
            (&[("01T00:00", Some("10T11:00")), ("10T12:00", None)], long, None, (Unclear, "served-part-of-the-time")),
            (&[("10T12:00", None)], long, None, (Unclear, "served-part-of-the-time")),
            (&[("11T12:00", None)], long, None, (Ours, "nothing-served-then")),
            (&[("01T00:00", Some("05T00:00"))], long, None, (Ours, "nothing-served-then")),
            (&[], long, None, (Ours, "nothing-served-then")),
            (always, &[("01T00:00", "10T08:00")], None, (Ours, "certificate-expired-then")),
            (always, &[("01T00:00", "10T08:00"), ("09T00:00", "30T00:00")], None, (NotOurs, "served-all-the-time")),
            (always, &[], None, (Ours, "certificate-expired-then")),
            (always, long, Some("05T00:00"), (NotOurs, "not-delegated-then")),
            (always, long, Some("10T05:00"), (Unclear, "not-delegated-then")),
            (always, long, Some("12T00:00"), (NotOurs, "served-all-the-time")),
        ] {
            let history = history(fed, certificates, lost);
            let period = (Some(at("10T00:00")), Some(at("10T23:59")));
            assert_eq!(verdict(Some(&history), period), wanted, "{fed:?} {certificates:?} {lost:?}");
        }
    }

    #[test]
    fn without_facts_nothing_is_said() {
        let unclear = (EdgeVerdict::Unclear, "no-facts");
        let mut history = history(&[("01T00:00", None)], &[], None);
        assert_eq!(verdict(None, (Some(at("10T00:00")), Some(at("11T00:00")))), unclear);
        assert_eq!(verdict(Some(&history), (Some(at("10T00:00")), None)), unclear);
        history.delegation_seen_at = None;
        assert_eq!(verdict(Some(&history), (Some(at("10T00:00")), Some(at("11T00:00")))), unclear);
    }
}
