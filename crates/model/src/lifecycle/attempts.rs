//! What has failed since it last succeeded, and when it may be tried again.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::{clock::Timestamp, label::Label, lifecycle::StepKind};

/// Failures of one kind of step since its last success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The step.
    pub kind: StepKind,
    /// How often it has failed in a row.
    pub failures: u32,
    /// When it last failed.
    pub last_at: Timestamp,
    /// A stable CamelCase word for the condition.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// Not before this moment (a CA's or provider's Retry-After, a budget).
    pub retry_after: Option<Timestamp>,
}

/// The steps on the way to a certificate.
pub(super) const ORDER_STEPS: [StepKind; 6] = [
    StepKind::PlaceOrder,
    StepKind::PublishChallenge,
    StepKind::AnswerChallenge,
    StepKind::PollOrder,
    StepKind::FinalizeOrder,
    StepKind::Issuance,
];

/// All failures of one domain.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempts(Vec<Attempt>);

impl Attempts {
    /// The failures of one kind of step, if it has failed since its last success.
    pub fn of(&self, kind: StepKind) -> Option<&Attempt> {
        self.0.iter().find(|attempt| attempt.kind == kind)
    }

    /// The last failure of any of these kinds.
    pub(super) fn latest(&self, kinds: &[StepKind]) -> Option<&Attempt> {
        kinds.iter().filter_map(|kind| self.of(*kind)).max_by_key(|attempt| attempt.last_at)
    }

    /// Counts a failure.
    pub fn failed(
        &mut self,
        kind: StepKind,
        reason: &str,
        message: &str,
        retry_after: Option<Timestamp>,
        now: Timestamp,
    ) {
        let failures = self.of(kind).map_or(0, |attempt| attempt.failures).saturating_add(1);
        self.succeeded(kind);
        self.0.push(Attempt {
            kind,
            failures,
            last_at: now,
            reason: reason.to_owned(),
            message: message.to_owned(),
            retry_after,
        });
    }

    /// Forgets the failures of one kind of step.
    pub fn succeeded(&mut self, kind: StepKind) {
        self.0.retain(|attempt| attempt.kind != kind);
    }

    /// True when nothing has failed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// When this kind of step may be tried again; None when it has not failed.
    pub(super) fn ready_at(&self, kind: StepKind, label: &Label) -> Option<Timestamp> {
        let attempt = self.of(kind)?;
        let (base, cap) = kind.backoff();
        let doubled = base.checked_mul(1_i32 << attempt.failures.saturating_sub(1).min(20)).unwrap_or(cap).min(cap);
        let delay = spread(doubled, label, u64::from(attempt.failures));
        let ready = attempt.last_at + delay;
        Some(attempt.retry_after.map_or(ready, |after| after.max(ready)))
    }
}

/// Stretches a delay by 0 to 20 %, the same for the same label and salt, so that domains which failed together do not
/// come back together.
pub(super) fn spread(delay: TimeDelta, label: &Label, salt: u64) -> TimeDelta {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ salt; // FNV-1a
    for byte in label.as_str().bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let per_mille = i32::try_from((hash >> 16) % 201).unwrap_or(0);
    delay + delay / 1000 * per_mille
}
