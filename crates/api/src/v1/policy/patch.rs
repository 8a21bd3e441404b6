//! `PATCH /v1/domains/{domain_id}/policy`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, patch};
use mtasts_model::{DomainId, MaxAge, Mode, MxPattern, Policy};
use mtasts_store::{TenantTx, VersionReason};
use serde::Deserialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{Change, answer, apply, current};
use crate::{
    auth::TenantScope,
    extract::{IfMatch, IfMatchHeader, Json, PathId, Query},
    problem::{Problem, ProblemKind, documented, groups},
    v1::{
        dry_run::{self, DryRun, PolicyOrDryRun},
        fields::{Faults, ModeSchema, MxPatternSchema, max_age, mx_patterns, override_reason, policy},
    },
};

/// What to change; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"max_age": 1_209_600}))]
pub(crate) struct PatchPolicy {
    /// The mode.
    #[schema(value_type = Option<ModeSchema>)]
    mode: Option<Mode>,
    /// The MX patterns, all of them.
    #[schema(value_type = Option<Vec<MxPatternSchema>>, max_items = 100)]
    mx: Option<Vec<String>>,
    /// How long senders may keep the policy, in seconds: 0 to 31,557,600.
    #[schema(minimum = 0, maximum = 31_557_600)]
    max_age: Option<u64>,
    /// Set `enforce` although it is not proven to be safe.
    #[serde(default)]
    force: bool,
    /// Why. Goes with `force`, and is kept with the version.
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
}

/// A [`PatchPolicy`] without faults in itself.
struct Wanted {
    mode: Option<Mode>,
    mx: Option<Vec<MxPattern>>,
    max_age: Option<MaxAge>,
    override_reason: Option<String>,
}

impl PatchPolicy {
    fn parse(&self) -> Result<Wanted, Problem> {
        let mut faults = Faults::default();
        let mx = match &self.mx {
            Some(mx) => mx_patterns(mx, &mut faults).map(Some),
            None => Some(None),
        };
        let max_age = match self.max_age {
            Some(seconds) => faults.keep(max_age(seconds)).map(Some),
            None => Some(None),
        };
        let override_reason = faults.keep(override_reason(self.force, self.reason.as_deref()));
        match (mx, max_age, override_reason) {
            (Some(mx), Some(max_age), Some(override_reason)) => {
                Ok(Wanted { mode: self.mode, mx, max_age, override_reason })
            }
            _ => Err(faults.into_problem()),
        }
    }
}

impl Wanted {
    fn on(self, current: &Policy) -> Result<Change, Problem> {
        let policy = policy(
            self.mode.unwrap_or(current.mode()),
            self.mx.unwrap_or_else(|| current.mx().to_vec()),
            self.max_age.unwrap_or(current.max_age()),
        );
        let policy = policy.map_err(|fault| Problem::fields(vec![fault]))?;
        Ok(Change { policy, reason: VersionReason::Changed, override_reason: self.override_reason, from_current: true })
    }
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::BODY, groups::OBJECT, groups::POLICY, &[ProblemKind::NoPolicyYet]])
    }
}

/// Change the policy
///
/// Makes a new version from the current one. If somebody else sets another version in between, nothing is changed.
#[utoipa::path(
    tag = "policy",
    operation_id = "patch_policy",
    params(
        ("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"),
        IfMatchHeader,
        DryRun,
    ),
    request_body = PatchPolicy,
    responses(
        (status = 200, description = "The current version, new or unchanged; with `dry_run=true` what would happen.", body = PolicyOrDryRun, headers(("ETag" = String, description = "The policy's tag, for `If-Match`."))),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[patch("/domains/{domain_id}/policy")]
pub(crate) async fn patch_policy(
    scope: TenantScope,
    id: PathId<DomainId>,
    if_match: IfMatch,
    dry: Query<DryRun>,
    body: Json<PatchPolicy>,
) -> Result<HttpResponse, Problem> {
    let wanted = body.value.parse()?;
    let carry_out = async |tx: &mut TenantTx| {
        let domain = tx.domain_locked(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
        let change = wanted.on(&current(&domain)?.policy)?;
        let set = apply(tx, &scope, &domain, change, &if_match).await?;
        Ok::<_, Problem>((set, domain))
    };
    if dry.0.dry_run {
        return dry_run::answer(&scope, id.0, carry_out).await;
    }
    let mut tx = scope.begin().await?;
    let (set, domain) = carry_out(&mut tx).await?;
    tx.commit().await?;
    answer(&set, &domain)
}
