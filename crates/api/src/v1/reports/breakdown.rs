//! `GET /v1/reports/breakdown` and `GET /v1/domains/{domain_id}/reports/breakdown`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use chrono::NaiveDate;
use mtasts_model::{DomainId, Mode, PolicyVersionId, ReportKind, ResultType};
use mtasts_store::{Breakdown, ReportDimension, ReportOrder, TenantTx, ValueSums};
use serde::Serialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{
    KindSchema, begin,
    figures::{Figures, fraction},
    kind, range, report_query,
};
use crate::{
    auth::TenantScope,
    extract::{PathId, Query, limit_up_to},
    problem::{Problem, documented, groups},
    v1::fields::ModeSchema,
};

/// The most values of one answer: as many as a day has.
pub(super) const MAX_LIMIT: u32 = 200;
/// What a day has beyond its values.
const OTHERS: &str = "(others)";

report_query! {
    /// Which reports, and by what they are told apart.
    ReadBreakdown {
        /// Of which kind; `tls-rpt` where absent.
        #[param(value_type = Option<KindSchema>, inline)]
        kind: Option<String>,
        /// By what; `organization` where absent. Of `tls-rpt`: `organization`, `result`, `mx`, `sending_ip`, `network`,
        /// `country` or `policy`; of `dmarc`: `organization`, `source_ip`, `network`, `country`, `disposition`, `alignment`
        /// or `header_from`; over all domains also `domain`.
        #[param(value_type = Option<BySchema>, inline)]
        by: Option<String>,
        /// What comes first; `bad` where absent.
        #[param(value_type = Option<SortSchema>, inline)]
        sort: Option<String>,
        /// How many, 1 to 200.
        #[param(minimum = 1, maximum = 200, default = 50)]
        limit: Option<u32>,
    }
}

/// By what reports are told apart.
#[derive(ToSchema)]
#[schema(as = ReportDimension, rename_all = "snake_case")]
#[expect(dead_code, reason = "the schema of `mtasts_store::ReportDimension`, which knows nothing of OpenAPI")]
enum BySchema {
    /// Who reported.
    Organization,
    /// `tls-rpt`: the result type of failures.
    Result,
    /// `tls-rpt`: the receiving MX host of failures.
    Mx,
    /// `tls-rpt`: the sending address of failures.
    SendingIp,
    /// The network of the sending address, where the service has a database of them.
    Network,
    /// Its country.
    Country,
    /// `tls-rpt`: the policy as the sender saw it.
    Policy,
    /// Over all domains: which.
    Domain,
    /// `dmarc`: the sending address.
    SourceIp,
    /// `dmarc`: what the receiver did.
    Disposition,
    /// `dmarc`: what DKIM and SPF came to, aligned with the domain in From.
    Alignment,
    /// `dmarc`: the domain in From.
    HeaderFrom,
}

/// What comes first.
#[derive(ToSchema)]
#[schema(as = ReportSort, rename_all = "snake_case")]
#[expect(dead_code, reason = "the schema of `mtasts_store::ReportOrder`, which knows nothing of OpenAPI")]
enum SortSchema {
    /// What has most that did not go well.
    Bad,
    /// What has most of all.
    Total,
}

/// The largest values.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReportBreakdown)]
struct BreakdownBody {
    /// Of which kind of report.
    #[schema(value_type = KindSchema)]
    kind: &'static str,
    /// By what.
    #[schema(value_type = BySchema)]
    by: &'static str,
    /// The first day (UTC) that was asked for.
    #[schema(value_type = String, format = Date, example = "2026-11-01")]
    from: NaiveDate,
    /// The last.
    #[schema(value_type = String, format = Date, example = "2026-11-30")]
    to: NaiveDate,
    /// How many values there are in all.
    #[schema(example = 7)]
    values: u64,
    /// The largest of them.
    #[schema(max_items = 200)]
    data: Vec<ValueBody>,
}

/// One value.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReportValue)]
struct ValueBody {
    /// The value as reports have it; `(others)`: what days have beyond their 200 largest values.
    #[schema(example = "Google Inc.")]
    value: String,
    #[serde(flatten)]
    figures: Figures,
    /// Its part of all values, from 0 to 1: of what went well and of what did not, together.
    #[schema(minimum = 0, maximum = 1, example = 0.5)]
    share: f64,
    /// The first day (UTC) within the range on which it is seen.
    #[schema(value_type = String, format = Date, example = "2026-11-02")]
    first_day: NaiveDate,
    /// The last.
    #[schema(value_type = String, format = Date, example = "2026-11-29")]
    last_day: NaiveDate,
    /// `by=result`: what it means and what to do; else null.
    #[schema(required)]
    result: Option<ResultBody>,
    /// `by=policy`: your policy version; null where the sender saw another policy, or none.
    #[schema(required)]
    policy: Option<PolicySeenBody>,
    /// `by=domain`: its name; null for others, and once nothing is known of the domain any more.
    #[schema(required, example = json!(null))]
    domain_name: Option<String>,
}

/// What a result type means.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReportResultMeaning)]
struct ResultBody {
    /// What it means.
    #[schema(example = "The MX host's certificate has expired.")]
    meaning: &'static str,
    /// What to do.
    #[schema(example = "Renew this MX host's certificate, and see why it was not renewed in time.")]
    advice: &'static str,
}

/// A policy version that senders saw.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReportPolicySeen)]
struct PolicySeenBody {
    /// Its id.
    #[schema(example = "pol_0190c3a0b1c27d3e8f4051627384950a")]
    version_id: String,
    /// Its number within the domain.
    #[schema(example = 3)]
    seq: u32,
    /// Its mode.
    #[schema(value_type = ModeSchema)]
    mode: Mode,
    /// How long senders keep it, in seconds.
    #[schema(example = 604_800)]
    max_age: u32,
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

/// Break reports down
///
/// Over all of your domains: what reports add up to by organisation, result, host, address, policy or domain, the largest
/// first.
#[utoipa::path(
    tag = "reports",
    operation_id = "read_reports_breakdown",
    params(ReadBreakdown),
    responses((status = 200, description = "The largest values.", body = BreakdownBody), Errors),
    security(("api_key" = [])),
)]
#[get("/reports/breakdown")]
pub(crate) async fn read_reports_breakdown(
    scope: TenantScope,
    query: Query<ReadBreakdown>,
) -> Result<HttpResponse, Problem> {
    breakdown(&scope, None, &query.0).await
}

/// Break reports on a domain down
///
/// What they add up to by organisation, result, host, address or policy, the largest first.
#[utoipa::path(
    tag = "reports",
    operation_id = "read_domain_reports_breakdown",
    params(("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"), ReadBreakdown),
    responses((status = 200, description = "The largest values.", body = BreakdownBody), ErrorsOfDomain),
    security(("api_key" = [])),
)]
#[get("/domains/{domain_id}/reports/breakdown")]
pub(crate) async fn read_domain_reports_breakdown(
    scope: TenantScope,
    id: PathId<DomainId>,
    query: Query<ReadBreakdown>,
) -> Result<HttpResponse, Problem> {
    breakdown(&scope, Some(id.0), &query.0).await
}

impl ReadBreakdown {
    fn dimension(&self, kind: ReportKind, one_domain: bool) -> Result<ReportDimension, Problem> {
        let Some(text) = self.by.as_deref() else { return Ok(ReportDimension::Organization) };
        // The others are read by operations of their own.
        let inner = [ReportDimension::Total, ReportDimension::Failure, ReportDimension::Edge];
        let offered = ReportDimension::ALL.iter().copied();
        let mut offered = offered.filter(|by| !inner.contains(by) && by.is_of(kind, one_domain));
        let found = offered.clone().find(|by| by.as_str() == text);
        found.ok_or_else(|| {
            let first = offered.next().map(ReportDimension::as_str).unwrap_or_default();
            let words = offered.fold(first.to_owned(), |words, by| words + ", " + by.as_str());
            Problem::parameter("by", "by-unknown", format!("must be one of: {words}"))
        })
    }

    fn order(&self) -> Result<ReportOrder, Problem> {
        match self.sort.as_deref() {
            None | Some("bad") => Ok(ReportOrder::Bad),
            Some("total") => Ok(ReportOrder::Total),
            Some(_) => Err(Problem::parameter("sort", "sort-unknown", "must be `bad` or `total`")),
        }
    }
}

async fn breakdown(
    scope: &TenantScope,
    domain: Option<DomainId>,
    query: &ReadBreakdown,
) -> Result<HttpResponse, Problem> {
    let range = range(domain, kind(query.kind.as_deref())?, query.days(scope.now())?, query.grades()?);
    let (by, order) = (query.dimension(range.kind, domain.is_some())?, query.order()?);
    let limit = limit_up_to(MAX_LIMIT, query.limit)?;
    let tx = begin(scope, domain).await?;
    let breakdown = tx.report_breakdown(&range, by, order, limit).await?;
    let known = Known::about(&tx, by, &breakdown).await?;
    let all = breakdown.good.saturating_add(breakdown.bad);
    Ok(HttpResponse::Ok().json(BreakdownBody {
        kind: range.kind.as_str(),
        by: by.as_str(),
        from: range.from,
        to: range.to,
        values: breakdown.number,
        data: breakdown.values.into_iter().map(|value| known.value(by, value, all)).collect(),
    }))
}

/// What the store knows of the values.
#[derive(Default)]
struct Known {
    domains: Vec<(DomainId, String)>,
    versions: Vec<mtasts_store::VersionSeen>,
}

impl Known {
    async fn about(tx: &TenantTx, by: ReportDimension, breakdown: &Breakdown) -> Result<Self, Problem> {
        let values = breakdown.values.iter().map(|value| value.value.as_str());
        Ok(match by {
            ReportDimension::Domain => {
                let ids: Vec<DomainId> = values.filter_map(|value| value.parse().ok()).collect();
                Self { domains: tx.domain_names(&ids).await?, ..Self::default() }
            }
            ReportDimension::Policy => {
                let ids: Vec<PolicyVersionId> = values.filter_map(|value| value.parse().ok()).collect();
                Self { versions: tx.versions_seen(&ids).await?, ..Self::default() }
            }
            _ => Self::default(),
        })
    }

    fn value(&self, by: ReportDimension, of: ValueSums, all: u64) -> ValueBody {
        let figures = Figures::of(&of.sums);
        let result = (by == ReportDimension::Result && of.value != OTHERS).then(|| {
            let result = ResultType::from_word(&of.value);
            ResultBody { meaning: result.meaning(), advice: result.advice() }
        });
        let version = self.versions.iter().find(|version| version.id.to_string() == of.value);
        let domain = self.domains.iter().find(|(id, _)| id.to_string() == of.value);
        ValueBody {
            share: fraction(figures.good.saturating_add(figures.bad), all).unwrap_or(0.0),
            figures,
            first_day: of.first_day,
            last_day: of.last_day,
            result,
            policy: version.map(|version| PolicySeenBody {
                version_id: version.id.to_string(),
                seq: version.seq,
                mode: version.mode,
                max_age: version.max_age,
            }),
            domain_name: domain.map(|(_, name)| name.clone()),
            value: of.value,
        }
    }
}
