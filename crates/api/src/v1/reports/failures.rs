//! `GET /v1/reports/failures` and `GET /v1/domains/{domain_id}/reports/failures`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use chrono::{DateTime, Days, NaiveDate, Utc};
use mtasts_model::{DomainId, EdgeVerdict, ReportKind, ResultType, Timestamp};
use mtasts_store::{FailureSums, VerdictSums};
use serde::Serialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{begin, breakdown::MAX_LIMIT, figures::Figures, range, report_query, words};
use crate::{
    auth::TenantScope,
    extract::{PathId, Query, limit_up_to},
    problem::{Problem, documented, groups},
};

report_query! {
    /// Which days and grades, and how many.
    ReadFailures {
        /// How many, 1 to 200.
        #[param(minimum = 1, maximum = 200, default = 50)]
        limit: Option<u32>,
    }
}

/// Kinds of failure.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReportFailures)]
struct FailuresBody {
    /// The first day (UTC) that was asked for.
    #[schema(value_type = String, format = Date, example = "2026-11-01")]
    from: NaiveDate,
    /// The last.
    #[schema(value_type = String, format = Date, example = "2026-11-30")]
    to: NaiveDate,
    /// Those with most sessions first.
    #[schema(max_items = 200)]
    data: Vec<FailureBody>,
    /// Those that speak of the policy host, which is ours: whose fault they were.
    #[schema(max_items = 200)]
    policy_host: Vec<VerdictBody>,
}

/// A result type at an MX host.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReportFailure)]
struct FailureBody {
    /// The result type (RFC 8460 §4.3), or the sender's own word; `not-detailed`: what no detail speaks of; `(others)`: what
    /// days have beyond their 200 largest kinds.
    #[schema(example = "certificate-expired")]
    result: String,
    /// The receiving MX host; null where none was named.
    #[schema(required, example = "mx1.example.com")]
    receiving_mx: Option<String>,
    /// What it means.
    #[schema(example = "The MX host's certificate has expired.")]
    meaning: &'static str,
    /// What to do.
    #[schema(example = "Renew this MX host's certificate, and see why it was not renewed in time.")]
    advice: &'static str,
    /// Whether the service first learned of it yesterday or today (UTC).
    new: bool,
    /// When the service first learned of it; null once that has been forgotten.
    #[schema(required)]
    first_seen_at: Option<DateTime<Utc>>,
    /// The first day (UTC) of it, whatever days were asked for.
    #[schema(value_type = String, format = Date, example = "2026-11-02")]
    first_day: NaiveDate,
    /// The last.
    #[schema(value_type = String, format = Date, example = "2026-11-29")]
    last_day: NaiveDate,
    #[serde(flatten)]
    figures: Figures,
}

/// Failures at the policy host.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReportPolicyHostFailure)]
struct VerdictBody {
    /// The result type.
    #[schema(example = "sts-policy-fetch-error")]
    result: String,
    /// Whose fault they were.
    #[schema(value_type = VerdictSchema)]
    verdict: &'static str,
    /// Why it is thought so: a stable word for programs.
    #[schema(example = "served-all-the-time")]
    reason: String,
    /// The same for people.
    #[schema(example = "We had policy and certificate all of that time.")]
    explanation: &'static str,
    #[serde(flatten)]
    figures: Figures,
}

/// Whose fault a failure at the policy host was.
#[derive(ToSchema)]
#[schema(as = EdgeVerdict, rename_all = "kebab-case")]
#[expect(dead_code, reason = "the schema of `mtasts_model::EdgeVerdict`, which knows nothing of OpenAPI")]
pub(super) enum VerdictSchema {
    /// What we had at that time explains it.
    Ours,
    /// We had policy and certificate all the time: the sender met another host, or did not get through.
    NotOurs,
    /// It cannot be told.
    Unclear,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL])
    }
}

struct ErrorsOfDomain;

impl IntoResponses for ErrorsOfDomain {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT])
    }
}

/// Read the top failures
///
/// Over all of your domains: what went wrong with TLS at which MX host, since when, what it means and what to do. What
/// speaks of the policy host is compared with what we served at that time.
#[utoipa::path(
    tag = "reports",
    operation_id = "read_reports_failures",
    params(ReadFailures),
    responses((status = 200, description = "The kinds of failure.", body = FailuresBody), Errors),
    security(("api_key" = [])),
)]
#[get("/reports/failures")]
pub(crate) async fn read_reports_failures(
    scope: TenantScope,
    query: Query<ReadFailures>,
) -> Result<HttpResponse, Problem> {
    failures(&scope, None, &query.0).await
}

/// Read a domain's top failures
///
/// What went wrong with TLS at which MX host, since when, what it means and what to do. What speaks of the policy host is
/// compared with what we served at that time.
#[utoipa::path(
    tag = "reports",
    operation_id = "read_domain_reports_failures",
    params(("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"), ReadFailures),
    responses((status = 200, description = "The kinds of failure.", body = FailuresBody), ErrorsOfDomain),
    security(("api_key" = [])),
)]
#[get("/domains/{domain_id}/reports/failures")]
pub(crate) async fn read_domain_reports_failures(
    scope: TenantScope,
    id: PathId<DomainId>,
    query: Query<ReadFailures>,
) -> Result<HttpResponse, Problem> {
    failures(&scope, Some(id.0), &query.0).await
}

async fn failures(
    scope: &TenantScope,
    domain: Option<DomainId>,
    query: &ReadFailures,
) -> Result<HttpResponse, Problem> {
    let range = range(domain, Some(ReportKind::TlsRpt), query.days(scope.now())?, query.grades()?);
    let limit = limit_up_to(MAX_LIMIT, query.limit)?;
    let tx = begin(scope, domain).await?;
    let failures = tx.report_failures(&range, limit).await?;
    let verdicts = tx.report_verdicts(&range, MAX_LIMIT).await?;
    let new_since = start_of_yesterday(scope.now());
    Ok(HttpResponse::Ok().json(FailuresBody {
        from: range.from,
        to: range.to,
        data: failures.into_iter().map(|failure| FailureBody::of(failure, new_since)).collect(),
        policy_host: verdicts.into_iter().map(VerdictBody::from).collect(),
    }))
}

fn start_of_yesterday(now: Timestamp) -> Timestamp {
    let today = now.date_naive();
    today.checked_sub_days(Days::new(1)).unwrap_or(today).and_time(chrono::NaiveTime::MIN).and_utc()
}

impl FailureBody {
    fn of(failure: FailureSums, new_since: Timestamp) -> Self {
        let result = ResultType::from_word(&failure.result);
        Self {
            meaning: result.meaning(),
            advice: result.advice(),
            new: failure.first_seen_at.is_some_and(|at| at >= new_since),
            first_seen_at: failure.first_seen_at,
            // What days add up to is kept for longer, or for less long, than what is known of the kind.
            first_day: failure.first_day.map_or(failure.within.first_day, |day| day.min(failure.within.first_day)),
            last_day: failure.last_day.map_or(failure.within.last_day, |day| day.max(failure.within.last_day)),
            figures: Figures::of(&failure.within.sums),
            receiving_mx: Some(failure.mx).filter(|mx| !mx.is_empty()),
            result: failure.result,
        }
    }
}

impl From<VerdictSums> for VerdictBody {
    fn from(of: VerdictSums) -> Self {
        // What this version does not know, and the rest of a day with very many, cannot be told.
        let verdict = of.verdict.parse().unwrap_or(EdgeVerdict::Unclear);
        Self {
            verdict: verdict.as_str(),
            explanation: words::verdict(verdict, &of.reason),
            figures: Figures::of(&of.within.sums),
            result: of.result,
            reason: of.reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use mtasts_model::{Clock, clock::ManualClock};

    use super::*;

    #[test]
    fn new_is_what_was_first_seen_yesterday_or_today() {
        let clock = ManualClock::default();
        clock.advance(chrono::TimeDelta::hours(23));
        assert_eq!(start_of_yesterday(clock.now()).to_rfc3339(), "2025-12-31T00:00:00+00:00");
    }
}
