//! `POST /v1/domains/{domain_id}/migrations:confirm`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::StatusCode, post};
use mtasts_model::DomainId;
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::{MigrationBody, not_safe, under_way};
use crate::{
    auth::TenantScope,
    extract::{Answer, IdempotencyHeader, IdempotencyKey, NoBody, Once, PathId},
    problem::{Problem, ProblemKind, documented, groups},
};

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::BODY, groups::OBJECT, groups::ONCE, &[ProblemKind::MigrationNotSafe]])
    }
}

/// Confirm that MX records have moved
///
/// Your word that no resolver can hold an MX record of an old host any more, so that the two days of waiting for that are
/// cut short. Refused while senders may hold a policy without the new hosts, or the latest look finds an old host. Takes no
/// body.
#[utoipa::path(
    tag = "policy",
    operation_id = "confirm_migration",
    params(
        ("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"),
        IdempotencyHeader,
    ),
    responses((status = 200, description = "The migration.", body = MigrationBody), Errors),
    security(("api_key" = [])),
)]
#[post("/domains/{domain_id}/migrations:confirm")]
pub(crate) async fn confirm_migration(
    scope: TenantScope,
    id: PathId<DomainId>,
    key: IdempotencyKey,
    body: NoBody,
) -> Result<HttpResponse, Problem> {
    let now = scope.now();
    let answer = Once::new(&key, body.hash, now)
        .run(scope.begin().await?, async |tx| {
            let domain = tx.domain_locked(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
            let view = under_way(tx, &domain).await?;
            if view.migration.safe_to_point_mx_at.is_none_or(|at| at > now) {
                return Err(not_safe(
                    &view,
                    "Senders may still hold a policy without the new hosts: wait until `safe_at`",
                ));
            }
            if view.migration.absent_since.is_none() {
                return Err(not_safe(
                    &view,
                    "DNS names an old host: change the MX records, and ask for a look with verify",
                ));
            }
            tx.confirm_migration(id.0, &scope.actor(), now).await?;
            Answer::new(StatusCode::OK, &MigrationBody::of(&under_way(tx, &domain).await?, now))
        })
        .await?;
    Ok(answer.respond())
}
