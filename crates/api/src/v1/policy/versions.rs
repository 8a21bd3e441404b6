//! `GET /v1/domains/{domain_id}/policy/versions`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_model::DomainId;
use serde::Serialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::PolicyBody;
use crate::{
    auth::TenantScope,
    extract::{Page, PathId, Query, WhichPage},
    problem::{Problem, documented, groups},
};

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
        WhichPage,
    ),
    responses((status = 200, description = "A page of versions.", body = PolicyVersionList), Errors),
    security(("api_key" = [])),
)]
#[get("/domains/{domain_id}/policy/versions")]
pub(crate) async fn list_versions(
    scope: TenantScope,
    id: PathId<DomainId>,
    query: Query<WhichPage>,
) -> Result<HttpResponse, Problem> {
    let (limit, before) = query.0.read()?;
    let tx = scope.begin().await?;
    let domain = tx.domain(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
    let page = Page::of(tx.versions(id.0, before, limit + 1).await?, limit);
    let next_cursor = page.cursor(|version| version.seq);
    let data = page.map(|version| PolicyBody::of(&version, domain.mx_seen.as_ref()));
    Ok(HttpResponse::Ok().json(PolicyVersionList { data, next_cursor }))
}
