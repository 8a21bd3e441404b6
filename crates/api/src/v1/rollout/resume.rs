//! `POST /v1/domains/{domain_id}/rollout:resume`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::StatusCode, post};
use mtasts_model::DomainId;
use mtasts_store::StoreError;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::{RolloutBody, none, not_possible};
use crate::{
    auth::TenantScope,
    extract::{Answer, IdempotencyHeader, IdempotencyKey, NoBody, Once, PathId},
    problem::{Problem, ProblemKind, documented, groups},
};

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let own = &[ProblemKind::RolloutNotPossible, ProblemKind::DomainWithdrawing];
        documented(&[groups::CALL, groups::BODY, groups::OBJECT, groups::ONCE, own])
    }
}

/// Resume a rollout plan
///
/// One that you have paused goes on where it is. One that fell back, or whose policy was changed by hand, begins anew; days of
/// `testing` that have passed count. Takes no body.
#[utoipa::path(
    tag = "policy",
    operation_id = "resume_rollout",
    params(
        ("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"),
        IdempotencyHeader,
    ),
    responses((status = 200, description = "The plan.", body = RolloutBody), Errors),
    security(("api_key" = [])),
)]
#[post("/domains/{domain_id}/rollout:resume")]
pub(crate) async fn resume_rollout(
    scope: TenantScope,
    id: PathId<DomainId>,
    key: IdempotencyKey,
    body: NoBody,
) -> Result<HttpResponse, Problem> {
    let now = scope.now();
    let answer = Once::new(&key, body.hash, now)
        .run(scope.begin().await?, async |tx| {
            let domain = tx.domain_locked(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
            if !domain.is_kept() {
                return Err(StoreError::Withdrawing.into());
            }
            let rollout = tx.rollout(id.0).await?.ok_or_else(none)?.rollout;
            let changed = rollout
                .resumed()
                .ok_or_else(|| not_possible("It does not wait for you: there is nothing to resume"))?;
            tx.change_rollout(&domain, &changed, &scope.actor(), now).await?;
            Answer::new(StatusCode::OK, &RolloutBody::existing(tx, &domain, now).await?)
        })
        .await?;
    Ok(answer.respond())
}
