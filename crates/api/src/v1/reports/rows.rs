//! Single rows of reports, as they are shown.

use chrono::NaiveDate;
use mtasts_model::EdgeVerdict;
use mtasts_store::{AddressOrigin, DmarcResult, TlsResult};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{GradeSchema, failures::VerdictSchema, words};

/// A failure of TLS, or a record of DMARC.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReportResult)]
#[serde(untagged)]
pub(super) enum ResultBody {
    /// Of a TLS report.
    Tls(Box<TlsResultBody>),
    /// Of a DMARC report.
    Dmarc(Box<DmarcResultBody>),
}

/// A failure detail of a TLS report (RFC 8460 §4.3).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TlsResult)]
pub(crate) struct TlsResultBody {
    /// The report.
    #[schema(example = "rpt_0190c3a0b1c27d3e8f4051627384950a")]
    report_id: String,
    /// Its number within the report.
    #[schema(example = 0)]
    seq: u32,
    /// The domain that it is about.
    #[schema(example = "dom_0190c3a0b1c27d3e8f4051627384950a")]
    domain_id: String,
    /// Its name; null once nothing is known of the domain any more.
    #[schema(required, example = "example.com")]
    domain_name: Option<String>,
    /// The day (UTC) that it counts for.
    #[schema(value_type = String, format = Date, example = "2026-11-21")]
    day: NaiveDate,
    /// Who reported it.
    #[schema(example = "Google Inc.")]
    organization: String,
    /// What is known of who that is.
    #[schema(value_type = GradeSchema)]
    grade: &'static str,
    /// False: it is in no sum.
    counts: bool,
    /// The result type, or the sender's own word; `not-detailed`: what no detail speaks of.
    #[schema(example = "certificate-expired")]
    result: String,
    /// Failed sessions.
    #[schema(example = 10)]
    sessions: u64,
    /// The receiving MX host.
    #[schema(required, example = "mx1.example.com")]
    receiving_mx: Option<String>,
    /// Its address.
    #[schema(required, example = "192.0.2.25")]
    receiving_ip: Option<String>,
    /// The sending address.
    #[schema(required, example = "198.51.100.7")]
    sending_ip: Option<String>,
    /// Where that is.
    sending_place: PlaceBody,
    /// `failure-reason-code`, as the sender wrote it.
    #[schema(required, example = "X509_V_ERR_CERT_HAS_EXPIRED")]
    reason: Option<String>,
    /// `additional-information`, as the sender wrote it.
    #[schema(required, example = json!(null))]
    additional: Option<String>,
    /// The kind of the policy as the sender saw it: `sts`, `tlsa`, `no-policy-found` or its own word.
    #[schema(example = "sts")]
    policy_type: String,
    /// Your policy version, where it was one.
    #[schema(required, example = "pol_0190c3a0b1c27d3e8f4051627384950a")]
    policy_version_id: Option<String>,
    /// Where it speaks of the policy host: whose fault it was; else null.
    #[schema(required)]
    policy_host: Option<PolicyHostBody>,
}

/// Whose fault a failure at the policy host was.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReportPolicyHost)]
struct PolicyHostBody {
    /// Whose.
    #[schema(value_type = VerdictSchema)]
    verdict: &'static str,
    /// Why it is thought so: a stable word for programs.
    #[schema(required, example = "served-all-the-time")]
    reason: Option<String>,
    /// The same for people.
    #[schema(example = "We had policy and certificate all of that time.")]
    explanation: &'static str,
}

/// A record of a DMARC report.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DmarcResult)]
pub(crate) struct DmarcResultBody {
    /// The report.
    #[schema(example = "rpt_0190c3a0b1c27d3e8f4051627384950a")]
    report_id: String,
    /// Its number within the report.
    #[schema(example = 0)]
    seq: u32,
    /// The domain that it is about.
    #[schema(example = "dom_0190c3a0b1c27d3e8f4051627384950a")]
    domain_id: String,
    /// Its name; null once nothing is known of the domain any more.
    #[schema(required, example = "example.com")]
    domain_name: Option<String>,
    /// The day (UTC) that it counts for.
    #[schema(value_type = String, format = Date, example = "2026-11-21")]
    day: NaiveDate,
    /// Who reported it.
    #[schema(example = "Google Inc.")]
    organization: String,
    /// What is known of who that is.
    #[schema(value_type = GradeSchema)]
    grade: &'static str,
    /// The sending address.
    #[schema(required, example = "198.51.100.7")]
    source_ip: Option<String>,
    /// Where that is.
    source_place: PlaceBody,
    /// Messages.
    #[schema(example = 25)]
    messages: u64,
    /// What the receiver did with them: `none`, `quarantine`, `reject` or its own word.
    #[schema(example = "none")]
    disposition: String,
    /// What DKIM came to, aligned with the domain in From.
    #[schema(example = "pass")]
    dkim: String,
    /// What SPF came to, aligned.
    #[schema(example = "fail")]
    spf: String,
    /// Whether they passed DMARC.
    passed: bool,
    /// The domain in From.
    #[schema(required, example = "example.com")]
    header_from: Option<String>,
    /// The domain of the envelope sender.
    #[schema(required, example = "bounces.example.com")]
    envelope_from: Option<String>,
    /// Each signature and SPF check, aligned or not, and reasons for which the policy was not applied.
    #[schema(value_type = Object, example = json!({"dkim": [], "spf": []}))]
    details: Value,
}

/// Where an address is: null where the service has no database of addresses, or that does not know it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReportAddressPlace)]
struct PlaceBody {
    /// The country (ISO 3166 alpha-2).
    #[schema(required, example = "US")]
    country: Option<String>,
    /// The number of the autonomous system.
    #[schema(required, example = 15_169)]
    asn: Option<u64>,
    /// Its name.
    #[schema(required, example = "Google LLC")]
    as_name: Option<String>,
}

impl From<AddressOrigin> for PlaceBody {
    fn from(origin: AddressOrigin) -> Self {
        Self { country: origin.country, asn: origin.asn.map(u64::from), as_name: origin.as_name }
    }
}

impl PolicyHostBody {
    fn of(verdict: EdgeVerdict, reason: Option<String>) -> Self {
        let explanation = words::verdict(verdict, reason.as_deref().unwrap_or_default());
        Self { verdict: verdict.as_str(), reason, explanation }
    }
}

impl From<TlsResult> for TlsResultBody {
    fn from(result: TlsResult) -> Self {
        Self {
            report_id: result.position.report.to_string(),
            seq: result.position.seq,
            domain_id: result.domain.to_string(),
            domain_name: result.domain_name,
            day: result.position.day,
            organization: result.organization,
            grade: result.grade.as_str(),
            counts: result.counts,
            result: result.result,
            sessions: result.sessions,
            receiving_mx: result.receiving_mx,
            receiving_ip: result.receiving_ip,
            sending_ip: result.sending_ip,
            sending_place: result.origin.into(),
            reason: result.reason,
            additional: result.additional,
            policy_type: result.policy_type,
            policy_version_id: result.policy_version.map(|id| id.to_string()),
            policy_host: result.edge_verdict.map(|verdict| PolicyHostBody::of(verdict, result.edge_reason)),
        }
    }
}

impl From<DmarcResult> for DmarcResultBody {
    fn from(result: DmarcResult) -> Self {
        Self {
            report_id: result.position.report.to_string(),
            seq: result.position.seq,
            domain_id: result.domain.to_string(),
            domain_name: result.domain_name,
            day: result.position.day,
            organization: result.organization,
            grade: result.grade.as_str(),
            source_ip: result.source_ip,
            source_place: result.origin.into(),
            messages: result.messages,
            disposition: result.disposition,
            dkim: result.dkim,
            spf: result.spf,
            passed: result.passed,
            header_from: result.header_from,
            envelope_from: result.envelope_from,
            details: result.details,
        }
    }
}

impl From<TlsResult> for ResultBody {
    fn from(result: TlsResult) -> Self {
        Self::Tls(Box::new(result.into()))
    }
}

impl From<DmarcResult> for ResultBody {
    fn from(result: DmarcResult) -> Self {
        Self::Dmarc(Box::new(result.into()))
    }
}
