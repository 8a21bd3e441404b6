//! `POST /v1/domains/{domain_id}/proposal:dismiss`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::StatusCode, post};
use mtasts_model::DomainId;
use serde::Deserialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{ProposalAnswer, ProposalBody, outdated, parse_id, standing};
use crate::{
    auth::TenantScope,
    extract::{Answer, IdempotencyHeader, IdempotencyKey, Json, Once, PathId},
    problem::{Problem, ProblemKind, documented, groups},
};

/// What to dismiss.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"proposal_id": "prp_0190c3a0b1c27d3e8f4051627384950a"}))]
pub(crate) struct DismissProposal {
    /// The proposal that you have read.
    #[schema(pattern = "^prp_[0-9a-f]{32}$")]
    proposal_id: String,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let own = &[ProblemKind::ProposalOutdated];
        documented(&[groups::CALL, groups::BODY, groups::OBJECT, groups::ONCE, own])
    }
}

/// Dismiss what is proposed
///
/// It is not done by itself, and no event tells of it again, as long as the same would follow. It can still be applied.
#[utoipa::path(
    tag = "policy",
    operation_id = "dismiss_proposal",
    params(
        ("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"),
        IdempotencyHeader,
    ),
    request_body = DismissProposal,
    responses((status = 200, description = "The proposal.", body = ProposalAnswer), Errors),
    security(("api_key" = [])),
)]
#[post("/domains/{domain_id}/proposal:dismiss")]
pub(crate) async fn dismiss_proposal(
    scope: TenantScope,
    id: PathId<DomainId>,
    key: IdempotencyKey,
    body: Json<DismissProposal>,
) -> Result<HttpResponse, Problem> {
    let wanted = parse_id(&body.value.proposal_id).map_err(|fault| Problem::fields(vec![fault]))?;
    let now = scope.now();
    let answer = Once::new(&key, body.hash, now)
        .run(scope.begin().await?, async |tx| {
            let domain = tx.domain_locked(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
            let found = standing(tx, &domain).await?.filter(|(proposal, _)| proposal.id == wanted);
            let (_, drift) = found.ok_or_else(outdated)?;
            let dismissed = tx.dismiss_proposal(id.0, wanted, &scope.actor(), now).await?.ok_or_else(outdated)?;
            let proposal = Some(ProposalBody::of(&dismissed, &drift, &domain));
            Answer::new(StatusCode::OK, &ProposalAnswer { proposal })
        })
        .await?;
    Ok(answer.respond())
}
