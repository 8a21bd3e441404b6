//! Which look at an MX host will do for a domain, and when to come back for one that found no room. No I/O.

use chrono::TimeDelta;
use mtasts_model::Timestamp;
use mtasts_store::{MX_HOST_LOOKS_KEPT, MxHostLook};

/// A look that began further ahead than this is one of a clock that was stepped.
const CLOCK_SLACK: TimeDelta = TimeDelta::minutes(5);

/// How long another's look at a host is waited for: as long as it has taken so far, within these bounds.
const BUSY_WAIT: (TimeDelta, TimeDelta) = (TimeDelta::seconds(2), TimeDelta::seconds(30));

/// How long room at a host is waited for: half of the time that the domain has waited for its look, within these bounds. Many
/// domains may wait for one address.
const ROOM_WAIT: (TimeDelta, TimeDelta) = (TimeDelta::seconds(5), TimeDelta::minutes(10));

/// How old a look at an MX host may be that domains go by in place of one of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MxLookAges {
    passed: TimeDelta,
    failed: TimeDelta,
}

/// Ages that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a look may be 0 to {} minutes old", MX_HOST_LOOKS_KEPT.num_minutes())]
pub struct MxLookAgesError;

impl Default for MxLookAges {
    /// An hour for a host that passed, ten minutes for one that failed. Domains look daily while all is well, and what proves
    /// `enforce` may be a day old: an hour takes little of that, and makes 24 looks a day of a million. Domains look hourly
    /// while a host fails, and somebody is mending it.
    fn default() -> Self {
        Self { passed: TimeDelta::minutes(60), failed: TimeDelta::minutes(10) }
    }
}

impl MxLookAges {
    /// The ages for hosts that passed and that failed. At 0 each domain has looks of its own.
    pub fn new(passed: TimeDelta, failed: TimeDelta) -> Result<Self, MxLookAgesError> {
        let possible = TimeDelta::zero()..=MX_HOST_LOOKS_KEPT;
        if possible.contains(&passed) && possible.contains(&failed) {
            Ok(Self { passed, failed })
        } else {
            Err(MxLookAgesError)
        }
    }

    /// Whether a domain may go by this look. `asked_at`: somebody has asked since the domain's last look to look again at
    /// once. That is a word that what failed is mended; what passed stays as it is.
    pub(crate) fn allow(&self, look: &MxHostLook, asked_at: Option<Timestamp>, now: Timestamp) -> bool {
        let (most, answers) = match look.failure {
            None => (self.passed, true),
            Some(_) => (self.failed, asked_at.is_none_or(|asked| look.looked_at >= asked)),
        };
        answers && look.looked_at <= now + CLOCK_SLACK && now - look.looked_at < most
    }
}

/// Why a host was not looked at now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hindrance {
    /// Somebody else is looking, since then.
    Busy {
        /// Since when.
        since: Timestamp,
    },
    /// Too many connections to one of its addresses have begun lately.
    NoRoom {
        /// For about so long there is none.
        wait: TimeDelta,
    },
}

impl Hindrance {
    /// When to come back, for a domain that waits for a look since `waiting_since`. `jitter` in 256ths stretches the wait up to
    /// twofold, so that domains which were put off together do not come back together.
    pub(crate) fn come_back(self, waiting_since: Timestamp, now: Timestamp, jitter: u8) -> Timestamp {
        let wait = match self {
            Self::Busy { since } => (now - since).clamp(BUSY_WAIT.0, BUSY_WAIT.1),
            Self::NoRoom { wait } => {
                ((now - waiting_since) / 2).clamp(ROOM_WAIT.0, ROOM_WAIT.1).max(wait.min(ROOM_WAIT.1))
            }
        };
        now + wait + wait / 256 * i32::from(jitter)
    }
}

#[cfg(test)]
mod tests {
    use mtasts_model::{
        Clock,
        clock::{ManualClock, SeededEntropy},
        lifecycle::MxFailure,
    };

    use super::*;

    fn look(looked_at: Timestamp, fails: bool) -> MxHostLook {
        let failure = fails.then(|| MxFailure { code: "c".to_owned(), message: "m".to_owned() });
        MxHostLook { looked_at, failure }
    }

    #[test]
    fn a_look_will_do_until_it_is_too_old_or_somebody_says_that_the_host_is_mended() {
        let (now, ages) = (ManualClock::default().now(), MxLookAges::default());
        let minutes = TimeDelta::minutes;
        // How long ago it was, whether it failed, how long ago somebody asked; whether it will do.
        let table = [
            (0, false, None, true),
            (59, false, None, true),
            (60, false, None, false),
            (9, true, None, true),
            (10, true, None, false),
            (30, false, Some(1), true),
            (5, true, Some(1), false),
            (5, true, Some(6), true),
            (5, true, Some(5), true),
            (-4, false, None, true),
            (-6, false, None, false),
            (-6, true, None, false),
        ];
        for (ago, fails, asked, expected) in table {
            let asked_at = asked.map(|ago| now - minutes(ago));
            let allowed = ages.allow(&look(now - minutes(ago), fails), asked_at, now);
            assert_eq!(allowed, expected, "{ago} {fails} {asked:?}");
        }
    }

    #[test]
    fn ages_are_within_what_is_remembered() {
        let minutes = TimeDelta::minutes;
        assert!(MxLookAges::new(minutes(120), minutes(0)).is_ok());
        for (passed, failed) in [(121, 10), (60, 121), (-1, 10), (60, -1)] {
            assert_eq!(MxLookAges::new(minutes(passed), minutes(failed)), Err(MxLookAgesError));
        }
        let (now, none) = (ManualClock::default().now(), MxLookAges::new(minutes(0), minutes(0)).unwrap());
        assert!(!none.allow(&look(now, false), None, now), "each domain has looks of its own");
    }

    #[test]
    fn whoever_is_put_off_comes_back_later_than_now_and_within_the_hour_and_not_with_all_others() {
        use mtasts_model::Entropy;
        let (now, entropy) = (ManualClock::default().now(), SeededEntropy::new(7));
        let mut random = [0; 20];
        for _ in 0..10_000 {
            entropy.fill(&mut random);
            let span = |at: usize| {
                let octets = [random[at], random[at + 1], random[at + 2], random[at + 3], 0, 0, 0, 0];
                TimeDelta::milliseconds(i64::from_le_bytes(octets))
            };
            // Times ahead of now are those of other machines' clocks.
            let waiting_since = now - span(0) + TimeDelta::minutes(5);
            for hindrance in [Hindrance::Busy { since: now - span(4) }, Hindrance::NoRoom { wait: span(8) }] {
                let (soonest, latest) =
                    (hindrance.come_back(waiting_since, now, 0), hindrance.come_back(waiting_since, now, 255));
                let back = hindrance.come_back(waiting_since, now, random[19]);
                assert!(now + TimeDelta::seconds(2) <= soonest && soonest <= back && back <= latest, "{hindrance:?}");
                assert!(
                    latest < now + TimeDelta::hours(1),
                    "{hindrance:?}: the planner would think of a stepped clock"
                );
                assert!((latest - soonest) * 2 > soonest - now, "{hindrance:?}: spread over half of the wait at least");
            }
        }
    }

    #[test]
    fn the_longer_a_domain_waits_for_room_the_rarer_it_asks() {
        let now = ManualClock::default().now();
        let none = Hindrance::NoRoom { wait: TimeDelta::seconds(2) };
        let waits = [0, 20, 600, 86_400].map(|seconds| {
            let since = now - TimeDelta::seconds(seconds);
            (none.come_back(since, now, 0) - now).num_seconds()
        });
        assert_eq!(waits, [5, 10, 300, 600]);
        let told = Hindrance::NoRoom { wait: TimeDelta::seconds(40) };
        assert_eq!(told.come_back(now, now, 0), now + TimeDelta::seconds(40));
    }
}
