//! TLS reports (RFC 8460), in a lenient normal form.

mod edge_hint;
mod fields;
mod parse;
mod policy;

use serde::Serialize;
use serde_json::{Map, Value};

pub use edge_hint::{EdgeFault, EdgeHint};
pub use mtasts_model::ResultType;
pub use policy::{PolicySeen, PolicyType};

use crate::{Address, Deviations, Limits, Period, ReportHosts, Unreadable};

/// A TLS report. What the RFC asks for and the sender left out is `None`, and a [`Deviation`](crate::Deviation).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// `organization-name`.
    pub organization: Option<String>,
    /// `contact-info`.
    pub contact: Option<String>,
    /// `report-id`, without brackets and white space around it.
    pub report_id: Option<String>,
    /// `date-range`.
    pub period: Period,
    /// `policies`; often several, and of several domains.
    pub policies: Vec<PolicyReport>,
    /// Fields that RFC 8460 does not know.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
    /// Rows that could not be understood, as they came.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<Unread>,
    /// Where it departs from RFC 8460.
    #[serde(flatten)]
    pub deviations: Deviations,
}

/// A row that could not be understood.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unread {
    /// A JSON pointer (RFC 6901).
    pub place: String,
    /// As it came.
    pub value: Value,
}

/// What one sender saw of one policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyReport {
    /// The policy as the sender saw it.
    pub policy: PolicySeen,
    /// `total-successful-session-count`.
    pub successful_sessions: Option<u64>,
    /// `total-failure-session-count`.
    pub failed_sessions: Option<u64>,
    /// `failure-details`.
    pub failures: Vec<Failure>,
    /// It speaks of a host that receives reports: each report mail that fails makes one more report, so do not count it.
    pub about_report_host: bool,
    /// Fields that RFC 8460 does not know.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// One kind of failure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failure {
    /// `result-type`.
    pub result: ResultType,
    /// `failed-session-count`.
    pub sessions: Option<u64>,
    /// `sending-mta-ip`.
    pub sending_ip: Option<Address>,
    /// `receiving-mx-hostname`, in lower case.
    pub receiving_mx: Option<String>,
    /// `receiving-mx-helo`.
    pub receiving_helo: Option<String>,
    /// `receiving-ip`.
    pub receiving_ip: Option<Address>,
    /// `failure-reason-code`.
    pub reason: Option<String>,
    /// `additional-information`.
    pub additional_information: Option<String>,
    /// If it speaks of the policy host (and not of an MX host): what the sender met there.
    pub edge: Option<EdgeHint>,
    /// Fields that RFC 8460 does not know.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

impl Report {
    /// Reads a JSON document. Only what is no TLS report at all, or beyond a cap, is an error.
    pub fn parse(document: &[u8], limits: &Limits) -> Result<Self, Unreadable> {
        parse::report(document, limits)
    }

    /// The distinct policy domains, in the order of the report.
    pub fn policy_domains(&self) -> Vec<String> {
        crate::distinct(self.policies.iter().filter_map(|policy| policy.policy.domain.clone()))
    }

    /// What it says of one policy domain.
    pub fn of<'a>(&'a self, domain: &'a str) -> impl Iterator<Item = &'a PolicyReport> {
        self.policies.iter().filter(move |policy| policy.policy.domain.as_deref() == Some(domain))
    }

    /// Marks what speaks of a report host.
    pub fn mark_report_hosts(&mut self, hosts: &ReportHosts) {
        for policy in &mut self.policies {
            policy.about_report_host = policy.policy.domain.as_deref().is_some_and(|domain| hosts.has(domain))
                || !policy.failures.is_empty()
                    && policy
                        .failures
                        .iter()
                        .all(|failure| failure.receiving_mx.as_deref().is_some_and(|host| hosts.has(host)));
        }
    }
}

impl PolicyReport {
    /// Sessions failed: what the summary says, or else the sum of the details.
    pub fn failed(&self) -> u64 {
        self.failed_sessions.unwrap_or_else(|| self.detailed())
    }

    /// The sum of the details. A detail without a count is one session at least.
    pub fn detailed(&self) -> u64 {
        self.failures.iter().fold(0, |sum, failure| sum.saturating_add(failure.sessions.unwrap_or(1)))
    }

    /// The policy host that a failure with an [`EdgeHint`] speaks of (RFC 8461 §3.3).
    pub fn policy_host(&self) -> Option<String> {
        self.policy.domain.as_ref().map(|domain| format!("mta-sts.{domain}"))
    }
}
