//! `PUT /v1/policy-settings`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, put};
use mtasts_store::PolicySettings;
use serde::Deserialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::PolicySettingsBody;
use crate::{
    auth::TenantScope,
    extract::{EntityTag, IfMatch, Json, SettingsIfMatchHeader},
    problem::{FieldError, Problem, ProblemKind, documented, groups},
    v1::fields::Faults,
};

/// All settings; what is absent or null is as the service has it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"testing_days": 28, "sessions": 1_000, "failures_per_thousand": 2}))]
pub(crate) struct ReplacePolicySettings {
    /// For how many days each MX host passes at every look.
    #[schema(minimum = 0, maximum = 60)]
    mx_days: Option<u64>,
    /// For how many days the policy is published in mode `testing`.
    #[schema(minimum = 0, maximum = 365)]
    testing_days: Option<u64>,
    /// How many sessions verified reports tell of.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    sessions: Option<u64>,
    /// How many organisations sent them.
    #[schema(minimum = 0, maximum = 1_000)]
    reporters: Option<u64>,
    /// How many of 1,000 sessions may have failed: with more, `enforce` is refused.
    #[schema(minimum = 0, maximum = 100)]
    failures_per_thousand: Option<u64>,
}

impl ReplacePolicySettings {
    fn parse(&self) -> Result<PolicySettings, Problem> {
        let mut faults = Faults::default();
        let mut number = |pointer: &str, value: Option<u64>, most: u64| {
            let fault = || FieldError::at(pointer, "out-of-range", format!("must be 0 to {most}"));
            faults.keep(if value.is_none_or(|value| value <= most) { Ok(value) } else { Err(fault()) })
        };
        // No look is remembered for longer than 60 days.
        let mx_days = number("/mx_days", self.mx_days, 60);
        let testing_days = number("/testing_days", self.testing_days, 365);
        let sessions = number("/sessions", self.sessions, 1_000_000_000);
        let reporters = number("/reporters", self.reporters, 1_000);
        // Whoever bears more than a tenth says so each time, by force.
        let failures = number("/failures_per_thousand", self.failures_per_thousand, 100);
        let (Some(mx_days), Some(testing_days), Some(sessions), Some(reporters), Some(failures)) =
            (mx_days, testing_days, sessions, reporters, failures)
        else {
            return Err(faults.into_problem());
        };
        let small = |value: Option<u64>| value.map(u32::try_from).transpose().map_err(Problem::internal);
        Ok(PolicySettings {
            mx_days: small(mx_days)?,
            testing_days: small(testing_days)?,
            sessions,
            reporters: small(reporters)?,
            failures_per_thousand: small(failures)?,
            changed_at: None,
        })
    }
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let own = &[ProblemKind::PreconditionFailed, ProblemKind::PreconditionRequired];
        documented(&[groups::CALL, groups::BODY, own])
    }
}

/// Set how much proof for `enforce` you want
///
/// All settings at once. Only failures in verified reports refuse `enforce` by them; the others are advice.
#[utoipa::path(
    tag = "policy",
    operation_id = "replace_policy_settings",
    params(SettingsIfMatchHeader),
    request_body = ReplacePolicySettings,
    responses(
        (status = 200, description = "The settings.", body = PolicySettingsBody,
            headers(("ETag" = String, description = "Their tag, for `If-Match`."))),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[put("/policy-settings")]
pub(crate) async fn replace_policy_settings(
    scope: TenantScope,
    if_match: IfMatch,
    body: Json<ReplacePolicySettings>,
) -> Result<HttpResponse, Problem> {
    let new = body.value.parse()?;
    let config = &scope.state().config;
    let mut tx = scope.begin().await?;
    let before = tx.lock_policy_settings().await?;
    let tag = EntityTag::of(&PolicySettingsBody::of(before, config))?;
    if before.changed_at.is_some() {
        if_match.require_tag(&tag)?;
    }
    if_match.check_tag(&tag)?;
    let settings = tx.set_policy_settings(new, &scope.actor(), scope.now()).await?;
    tx.commit().await?;
    PolicySettingsBody::answer(settings, config)
}
