//! When a delivery that failed is tried again.

use chrono::{DateTime, TimeDelta};
use mtasts_model::{Entropy, Timestamp};

/// What Standard Webhooks suggests: three days and four hours in all.
const PAUSES: [TimeDelta; 9] = [
    TimeDelta::seconds(5),
    TimeDelta::minutes(5),
    TimeDelta::minutes(30),
    TimeDelta::hours(2),
    TimeDelta::hours(5),
    TimeDelta::hours(10),
    TimeDelta::hours(14),
    TimeDelta::hours(20),
    TimeDelta::hours(24),
];

/// A receiver that asks for more than that is tried sooner.
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(24);

/// When to try again after this many attempts, all of which failed: at most a tenth later than the schedule says, so that
/// what failed together does not come back together; and not before the receiver's own wish. None: never.
pub(super) fn next_attempt(
    attempts: u32,
    retry_after: Option<&str>,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Option<Timestamp> {
    let pause = *PAUSES.get(usize::try_from(attempts).ok()?.checked_sub(1)?)?;
    let mut random = [0_u8; 2];
    entropy.fill(&mut random);
    let jitter = pause * i32::from(u16::from_be_bytes(random)) / (10 * i32::from(u16::MAX));
    let wish = retry_after.and_then(|text| wish(text, now)).unwrap_or_default().min(LONGEST_PAUSE);
    Some(now + (pause + jitter).max(wish))
}

/// `Retry-After` (RFC 9110 §10.2.3): seconds or a date.
fn wish(text: &str, now: Timestamp) -> Option<TimeDelta> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a long time as well.
        return Some(text.parse().ok().and_then(TimeDelta::try_seconds).unwrap_or(LONGEST_PAUSE));
    }
    DateTime::parse_from_rfc2822(text).ok().map(|at| at.to_utc() - now)
}

#[cfg(test)]
mod tests {
    use mtasts_model::{
        Clock,
        clock::{ManualClock, SeededEntropy},
    };

    use super::*;

    #[test]
    fn a_delivery_is_tried_ten_times_over_more_than_three_days_and_no_pause_is_a_tenth_too_long() {
        let (now, entropy) = (ManualClock::default().now(), SeededEntropy::new(1));
        let mut at = now;
        let mut attempts = 1;
        while let Some(next) = next_attempt(attempts, None, at, &entropy) {
            let planned = PAUSES[usize::try_from(attempts).unwrap() - 1];
            assert!(next >= at + planned && next <= at + planned + planned / 10);
            (at, attempts) = (next, attempts + 1);
        }
        assert_eq!(attempts, 10);
        assert!(at - now > TimeDelta::days(3) && at - now < TimeDelta::days(4));
        assert_eq!(next_attempt(0, None, now, &entropy), None);
    }

    #[test]
    fn a_receivers_wish_is_heeded_within_bounds() {
        let (now, entropy) = (ManualClock::default().now(), SeededEntropy::new(1));
        let after = |wish: &str| next_attempt(1, Some(wish), now, &entropy).unwrap() - now;
        assert_eq!(after("3600"), TimeDelta::hours(1));
        assert_eq!(after("Thu, 01 Jan 2026 01:00:00 GMT"), TimeDelta::hours(1));
        for long in ["999999", "99999999999999999999999", "Thu, 01 Jan 2099 01:00:00 GMT"] {
            assert_eq!(after(long), LONGEST_PAUSE, "{long}");
        }
        for none in ["", "0", "1", "-5", "soon", "Thu, 01 Jan 2015 01:00:00 GMT"] {
            assert!(after(none) >= TimeDelta::seconds(5) && after(none) < TimeDelta::seconds(6), "{none}");
        }
    }
}
