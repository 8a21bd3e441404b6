//! What it comes to: whether mail arrives today, and whether `enforce` would be safe.

use mtasts_model::{HostName, Mode, Policy};
use serde::Serialize;

use super::{
    Code, Finding, Severity,
    seen::{MxHostSeen, MxSeen, Route, SmtpOutcome},
    smtp_host,
};

/// What a sender that follows RFC 8461 to the letter does with one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// It delivers.
    Delivers,
    /// It refuses to, because of the policy.
    Refuses,
    /// It cannot, whatever the policy says.
    Unreachable,
    /// It could not be found out.
    Unknown,
}

/// One host in the verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostVerdict {
    /// The MX host.
    pub host: String,
    /// Whether the policy has a pattern for it; `null` where there is no policy.
    pub covered: Option<bool>,
    /// Today, with the policy and its mode as they are.
    pub today: Delivery,
    /// If the policy (or, where there is none, one that names exactly today's hosts) were in mode `enforce`.
    pub under_enforce: Delivery,
}

/// An answer to "would `enforce` be safe".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Safety {
    /// Every MX host passes.
    Safe,
    /// Mail would be lost.
    Unsafe,
    /// Not everything could be seen.
    Unproven,
    /// The domain takes no mail.
    NoMail,
}

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The worst that was found.
    pub severity: Severity,
    /// Senders find a policy: a valid record, and a policy that they can fetch and read.
    pub published: bool,
    /// Its mode.
    pub mode: Option<Mode>,
    /// Each MX host.
    pub hosts: Vec<HostVerdict>,
    /// Whether `enforce` would be safe today.
    pub enforce: Safety,
    /// The codes that speak against it.
    pub against_enforce: Vec<Code>,
}

pub(crate) fn judge(published: bool, policy: Option<&Policy>, mx: &MxSeen, findings: &[Finding]) -> Verdict {
    let enforced = published && policy.is_some_and(|policy| policy.mode() == Mode::Enforce);
    let hosts: Vec<HostVerdict> = mx.hosts.iter().map(|host| host_verdict(host, enforced, findings)).collect();
    let enforce = match mx.route {
        Route::Null | Route::Absent => Safety::NoMail,
        Route::Unknown => Safety::Unproven,
        Route::Hosts | Route::Implicit => {
            if hosts.iter().any(|host| matches!(host.under_enforce, Delivery::Refuses | Delivery::Unreachable)) {
                Safety::Unsafe
            } else if hosts.is_empty() || hosts.iter().any(|host| host.under_enforce == Delivery::Unknown) {
                Safety::Unproven
            } else {
                Safety::Safe
            }
        }
    };
    let mut against: Vec<Code> = findings.iter().filter(|finding| speaks_against(finding)).map(|f| f.code).collect();
    against.sort_unstable();
    against.dedup();
    if enforce == Safety::Safe {
        against.clear();
    }
    Verdict {
        severity: findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok),
        published,
        mode: policy.map(Policy::mode),
        hosts,
        enforce,
        against_enforce: against,
    }
}

fn speaks_against(finding: &Finding) -> bool {
    use super::Group;
    let about_mx = finding.group == Group::Mx && finding.code.severity() == Severity::Error;
    about_mx || matches!(finding.code, Code::MxBusy | Code::MxNoRoute | Code::Paced | Code::OutOfTime)
}

fn host_verdict(host: &MxHostSeen, enforced: bool, findings: &[Finding]) -> HostVerdict {
    let outcome = smtp_host::outcome(host, findings);
    let under_enforce = match (outcome, host.covered) {
        (SmtpOutcome::Unreachable, _) => Delivery::Unreachable,
        (_, Some(false)) | (SmtpOutcome::Refused, _) => Delivery::Refuses,
        (SmtpOutcome::Unknown, _) => Delivery::Unknown,
        (SmtpOutcome::Verified, _) => Delivery::Delivers,
    };
    let today = match outcome {
        _ if enforced => under_enforce,
        SmtpOutcome::Unreachable => Delivery::Unreachable,
        SmtpOutcome::Unknown => Delivery::Unknown,
        SmtpOutcome::Refused | SmtpOutcome::Verified => Delivery::Delivers,
    };
    HostVerdict { host: host.host.clone(), covered: host.covered, today, under_enforce }
}

/// Holds the policy against the MX hosts (RFC 8461 §4.1).
pub(crate) fn compare(policy: &Policy, mx: &mut MxSeen, records_read: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let parsed: Vec<Option<HostName>> = mx.hosts.iter().map(|seen| HostName::parse(&seen.host).ok()).collect();
    for (seen, host) in mx.hosts.iter_mut().zip(&parsed) {
        let Some(host) = host else { continue };
        let covered = policy.covers(host);
        // A policy of mode `none` says nothing about hosts.
        seen.covered = (policy.mode() != Mode::None).then_some(covered);
        if covered || policy.mode() == Mode::None {
            continue;
        }
        let near: Vec<_> = policy.mx().iter().filter(|pattern| pattern.misses_deeper(host)).collect();
        findings.push(Finding::new(Code::MxNotCovered, &seen.host, format!("no pattern of the policy covers {host}")));
        for pattern in near {
            let sentence = format!("`{pattern}` stands for one label, and {host} has more below it");
            findings.push(Finding::new(Code::MxBelowWildcard, &seen.host, sentence));
        }
    }
    // Without all hosts nobody knows whether a pattern is in use.
    if records_read && policy.mode() != Mode::None && mx.records <= mx.hosts.len().max(1) {
        for pattern in policy.mx() {
            if !parsed.iter().flatten().any(|host| pattern.matches(host)) {
                let sentence = format!("`{pattern}` covers none of the MX hosts that DNS names now");
                findings.push(Finding::new(Code::PolicyMxUnused, pattern.as_str(), sentence));
            }
        }
    }
    findings
}
