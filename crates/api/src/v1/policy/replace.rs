//! `PUT /v1/domains/{domain_id}/policy`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, put};
use mtasts_model::{DomainId, Mode};
use mtasts_store::{TenantTx, VersionReason};
use serde::Deserialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{Change, answer, apply};
use crate::{
    auth::TenantScope,
    extract::{IfMatch, IfMatchHeader, Json, PathId, Query},
    problem::{Problem, ProblemKind, documented, groups},
    v1::{
        dry_run::{self, DryRun, PolicyOrDryRun},
        fields::{DEFAULT_MAX_AGE, Faults, ModeSchema, MxPatternSchema, max_age, mx_patterns, override_reason, policy},
    },
};

/// A whole policy.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"mode": "testing", "mx": ["mx1.example.com", "*.mail.example.net"], "max_age": 604_800}))]
pub(crate) struct ReplacePolicy {
    /// The mode.
    #[schema(value_type = ModeSchema)]
    mode: Mode,
    /// MX patterns: host names, or `*.` and a name for one label more. May be empty for mode `none` only.
    #[serde(default)]
    #[schema(value_type = Vec<MxPatternSchema>, max_items = 100)]
    mx: Vec<String>,
    /// How long senders may keep the policy, in seconds: 0 to 31,557,600. A week where absent.
    #[schema(minimum = 0, maximum = 31_557_600, default = 604_800)]
    max_age: Option<u64>,
    /// Set `enforce` although it is not proven to be safe.
    #[serde(default)]
    force: bool,
    /// Why. Goes with `force`, and is kept with the version.
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
}

impl ReplacePolicy {
    fn parse(&self) -> Result<Change, Problem> {
        let mut faults = Faults::default();
        let mx = mx_patterns(&self.mx, &mut faults);
        let max_age = faults.keep(max_age(self.max_age.unwrap_or(DEFAULT_MAX_AGE.into())));
        let override_reason = faults.keep(override_reason(self.force, self.reason.as_deref()));
        let policy = match (mx, max_age) {
            (Some(mx), Some(max_age)) => faults.keep(policy(self.mode, mx, max_age)),
            _ => None,
        };
        match (policy, override_reason) {
            (Some(policy), Some(override_reason)) => {
                Ok(Change { policy, reason: VersionReason::Changed, override_reason, from_current: false })
            }
            _ => Err(faults.into_problem()),
        }
    }
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL, groups::BODY, groups::OBJECT, groups::POLICY, &[ProblemKind::PreconditionRequired]])
    }
}

/// Replace the policy
///
/// Makes a new version with a new id, unless the current one is the same. The edges serve it within a second; the TXT
/// record follows once all of them do (RFC 8461 §8.1). A policy that exists is replaced only with `If-Match`, so that
/// nobody's change is lost unseen: its `ETag`, or `*` for whatever it is.
#[utoipa::path(
    tag = "policy",
    operation_id = "replace_policy",
    params(
        ("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$"),
        IfMatchHeader,
        DryRun,
    ),
    request_body = ReplacePolicy,
    responses(
        (status = 200, description = "The current version, new or unchanged; with `dry_run=true` what would happen.", body = PolicyOrDryRun, headers(("ETag" = String, description = "The policy's tag, for `If-Match`."))),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[put("/domains/{domain_id}/policy")]
pub(crate) async fn replace_policy(
    scope: TenantScope,
    id: PathId<DomainId>,
    if_match: IfMatch,
    dry: Query<DryRun>,
    body: Json<ReplacePolicy>,
) -> Result<HttpResponse, Problem> {
    let change = body.value.parse()?;
    let carry_out = async |tx: &mut TenantTx| {
        let domain = tx.domain_locked(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
        if domain.is_kept() {
            if_match.require(domain.version.as_ref().map(|version| version.id))?;
        }
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
