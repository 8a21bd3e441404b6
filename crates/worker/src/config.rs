//! What a worker is told.

use std::{str::FromStr, time::Duration};

use chrono::TimeDelta;
use mtasts_certs::ChallengeKind;
use mtasts_model::{Label, ReportUri};

use crate::MxLookAges;

/// How a worker works. All workers of a service should be told the same, but for the name.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Who holds a lease: unique among the running workers.
    pub name: String,
    /// How long a domain stays with a worker that has gone silent. A living worker lengthens its leases in time.
    pub lease: TimeDelta,
    /// The longest that one step may take.
    pub step_deadline: Duration,
    /// How many domains are claimed at once.
    pub batch: u32,
    /// How many domains are worked on at the same time.
    pub concurrency: usize,
    /// How many of these may look at MX hosts at the same time, which tarpits can draw out.
    pub probe_concurrency: usize,
    /// How old a look at an MX host may be that domains go by.
    pub mx_looks: MxLookAges,
    /// How long an edge whose lease has run out is still waited for (invariant 1).
    pub edge_grace: TimeDelta,
    /// The longest wait between looks for due domains, for when a nudge was lost.
    pub poll: Duration,
    /// How long a step under way may go on after the worker was told to stop.
    pub stop_grace: Duration,
    /// Kinds of challenge, the best first. dns-01 is used only for domains that delegate `_acme-challenge` as well.
    pub challenge_preference: Vec<ChallengeKind>,
    /// Orders that the CA's account may place.
    pub ca_budget: CaBudget,
    /// Orders that one tenant may place, so that a flood of names by one does not use up the CA's budget of all.
    pub tenant_budget: Budget,
    /// TTL of the TXT records, in seconds: how long a sender may hold on to the old id.
    pub record_ttl: u32,
    /// Where every domain's reports go besides the tenant's own addresses: the service's intake.
    pub report_templates: Vec<ReportTemplate>,
    /// Hosts that receive reports: what is reported of them is not counted.
    pub report_hosts: Vec<String>,
}

impl WorkerConfig {
    /// Defaults.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            lease: TimeDelta::seconds(30),
            step_deadline: Duration::from_mins(3),
            batch: 32,
            concurrency: 64,
            probe_concurrency: 16,
            mx_looks: MxLookAges::default(),
            edge_grace: TimeDelta::minutes(5),
            poll: Duration::from_secs(1),
            stop_grace: Duration::from_secs(10),
            challenge_preference: vec![ChallengeKind::Http01, ChallengeKind::TlsAlpn01, ChallengeKind::Dns01],
            ca_budget: CaBudget { budget: Budget { capacity: 300, per_hour: 100 }, reserve: 30 },
            tenant_budget: Budget { capacity: 200, per_hour: 50 },
            record_ttl: 300,
            report_templates: Vec::new(),
            report_hosts: Vec::new(),
        }
    }
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// How many may be spent at once.
    pub capacity: u32,
    /// How many come back in an hour.
    pub per_hour: u32,
}

/// The bucket of a CA account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaBudget {
    /// The bucket.
    pub budget: Budget,
    /// So many tokens are kept for renewals of certificates that are near their end.
    pub reserve: u32,
}

/// An address for reports with `{label}` where each domain's label goes, such as
/// `https://reports.example.net/v1/tlsrpt/{label}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportTemplate(String);

/// Why a text is no template of an address for reports.
#[derive(Debug, thiserror::Error)]
pub enum ReportTemplateError {
    /// The label is how a report finds its domain.
    #[error("the template of an address for reports needs `{{label}}` in it")]
    NoLabel,
    /// With a label in its place it is no address for reports (RFC 8460 §3).
    #[error("the template does not make an address for reports")]
    Uri(#[source] mtasts_model::record::ReportUriError),
}

const PLACEHOLDER: &str = "{label}";

impl FromStr for ReportTemplate {
    type Err = ReportTemplateError;

    fn from_str(text: &str) -> Result<Self, ReportTemplateError> {
        if !text.contains(PLACEHOLDER) {
            return Err(ReportTemplateError::NoLabel);
        }
        // All labels have the same length and alphabet: what holds for one holds for all.
        let example = "a".repeat(26);
        text.replace(PLACEHOLDER, &example).parse::<ReportUri>().map_err(ReportTemplateError::Uri)?;
        Ok(Self(text.to_owned()))
    }
}

impl ReportTemplate {
    /// The address for one domain.
    pub fn for_label(&self, label: &Label) -> Result<ReportUri, ReportTemplateError> {
        self.0.replace(PLACEHOLDER, label.as_str()).parse().map_err(ReportTemplateError::Uri)
    }
}

#[cfg(test)]
mod tests {
    use mtasts_model::clock::SeededEntropy;

    use super::*;

    #[test]
    fn a_template_gives_each_domain_its_own_address() {
        let label = Label::draw(&SeededEntropy::new(1));
        let template: ReportTemplate = "mailto:tlsrpt-{label}@reports.example.net".parse().unwrap();
        let expected = format!("mailto:tlsrpt-{label}@reports.example.net");
        assert_eq!(template.for_label(&label).unwrap().as_str(), expected);
    }

    #[test]
    fn a_template_without_a_label_or_of_another_scheme_is_refused() {
        for bad in ["mailto:reports@example.net", "http://reports.example.net/{label}", "{label}", ""] {
            assert!(bad.parse::<ReportTemplate>().is_err(), "{bad}");
        }
    }
}
