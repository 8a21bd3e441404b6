//! The look from outside: whether senders find what they are meant to find, and not only whether we have done our part.

use std::time::Duration;

use mtasts_model::{PolicyVersionId, lifecycle::WatchProblem};
use mtasts_probe::inspect::{Code, Group, InspectOptions, Inspection, Severity};
use serde_json::Value as Json;

use super::Context;
use crate::outcome::{Failure, Finding, StepError};

/// Within the deadline of a step.
const DEADLINE: Duration = Duration::from_mins(1);

impl Context<'_> {
    /// Looks at everything that a sender needs before it connects to an MX host; those have looks of their own.
    pub(super) async fn watch(&self, id: PolicyVersionId) -> Result<Finding, StepError> {
        self.version(id)?;
        let (at, options) =
            (self.now(), InspectOptions { deadline: DEADLINE, mx_hosts: false, ..InspectOptions::default() });
        let seen = self.deps.inspector.inspect(&self.facts.name, options, at).await;
        if !seen.looked {
            let message = "No resolver answered: what senders find could not be seen.";
            return Err(Failure::new("DnsUnavailable", message).into());
        }
        let problem = self.problem(&seen);
        if problem.is_none() && seen.findings.iter().any(|finding| finding.code == Code::OutOfTime) {
            return Err(Failure::new("TooSlow", "Time was up before all was seen.").into());
        }
        let report =
            serde_json::to_value(&seen).map(short).map_err(|error| Failure::caused("InternalError", &error))?;
        Ok(Finding::Watched { version: id, at, problem, report })
    }

    /// The first thing that a sender would stumble over, in the order in which it would.
    fn problem(&self, seen: &Inspection) -> Option<WatchProblem> {
        let version = self.facts.version.as_ref()?;
        let found = |group: Group| {
            let wrong = seen.findings.iter().filter(|finding| finding.group == group);
            // A sender may pick the address that fails.
            let mut wrong =
                wrong.filter(|finding| finding.severity == Severity::Error || finding.code == Code::PolicyHostPartly);
            wrong.next().map(|finding| {
                let code = serde_json::to_value(finding.code).ok();
                let code = code.as_ref().and_then(Json::as_str).unwrap_or_default().to_owned();
                let (subject, sentence) = (&finding.subject, &finding.sentence);
                WatchProblem { code, message: format!("{subject}: {sentence}. {}", finding.what_to_do) }
            })
        };
        let says = |code: &str, message: String| Some(WatchProblem { code: code.to_owned(), message });
        let outdated_record = || {
            let id = seen.record.id.as_deref()?;
            let expected = version.policy_id.as_str();
            let name = &seen.record.name;
            (id != expected)
                .then(|| says("sts-record-outdated", format!("{name} carries the id {id}, and {expected} is meant.")))?
        };
        let outdated_policy = || {
            let served = seen.served.as_deref()?;
            let host = &seen.policy_host.host;
            (served != version.policy.to_text().as_bytes())
                .then(|| says("policy-outdated", format!("{host} serves another policy than the one that is meant.")))?
        };
        found(Group::Dns)
            .or_else(outdated_record)
            .or_else(|| found(Group::Certificate))
            .or_else(|| self.outdated_certificate(seen))
            .or_else(|| found(Group::Policy))
            .or_else(outdated_policy)
            .or_else(|| found(Group::Reporting))
    }

    /// An address that goes on serving an older certificate once every edge should have the newer one.
    fn outdated_certificate(&self, seen: &Inspection) -> Option<WatchProblem> {
        let certificate = self.facts.certificate.as_ref()?;
        let host = &self.facts.host;
        let told = host.content.is_some_and(|content| content.certificate_id == certificate.id);
        let arrived = self.facts.edges.acknowledged.is_some_and(|position| position >= host.revision);
        if !(told && arrived) {
            return None;
        }
        seen.policy_host.addresses.iter().find_map(|address| {
            let until = address.tls.as_ref()?.chain.first()?.not_after?;
            (until < certificate.not_after).then(|| WatchProblem {
                code: "certificate-outdated".to_owned(),
                message: format!(
                    "{} serves a certificate that ends at {until}, and not the newer one.",
                    address.address
                ),
            })
        })
    }
}

/// What is as it should be needs no words, and of chains the host's own certificate is enough: there is a report for each
/// domain.
fn short(mut report: Json) -> Json {
    if let Some(findings) = report.get_mut("findings").and_then(Json::as_array_mut) {
        findings.retain(|finding| finding["severity"] != "ok");
    }
    let addresses = report.pointer_mut("/policy_host/addresses").and_then(Json::as_array_mut).into_iter().flatten();
    for chain in addresses.filter_map(|address| address.pointer_mut("/tls/chain")?.as_array_mut()) {
        chain.truncate(1);
    }
    if let Some(report) = report.as_object_mut() {
        report.remove("mx");
        report.remove("verdict");
    }
    report
}
