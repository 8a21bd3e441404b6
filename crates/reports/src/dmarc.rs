//! DMARC aggregate reports (RFC 7489 appendix C, RFC 9990), in a lenient normal form.

mod parse;
mod values;

use serde::Serialize;

pub use values::{Alignment, Disposition, DkimResult, Namespace, SpfResult};

pub use crate::xml::Element;
use crate::{Address, Deviations, Limits, Period, Unreadable};

/// A DMARC aggregate report. What the sender left out is `None`, and a [`Deviation`](crate::Deviation) where the RFC
/// asks for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The namespace of the document.
    pub namespace: Namespace,
    /// `version`.
    pub version: Option<String>,
    /// `org_name`.
    pub organization: Option<String>,
    /// `email`.
    pub contact: Option<String>,
    /// `extra_contact_info`.
    pub extra_contact: Option<String>,
    /// `report_id`, without brackets and white space around it.
    pub report_id: Option<String>,
    /// `date_range`.
    pub period: Period,
    /// `error`, what went wrong at the sender.
    pub errors: Vec<String>,
    /// `generator` (RFC 9990).
    pub generator: Option<String>,
    /// `policy_published`.
    pub policy: PolicyPublished,
    /// `record`.
    pub records: Vec<Record>,
    /// False if the document broke off or has records that are not XML: these are not all.
    pub complete: bool,
    /// Elements that the RFCs do not know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<Extra>,
    /// Where it departs from its RFC.
    #[serde(flatten)]
    pub deviations: Deviations,
}

/// An element that the RFCs do not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Extra {
    /// The path of the element that it is in.
    pub place: String,
    /// What it is.
    #[serde(flatten)]
    pub element: Element,
}

/// The DMARC policy as the sender saw it. Words are kept as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PolicyPublished {
    /// `domain`, in lower case without the dot at the end.
    pub domain: Option<String>,
    /// `p`.
    pub p: Option<String>,
    /// `sp`.
    pub sp: Option<String>,
    /// `np` (RFC 9990).
    pub np: Option<String>,
    /// `adkim`.
    pub adkim: Option<String>,
    /// `aspf`.
    pub aspf: Option<String>,
    /// `pct` (RFC 7489).
    pub pct: Option<String>,
    /// `fo`.
    pub fo: Option<String>,
    /// `testing` (RFC 9990).
    pub testing: Option<String>,
    /// `discovery_method` (RFC 9990).
    pub discovery_method: Option<String>,
}

/// Messages from one source that fared alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// `source_ip`.
    pub source: Option<Address>,
    /// `count`, in messages.
    pub messages: Option<u64>,
    /// `disposition`.
    pub disposition: Option<Disposition>,
    /// Whether an aligned DKIM signature passed.
    pub dkim: Option<Alignment>,
    /// Whether SPF passed and was aligned.
    pub spf: Option<Alignment>,
    /// `reason`, why the policy was not applied.
    pub reasons: Vec<Reason>,
    /// `header_from`, in lower case.
    pub header_from: Option<String>,
    /// `envelope_from`, in lower case.
    pub envelope_from: Option<String>,
    /// `envelope_to`, in lower case.
    pub envelope_to: Option<String>,
    /// What each DKIM signature came to, aligned or not.
    pub dkim_results: Vec<DkimAuth>,
    /// What SPF came to, aligned or not.
    pub spf_results: Vec<SpfAuth>,
    /// Elements that the RFCs do not know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<Extra>,
}

/// Why the policy was not applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// `type`, as it is.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `comment`.
    pub comment: Option<String>,
}

/// One DKIM signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DkimAuth {
    /// The signing domain, in lower case.
    pub domain: Option<String>,
    /// The selector.
    pub selector: Option<String>,
    /// What it came to.
    pub result: Option<DkimResult>,
    /// In words.
    pub human_result: Option<String>,
}

/// One SPF check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpfAuth {
    /// The domain checked, in lower case.
    pub domain: Option<String>,
    /// `helo` or `mfrom`.
    pub scope: Option<String>,
    /// What it came to.
    pub result: Option<SpfResult>,
    /// In words.
    pub human_result: Option<String>,
}

impl Report {
    /// Reads an XML document. Only what is no DMARC report at all, or beyond a cap, is an error.
    pub fn parse(document: &[u8], limits: &Limits) -> Result<Self, Unreadable> {
        parse::report(document, limits)
    }

    /// The domain whose policy it is about.
    pub fn policy_domains(&self) -> Vec<String> {
        self.policy.domain.iter().cloned().collect()
    }

    /// Messages in all records.
    pub fn messages(&self) -> u64 {
        self.records.iter().fold(0, |sum, record| sum.saturating_add(record.messages.unwrap_or(0)))
    }
}

impl Record {
    /// Whether DMARC passed: by DKIM or by SPF.
    pub fn passes(&self) -> bool {
        [&self.dkim, &self.spf].into_iter().any(|result| *result == Some(Alignment::Pass))
    }
}
