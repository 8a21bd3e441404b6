//! `GET /v1/domains/{domain_id}/proposal`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get};
use mtasts_model::DomainId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::{ProposalAnswer, ProposalBody, standing};
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

/// Read what is proposed
///
/// Where the MX hosts in DNS are others than the policy names: the exact policy that would follow, and whether the new
/// hosts pass. Nothing is changed until you apply it.
#[utoipa::path(
    tag = "policy",
    operation_id = "read_proposal",
    params(("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$")),
    responses((status = 200, description = "The proposal, or null.", body = ProposalAnswer), Errors),
    security(("api_key" = [])),
)]
#[get("/domains/{domain_id}/proposal")]
pub(crate) async fn read_proposal(scope: TenantScope, id: PathId<DomainId>) -> Result<HttpResponse, Problem> {
    let tx = scope.begin().await?;
    let domain = tx.domain(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
    let found = standing(&tx, &domain).await?;
    let proposal = found.map(|(proposal, drift)| ProposalBody::of(&proposal, &drift, &domain));
    Ok(HttpResponse::Ok().json(ProposalAnswer { proposal }))
}
