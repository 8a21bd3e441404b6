//! Valid credentials whose calls were just refused: until the next call is possible, they are refused again without
//! asking the database or Redis, so that a flood costs nearly nothing.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::shown::Standing;

/// With more at the same time, the others are asked about each time.
const MOST: usize = 4096;

/// A key that was revoked meanwhile is told so after this at the latest.
const LONGEST: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Refused(Mutex<HashMap<[u8; 32], Refusal>>);

struct Refusal {
    at: Duration,
    until: Duration,
    standings: Vec<Standing>,
}

impl Refused {
    /// Notes a refusal of the credential with this hash, whose next call is possible after `wait`.
    pub(super) fn note(&self, credential: [u8; 32], standings: &[Standing], wait: Duration, now: Duration) {
        let refusal = Refusal { at: now, until: now + wait.min(LONGEST), standings: standings.to_vec() };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.retain(|_, refusal| refusal.until > now);
        }
        if all.len() < MOST {
            all.insert(credential, refusal);
        }
    }

    /// How the buckets stand now, if the credential is still refused.
    pub(super) fn standings(&self, credential: &[u8; 32], now: Duration) -> Option<Vec<Standing>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refusal = all.get(credential)?;
        if refusal.until <= now {
            all.remove(credential);
            return None;
        }
        let since = now.saturating_sub(refusal.at);
        let aged =
            |standing: &Standing| Standing { until_full: standing.until_full.saturating_sub(since), ..*standing };
        Some(refusal.standings.iter().map(aged).collect())
    }
}

#[cfg(test)]
mod tests {
    use mtasts_store::Quota;

    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn a_refusal_ages_and_ends_when_the_next_call_is_possible() {
        let refused = Refused::default();
        let quota = Quota::per_minute(600, 1).unwrap();
        let standing = Standing { policy: "key", quota, until_full: 100 * MILLISECOND };
        refused.note([1; 32], &[standing], 100 * MILLISECOND, MILLISECOND);
        let aged = refused.standings(&[1; 32], 41 * MILLISECOND).unwrap();
        assert_eq!(aged[0].until_full, 60 * MILLISECOND);
        assert!(refused.standings(&[2; 32], 41 * MILLISECOND).is_none());
        assert!(refused.standings(&[1; 32], 101 * MILLISECOND).is_none());
        refused.note([1; 32], &[standing], Duration::from_mins(1), MILLISECOND);
        assert!(refused.standings(&[1; 32], LONGEST + MILLISECOND).is_none(), "a second at most");
    }

    #[test]
    fn only_so_many_are_remembered() {
        let refused = Refused::default();
        let note = |number: usize, now| {
            let mut credential = [0; 32];
            credential[..8].copy_from_slice(&number.to_be_bytes());
            refused.note(credential, &[], MILLISECOND, now);
        };
        (0..2 * MOST).for_each(|number| note(number, MILLISECOND));
        assert_eq!(refused.0.lock().unwrap().len(), MOST);
        note(0, 9 * MILLISECOND);
        assert_eq!(refused.0.lock().unwrap().len(), 1, "what has ended makes room");
    }
}
