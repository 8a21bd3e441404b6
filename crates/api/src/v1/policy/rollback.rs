//! `POST /v1/domains/{domain_id}/policy/rollback`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::StatusCode, post};
use mtasts_model::{DomainId, PolicyVersionId};
use mtasts_store::{TenantTx, VersionReason};
use serde::Deserialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{Change, PolicyBody, apply};
use crate::{
    auth::TenantScope,
    extract::{Answer, IdempotencyHeader, IdempotencyKey, IfMatch, IfMatchHeader, Json, Once, PathId, Query},
    problem::{FieldError, Problem, documented, groups},
    v1::{
        dry_run::{self, DryRun, PolicyOrDryRun},
        fields::{Faults, override_reason},
    },
};

/// Where to go back to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"version_id": "pol_0190c3a0b1c27d3e8f4051627384950a"}))]
pub(crate) struct RollBack {
    /// The id of an earlier version of this domain.
    #[schema(pattern = "^pol_[0-9a-f]{32}$")]
    version_id: String,
    /// Go back to a version in mode `enforce` although it is not proven to be safe.
    #[serde(default)]
    force: bool,
    /// Why. Goes with `force`, and is kept with the version.
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
}

impl RollBack {
    fn parse(&self) -> Result<(PolicyVersionId, Option<String>), Problem> {
        let mut faults = Faults::default();
        let id = self.version_id.parse::<PolicyVersionId>();
        let id = faults.keep(id.map_err(|error| FieldError::at("/version_id", "invalid-id", error.to_string())));
        let override_reason = faults.keep(override_reason(self.force, self.reason.as_deref()));
        id.zip(override_reason).ok_or_else(|| faults.into_problem())
    }
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::BODY, groups::OBJECT, groups::POLICY, groups::ONCE])
    }
}

/// Go back to an earlier version
///
/// Makes a new version with the earlier one's policy and a new id: senders do not fetch an id that they know.
#[utoipa::path(
    tag = "policy",
    operation_id = "roll_back_policy",
    params(
        ("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"),
        IfMatchHeader,
        DryRun,
        IdempotencyHeader,
    ),
    request_body = RollBack,
    responses(
        (status = 200, description = "The current version, new or unchanged; with `dry_run=true` what would happen.", body = PolicyOrDryRun, headers(("ETag" = String, description = "The policy's tag, for `If-Match`."))),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[post("/domains/{domain_id}/policy/rollback")]
pub(crate) async fn roll_back_policy(
    scope: TenantScope,
    id: PathId<DomainId>,
    if_match: IfMatch,
    dry: Query<DryRun>,
    key: IdempotencyKey,
    body: Json<RollBack>,
) -> Result<HttpResponse, Problem> {
    let (version_id, override_reason) = body.value.parse()?;
    let carry_out = async |tx: &mut TenantTx| {
        let domain = tx.domain_locked(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
        let earlier = tx.version(id.0, version_id).await?.ok_or_else(|| {
            Problem::field("/version_id", "no-such-version", "there is no such version of this domain's policy")
        })?;
        let change =
            Change { policy: earlier.policy, reason: VersionReason::RolledBack, override_reason, from_current: false };
        let set = apply(tx, &scope, &domain, change, &if_match).await?;
        let (body, tag) = PolicyBody::tagged(set.version(), domain.mx_seen.as_ref())?;
        Ok(Answer::new(StatusCode::OK, &body)?.etag(tag.quoted()))
    };
    if dry.0.dry_run {
        return dry_run::answer(&scope, id.0, carry_out).await;
    }
    let tx = scope.begin().await?;
    Ok(Once::new(&key, body.hash, scope.now()).run(tx, carry_out).await?.respond())
}
