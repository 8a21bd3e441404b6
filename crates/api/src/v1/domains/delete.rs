//! `DELETE /v1/domains/{domain_id}`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, delete};
use mtasts_model::{DomainId, MaxAge, Mode, Policy, lifecycle::WITHDRAWAL_MAX_AGE};
use mtasts_store::{DomainView, TenantTx, VersionReason};
use utoipa::{
    IntoResponses,
    openapi::{RefOr, Response},
};

use super::body::DomainBody;
use crate::{
    auth::TenantScope,
    extract::PathId,
    problem::{Problem, documented, groups},
    v1::policy::new_version,
};

/// Mode `none` with a small max_age (RFC 8461 §8.3).
fn no_policy() -> Result<Policy, Problem> {
    let max_age = MaxAge::new(WITHDRAWAL_MAX_AGE).map_err(Problem::internal)?;
    Policy::new(Mode::None, Vec::new(), max_age).map_err(Problem::internal)
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::OBJECT])
    }
}

/// Delete a domain
///
/// In stages (RFC 8461 §8.3): mode `none` is served until no sender can hold an older policy. `withdrawal` tells until
/// when, and which CNAMEs to remove then, and not before. To delete a domain again changes nothing.
#[utoipa::path(
    tag = "domains",
    operation_id = "delete_domain",
    params(("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$")),
    responses((status = 202, description = "The domain, being withdrawn or gone.", body = DomainBody), Errors),
    security(("api_key" = [])),
)]
#[delete("/domains/{domain_id}")]
pub(crate) async fn delete_domain(scope: TenantScope, id: PathId<DomainId>) -> Result<HttpResponse, Problem> {
    let mut tx = scope.begin().await?;
    let view = withdraw(&mut tx, &scope, id.0).await?;
    tx.commit().await?;
    Ok(HttpResponse::Accepted().json(DomainBody::of(view)))
}

/// Asks for the removal of a domain.
pub(crate) async fn withdraw(tx: &mut TenantTx, scope: &TenantScope, id: DomainId) -> Result<DomainView, Problem> {
    let none = no_policy()?;
    tx.domain(id).await?.ok_or_else(|| Problem::not_found("domain"))?;
    let none = new_version(scope, none, VersionReason::Withdrawn, None);
    Ok(tx.request_withdrawal(id, none, &scope.actor(), scope.now()).await?)
}
