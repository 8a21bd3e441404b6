//! `POST /v1/domains/{domain_id}/proposal:apply`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::StatusCode, post};
use mtasts_model::{DomainId, ProposalId};
use mtasts_store::VersionReason;
use serde::Deserialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{outdated, parse_id, standing};
use crate::{
    auth::TenantScope,
    extract::{Answer, IdempotencyHeader, IdempotencyKey, IfMatch, IfMatchHeader, Json, Once, PathId},
    problem::{Problem, ProblemKind, documented, groups},
    v1::{
        fields::{Faults, override_reason},
        policy::{self, Change, PolicyBody},
    },
};

/// What to apply.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"proposal_id": "prp_0190c3a0b1c27d3e8f4051627384950a"}))]
pub(crate) struct ApplyProposal {
    /// The proposal that you have read.
    #[schema(pattern = "^prp_[0-9a-f]{32}$")]
    proposal_id: String,
    /// Apply it in mode `enforce` although that is not proven to be safe.
    #[serde(default)]
    force: bool,
    /// Why. Goes with `force`, and is kept with the version.
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
}

impl ApplyProposal {
    fn parse(&self) -> Result<(ProposalId, Option<String>), Problem> {
        let mut faults = Faults::default();
        let id = faults.keep(parse_id(&self.proposal_id));
        let reason = faults.keep(override_reason(self.force, self.reason.as_deref()));
        id.zip(reason).ok_or_else(|| faults.into_problem())
    }
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let own = &[ProblemKind::ProposalOutdated];
        documented(&[groups::CALL, groups::BODY, groups::OBJECT, groups::POLICY, groups::ONCE, own])
    }
}

/// Apply what is proposed
///
/// Makes a version with exactly the proposed policy, if it is still what is proposed. In mode `enforce` every MX host must
/// pass, as with any change.
#[utoipa::path(
    tag = "policy",
    operation_id = "apply_proposal",
    params(
        ("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"),
        IfMatchHeader,
        IdempotencyHeader,
    ),
    request_body = ApplyProposal,
    responses(
        (status = 200, description = "The new version.", body = PolicyBody, headers(("ETag" = String, description = "The policy's tag, for `If-Match`."))),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[post("/domains/{domain_id}/proposal:apply")]
pub(crate) async fn apply_proposal(
    scope: TenantScope,
    id: PathId<DomainId>,
    if_match: IfMatch,
    key: IdempotencyKey,
    body: Json<ApplyProposal>,
) -> Result<HttpResponse, Problem> {
    let (wanted, override_reason) = body.value.parse()?;
    let answer = Once::new(&key, body.hash, scope.now())
        .run(scope.begin().await?, async |tx| {
            let domain = tx.domain_locked(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
            let found = standing(tx, &domain).await?.filter(|(proposal, _)| proposal.id == wanted);
            let (proposal, _) = found.ok_or_else(outdated)?;
            let change = Change {
                policy: proposal.policy,
                reason: VersionReason::Proposed,
                override_reason,
                from_current: true,
            };
            let set = policy::apply(tx, &scope, &domain, change, &if_match).await?;
            tx.forget_proposal(id.0).await?;
            let (body, tag) = PolicyBody::tagged(set.version(), domain.mx_seen.as_ref())?;
            Ok(Answer::new(StatusCode::OK, &body)?.etag(tag.quoted()))
        })
        .await?;
    Ok(answer.respond())
}
