//! How long things may take and how often they are looked at again.

use chrono::TimeDelta;

use crate::{clock::Timestamp, lifecycle::StepKind};

/// `max_age` of the `none` policy that a withdrawal publishes, in seconds: one day (RFC 8461 §8.3 asks for "a small
/// value"; below a day some senders do not look again in time).
pub const WITHDRAWAL_MAX_AGE: u32 = 86_400;

/// Let's Encrypt refuses further tries after five failed validations per name, account and hour; invariant 9 keeps
/// everybody below that.
pub const MAX_FAILED_VALIDATIONS_PER_HOUR: usize = 5;

/// An observation of the delegation must be this fresh before ownership is taken or anything is ordered.
pub(super) const FRESH_DELEGATION: TimeDelta = TimeDelta::minutes(5);

/// A delegated domain is looked at again daily.
pub(super) const DELEGATION_RECHECK: TimeDelta = TimeDelta::hours(24);

/// For so long after a removal CNAMEs are looked for that lead here still.
pub(super) const DANGLING_WATCH: TimeDelta = TimeDelta::days(30);

/// A missing CNAME is looked for this often at first, and at least hourly.
pub(super) const DELEGATION_RETRY: (TimeDelta, TimeDelta) = (TimeDelta::seconds(3), TimeDelta::hours(1));

/// How long a CNAME may be gone before the policy host is given up. A CNAME that leads to another tenant's label ends
/// it at once; one that is just missing may be a slip that its owner mends, and nobody else gains by our serving on.
pub(super) const LOST_GRACE: TimeDelta = TimeDelta::hours(1);

/// MX hosts that pass are probed daily, others hourly. With its jitter the former stays within the day that a look
/// counts as proof for `enforce`.
pub(super) const MX_RECHECK: (TimeDelta, TimeDelta) = (TimeDelta::hours(18), TimeDelta::hours(1));

/// A look that found no room at an MX host is never put off for so long.
pub(super) const LONGEST_PUT_OFF: TimeDelta = TimeDelta::hours(1);

/// Published records are read back this often, so that a stranger's edit is noticed.
pub(super) const RECORD_RECHECK: TimeDelta = TimeDelta::hours(6);

/// How long a DNS provider that has yet to take the records is waited for between looks, should its wake-up be lost.
pub(super) const PROVIDER_WAIT: (TimeDelta, TimeDelta) = (TimeDelta::seconds(1), TimeDelta::minutes(5));

/// A zone that a domain has left answers for it for so long after the last CNAME was seen to lead there: two days are
/// the longest that resolvers commonly keep a CNAME.
pub(super) const FORMER_ZONE_GRACE: TimeDelta = TimeDelta::hours(48);

/// Records that were written but do not show are written again after this.
pub(super) const REWRITE_AFTER: TimeDelta = TimeDelta::seconds(30);

/// An order that has stood in one state for so long is given up (CAs expire theirs after a week).
pub(super) const ORDER_STALE: TimeDelta = TimeDelta::hours(24);

/// How long edges are waited for between looks: half of the time waited so far, within these bounds.
pub(super) const EDGE_WAIT: (TimeDelta, TimeDelta) = (TimeDelta::milliseconds(100), TimeDelta::seconds(10));

/// A withdrawal looks this often whether the edges' ledgers are complete (they flush at least each minute).
pub(super) const LEDGER_WAIT: (TimeDelta, TimeDelta) = (TimeDelta::seconds(1), TimeDelta::minutes(1));

/// After the `none` policy's id was published, the old TXT may live on in caches for its TTL, and a fetch may be under
/// way.
pub(super) const TXT_SETTLES: TimeDelta = TimeDelta::minutes(10);

/// A time stamp that lies further ahead than this means that a clock was stepped: look again now.
const CLOCK_SLACK: TimeDelta = TimeDelta::minutes(5);

impl StepKind {
    /// The first delay after a failure and the longest one.
    pub(super) fn backoff(self) -> (TimeDelta, TimeDelta) {
        match self {
            Self::ObserveDelegation | Self::DiscoverMx => (TimeDelta::seconds(5), TimeDelta::hours(1)),
            Self::Issuance => (TimeDelta::minutes(1), TimeDelta::hours(12)),
            Self::PlaceOrder | Self::FinalizeOrder | Self::AbandonOrder => {
                (TimeDelta::seconds(5), TimeDelta::minutes(30))
            }
            Self::PublishChallenge | Self::AnswerChallenge | Self::PollOrder => {
                (TimeDelta::seconds(2), TimeDelta::minutes(5))
            }
            Self::RefreshAdvice => (TimeDelta::minutes(10), TimeDelta::hours(6)),
            Self::ProbeMx | Self::Watch => (TimeDelta::seconds(30), TimeDelta::hours(1)),
            Self::VerifyServed => (TimeDelta::milliseconds(500), TimeDelta::minutes(5)),
            Self::ConfirmRecords => (TimeDelta::milliseconds(200), TimeDelta::minutes(2)),
            Self::WriteRecords | Self::RemoveRecords => (TimeDelta::seconds(1), TimeDelta::minutes(5)),
            Self::TakeHost
            | Self::ReleaseHost
            | Self::DraftOrder
            | Self::ServeHost
            | Self::MarkServed
            | Self::TellOfExpiry
            | Self::AdvanceMigration
            | Self::AdvanceRollout
            | Self::EnterZone
            | Self::LeaveZone
            | Self::Finish => (TimeDelta::seconds(1), TimeDelta::minutes(2)),
        }
    }
}

/// When something seen `at` is due again, every `interval`: now, if the clock has been stepped back behind it.
pub(super) fn due_at(at: Timestamp, interval: TimeDelta, now: Timestamp) -> Timestamp {
    if at > now + CLOCK_SLACK { now } else { at + interval }
}

/// True when something seen `at` is younger than `limit`, and not from the future of a stepped clock.
pub(super) fn is_fresh(at: Timestamp, limit: TimeDelta, now: Timestamp) -> bool {
    at <= now + CLOCK_SLACK && now < at + limit
}

/// Half of the time waited since `since`, within bounds.
pub(super) fn growing_wait(since: Timestamp, (least, most): (TimeDelta, TimeDelta), now: Timestamp) -> TimeDelta {
    ((now - since) / 2).clamp(least, most)
}
