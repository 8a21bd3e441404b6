//! Rollout plans: from `testing` to `enforce` with a growing `max_age`, each step when it is proven.
//!
//! [`next`] is pure: it looks at what is known and names the one [`Action`], if any. [`Rollout::after`] gives the state that
//! follows. The worker writes that state and the policy version in one transaction, so that each step happens once.

mod next;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    policy::{MaxAge, Mode, Policy},
    readiness::{MxDay, ReportSums, days},
};

pub use next::{Next, Situation, next};

/// How long before a promotion the tenant is told of it, who can pause it until then.
pub const NOTICE: TimeDelta = TimeDelta::hours(24);

/// A plan begins with so many days of `testing` at least.
pub const LEAST_TESTING_DAYS: u32 = 14;

/// More steps are hardly a plan.
pub const MOST_STEPS: usize = 10;

/// A year: a step that lasts longer is a slip.
pub const MOST_DAYS: u32 = 365;

/// One step of a plan, and what is wanted before it is left for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutStep {
    /// `testing` for the first step, `enforce` for all others.
    pub mode: Mode,
    /// How long senders may keep the policy.
    pub max_age: MaxAge,
    /// How many days the step lasts at least.
    pub days: u32,
    /// How many sessions verified reports of the last week are to tell of.
    pub sessions: u64,
    /// How many organisations are to have sent them.
    pub reporters: u32,
    /// How many of 1,000 of these sessions may have failed.
    pub failures_per_thousand: u32,
    /// For how many days each MX host is to have passed at every look.
    pub clean_days: u32,
}

/// What is done when verified reports of failures jump while the policy enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// Back to `testing`.
    Testing,
    /// The plan pauses; the policy stays.
    Pause,
}

impl Fallback {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Testing, Self::Pause];

    /// The word that the API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Testing => "testing",
            Self::Pause => "pause",
        }
    }
}

/// More sessions in a week than any domain has.
pub const MOST_SESSIONS: u64 = 1_000_000_000;

/// More organisations than send reports.
pub const MOST_REPORTERS: u64 = 1_000_000;

/// Why steps are no plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Too few or too many.
    #[error("a plan has 2 to {MOST_STEPS} steps")]
    Steps,
    /// The modes are in another order.
    #[error("the first step is `testing`, and all others are `enforce`")]
    Modes {
        /// The step, from 0.
        step: usize,
    },
    /// Without weeks of `testing` nothing is proven.
    #[error("`testing` lasts {LEAST_TESTING_DAYS} days at least")]
    TestingTooShort,
    /// A number that is hardly meant.
    #[error("`{field}` is {most} at most")]
    OutOfRange {
        /// The step, from 0.
        step: usize,
        /// Which of its numbers.
        field: &'static str,
        /// The most that it may be.
        most: u64,
    },
    /// A longer `max_age` first would bind senders before the shorter one has proven anything.
    #[error("`max_age` grows from each step in `enforce` to the next")]
    MaxAge {
        /// The step, from 0.
        step: usize,
    },
}

/// A plan: `testing` first, then `enforce` with growing `max_age`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields")]
pub struct RolloutPlan {
    steps: Vec<RolloutStep>,
    fallback: Fallback,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    steps: Vec<RolloutStep>,
    fallback: Fallback,
}

impl TryFrom<Fields> for RolloutPlan {
    type Error = PlanError;

    fn try_from(fields: Fields) -> Result<Self, PlanError> {
        Self::new(fields.steps, fields.fallback)
    }
}

impl RolloutPlan {
    /// A plan of these steps.
    pub fn new(steps: Vec<RolloutStep>, fallback: Fallback) -> Result<Self, PlanError> {
        if !(2..=MOST_STEPS).contains(&steps.len()) {
            return Err(PlanError::Steps);
        }
        let mut before: Option<&RolloutStep> = None;
        for (step, wanted) in steps.iter().enumerate() {
            let mode = if step == 0 { Mode::Testing } else { Mode::Enforce };
            if wanted.mode != mode {
                return Err(PlanError::Modes { step });
            }
            if step == 0 && wanted.days < LEAST_TESTING_DAYS {
                return Err(PlanError::TestingTooShort);
            }
            for (field, number, most) in [
                ("days", wanted.days.into(), MOST_DAYS.into()),
                ("clean_days", wanted.clean_days.into(), MOST_DAYS.into()),
                ("sessions", wanted.sessions, MOST_SESSIONS),
                ("reporters", wanted.reporters.into(), MOST_REPORTERS),
                ("failures_per_thousand", wanted.failures_per_thousand.into(), 1_000),
            ] {
                if number > most {
                    return Err(PlanError::OutOfRange { step, field, most });
                }
            }
            if step > 1 && before.is_some_and(|before| before.max_age >= wanted.max_age) {
                return Err(PlanError::MaxAge { step });
            }
            before = Some(wanted);
        }
        Ok(Self { steps, fallback })
    }

    /// Two weeks of `testing`, then `enforce` for a day, a week, and four weeks of `max_age`.
    pub fn usual(fallback: Fallback) -> Self {
        let step = |mode, max_age, days| RolloutStep {
            mode,
            max_age,
            days,
            sessions: 100,
            reporters: 2,
            failures_per_thousand: 5,
            clean_days: 7,
        };
        let steps = vec![
            step(Mode::Testing, MaxAge::DAY, 14),
            step(Mode::Enforce, MaxAge::DAY, 7),
            step(Mode::Enforce, MaxAge::WEEK, 14),
            step(Mode::Enforce, MaxAge::FOUR_WEEKS, 0),
        ];
        Self { steps, fallback }
    }

    /// The steps, in order.
    pub fn steps(&self) -> &[RolloutStep] {
        &self.steps
    }

    /// What is done when failures jump.
    pub fn fallback(&self) -> Fallback {
        self.fallback
    }
}

/// Why a plan does not go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// A stable word, such as `mx-not-covered`.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

/// Whether a plan goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It does.
    Running,
    /// The tenant has stopped it, and lets it go on.
    Held,
    /// Something was found. It goes on by itself a day after the finding is over.
    Paused(Finding),
    /// The policy was changed to what is not the step's: the tenant decides how to go on.
    Overruled,
    /// Failures jumped, and the policy is in `testing` again: the tenant decides how to go on.
    FellBack(Finding),
    /// The last step is reached.
    Completed,
}

impl Progress {
    /// The word that the API and the store use.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Held => "held",
            Self::Paused(_) => "paused",
            Self::Overruled => "overruled",
            Self::FellBack(_) => "fell-back",
            Self::Completed => "completed",
        }
    }

    /// What was found, if it stands still for that.
    pub fn finding(&self) -> Option<&Finding> {
        match self {
            Self::Paused(finding) | Self::FellBack(finding) => Some(finding),
            _ => None,
        }
    }

    /// From the word, and what was found.
    pub fn read(word: &str, finding: Option<Finding>) -> Option<Self> {
        Some(match (word, finding) {
            ("running", None) => Self::Running,
            ("held", None) => Self::Held,
            ("paused", Some(finding)) => Self::Paused(finding),
            ("overruled", None) => Self::Overruled,
            ("fell-back", Some(finding)) => Self::FellBack(finding),
            ("completed", None) => Self::Completed,
            _ => return None,
        })
    }
}

/// A plan and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// The plan.
    pub plan: RolloutPlan,
    /// The step that it is at, from 0.
    pub step: usize,
    /// Since when the policy has been that step's; None: it is yet to be made so.
    pub entered_at: Option<Timestamp>,
    /// The promotion that the tenant was told of: when it happens.
    pub announced_for: Option<Timestamp>,
    /// Whether it goes on.
    pub progress: Progress,
}

impl Rollout {
    /// A plan that is about to begin.
    pub fn new(plan: RolloutPlan) -> Self {
        Self { plan, step: 0, entered_at: None, announced_for: None, progress: Progress::Running }
    }

    /// The step that it is at.
    pub fn current(&self) -> Option<&RolloutStep> {
        self.plan.steps.get(self.step)
    }

    /// Stopped by the tenant. What was announced does not happen. None: it does not run.
    pub fn held(self) -> Option<Self> {
        match self.progress {
            Progress::Running | Progress::Paused(_) => {
                Some(Self { progress: Progress::Held, announced_for: None, ..self })
            }
            Progress::Held | Progress::Overruled | Progress::FellBack(_) | Progress::Completed => None,
        }
    }

    /// Let go on by the tenant. Where the policy is no longer the step's, it begins anew, with what has been proven. None: it
    /// does not stand still, or is at its end.
    pub fn resumed(self) -> Option<Self> {
        match self.progress {
            Progress::Held => Some(Self { progress: Progress::Running, ..self }),
            Progress::Overruled | Progress::FellBack(_) => Some(Self::new(self.plan)),
            Progress::Running | Progress::Paused(_) | Progress::Completed => None,
        }
    }

    /// The state that follows from an action.
    #[must_use]
    pub fn after(self, action: &Action, now: Timestamp) -> Self {
        match action {
            Action::Enter { step, .. } => Self { step: *step, entered_at: Some(now), announced_for: None, ..self },
            Action::Announce { at, .. } => Self { announced_for: Some(*at), ..self },
            Action::Pause(finding) => Self { progress: Progress::Paused(finding.clone()), announced_for: None, ..self },
            Action::Overrule => Self { progress: Progress::Overruled, announced_for: None, ..self },
            Action::Resume => Self { progress: Progress::Running, ..self },
            Action::FallBack { finding, .. } => Self {
                step: 0,
                entered_at: Some(now),
                announced_for: None,
                progress: Progress::FellBack(finding.clone()),
                ..self
            },
            Action::Complete => Self { progress: Progress::Completed, announced_for: None, ..self },
        }
    }

    /// When the current step has lasted long enough. The days that the policy was published before the plan count for
    /// `testing`.
    fn lasts_until(&self, published_since: Option<Timestamp>) -> Option<Timestamp> {
        let begun = if self.step == 0 { published_since } else { self.entered_at };
        Some(begun? + days(self.current()?.days))
    }
}

/// What to do about a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make the policy that of the step: at the beginning of the plan, or as a promotion.
    Enter {
        /// Which, from 0.
        step: usize,
        /// The policy.
        policy: Policy,
    },
    /// Tell that the next step follows.
    Announce {
        /// Which, from 0.
        step: usize,
        /// When.
        at: Timestamp,
    },
    /// Stand still for a finding.
    Pause(Finding),
    /// Stand still: somebody has set a policy that is not the step's.
    Overrule,
    /// Go on: the finding is over.
    Resume,
    /// Go back to `testing`.
    FallBack {
        /// Why.
        finding: Finding,
        /// The policy.
        policy: Policy,
    },
    /// The last step has lasted long enough.
    Complete,
}

/// What a plan is judged by, beside the domain's policy and the latest look at its MX hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutFacts {
    /// The plan and how far it has come.
    pub rollout: Rollout,
    /// Which state of it this is: drawn anew with each change.
    pub revision: i64,
    /// The looks at the MX hosts by day.
    pub history: Vec<MxDay>,
    /// Since when a policy in another mode than `none` has been published without a break.
    pub published_since: Option<Timestamp>,
    /// What verified reports of the last week say.
    pub reports: ReportSums,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_plan_is_one_and_reads_back_as_itself() {
        let plan = RolloutPlan::usual(Fallback::Testing);
        assert_eq!(RolloutPlan::new(plan.steps.clone(), plan.fallback), Ok(plan.clone()));
        let json = serde_json::to_value(&plan).unwrap();
        assert_eq!(serde_json::from_value::<RolloutPlan>(json).unwrap(), plan);
    }

    #[test]
    fn steps_that_would_prove_nothing_are_no_plan() {
        let usual = RolloutPlan::usual(Fallback::Pause).steps;
        let altered = |alter: fn(&mut Vec<RolloutStep>)| {
            let mut steps = usual.clone();
            alter(&mut steps);
            RolloutPlan::new(steps, Fallback::Pause).unwrap_err()
        };
        assert_eq!(altered(|steps| steps.truncate(1)), PlanError::Steps);
        assert_eq!(altered(|steps| steps.extend_from_within(..)), PlanError::Modes { step: 4 });
        assert_eq!(altered(|steps| steps[0].mode = Mode::Enforce), PlanError::Modes { step: 0 });
        assert_eq!(altered(|steps| steps[2].mode = Mode::None), PlanError::Modes { step: 2 });
        assert_eq!(altered(|steps| steps[0].days = 13), PlanError::TestingTooShort);
        let beyond = |field, most| PlanError::OutOfRange { step: 1, field, most };
        assert_eq!(altered(|steps| steps[1].days = 366), beyond("days", 365));
        assert_eq!(altered(|steps| steps[1].clean_days = 366), beyond("clean_days", 365));
        assert_eq!(altered(|steps| steps[1].sessions = MOST_SESSIONS + 1), beyond("sessions", MOST_SESSIONS));
        assert_eq!(altered(|steps| steps[1].reporters = 1_000_001), beyond("reporters", MOST_REPORTERS));
        assert_eq!(altered(|steps| steps[2].max_age = MaxAge::DAY), PlanError::MaxAge { step: 2 });
        assert_eq!(altered(|steps| steps[1].failures_per_thousand = 1_001), beyond("failures_per_thousand", 1_000));
    }
}
