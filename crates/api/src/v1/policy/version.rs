//! `GET /v1/domains/{domain_id}/policy/versions/{version_id}`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get, http::header};
use mtasts_model::{DomainId, PolicyVersionId};
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::PolicyBody;
use crate::{
    auth::TenantScope,
    extract::PathId,
    problem::{Problem, documented, groups},
};

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT])
    }
}

/// Read a policy version
///
/// Any version that the domain ever had.
#[utoipa::path(
    tag = "policy",
    operation_id = "read_policy_version",
    params(
        ("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"),
        ("version_id" = String, Path, description = "The version's id", pattern = "^pol_[0-9a-f]{32}$"),
    ),
    responses(
        (status = 200, description = "The version.", body = PolicyBody, headers(("ETag" = String, description = "Its tag."))),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[get("/domains/{domain_id}/policy/versions/{version_id}")]
pub(crate) async fn read_version(
    scope: TenantScope,
    id: PathId<DomainId>,
    version_id: PathId<PolicyVersionId>,
) -> Result<HttpResponse, Problem> {
    let tx = scope.begin().await?;
    let domain = tx.domain(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
    let version = tx.version(id.0, version_id.0).await?.ok_or_else(|| Problem::not_found("policy version"))?;
    let (body, tag) = PolicyBody::tagged(&version, domain.mx_seen.as_ref())?;
    Ok(HttpResponse::Ok().insert_header((header::ETAG, tag.quoted())).json(body))
}
