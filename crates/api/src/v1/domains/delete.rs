//! `DELETE /v1/domains/{domain_id}`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, delete, http::StatusCode};
use mtasts_model::{DomainId, MaxAge, Mode, Policy, lifecycle::WITHDRAWAL_MAX_AGE};
use mtasts_store::{DomainView, TenantTx, VersionReason};
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::{body::DomainBody, matching};
use crate::{
    auth::TenantScope,
    extract::{DomainIfMatchHeader, IfMatch, PathId, Query},
    problem::{Problem, ProblemKind, documented, groups},
    v1::{
        dry_run::{self, DryRun, DryRunBody},
        policy::new_version,
    },
};

/// Mode `none` with a small max_age (RFC 8461 §8.3).
pub(crate) fn no_policy() -> Result<Policy, Problem> {
    let max_age = MaxAge::new(WITHDRAWAL_MAX_AGE).map_err(Problem::internal)?;
    Policy::new(Mode::None, Vec::new(), max_age).map_err(Problem::internal)
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT, &[ProblemKind::PreconditionFailed]])
    }
}

/// Delete a domain
///
/// In stages (RFC 8461 §8.3): mode `none` is served until no sender can hold an older policy. `withdrawal` tells until
/// when, and which CNAMEs to remove then, and not before. To delete a domain again changes nothing.
#[utoipa::path(
    tag = "domains",
    operation_id = "delete_domain",
    params(
        ("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"),
        DomainIfMatchHeader,
        DryRun,
    ),
    responses(
        (status = 200, description = "With `dry_run=true`: what would happen.", body = DryRunBody),
        (status = 202, description = "The domain, being withdrawn or gone.", body = DomainBody, headers(("ETag" = String, description = "Its tag."))),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[delete("/domains/{domain_id}")]
pub(crate) async fn delete_domain(
    scope: TenantScope,
    id: PathId<DomainId>,
    if_match: IfMatch,
    dry: Query<DryRun>,
) -> Result<HttpResponse, Problem> {
    let carry_out = async |tx: &mut TenantTx| {
        matching(tx, &scope, id.0, &if_match).await?;
        withdraw(tx, &scope, id.0).await
    };
    if dry.0.dry_run {
        return dry_run::answer(&scope, id.0, carry_out).await;
    }
    let mut tx = scope.begin().await?;
    let view = carry_out(&mut tx).await?;
    tx.commit().await?;
    DomainBody::answer(view, StatusCode::ACCEPTED, &scope.state().config)
}

/// Asks for the removal of a domain that is there.
pub(crate) async fn withdraw(tx: &mut TenantTx, scope: &TenantScope, id: DomainId) -> Result<DomainView, Problem> {
    let none = new_version(scope, no_policy()?, VersionReason::Withdrawn, None);
    Ok(tx.request_withdrawal(id, none, &scope.actor(), scope.now()).await?)
}
