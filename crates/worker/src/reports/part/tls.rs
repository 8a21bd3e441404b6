//! TLS reports (RFC 8460).

use std::collections::BTreeSet;

use mtasts_model::{DomainId, Policy, PolicyVersionId, ReportKind, TenantId};
use mtasts_reports::{
    Period,
    tls_rpt::{Failure, PolicyReport, Report},
};
use mtasts_store::{AddressOrigin, DomainHistory, NewReport, NewTlsResult, VersionThen};
use serde_json::{Value as Json, json};

use super::{Context, Header, KEPT_ROWS, add_origin, is_too_large};
use crate::reports::{
    attribution::{Addressed, Place},
    sums::Sums,
    verdict::verdict,
};

/// Failures that the summary counts and no detail speaks of.
const NOT_DETAILED: &str = "not-detailed";
/// Policies of nobody's domain that the normal form keeps.
const MOST_UNATTRIBUTED: usize = 100;

pub(super) fn parts(mut report: Report, context: &Context<'_>) -> Vec<NewReport> {
    let verified = context.graded.grade == mtasts_model::ReportGrade::Verified;
    let addressed = Addressed { own: context.own, verified, held: context.held };
    let mut places: Vec<((DomainId, TenantId), Vec<PolicyReport>)> =
        vec![((context.arrival.domain, context.arrival.tenant), Vec::new())];
    let mut unattributed = Vec::new();
    for policy in std::mem::take(&mut report.policies) {
        let to = match addressed.policy(&policy.policy.kind, policy.policy.domain.as_deref()) {
            Place::Own => places[0].0,
            Place::Other(held) => (held.domain, held.tenant),
            Place::Nobody => {
                unattributed.push(policy);
                continue;
            }
        };
        match places.iter_mut().find(|(place, _)| *place == to) {
            Some((_, policies)) => policies.push(policy),
            None => places.push((to, vec![policy])),
        }
    }
    // What speaks of another domain alone is not the label's, unless nobody else has it.
    if places.len() > 1 && places[0].1.is_empty() && unattributed.is_empty() {
        places.remove(0);
    }
    let mut parts = Vec::with_capacity(places.len());
    for (to, policies) in places {
        let is_own = to.0 == context.arrival.domain;
        parts.push(part(&report, to, &policies, if is_own { &unattributed } else { &[] }, context));
    }
    parts
}

fn part(
    shell: &Report,
    to: (DomainId, TenantId),
    policies: &[PolicyReport],
    unattributed: &[PolicyReport],
    context: &Context<'_>,
) -> NewReport {
    let domains = policies.iter().map(|policy| policy.policy.domain.as_deref().unwrap_or_default()).collect();
    let header = Header {
        organization: shell.organization.as_deref(),
        contact: shell.contact.as_deref(),
        report_id: shell.report_id.as_deref(),
        period: shell.period,
        deviations: &shell.deviations,
        domains,
        body: Json::Null,
    };
    let body = body(shell, policies, unattributed);
    let mut part = context.report(ReportKind::TlsRpt, to, Header { body, ..header });
    let history = context.histories.get(&to.0);
    let versions = parsed(history);
    // Of reports about report hosts the figures are kept with the report, and are in no sum.
    part.counts = policies.iter().any(|policy| !policy.about_report_host);
    let mut sums = Sums::default();
    for policy in policies {
        if part.counts && policy.about_report_host {
            rows(&mut part.tls, policy, None, (history, shell.period));
            continue;
        }
        let (good, bad) = (policy.successful_sessions.unwrap_or(0), policy.failed());
        part.good = part.good.saturating_add(good);
        part.bad = part.bad.saturating_add(bad);
        let version = seen(policy, &versions, shell.period);
        rows(&mut part.tls, policy, version, (history, shell.period));
        let seen = version.map_or_else(|| unknown(policy), |version| version.to_string());
        sums.add("policy", seen, good, bad);
    }
    for row in &mut part.tls {
        row.origin = row.sending_ip.map(|ip| context.origins.of(ip)).unwrap_or_default();
    }
    if part.counts {
        for row in part.tls.iter().filter(|row| row.counts) {
            sums.add("result", row.result.as_str(), 0, row.sessions);
            let mx = row.receiving_mx.as_deref().unwrap_or_default();
            // A tab stands between the parts.
            let result = row.result.replace('\t', " ");
            sums.add("failure", format!("{result}\t{mx}"), 0, row.sessions);
            if let Some((verdict, reason)) = row.edge {
                sums.add("edge", format!("{result}\t{}\t{reason}", verdict.as_str()), 0, row.sessions);
            }
            if let Some(mx) = &row.receiving_mx {
                sums.add("mx", mx.as_str(), 0, row.sessions);
            }
            if let Some(ip) = row.sending_ip {
                sums.add("sending_ip", ip.to_string(), 0, row.sessions);
                add_origin(&mut sums, &row.origin, 0, row.sessions);
            }
        }
        sums.add("total", "", part.good, part.bad);
        sums.add("organization", part.organization.as_str(), part.good, part.bad);
        part.sums = sums.finish();
    }
    part
}

/// The failures of a policy, and those that nothing more is told of.
fn rows(
    rows: &mut Vec<NewTlsResult>,
    policy: &PolicyReport,
    version: Option<PolicyVersionId>,
    (history, period): (Option<&DomainHistory>, Period),
) {
    let row = |result: &str, sessions: u64| NewTlsResult {
        result: result.to_owned(),
        sessions,
        counts: !policy.about_report_host,
        receiving_mx: None,
        receiving_ip: None,
        sending_ip: None,
        origin: AddressOrigin::default(),
        reason: None,
        additional: None,
        policy_type: policy.policy.kind.as_str().to_owned(),
        policy_version: version,
        edge: None,
    };
    let judged = verdict(history, (period.begin, period.end));
    let full = |failure: &Failure| NewTlsResult {
        receiving_mx: failure.receiving_mx.clone(),
        receiving_ip: failure.receiving_ip.as_ref().and_then(|address| address.ip),
        sending_ip: failure.sending_ip.as_ref().and_then(|address| address.ip),
        reason: failure.reason.clone(),
        additional: failure.additional_information.clone(),
        edge: failure.edge.map(|_| judged),
        ..row(failure.result.as_str(), failure.sessions.unwrap_or(1))
    };
    rows.extend(policy.failures.iter().map(full));
    let rest = policy.failed().saturating_sub(policy.detailed());
    if rest > 0 {
        rows.push(row(NOT_DETAILED, rest));
    }
}

/// A policy version and what it says.
type Parsed<'a> = (&'a VersionThen, Policy);

fn parsed(history: Option<&DomainHistory>) -> Vec<Parsed<'_>> {
    let versions = history.map(|history| history.versions.as_slice()).unwrap_or_default();
    let parsed = versions.iter().map(|version| (version, Policy::parse_lenient(version.text.as_bytes())));
    parsed.filter_map(|(version, policy)| Some((version, policy.ok()?.0))).collect()
}

/// Which of our versions the sender saw: one that says the same, and of several one that was in the feed at that time,
/// else the newest.
fn seen(policy: &PolicyReport, versions: &[Parsed<'_>], period: Period) -> Option<PolicyVersionId> {
    let sts = policy.policy.sts()?;
    let hosts = |policy: &Policy| policy.mx().iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let seen = hosts(&sts);
    let is_alike = |ours: &Policy| ours.mode() == sts.mode() && ours.max_age() == sts.max_age() && hosts(ours) == seen;
    let alike: Vec<_> = versions.iter().filter(|(_, ours)| is_alike(ours)).map(|(version, _)| *version).collect();
    let was_fed = |version: &&&VersionThen| {
        let (Some(begin), Some(end), Some(from)) = (period.begin, period.end, version.fed_at) else { return false };
        from <= end && version.unfed_at.is_none_or(|until| until >= begin)
    };
    alike.iter().find(was_fed).or(alike.first()).map(|version| version.id)
}

/// A policy that is none of ours.
fn unknown(policy: &PolicyReport) -> String {
    let kind = policy.policy.kind.as_str();
    match policy.policy.sts() {
        Some(sts) => format!("unknown: {kind} {}", sts.mode()),
        None => format!("unknown: {kind}"),
    }
}

/// The normal form of this part. Where it is too large, with fewer rows, and their number.
fn body(shell: &Report, policies: &[PolicyReport], unattributed: &[PolicyReport]) -> Json {
    let rows: usize = policies.iter().chain(unattributed).map(|policy| policy.failures.len()).sum();
    for most in KEPT_ROWS {
        let mut room = most;
        let mut cut = |policies: &[PolicyReport], most: usize| -> Json {
            let cut = |policy: &PolicyReport| {
                let kept = policy.failures.len().min(room);
                room -= kept;
                // Not a clone of all the failures: there may be many.
                let failures = policy.failures[..kept].to_vec();
                json!(PolicyReport {
                    policy: policy.policy.clone(),
                    successful_sessions: policy.successful_sessions,
                    failed_sessions: policy.failed_sessions,
                    failures,
                    about_report_host: policy.about_report_host,
                    extra: policy.extra.clone(),
                })
            };
            policies.iter().take(most).map(cut).collect()
        };
        let mut body = json!(shell);
        body["policies"] = cut(policies, most.max(MOST_UNATTRIBUTED));
        if !unattributed.is_empty() {
            body["unattributed"] = json!({
                "note": "These policies are of domains that this service does not hold, or of which only a verified report is heard; they are not counted.",
                "policies": cut(unattributed, MOST_UNATTRIBUTED),
                "number": unattributed.len(),
            });
        }
        if rows > most {
            body["rows_left_out"] = (rows - (most - room)).into();
        }
        if !is_too_large(&body) {
            return body;
        }
    }
    json!({ "rows_left_out": rows, "note": "The report is too large to be kept in its normal form." })
}
