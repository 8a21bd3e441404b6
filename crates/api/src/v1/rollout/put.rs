//! `PUT /v1/domains/{domain_id}/rollout`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, put};
use mtasts_model::{
    DomainId, MaxAge, Mode,
    policy::MaxAgeError,
    rollout::{PlanError, RolloutPlan, RolloutStep},
};
use mtasts_store::StoreError;
use serde::Deserialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{FallbackBody, RolloutBody, StepBody, not_possible};
use crate::{
    auth::TenantScope,
    extract::{Json, PathId},
    problem::{FieldError, Problem, ProblemKind, documented, groups},
    v1::{
        fields::Faults,
        policy::{current, mode::patterns},
    },
};

/// A plan. Without steps the usual one: 14 days of `testing`, then `enforce` with a `max_age` of a day, a week, four weeks.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"fallback": "testing", "steps": [
    {"mode": "testing", "max_age": 86_400, "days": 14, "sessions": 100, "reporters": 2},
    {"mode": "enforce", "max_age": 86_400, "days": 7},
    {"mode": "enforce", "max_age": 604_800, "days": 0},
]}))]
pub(crate) struct PutRollout {
    /// The steps, in order.
    #[schema(min_items = 2, max_items = 10)]
    steps: Option<Vec<StepBody>>,
    /// What is done when verified failures jump: `pause` where absent.
    fallback: Option<FallbackBody>,
}

impl PutRollout {
    fn parse(&self) -> Result<RolloutPlan, Problem> {
        let fallback = self.fallback.unwrap_or(FallbackBody::Pause).into();
        let Some(steps) = &self.steps else { return Ok(RolloutPlan::usual(fallback)) };
        let mut faults = Faults::default();
        let steps = faults.keep_all(steps.iter().enumerate().map(|(index, step)| read(index, step)));
        let plan = steps.and_then(|steps| faults.keep(RolloutPlan::new(steps, fallback).map_err(fault)));
        plan.ok_or_else(|| faults.into_problem())
    }
}

fn read(index: usize, step: &StepBody) -> Result<RolloutStep, FieldError> {
    let StepBody { mode, days, sessions, reporters, failures_per_thousand, clean_days, .. } = *step;
    let too_large = MaxAgeError { seconds: step.max_age };
    let max_age = u32::try_from(step.max_age).ok().and_then(|seconds| MaxAge::new(seconds).ok());
    let max_age = max_age
        .ok_or_else(|| FieldError::at(format!("/steps/{index}/max_age"), too_large.code(), too_large.to_string()))?;
    Ok(RolloutStep { mode, max_age, days, sessions, reporters, failures_per_thousand, clean_days })
}

fn fault(error: PlanError) -> FieldError {
    let (pointer, code) = match error {
        PlanError::Steps => ("/steps".to_owned(), "plan-steps"),
        PlanError::Modes { step } => (format!("/steps/{step}/mode"), "plan-modes"),
        PlanError::TestingTooShort => ("/steps/0/days".to_owned(), "plan-testing-too-short"),
        PlanError::OutOfRange { step, field, .. } => (format!("/steps/{step}/{field}"), "out-of-range"),
        PlanError::MaxAge { step } => (format!("/steps/{step}/max_age"), "plan-max-age"),
    };
    FieldError::at(&pointer, code, error.to_string())
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let own = &[ProblemKind::RolloutNotPossible, ProblemKind::NoPolicyYet, ProblemKind::DomainWithdrawing];
        documented(&[groups::CALL, groups::BODY, groups::OBJECT, own])
    }
}

/// Set a rollout plan
///
/// The service takes the policy from `testing` to `enforce`, and then to longer `max_age`, each step when it is proven and
/// announced by an event 24 hours before. It pauses for what it finds. A plan that there was is replaced, and begins anew;
/// days of `testing` that have passed count.
#[utoipa::path(
    tag = "policy",
    operation_id = "put_rollout",
    params(("domain_id" = String, Path, description = "The domain's id", pattern = "^dom_[0-9a-f]{32}$")),
    request_body = PutRollout,
    responses((status = 200, description = "The plan.", body = RolloutBody), Errors),
    security(("api_key" = [])),
)]
#[put("/domains/{domain_id}/rollout")]
pub(crate) async fn put_rollout(
    scope: TenantScope,
    id: PathId<DomainId>,
    body: Json<PutRollout>,
) -> Result<HttpResponse, Problem> {
    let plan = body.value.parse()?;
    let (mut tx, now) = (scope.begin().await?, scope.now());
    let domain = tx.domain_locked(id.0).await?.ok_or_else(|| Problem::not_found("domain"))?;
    if !domain.is_kept() {
        return Err(StoreError::Withdrawing.into());
    }
    if current(&domain)?.policy.mode() == Mode::Enforce {
        return Err(not_possible(
            "The policy is in `enforce` already: a plan leads there. Change its `max_age` yourself, or go back to `testing`",
        ));
    }
    if patterns(&domain).is_empty() {
        return Err(not_possible(
            "The policy has no MX patterns: set some by PUT /v1/domains/{domain_id}/policy first",
        ));
    }
    tx.put_rollout(&domain, plan, &scope.actor(), now).await?;
    let answer = RolloutBody::existing(&tx, &domain, now).await?;
    tx.commit().await?;
    Ok(HttpResponse::Ok().json(answer))
}
