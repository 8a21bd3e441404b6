//! `GET /v1/operations/{operation_id}/results`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_model::OperationId;
use mtasts_store::LineOutcome;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{
    IntoParams, IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use crate::{
    auth::TenantScope,
    bulk::Told,
    extract::{Cursor, Page, PathId, Query, limit},
    problem::{Problem, ProblemSchema, documented, groups},
};

/// Which results, and which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListResults {
    /// How many, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before. Goes with the same filter.
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// Only those of lines that were refused.
    failed: Option<bool>,
}

/// What became of one line.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperationResult)]
pub(crate) struct ResultBody {
    /// The line: the first is 1.
    #[schema(example = 17)]
    line: u32,
    /// `succeeded` or `failed`.
    #[schema(example = "failed", pattern = "^(succeeded|failed)$")]
    status: &'static str,
    /// What the line asked for: `create`, `set_mode` or `delete`; null if that could not be read.
    #[schema(required, example = "create")]
    op: Option<String>,
    /// The domain that it was about, as far as is known.
    #[schema(required, example = "dom_0190c3a0b1c27d3e8f4051627384950a")]
    domain_id: Option<String>,
    /// That domain's name, as A-labels.
    #[schema(required, example = "example.com")]
    name: Option<String>,
    /// The mode that the domain has by it; null if the line was refused.
    #[schema(required, example = "testing")]
    mode: Option<String>,
    /// Why it was refused, as the single call would have said; pointers are those into the line. Null if it was not.
    #[schema(required, value_type = Option<ProblemSchema>)]
    problem: Option<Value>,
}

impl TryFrom<LineOutcome> for ResultBody {
    type Error = Problem;

    fn try_from(result: LineOutcome) -> Result<Self, Problem> {
        let told: Told = serde_json::from_value(result.result).map_err(Problem::internal)?;
        Ok(Self {
            line: result.number,
            status: if result.failed { "failed" } else { "succeeded" },
            op: told.op,
            domain_id: told.domain_id,
            name: told.name,
            mode: told.mode,
            problem: told.problem,
        })
    }
}

/// A page of results, in the order of the lines.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResultList {
    /// The results of the lines that are done.
    data: Vec<ResultBody>,
    /// The `cursor` of the next page; null on the last of those that are there so far.
    #[schema(required)]
    next_cursor: Option<String>,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT])
    }
}

/// List what became of the lines
///
/// In the order of the lines. Lines that wait have no result yet.
#[utoipa::path(
    tag = "operations",
    operation_id = "list_operation_results",
    params(
        ("operation_id" = String, Path, description = "The operation's id", pattern = "^op_[0-9a-f]{32}$"),
        ListResults,
    ),
    responses((status = 200, description = "A page of results.", body = ResultList), Errors),
    security(("api_key" = [])),
)]
#[get("/operations/{operation_id}/results")]
pub(crate) async fn list_operation_results(
    scope: TenantScope,
    id: PathId<OperationId>,
    query: Query<ListResults>,
) -> Result<HttpResponse, Problem> {
    let limit = limit(query.0.limit)?;
    let after = Cursor::read(query.0.cursor.as_deref())?;
    let only_failed = query.0.failed.unwrap_or(false);
    let tx = scope.begin().await?;
    tx.operation(id.0).await?.ok_or_else(|| Problem::not_found("operation"))?;
    let page = Page::of(tx.operation_results(id.0, only_failed, after, limit + 1).await?, limit);
    let next_cursor = page.cursor(|result| result.number);
    let data = page.map(ResultBody::try_from).into_iter().collect::<Result<_, _>>()?;
    Ok(HttpResponse::Ok().json(ResultList { data, next_cursor }))
}
