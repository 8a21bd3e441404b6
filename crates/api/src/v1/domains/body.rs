//! What is shown of a domain.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use chrono::{DateTime, Utc};
use mtasts_model::{
    Condition, Delegation, Mode, Policy, Tag,
    label::DelegationPurpose,
    lifecycle::{CnameSeen, DelegationSeen, MxHostSeen, MxSeen, MxSource},
};
use mtasts_store::{CertificateSummary, DomainState, DomainView};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    config::ApiConfig,
    extract::EntityTag,
    problem::Problem,
    v1::{
        fields::{ModeSchema, ReportUriSchema, TlsRpt},
        policy::PolicyBody,
    },
};

/// A registered domain.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Domain)]
pub(crate) struct DomainBody {
    /// Its id.
    #[schema(example = "dom_0190c3a0b1c27d3e8f4051627384950a")]
    id: String,
    /// The mail domain as A-labels.
    #[schema(example = "xn--bcher-kva.example")]
    name: String,
    /// The mail domain for people.
    #[schema(example = "bücher.example")]
    unicode_name: String,
    /// `pending`: nothing was served yet. `active`. `withdrawing`: deleted, mode `none` is served until no sender can
    /// hold another policy. `gone`.
    #[schema(example = "active")]
    state: &'static str,
    /// The mode of the policy; before there is one, the mode that it will have.
    #[schema(value_type = ModeSchema)]
    mode: Mode,
    /// Since when.
    created_at: DateTime<Utc>,
    /// When somebody last asked to look again.
    nudged_at: DateTime<Utc>,
    /// The domain's health. Empty until the service has first looked.
    conditions: Vec<ConditionBody>,
    /// The records that hand the names to the service.
    delegation: DelegationBody,
    /// The current policy; null until the MX hosts were found.
    #[schema(required)]
    policy: Option<PolicyBody>,
    /// The certificate of the policy host; null until there is one.
    #[schema(required)]
    certificate: Option<CertificateBody>,
    /// The MX hosts.
    mx: MxBody,
    /// TLS reporting.
    tls_rpt: TlsRpt,
    /// Where senders' reports come in here; null where this service takes none in.
    #[schema(required)]
    reports: Option<ReportAddressesBody>,
    /// Your tags on it, in order.
    #[schema(example = json!(["customer:4711", "eu-west"]))]
    tags: Vec<String>,
    /// How far the deletion has come; null unless it was asked for.
    #[schema(required)]
    withdrawal: Option<WithdrawalBody>,
}

/// Where senders' reports come in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReportAddresses)]
pub(crate) struct ReportAddressesBody {
    /// What the published TLSRPT record names: this service, and your own addresses.
    #[schema(value_type = Vec<ReportUriSchema>, example = json!(["mailto:tlsrpt-4xk7n2d3e5pzk7qn2wq4lq3m6y@reports.sts.example.net"]))]
    tls_rpt: Vec<String>,
    /// The address for DMARC aggregate reports, if you want them here.
    #[schema(example = "dmarc-4xk7n2d3e5pzk7qn2wq4lq3m6y@reports.sts.example.net")]
    dmarc_address: String,
    /// How they come here, for people. DMARC stands in your own zone: the service does not touch it.
    #[schema(
        example = "In the TXT record at _dmarc.example.com: rua=mailto:dmarc-4xk7n2d3e5pzk7qn2wq4lq3m6y@reports.sts.example.net"
    )]
    dmarc_record_hint: String,
}

/// One statement on a domain's health.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Condition)]
pub(crate) struct ConditionBody {
    /// `Delegated`, `CertificateReady`, `PolicyLive`, `RecordPublished`, `MxReady`, `ReportsArriving`; where
    /// there is a rollout plan, `RolloutOnTrack`; and once it was looked at from outside, `PolicyVisible`.
    #[schema(example = "Delegated")]
    kind: &'static str,
    /// `True`, `False` or `Unknown`.
    #[schema(example = "False")]
    status: &'static str,
    /// A stable word for programs.
    #[schema(example = "CnameMissing")]
    reason: String,
    /// A sentence for people: what is so and what to do.
    #[schema(example = "mta-sts.example.com has no CNAME: set the record that `delegation` shows")]
    message: String,
    /// Since when the status is what it is.
    since: DateTime<Utc>,
}

/// The records that hand the names to the service.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delegation)]
pub(crate) struct DelegationBody {
    /// The CNAMEs to set, once.
    pub(crate) records: Vec<RecordBody>,
    /// The same as lines of a zone file.
    #[schema(example = "mta-sts.example.com. 3600 IN CNAME 4xk7n2d3e5pzk7qn2wq4lq3m6y.edge.sts.example.net.\n")]
    pub(crate) zone_file: String,
    /// When the records were last looked at; null until they were.
    #[schema(required)]
    pub(crate) checked_at: Option<DateTime<Utc>>,
}

/// One CNAME.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DelegationRecord)]
pub(crate) struct RecordBody {
    /// `policy-host`, `sts-record`, `tls-rpt-record` or `acme-challenge`.
    #[schema(example = "policy-host")]
    purpose: &'static str,
    /// `CNAME`.
    #[schema(example = "CNAME")]
    r#type: &'static str,
    /// The name in your zone.
    #[schema(example = "mta-sts.example.com")]
    name: String,
    /// Where it is to lead.
    #[schema(example = "4xk7n2d3e5pzk7qn2wq4lq3m6y.edge.sts.example.net")]
    target: String,
    /// False for those that only some need.
    required: bool,
    /// What was last seen in DNS: `ours`, `missing`, `other-label` or `elsewhere`; null until it was looked at.
    #[schema(required, example = "ours")]
    seen: Option<&'static str>,
    /// Where it leads instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    seen_target: Option<String>,
}

/// The certificate of the policy host.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Certificate)]
pub(crate) struct CertificateBody {
    /// Valid from.
    not_before: DateTime<Utc>,
    /// Valid until. It is renewed well before.
    not_after: DateTime<Utc>,
    /// Serial number in hexadecimal.
    #[schema(example = "03a1f7")]
    serial: String,
    /// Who issued it.
    #[schema(example = "CN=Example CA")]
    issuer: String,
}

/// The MX hosts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Mx)]
pub(crate) struct MxBody {
    /// Who chooses the patterns: `auto` (the hosts that were found at registration), `listed`, or `follow`: new hosts that
    /// pass every check are taken in by themselves.
    #[schema(example = "auto")]
    source: &'static str,
    /// The hosts as a sender sees them, in order of preference.
    hosts: Vec<MxHostBody>,
    /// When they were last gone through; null until they were.
    #[schema(required)]
    checked_at: Option<DateTime<Utc>>,
}

/// One MX host as a sender sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MxHost)]
pub(crate) struct MxHostBody {
    /// The host.
    #[schema(example = "mx1.example.com")]
    host: String,
    /// The MX preference.
    #[schema(example = 10)]
    preference: u16,
    /// When it was connected to. One look does for all domains whose mail goes there, for at most an hour or two.
    looked_at: DateTime<Utc>,
    /// Whether STARTTLS with a valid certificate works on every address.
    ready: bool,
    /// Whether the current policy covers it; null where there is none.
    #[schema(required)]
    covered: Option<bool>,
    /// What is wrong.
    #[schema(required)]
    failure: Option<MxFailureBody>,
}

/// Why an MX host would fail a sender that enforces.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MxFailure)]
pub(crate) struct MxFailureBody {
    /// A stable word for programs (RFC 8460 §4.3 where it has one).
    #[schema(example = "starttls-not-supported")]
    code: String,
    /// A sentence for people.
    #[schema(example = "mx2.example.com does not offer STARTTLS")]
    message: String,
}

/// How far a deletion has come.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Withdrawal)]
pub(crate) struct WithdrawalBody {
    /// When it was asked for.
    requested_at: DateTime<Utc>,
    /// Until when some sender may hold a policy that needs the domain, as far as is known; later reports of the edges
    /// can move it. Null while nothing is known, or nothing needs it.
    #[schema(required)]
    safe_to_remove_at: Option<DateTime<Utc>>,
    /// Whether the records can be removed from your zone now.
    safe_now: bool,
    /// The records to remove from your zone, but only once it is safe.
    #[schema(example = json!(["mta-sts.example.com. CNAME 4xk7n2d3e5pzk7qn2wq4lq3m6y.edge.sts.example.net."]))]
    remove_records: Vec<String>,
    /// Once the domain is gone: the names of CNAMEs that were last seen to lead here still. They are looked for daily for 30
    /// days, and `domain.still_delegated` tells of them weekly.
    #[schema(example = json!(["mta-sts.example.com"]))]
    still_delegated: Vec<String>,
    /// When the operator of this service forced the removal, which waits for no sender then; null: it did not.
    #[schema(required)]
    forced_at: Option<DateTime<Utc>>,
    /// On which ground: `law` or `abuse`.
    #[schema(required, example = "abuse")]
    forced_ground: Option<&'static str>,
    /// What to do, for people.
    #[schema(example = "Leave the records as they are until 2026-11-22T21:30:00Z")]
    message: String,
}

impl DomainBody {
    /// With its tag.
    pub(crate) fn tagged(view: DomainView, config: &ApiConfig) -> Result<(Self, EntityTag), Problem> {
        let body = Self::of(view, config);
        let tag = EntityTag::of(&body)?;
        Ok((body, tag))
    }

    /// The answer that shows it.
    pub(crate) fn answer(view: DomainView, status: StatusCode, config: &ApiConfig) -> Result<HttpResponse, Problem> {
        let (body, tag) = Self::tagged(view, config)?;
        Ok(HttpResponse::build(status).insert_header((header::ETAG, tag.quoted())).json(body))
    }

    pub(crate) fn of(view: DomainView, config: &ApiConfig) -> Self {
        let policy = view.version.as_ref().map(|version| &version.policy);
        Self {
            id: view.id.to_string(),
            name: view.name.to_string(),
            unicode_name: view.name.unicode(),
            state: view.state.as_str(),
            mode: policy.map_or(view.preferred_mode, Policy::mode),
            created_at: view.created_at,
            nudged_at: view.nudged_at,
            delegation: DelegationBody::of(&view),
            mx: MxBody::of(&view, policy),
            reports: ReportAddressesBody::of(&view, config),
            withdrawal: WithdrawalBody::of(&view),
            policy: view.version.as_ref().map(|version| PolicyBody::of(version, view.mx_seen.as_ref())),
            tags: view.tags.iter().map(Tag::to_string).collect(),
            tls_rpt: TlsRpt { rua: view.report_uris.iter().map(|uri| uri.as_str().to_owned()).collect() },
            conditions: view.conditions.into_iter().map(ConditionBody::from).collect(),
            certificate: view.certificate.map(CertificateBody::from),
        }
    }
}

impl ReportAddressesBody {
    fn of(view: &DomainView, config: &ApiConfig) -> Option<Self> {
        let host = config.report_host.as_deref()?;
        let ours = config.report_uris.iter().map(|template| template.replace("{label}", view.label.as_str()));
        let mut tls_rpt: Vec<String> = ours.collect();
        for own in view.report_uris.iter().map(|uri| uri.as_str().to_owned()) {
            if !tls_rpt.contains(&own) {
                tls_rpt.push(own);
            }
        }
        let dmarc_address = format!("dmarc-{}@{host}", view.label);
        let dmarc_record_hint = format!(
            "In the TXT record at _dmarc.{} add mailto:{dmarc_address} to `rua`, with a comma behind what is there; if there \
             is no record, publish `v=DMARC1; p=none; rua=mailto:{dmarc_address}`",
            view.name
        );
        Some(Self { tls_rpt, dmarc_address, dmarc_record_hint })
    }
}

impl From<Condition> for ConditionBody {
    fn from(condition: Condition) -> Self {
        Self {
            kind: condition.kind.as_str(),
            status: super::list::status_word(condition.status),
            reason: condition.reason,
            message: condition.message,
            since: condition.since,
        }
    }
}

impl From<CertificateSummary> for CertificateBody {
    fn from(certificate: CertificateSummary) -> Self {
        Self {
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            serial: certificate.serial,
            issuer: certificate.issuer,
        }
    }
}

impl DelegationBody {
    pub(crate) fn of(view: &DomainView) -> Self {
        let delegation = Delegation::new(&view.name, &view.label, &view.zones.home);
        let seen = view.delegation_seen.as_ref();
        let records = delegation.records().into_iter().map(|record| {
            let (word, target) = seen.map(|seen| what_was_seen(seen, record.purpose)).unzip();
            RecordBody {
                purpose: record.purpose.as_str(),
                r#type: "CNAME",
                name: record.name,
                target: record.target,
                required: record.required,
                seen: word,
                seen_target: target.flatten(),
            }
        });
        Self { records: records.collect(), zone_file: delegation.zone_file(), checked_at: seen.map(|seen| seen.at) }
    }
}

fn what_was_seen(seen: &DelegationSeen, purpose: DelegationPurpose) -> (&'static str, Option<String>) {
    let cname = match purpose {
        DelegationPurpose::PolicyHost => &seen.policy_host,
        DelegationPurpose::StsRecord => &seen.sts_record,
        DelegationPurpose::TlsRptRecord => &seen.tls_rpt_record,
        DelegationPurpose::AcmeChallenge => &seen.acme_challenge,
    };
    match cname {
        CnameSeen::Ours => ("ours", None),
        CnameSeen::Missing => ("missing", None),
        // Whose label it is stays untold: it may be another tenant's.
        CnameSeen::OtherLabel { .. } => ("other-label", None),
        CnameSeen::Elsewhere { target } => ("elsewhere", Some(target.clone())),
    }
}

impl MxBody {
    fn of(view: &DomainView, policy: Option<&Policy>) -> Self {
        let seen = view.mx_seen.as_ref();
        let hosts =
            |seen: &MxSeen| seen.hosts.iter().map(|mx| MxHostBody::of(mx, seen.looked_at(mx), policy)).collect();
        Self {
            source: match view.mx_source {
                MxSource::Auto => "auto",
                MxSource::Listed => "listed",
                MxSource::Follow => "follow",
            },
            hosts: seen.map(hosts).unwrap_or_default(),
            checked_at: seen.map(|seen| seen.at),
        }
    }
}

impl MxHostBody {
    fn of(mx: &MxHostSeen, looked_at: DateTime<Utc>, policy: Option<&Policy>) -> Self {
        Self {
            host: mx.host.to_string(),
            preference: mx.preference,
            looked_at,
            ready: mx.failure.is_none(),
            covered: policy.map(|policy| policy.covers(&mx.host)),
            failure: mx
                .failure
                .as_ref()
                .map(|failure| MxFailureBody { code: failure.code.clone(), message: failure.message.clone() }),
        }
    }
}

impl WithdrawalBody {
    fn of(view: &DomainView) -> Option<Self> {
        let requested_at = view.withdraw_requested_at?;
        let safe_now = view.state == DomainState::Gone;
        let records = Delegation::new(&view.name, &view.label, &view.zones.home).records();
        let still_delegated = view.dangling();
        let message = if !still_delegated.is_empty() {
            "CNAMEs in your zone lead to names that nobody serves: remove those under `still_delegated`."
        } else if safe_now {
            "No sender can hold a policy of this domain any more: remove the CNAMEs from your zone."
        } else {
            "Leave the CNAMEs in your zone until `safe_now` is true: senders that hold the old policy must find mode \
             `none` (RFC 8461 §8.3)."
        };
        Some(Self {
            requested_at,
            safe_to_remove_at: view.safe_to_remove_at,
            safe_now,
            still_delegated,
            forced_at: view.forced_removal.map(|(at, _)| at),
            forced_ground: view.forced_removal.map(|(_, ground)| ground.as_str()),
            remove_records: records.into_iter().map(|record| record.name).collect(),
            message: message.to_owned(),
        })
    }
}
