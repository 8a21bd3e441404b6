//! `GET /v1/domains/{domain_id}/checks`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use chrono::{DateTime, NaiveDate, Utc};
use mtasts_model::{DomainId, lifecycle::WatchProblem};
use mtasts_store::{WatchDay, WatchView};
use serde::Serialize;
use serde_json::Value;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use crate::{
    auth::TenantScope,
    extract::{Page, PathId, Query, WhichPage},
    problem::{Problem, documented, groups},
};

/// What the service's looks from outside came to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DomainCheckList {
    /// The latest look; null before the first.
    #[schema(required)]
    latest: Option<LatestCheck>,
    /// Days on which there were looks, newest first, of the last 60.
    #[schema(max_items = 100)]
    data: Vec<CheckDay>,
    /// The `cursor` of the next page; null on the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// The latest look.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LatestCheck {
    /// When.
    looked_at: DateTime<Utc>,
    /// The policy version that was looked for.
    #[schema(example = "pol_0190c3a0b1c27d3e8f4051627384950a")]
    version_id: String,
    /// Whether this look found everything as it is meant to be.
    passed: bool,
    /// Whether all is held to be well, which the condition `PolicyVisible` shows: a look that fails is made again after five
    /// minutes before it is believed. Null until there is a verdict.
    #[schema(required)]
    good: Option<bool>,
    /// How many looks in a row have found something wrong.
    #[schema(example = 0)]
    failures: u32,
    /// What a sender would stumble over.
    #[schema(required)]
    problem: Option<DomainCheckProblem>,
    /// The inspector's report, as that of `POST /v1/checks`, without what is as it should be and without the MX hosts, which
    /// have looks of their own.
    #[schema(value_type = Object)]
    report: Value,
}

/// What a sender would stumble over.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DomainCheckProblem {
    /// A stable word: a code of the inspector, or `sts-record-outdated`, `policy-outdated` or `certificate-outdated`: what is
    /// found is not the newest.
    #[schema(example = "policy-host-unreachable")]
    code: String,
    /// A sentence for people.
    #[schema(example = "192.0.2.1:443: connection refused. Open port 443.")]
    message: String,
}

/// The looks of one day.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DomainCheckDay)]
pub(crate) struct CheckDay {
    /// Which day (UTC).
    day: NaiveDate,
    /// How many there were.
    #[schema(example = 2)]
    looks: u32,
    /// How many of them found something wrong.
    #[schema(example = 0)]
    failed: u32,
    /// When the last one was.
    last_looked_at: DateTime<Utc>,
    /// When the last one that found something wrong was.
    #[schema(required)]
    last_failed_at: Option<DateTime<Utc>>,
    /// What that one found.
    #[schema(required)]
    problem: Option<DomainCheckProblem>,
}

impl From<WatchProblem> for DomainCheckProblem {
    fn from(WatchProblem { code, message }: WatchProblem) -> Self {
        Self { code, message }
    }
}

impl From<WatchView> for LatestCheck {
    fn from(WatchView { watch, report }: WatchView) -> Self {
        Self {
            looked_at: watch.at,
            version_id: watch.version.to_string(),
            passed: watch.problem.is_none(),
            good: watch.good,
            failures: watch.failures,
            problem: watch.problem.map(DomainCheckProblem::from),
            report,
        }
    }
}

impl From<WatchDay> for CheckDay {
    fn from(day: WatchDay) -> Self {
        Self {
            day: day.day,
            looks: day.looks,
            failed: day.failed,
            last_looked_at: day.last_looked_at,
            last_failed_at: day.last_failed_at,
            problem: day.problem.map(DomainCheckProblem::from),
        }
    }
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT])
    }
}

/// Read the looks from outside
///
/// Each domain with a published policy is looked at daily as a sender would, ten minutes after each publication, and hourly while
/// something is wrong: record, policy host, certificate, and whether they are what they are meant to be. Ask for a look now
/// with `POST …/verify`.
#[utoipa::path(
    tag = "domains",
    operation_id = "list_domain_checks",
    params(
        ("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"),
        WhichPage,
    ),
    responses((status = 200, description = "The latest look, and a page of days.", body = DomainCheckList), Errors),
    security(("api_key" = [])),
)]
#[get("/domains/{domain_id}/checks")]
pub(crate) async fn list_domain_checks(
    scope: TenantScope,
    id: PathId<DomainId>,
    query: Query<WhichPage>,
) -> Result<HttpResponse, Problem> {
    let (limit, before) = query.0.read::<NaiveDate>()?;
    let tx = scope.begin().await?;
    tx.domain(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
    let latest = tx.watch(id.0).await?.map(LatestCheck::from);
    let page = Page::of(tx.watch_days(id.0, before, limit + 1).await?, limit);
    let next_cursor = page.cursor(|day| day.day);
    Ok(HttpResponse::Ok().json(DomainCheckList { latest, data: page.map(CheckDay::from), next_cursor }))
}
