//! `GET /v1/domains/{domain_id}/policy/versions`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_model::DomainId;
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::PolicyBody;
use crate::{
    auth::TenantScope,
    extract::{Cursor, Page, PathId, Query, limit},
    problem::{Problem, documented, groups},
};

/// Which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListVersions {
    /// How many, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
}

/// A page of policy versions, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PolicyVersionList {
    /// The versions.
    data: Vec<PolicyBody>,
    /// The `cursor` of the next page; null on the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT])
    }
}

/// List the policy versions
///
/// All versions that the domain ever had, newest first.
#[utoipa::path(
    tag = "policy",
    operation_id = "list_policy_versions",
    params(
        ("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"),
        ListVersions,
    ),
    responses((status = 200, description = "A page of versions.", body = PolicyVersionList), Errors),
    security(("api_key" = [])),
)]
#[get("/domains/{domain_id}/policy/versions")]
pub(crate) async fn list_versions(
    scope: TenantScope,
    id: PathId<DomainId>,
    query: Query<ListVersions>,
) -> Result<HttpResponse, Problem> {
    let limit = limit(query.0.limit)?;
    let before = Cursor::read(query.0.cursor.as_deref())?;
    let tx = scope.begin().await?;
    let domain = tx.domain(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
    let page = Page::of(tx.versions(id.0, before, limit + 1).await?, limit);
    let next_cursor = page.cursor(|version| version.seq);
    let data = page.map(|version| PolicyBody::of(&version, domain.mx_seen.as_ref()));
    Ok(HttpResponse::Ok().json(PolicyVersionList { data, next_cursor }))
}
