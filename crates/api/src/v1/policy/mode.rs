//! `PUT /v1/domains/{domain_id}/mode`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, put};
use mtasts_model::{DomainId, Mode, MxPattern, lifecycle::MxSource};
use mtasts_store::{DomainView, SetPolicy, TenantTx, VersionReason};
use serde::Deserialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{Change, answer, apply, current};
use crate::{
    auth::TenantScope,
    extract::{IfMatch, IfMatchHeader, Json, PathId, Query},
    problem::{FieldError, Problem, ProblemKind, documented, groups},
    v1::{
        dry_run::{self, DryRun, PolicyOrDryRun},
        fields::{Faults, ModeSchema, override_reason, policy},
    },
};

/// The wanted mode.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"mode": "enforce"}))]
pub(crate) struct SetMode {
    /// The mode.
    #[schema(value_type = ModeSchema)]
    pub(crate) mode: Mode,
    /// Set `enforce` although it is not proven to be safe.
    #[serde(default)]
    pub(crate) force: bool,
    /// Why. Goes with `force`, and is kept with the version.
    #[schema(min_length = 1, max_length = 1000)]
    pub(crate) reason: Option<String>,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::BODY, groups::OBJECT, groups::POLICY, &[ProblemKind::NoPolicyYet]])
    }
}

/// Set the mode
///
/// Makes a new version of the current policy in another mode. `enforce` needs proof that it is safe: every MX host
/// passes and is covered; else the answer lists what is missing, by host.
#[utoipa::path(
    tag = "policy",
    operation_id = "set_mode",
    params(
        ("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"),
        IfMatchHeader,
        DryRun,
    ),
    request_body = SetMode,
    responses(
        (status = 200, description = "The current version, new or unchanged; with `dry_run=true` what would happen.", body = PolicyOrDryRun, headers(("ETag" = String, description = "The policy's tag, for `If-Match`."))),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[put("/domains/{domain_id}/mode")]
pub(crate) async fn set_mode(
    scope: TenantScope,
    id: PathId<DomainId>,
    if_match: IfMatch,
    dry: Query<DryRun>,
    body: Json<SetMode>,
) -> Result<HttpResponse, Problem> {
    let override_reason = body.value.override_reason()?;
    let carry_out = async |tx: &mut TenantTx| {
        let domain = tx.domain_locked(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
        let set = carry_out(tx, &scope, &domain, (body.value.mode, override_reason), &if_match).await?;
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

impl SetMode {
    /// Why the proof is to be overridden, if it is.
    pub(crate) fn override_reason(&self) -> Result<Option<String>, Problem> {
        let mut faults = Faults::default();
        let reason = faults.keep(override_reason(self.force, self.reason.as_deref()));
        reason.ok_or_else(|| faults.into_problem())
    }
}

/// Sets the mode of a domain.
pub(crate) async fn carry_out(
    tx: &mut TenantTx,
    scope: &TenantScope,
    domain: &DomainView,
    (mode, override_reason): (Mode, Option<String>),
    if_match: &IfMatch,
) -> Result<SetPolicy, Problem> {
    let now = current(domain)?;
    let wanted = policy(mode, patterns(domain), now.policy.max_age()).map_err(|_| no_patterns())?;
    let change = Change { policy: wanted, reason: VersionReason::ModeChanged, override_reason, from_current: true };
    apply(tx, scope, domain, change, if_match).await
}

/// The current patterns. A policy in mode `none` may have none; for `mx: auto` the hosts that were found step in.
pub(crate) fn patterns(domain: &DomainView) -> Vec<MxPattern> {
    let listed = domain.version.as_ref().map(|version| version.policy.mx().to_vec()).unwrap_or_default();
    match &domain.mx_seen {
        Some(seen) if listed.is_empty() && domain.mx_source == MxSource::Auto => {
            seen.hosts.iter().map(|mx| MxPattern::from(&mx.host)).collect()
        }
        _ => listed,
    }
}

fn no_patterns() -> Problem {
    let message =
        "the current policy has no MX patterns: set a policy with patterns by PUT /v1/domains/{domain_id}/policy";
    Problem::fields(vec![FieldError::at("/mode", "mx-missing", message)])
}
