//! What a plan does next.

use chrono::TimeDelta;

use super::{Action, Fallback, Finding, NOTICE, Progress, Rollout, RolloutFacts, RolloutStep};
use crate::{
    clock::Timestamp,
    lifecycle::MxSeen,
    policy::{Mode, Policy},
    readiness::{self, Demands, Evidence, MxDay, Reason, Weight, enforced, passing_since},
};

/// How often a plan is looked at in `testing`, and in `enforce`, where failures cost mail. What else happens to the domain
/// brings it up sooner.
const LOOK_AGAIN: (TimeDelta, TimeDelta) = (TimeDelta::hours(6), TimeDelta::hours(1));

/// A finding must have been over for so long before a plan that it paused goes on.
const CALM: TimeDelta = TimeDelta::hours(24);

/// What is known of the domain.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The newest policy, and whether it is published.
    pub policy: &'a Policy,
    /// Whether its id was read back from DNS.
    pub published: bool,
    /// The latest look at the MX hosts.
    pub mx: Option<&'a MxSeen>,
    /// The plan, and what it is judged by.
    pub facts: &'a RolloutFacts,
}

/// What to do now, and when to look again if nothing happens before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// None: nothing now.
    pub action: Option<Action>,
    /// None: when somebody asks.
    pub wake_at: Option<Timestamp>,
    /// What the plan waits for, in a sentence for people.
    pub waits_for: String,
}

impl Next {
    fn act(action: Action) -> Self {
        Self { action: Some(action), wake_at: None, waits_for: String::new() }
    }

    fn wait(until: Option<Timestamp>, what: impl Into<String>) -> Self {
        Self { action: None, wake_at: until, waits_for: what.into() }
    }
}

/// The one next thing to do about a plan. Invariant 6: no step into `enforce` or further into it without proof, by a look of
/// today, the days and the reports that the plan asks for.
pub fn next(situation: &Situation<'_>, now: Timestamp) -> Next {
    let rollout = &situation.facts.rollout;
    let Some(step) = rollout.current() else { return Next::wait(None, "the plan has no such step") };
    match &rollout.progress {
        Progress::Held => Next::wait(None, "you have paused the plan"),
        Progress::Overruled => Next::wait(None, "the policy was changed by hand: resume the plan to begin anew"),
        Progress::FellBack(finding) => Next::wait(None, finding.message.clone()),
        Progress::Completed => Next::wait(None, "the plan is completed"),
        Progress::Paused(_) => paused(situation, step, now),
        Progress::Running if rollout.entered_at.is_none() => begin(situation, step),
        Progress::Running if !is_of(situation.policy, step) => Next::act(Action::Overrule),
        Progress::Running => running(situation, step, now),
    }
}

fn is_of(policy: &Policy, step: &RolloutStep) -> bool {
    policy.mode() == step.mode && policy.max_age() == step.max_age
}

fn policy_of(policy: &Policy, step: &RolloutStep) -> Option<Policy> {
    Policy::new(step.mode, policy.mx().to_vec(), step.max_age).ok()
}

/// Only `testing` is ever begun with: it needs no proof. Who has set `enforce` meanwhile keeps it.
fn begin(situation: &Situation<'_>, step: &RolloutStep) -> Next {
    if situation.policy.mode() == Mode::Enforce || step.mode != Mode::Testing {
        return Next::act(Action::Overrule);
    }
    match policy_of(situation.policy, step) {
        Some(policy) => Next::act(Action::Enter { step: situation.facts.rollout.step, policy }),
        None => Next::wait(None, "the policy has no MX patterns: set some"),
    }
}

fn running(situation: &Situation<'_>, step: &RolloutStep, now: Timestamp) -> Next {
    let (facts, rollout) = (situation.facts, &situation.facts.rollout);
    let Some(policy) = enforced(situation.policy) else { return Next::act(Action::Overrule) };
    let reasons = reasons(situation, &policy, step, now);
    if let Some(finding) = reasons.iter().find(|reason| is_finding(reason)).map(found) {
        let failures = readiness::verified_failures(facts.reports, step.failures_per_thousand).map(|f| found(&f));
        let back = rollout.plan.steps().first().and_then(|first| policy_of(situation.policy, first));
        return match (failures, back) {
            (Some(finding), Some(policy))
                if step.mode == Mode::Enforce && rollout.plan.fallback() == Fallback::Testing =>
            {
                Next::act(Action::FallBack { finding, policy })
            }
            _ => Next::act(Action::Pause(finding)),
        };
    }
    let again = Some(now + if step.mode == Mode::Enforce { LOOK_AGAIN.1 } else { LOOK_AGAIN.0 });
    let Some(until) = rollout.lasts_until(facts.published_since).filter(|_| situation.published) else {
        return Next::wait(again, "the policy of this step is on its way to senders");
    };
    let following = rollout.step + 1;
    let Some(promoted) = rollout.plan.steps().get(following) else {
        if until <= now {
            return Next::act(Action::Complete);
        }
        return Next::wait(again.min(Some(until)), format!("the last step lasts until {until}"));
    };
    if let Some(reason) = reasons.first() {
        return Next::wait(again, format!("not proven yet: {}", reason.message));
    }
    match rollout.announced_for {
        None if until <= now + NOTICE => Next::act(Action::Announce { step: following, at: until.max(now + NOTICE) }),
        None => Next::wait(again.min(Some(until - NOTICE)), format!("this step lasts until {until}")),
        Some(at) if at > now => Next::wait(again.min(Some(at)), format!("the next step follows at {at}")),
        Some(_) => match policy_of(situation.policy, promoted) {
            Some(policy) => Next::act(Action::Enter { step: following, policy }),
            None => Next::act(Action::Overrule),
        },
    }
}

/// Goes on once nothing is found any more, and each host has passed for a day.
fn paused(situation: &Situation<'_>, step: &RolloutStep, now: Timestamp) -> Next {
    let Some(policy) = enforced(situation.policy) else { return Next::act(Action::Overrule) };
    let again = Some(now + LOOK_AGAIN.1);
    if let Some(reason) = reasons(situation, &policy, step, now).iter().find(|reason| reason.weight == Weight::Blocking)
    {
        return Next::wait(again, reason.message.clone());
    }
    match calm_since(situation.mx, &situation.facts.history) {
        Some(since) if since + CALM <= now => Next::act(Action::Resume),
        Some(since) => Next::wait(again.min(Some(since + CALM)), "what was found is over since less than a day"),
        None => Next::wait(again, "the MX hosts are to pass for a day"),
    }
}

/// Since when all hosts have passed that are MX hosts now.
fn calm_since(mx: Option<&MxSeen>, history: &[MxDay]) -> Option<Timestamp> {
    let good = passing_since(history);
    let since: Option<Vec<Timestamp>> = mx?.hosts.iter().map(|mx| good.get(&mx.host).copied().flatten()).collect();
    since?.into_iter().max()
}

fn reasons(situation: &Situation<'_>, policy: &Policy, step: &RolloutStep, now: Timestamp) -> Vec<Reason> {
    let facts = situation.facts;
    let evidence = Evidence {
        policy,
        mx: situation.mx,
        history: &facts.history,
        published_since: facts.published_since,
        reports: facts.reports,
    };
    let demands = Demands {
        mx_days: step.clean_days,
        // The step's own days are counted by the plan.
        testing_days: 0,
        sessions: step.sessions,
        reporters: step.reporters,
        failures_per_thousand: step.failures_per_thousand,
    };
    readiness::reasons(&evidence, &demands, now)
}

/// What speaks against the domain, and not against our own knowledge of it: a look that is late is waited for.
fn is_finding(reason: &Reason) -> bool {
    reason.weight == Weight::Blocking && !matches!(reason.code.as_str(), "mx-not-checked" | "mx-check-too-old")
}

fn found(reason: &Reason) -> Finding {
    Finding { code: reason.code.clone(), message: format!("{}: {}", reason.message, reason.advice) }
}

impl Rollout {
    /// Whether the plan stands still until the tenant does something.
    pub fn needs_tenant(&self) -> bool {
        matches!(self.progress, Progress::Held | Progress::Overruled | Progress::FellBack(_))
    }
}
