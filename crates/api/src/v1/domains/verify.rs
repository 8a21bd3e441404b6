//! `POST /v1/domains/{domain_id}/verify`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::StatusCode, post};
use mtasts_model::DomainId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::body::DomainBody;
use crate::{
    auth::TenantScope,
    extract::{Answer, IdempotencyHeader, IdempotencyKey, NoBody, Once, PathId},
    problem::{Problem, ProblemKind, documented, groups},
};

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let domain = &[ProblemKind::DomainWithdrawing];
        documented(&[groups::CALL, groups::BODY, groups::OBJECT, groups::ONCE, domain])
    }
}

/// Look again now
///
/// Asks for a new look at delegation, certificate, policy host, record and MX hosts at once. The conditions show what
/// was found; `nudged_at` is the moment of the request, or of the one before if that was less than 15 s ago. Takes no body.
#[utoipa::path(
    tag = "domains",
    operation_id = "verify_domain",
    params(
        ("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"),
        IdempotencyHeader,
    ),
    responses((status = 202, description = "The domain as it is at this moment.", body = DomainBody), Errors),
    security(("api_key" = [])),
)]
#[post("/domains/{domain_id}/verify")]
pub(crate) async fn verify_domain(
    scope: TenantScope,
    id: PathId<DomainId>,
    key: IdempotencyKey,
    body: NoBody,
) -> Result<HttpResponse, Problem> {
    let tx = scope.begin().await?;
    let now = scope.now();
    let answer = Once::new(&key, body.hash, now)
        .run(tx, async |tx| {
            tx.domain(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
            let view = tx.request_verify(id.0, &scope.actor(), now).await?;
            Answer::new(StatusCode::ACCEPTED, &DomainBody::of(view, &scope.state().config))
        })
        .await?;
    Ok(answer.respond())
}
