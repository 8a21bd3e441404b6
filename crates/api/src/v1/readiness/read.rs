//! `GET /v1/domains/{domain_id}/readiness`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use chrono::{DateTime, NaiveDate, Utc};
use mtasts_model::{
    DomainId, HostName, Mode, Policy, Timestamp,
    readiness::{Demands, Evidence, REPORT_DAYS, passing_since},
};
use mtasts_store::{DomainView, MxDayView, Proof};
use serde::Serialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use crate::{
    auth::TenantScope,
    enforce::{Doubt, everything},
    extract::PathId,
    problem::{Problem, ProblemKind, documented, groups},
    v1::{
        fields::ModeSchema,
        policy::{current, mode::patterns},
        policy_settings::demands,
    },
};

/// Whether `enforce` is safe, and by what that is known.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Readiness)]
pub(crate) struct ReadinessBody {
    /// Whether `enforce` would be accepted now: nothing blocks it.
    #[schema(example = true)]
    ready: bool,
    /// Whether nothing at all speaks against it: what a rollout waits for.
    #[schema(example = false)]
    proven: bool,
    /// The mode of the current policy.
    #[schema(value_type = ModeSchema)]
    mode: Mode,
    /// Every reason against `enforce`, what blocks first.
    reasons: Vec<Doubt>,
    /// What is known.
    evidence: EvidenceBody,
    /// How much is recommended.
    recommended: DemandsBody,
}

/// What is known.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReadinessEvidence)]
pub(crate) struct EvidenceBody {
    /// When the MX hosts were last looked at.
    #[schema(required)]
    checked_at: Option<DateTime<Utc>>,
    /// Each MX host.
    hosts: Vec<HostBody>,
    /// Since when a policy in another mode than `none` has been published without a break.
    #[schema(required)]
    published_since: Option<DateTime<Utc>>,
    /// Verified TLS reports of the last days.
    reports: ReportsBody,
}

/// One MX host over time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReadinessHost)]
pub(crate) struct HostBody {
    /// The host.
    #[schema(example = "mx1.example.com")]
    host: String,
    /// Whether it passed at the latest look.
    passes: bool,
    /// Whether the current policy covers it.
    covered: bool,
    /// Since when it has passed at every look; null while it fails.
    #[schema(required)]
    passing_since: Option<DateTime<Utc>>,
    /// The days of the last 60 on which it failed, newest first.
    failed_on: Vec<FailedDay>,
}

/// A day on which a host failed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReadinessFailedDay)]
pub(crate) struct FailedDay {
    /// Which (UTC).
    day: NaiveDate,
    /// Why, at the last look that failed.
    #[schema(example = "certificate-expired")]
    code: String,
    /// A sentence for people.
    #[schema(example = "The certificate of mx1.example.com has expired.")]
    message: String,
}

/// Verified TLS reports.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReadinessReports)]
pub(crate) struct ReportsBody {
    /// Of how many days, and today.
    #[schema(example = 7)]
    days: u32,
    /// Sessions that they tell of.
    #[schema(example = 1_250)]
    sessions: u64,
    /// Of these, how many failed.
    #[schema(example = 2)]
    failed: u64,
    /// How many organisations sent them.
    #[schema(example = 3)]
    reporters: u32,
}

/// How much proof is recommended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReadinessDemands)]
pub(crate) struct DemandsBody {
    /// For how many days each MX host passes at every look.
    #[schema(example = 7)]
    mx_days: u32,
    /// For how many days the policy is published in mode `testing`.
    #[schema(example = 14)]
    testing_days: u32,
    /// How many sessions verified reports tell of.
    #[schema(example = 100)]
    sessions: u64,
    /// How many organisations sent them.
    #[schema(example = 2)]
    reporters: u32,
    /// How many of 1,000 sessions may have failed: with more, `enforce` is refused.
    #[schema(example = 5)]
    failures_per_thousand: u32,
}

impl From<Demands> for DemandsBody {
    fn from(demands: Demands) -> Self {
        let Demands { mx_days, testing_days, sessions, reporters, failures_per_thousand } = demands;
        Self { mx_days, testing_days, sessions, reporters, failures_per_thousand }
    }
}

impl ReadinessBody {
    fn of(
        domain: &DomainView,
        proof: &Proof,
        history: &[MxDayView],
        demands: Demands,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let policy = &current(domain)?.policy;
        let reasons = match Policy::new(Mode::Enforce, patterns(domain), policy.max_age()) {
            Ok(enforced) => {
                let evidence = Evidence {
                    policy: &enforced,
                    mx: domain.mx_seen.as_ref(),
                    history: &proof.history,
                    published_since: proof.published_since,
                    reports: proof.reports,
                };
                everything(&evidence, &demands, now)
            }
            Err(_) => vec![Doubt::no_patterns()],
        };
        let good = passing_since(&proof.history);
        let hosts = domain.mx_seen.iter().flat_map(|seen| &seen.hosts).map(|mx| HostBody {
            host: mx.host.to_string(),
            passes: mx.failure.is_none(),
            covered: policy.covers(&mx.host),
            passing_since: good.get(&mx.host).copied().flatten(),
            failed_on: failed_on(history, &mx.host),
        });
        let reports = proof.reports;
        Ok(Self {
            ready: !reasons.iter().any(Doubt::blocks),
            proven: reasons.is_empty(),
            mode: policy.mode(),
            reasons,
            evidence: EvidenceBody {
                checked_at: domain.mx_seen.as_ref().map(|seen| seen.at),
                hosts: hosts.collect(),
                published_since: proof.published_since,
                reports: ReportsBody {
                    days: REPORT_DAYS,
                    sessions: reports.sessions(),
                    failed: reports.bad,
                    reporters: reports.reporters,
                },
            },
            recommended: demands.into(),
        })
    }
}

fn failed_on(history: &[MxDayView], host: &HostName) -> Vec<FailedDay> {
    let days = history.iter().filter(|day| day.looks.host == *host);
    days.filter_map(|day| {
        let (code, message) = day.failure.clone()?;
        Some(FailedDay { day: day.day, code, message })
    })
    .collect()
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT, &[ProblemKind::NoPolicyYet]])
    }
}

/// Read whether `enforce` is safe
///
/// Yes or no, with every reason. What blocks is known to lose mail: an MX host fails or is not covered, or senders
/// report failures. Advice is what more time and more reports would prove.
#[utoipa::path(
    tag = "policy",
    operation_id = "read_readiness",
    params(("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$")),
    responses((status = 200, description = "What speaks for and against it.", body = ReadinessBody), Errors),
    security(("api_key" = [])),
)]
#[get("/domains/{domain_id}/readiness")]
pub(crate) async fn read_readiness(scope: TenantScope, id: PathId<DomainId>) -> Result<HttpResponse, Problem> {
    let (tx, now) = (scope.begin().await?, scope.now());
    let domain = tx.domain(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
    let proof = tx.proof(id.0, domain.mx_seen.as_ref(), now).await?;
    let history = tx.mx_history(id.0, now).await?;
    let demands = demands(&tx, &scope.state().config).await?;
    let body = ReadinessBody::of(&domain, &proof, &history, demands, now)?;
    Ok(HttpResponse::Ok().json(body))
}
