//! Rollout plans: from `testing` to `enforce`, step by step.

pub(crate) mod delete;
pub(crate) mod pause;
pub(crate) mod put;
pub(crate) mod read;
pub(crate) mod resume;

use chrono::{DateTime, Utc};
use mtasts_model::{
    Mode, Timestamp,
    rollout::{Fallback, Situation, next},
};
use mtasts_store::{DomainView, RolloutView, TenantTx};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    problem::{Problem, ProblemKind},
    v1::fields::ModeSchema,
};

/// One step of a plan, and what is wanted before it is left for the next one.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RolloutStep)]
pub(crate) struct StepBody {
    /// `testing` for the first step, `enforce` for all others.
    #[schema(value_type = ModeSchema)]
    mode: Mode,
    /// How long senders may keep the policy, in seconds. It grows from each step in `enforce` to the next.
    #[schema(minimum = 0, maximum = 31_557_600, example = 86_400)]
    max_age: u64,
    /// How many days the step lasts at least: 14 or more for the first one. Days for which the policy was published in
    /// `testing` before count.
    #[schema(minimum = 0, maximum = 365, example = 14)]
    days: u32,
    /// How many sessions verified reports of the last 7 days are to tell of.
    #[serde(default = "sessions")]
    #[schema(minimum = 0, maximum = 1_000_000_000, default = 100)]
    sessions: u64,
    /// How many organisations are to have sent them.
    #[serde(default = "reporters")]
    #[schema(minimum = 0, maximum = 1_000_000, default = 2)]
    reporters: u32,
    /// How many of 1,000 of these sessions may have failed.
    #[serde(default = "failures")]
    #[schema(minimum = 0, maximum = 1_000, default = 5)]
    failures_per_thousand: u32,
    /// For how many days each MX host is to have passed at every look.
    #[serde(default = "clean_days")]
    #[schema(minimum = 0, maximum = 365, default = 7)]
    clean_days: u32,
}

fn sessions() -> u64 {
    100
}

fn reporters() -> u32 {
    2
}

fn failures() -> u32 {
    5
}

fn clean_days() -> u32 {
    7
}

/// What is done when verified reports of failures jump while the policy enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = RolloutFallback)]
pub(crate) enum FallbackBody {
    /// Back to `testing`.
    Testing,
    /// The plan pauses; the policy stays as it is.
    Pause,
}

impl From<FallbackBody> for Fallback {
    fn from(body: FallbackBody) -> Self {
        match body {
            FallbackBody::Testing => Self::Testing,
            FallbackBody::Pause => Self::Pause,
        }
    }
}

/// A plan and how far it has come.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rollout)]
pub(crate) struct RolloutBody {
    /// `running`; `held`: you have paused it; `paused`: something was found, and it goes on by itself a day after that is over;
    /// `overruled`: the policy was changed to what is not the step's; `fell-back`: failures jumped, and the policy is in
    /// `testing` again; `completed`.
    #[schema(example = "running")]
    state: &'static str,
    /// At which step it is, from 1.
    #[schema(example = 1)]
    step: usize,
    /// All steps.
    steps: Vec<StepBody>,
    /// What is done when verified failures jump.
    fallback: FallbackBody,
    /// Since when the policy has been that of the step.
    #[schema(required)]
    entered_at: Option<DateTime<Utc>>,
    /// When the next step follows, once that is announced: 24 hours ahead at least. Pause the plan to prevent it.
    #[schema(required)]
    next_step_at: Option<DateTime<Utc>>,
    /// Why it stands still, if something was found.
    #[schema(required)]
    finding: Option<FindingBody>,
    /// What it waits for, in a sentence for people; empty while it acts.
    #[schema(example = "not proven yet: verified reports of the last 7 days tell of 12 sessions of 100")]
    waits_for: String,
    /// Since when there is the plan.
    created_at: DateTime<Utc>,
    /// When its state last changed.
    changed_at: DateTime<Utc>,
}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RolloutFinding)]
pub(crate) struct FindingBody {
    /// A stable word for programs, as in the readiness.
    #[schema(example = "mx-not-covered")]
    code: String,
    /// A sentence for people.
    #[schema(example = "no `mx` pattern of the policy covers mx3.example.com: add it, or remove the MX record")]
    message: String,
}

impl RolloutBody {
    /// As it is now, with what it waits for.
    async fn of(tx: &TenantTx, domain: &DomainView, view: RolloutView, now: Timestamp) -> Result<Self, Problem> {
        let proof = tx.proof(domain.id, domain.mx_seen.as_ref(), now).await?;
        let (created_at, changed_at) = (view.created_at, view.changed_at);
        let facts = view.facts(proof);
        let waits_for = domain.version.as_ref().map_or_else(
            || "the domain has no policy yet".to_owned(),
            |version| {
                let (policy, published) = (&version.policy, version.published_at.is_some());
                next(&Situation { policy, published, mx: domain.mx_seen.as_ref(), facts: &facts }, now).waits_for
            },
        );
        let rollout = facts.rollout;
        let finding = rollout.progress.finding();
        Ok(Self {
            state: rollout.progress.as_str(),
            step: rollout.step + 1,
            fallback: match rollout.plan.fallback() {
                Fallback::Testing => FallbackBody::Testing,
                Fallback::Pause => FallbackBody::Pause,
            },
            entered_at: rollout.entered_at,
            next_step_at: rollout.announced_for,
            finding: finding
                .map(|finding| FindingBody { code: finding.code.clone(), message: finding.message.clone() }),
            waits_for,
            created_at,
            changed_at,
            steps: rollout
                .plan
                .steps()
                .iter()
                .map(|step| StepBody {
                    mode: step.mode,
                    max_age: step.max_age.seconds().into(),
                    days: step.days,
                    sessions: step.sessions,
                    reporters: step.reporters,
                    failures_per_thousand: step.failures_per_thousand,
                    clean_days: step.clean_days,
                })
                .collect(),
        })
    }

    /// The domain's plan, which the operation cannot do without.
    async fn existing(tx: &TenantTx, domain: &DomainView, now: Timestamp) -> Result<Self, Problem> {
        let view = tx.rollout(domain.id).await?.ok_or_else(none)?;
        Self::of(tx, domain, view, now).await
    }
}

fn none() -> Problem {
    Problem::not_found("rollout")
}

fn not_possible(detail: &'static str) -> Problem {
    Problem::new(ProblemKind::RolloutNotPossible, detail)
}
