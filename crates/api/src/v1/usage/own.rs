//! `GET /v1/usage`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::{UsageBody, UsageDays, usage};
use crate::{
    auth::TenantScope,
    extract::Query,
    problem::{Problem, documented, groups},
};

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL])
    }
}

/// Read your usage
///
/// Day by day, for up to 400 days: how many domains you had at its end, by mode, how many of them were served, and how often
/// their policies were fetched. What edges have served shows up to a minute later. With your quotas.
#[utoipa::path(
    tag = "usage",
    operation_id = "read_usage",
    params(UsageDays),
    responses((status = 200, description = "The days, and the quotas.", body = UsageBody), Errors),
    security(("api_key" = [])),
)]
#[get("/usage")]
pub(crate) async fn read_usage(scope: TenantScope, query: Query<UsageDays>) -> Result<HttpResponse, Problem> {
    let days = query.0.read(scope.now())?;
    let tx = scope.begin().await?;
    Ok(HttpResponse::Ok().json(usage(&tx, days, scope.state().config.quotas, scope.now()).await?))
}
