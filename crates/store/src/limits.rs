//! Rate limits that several processes share: token buckets in Redis, taken from by one script in one round trip.
//!
//! A bucket is one number, the moment at which it is full again (the generic cell rate algorithm, GCRA), by the clock
//! of the Redis server. So neither the processes' clocks nor their number matter, and a key expires by itself once its
//! bucket is full.

mod link;

use std::time::Duration;

use redis::Script;
use secrecy::{ExposeSecret, SecretString};

use self::link::Link;
use crate::StoreError;

const TAKE: &str = include_str!("limits/take.lua");

/// How many calls are allowed: a bucket of `burst` tokens into which tokens come back at an even pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// In how many microseconds one token comes back.
    interval: u64,
    burst: u32,
}

/// Numbers that make no quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuotaError {
    /// A rate of zero, or of more than one in a microsecond.
    #[error("must be 1 to {} a minute", Quota::MAX_PER_MINUTE)]
    Rate,
    /// A bucket that holds nothing, or takes longer than a day to fill.
    #[error("the burst must be at least 1, and small enough to come back within a day")]
    Burst,
}

impl Quota {
    /// The highest rate: one token a microsecond.
    pub const MAX_PER_MINUTE: u32 = 60_000_000;

    /// A day.
    const LONGEST_REFILL_MICROS: u64 = 86_400_000_000;

    /// `per_minute` calls in the long run, and `burst` of them at once.
    pub const fn per_minute(per_minute: u32, burst: u32) -> Result<Self, QuotaError> {
        if per_minute == 0 || per_minute > Self::MAX_PER_MINUTE {
            return Err(QuotaError::Rate);
        }
        let interval = Self::MAX_PER_MINUTE.div_ceil(per_minute) as u64;
        if burst == 0 || interval * burst as u64 > Self::LONGEST_REFILL_MICROS {
            return Err(QuotaError::Burst);
        }
        Ok(Self { interval, burst })
    }

    /// How many tokens the bucket holds.
    pub fn burst(self) -> u32 {
        self.burst
    }

    /// In how long one token comes back.
    pub fn interval(self) -> Duration {
        Duration::from_micros(self.interval)
    }

    /// In how long an empty bucket is full.
    pub fn refill(self) -> Duration {
        self.interval().saturating_mul(self.burst)
    }

    /// Takes a token from a bucket that is full in `until_full`: in how long it is full then. None when no token is left.
    pub fn take(self, until_full: Duration) -> Option<Duration> {
        Some(until_full + self.interval()).filter(|after| *after <= self.refill())
    }

    /// How many tokens are in a bucket that is full in `until_full`.
    pub fn left(self, until_full: Duration) -> u32 {
        let left = self.refill().saturating_sub(until_full).as_micros() / u128::from(self.interval);
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// In how long a bucket that is full in `until_full` has a token; zero when it has one.
    pub fn wait(self, until_full: Duration) -> Duration {
        (until_full + self.interval()).saturating_sub(self.refill())
    }
}

/// One bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitBucket {
    /// What it counts, such as the calls of one key: the same in all processes that share it. Buckets that are taken
    /// from together have the same `{…}` part, which keeps them on one server of a Redis cluster.
    pub name: String,
    /// Its size and pace.
    pub quota: Quota,
}

/// What came of taking a token from each of several buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// False when at least one was empty: then nothing was taken from any.
    pub allowed: bool,
    /// For each bucket, in the order asked: in how long it is full.
    pub until_full: Vec<Duration>,
}

/// The buckets in Redis.
#[derive(Debug)]
pub struct SharedLimits {
    script: Script,
    link: Link,
    deadline: Duration,
}

impl SharedLimits {
    /// Connects in the background, now and whenever the connection was lost. `deadline` is what one [`Self::take`] may
    /// take. [`StoreError::BadUrl`] when the URL cannot be read. Must be called within a tokio runtime, which carries
    /// the connection from then on.
    pub fn connect(url: &SecretString, deadline: Duration) -> Result<Self, StoreError> {
        let client = redis::Client::open(url.expose_secret()).map_err(|_| StoreError::BadUrl { what: "Redis" })?;
        let script = Script::new(TAKE);
        Ok(Self { link: Link::start(client, script.clone()), script, deadline })
    }

    /// Takes a token from each bucket, or none from any, in one round trip (three when Redis has lost the script). None
    /// when Redis is away or slow: at once while that is known, else after the deadline.
    pub async fn take(&self, buckets: &[LimitBucket]) -> Option<Taken> {
        let mut live = self.link.live()?;
        let mut call = self.script.prepare_invoke();
        for bucket in buckets {
            call.key(format!("mtasts:limit:{}", bucket.name)).arg(bucket.quota.interval).arg(bucket.quota.burst);
        }
        let answer = tokio::time::timeout(self.deadline, call.invoke_async::<Vec<u64>>(&mut live.connection)).await;
        match answer {
            Ok(Ok(answer)) => {
                let taken = read(&answer, buckets.len());
                if taken.is_none() {
                    self.link.lost(&live, "the script's answer cannot be read");
                }
                taken
            }
            Ok(Err(error)) => {
                self.link.lost(&live, &error);
                None
            }
            Err(_) => {
                self.link.lost(&live, "no answer in time");
                None
            }
        }
    }
}

fn read(answer: &[u64], buckets: usize) -> Option<Taken> {
    let (allowed, until_full) = answer.split_first()?;
    let until_full: Vec<_> = until_full.iter().copied().map(Duration::from_micros).collect();
    (until_full.len() == buckets).then_some(Taken { allowed: *allowed == 1, until_full })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_one_token_an_interval() {
        let quota = Quota::per_minute(600, 3).unwrap();
        let mut until_full = Duration::ZERO;
        for left in [2, 1, 0] {
            until_full = quota.take(until_full).unwrap();
            assert_eq!(quota.left(until_full), left);
        }
        assert_eq!(quota.take(until_full), None);
        assert_eq!(quota.wait(until_full), Duration::from_millis(100));
        let later = until_full.saturating_sub(Duration::from_micros(99_999));
        assert_eq!((quota.take(later), quota.wait(later)), (None, Duration::from_micros(1)));
        let refilled = until_full.saturating_sub(Duration::from_millis(100));
        assert_eq!((quota.left(refilled), quota.wait(refilled)), (1, Duration::ZERO));
        assert!(quota.take(refilled).is_some());
    }

    #[test]
    fn numbers_without_sense_make_no_quota() {
        for (per_minute, burst, error) in [
            (0, 1, QuotaError::Rate),
            (Quota::MAX_PER_MINUTE + 1, 1, QuotaError::Rate),
            (1, 0, QuotaError::Burst),
            (1, 1441, QuotaError::Burst),
        ] {
            assert_eq!(Quota::per_minute(per_minute, burst), Err(error));
        }
        assert_eq!(Quota::per_minute(1, 1440).unwrap().refill(), Duration::from_hours(24));
        assert_eq!(Quota::per_minute(Quota::MAX_PER_MINUTE, u32::MAX).unwrap().interval(), Duration::from_micros(1));
    }

    #[test]
    fn an_answer_of_another_form_is_none() {
        assert_eq!(read(&[], 0), None);
        assert_eq!(read(&[1, 5], 2), None);
        let until_full = vec![Duration::from_micros(5)];
        assert_eq!(read(&[0, 5], 1), Some(Taken { allowed: false, until_full }));
    }
}
