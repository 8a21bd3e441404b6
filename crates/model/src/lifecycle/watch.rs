//! The watch: each published policy is looked at from outside, as a sender would.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::{clock::Timestamp, ids::PolicyVersionId};

/// After a publication resolvers may hold the older record for its TTL: a look before that would find what is only late.
pub(super) const SETTLES: TimeDelta = TimeDelta::minutes(10);

/// While all is well; with its jitter within a day.
const WELL: TimeDelta = TimeDelta::hours(20);
/// A look that fails is made again soon, before it is believed.
const DOUBTFUL: TimeDelta = TimeDelta::minutes(5);
/// While something is wrong.
const WRONG: TimeDelta = TimeDelta::hours(1);

/// So many looks in a row must fail before that is held to be so: one may have met a passing fault on its own way.
const BELIEVED_AFTER: u32 = 2;

/// What the looks from outside came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchFacts {
    /// When the latest conclusive look was.
    pub at: Timestamp,
    /// Which policy version it looked for.
    pub version: PolicyVersionId,
    /// How many looks in a row have found something wrong; 0: the latest found nothing.
    pub failures: u32,
    /// Whether all is held to be well; None until there is a verdict.
    pub good: Option<bool>,
    /// What the latest look found wrong.
    pub problem: Option<WatchProblem>,
}

/// What a sender would stumble over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchProblem {
    /// A stable word: a code of the inspector, or `sts-record-outdated`, `policy-outdated`, `certificate-outdated`.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

impl WatchFacts {
    /// What follows from one more look, for whatever there was before.
    pub fn after(
        before: Option<&Self>,
        at: Timestamp,
        version: PolicyVersionId,
        problem: Option<WatchProblem>,
    ) -> Self {
        let failures = match &problem {
            None => 0,
            Some(_) => before.map_or(0, |before| before.failures).saturating_add(1),
        };
        let good = match failures {
            0 => Some(true),
            BELIEVED_AFTER.. => Some(false),
            _ => before.and_then(|before| before.good),
        };
        Self { at, version, failures, good, problem }
    }

    /// How long until the next look, if nothing changes.
    pub(super) fn interval(&self) -> TimeDelta {
        match self.failures {
            0 => WELL,
            1..BELIEVED_AFTER => DOUBTFUL,
            _ => WRONG,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock, SeededEntropy};

    #[test]
    fn one_look_that_fails_is_no_verdict_and_two_are() {
        let now = ManualClock::default().now();
        let version = PolicyVersionId::draw(now, &SeededEntropy::new(1));
        let wrong = || Some(WatchProblem { code: "policy-host-unreachable".to_owned(), message: "…".to_owned() });
        let look = |before: Option<&WatchFacts>, problem| WatchFacts::after(before, now, version, problem);
        let first = look(None, wrong());
        assert_eq!((first.failures, first.good, first.interval()), (1, None, DOUBTFUL));
        let second = look(Some(&first), wrong());
        assert_eq!((second.failures, second.good, second.interval()), (2, Some(false), WRONG));
        let clean = look(Some(&second), None);
        assert_eq!((clean.failures, clean.good, clean.interval()), (0, Some(true), WELL));
        let doubtful = look(Some(&clean), wrong());
        assert_eq!((doubtful.failures, doubtful.good), (1, Some(true)), "it may have been the way");
        assert_eq!(look(Some(&doubtful), None).good, Some(true));
    }
}
