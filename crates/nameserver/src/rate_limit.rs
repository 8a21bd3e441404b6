//! Response rate limiting: how many UDP answers a network of clients gets.
//!
//! A UDP source can be forged, so that whoever is named in it gets answers that it never asked for. The limit bounds
//! what one network can be made to receive; a real resolver behind it learns by a truncated answer now and then that
//! it shall come over TCP, where nothing is limited, because there the source is proved.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
};

use hickory_proto::op::ResponseCode;
use mtasts_model::Network;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How many UDP answers each network of clients gets. TCP, requests with a good TSIG, and exempt networks are never
/// limited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// Answers a second with records, or saying that a name has none of the type. 0: not limited.
    pub answers_per_second: u32,
    /// Answers a second that deny a name. 0: not limited.
    pub nxdomains_per_second: u32,
    /// Refusals and errors a second. 0: not limited.
    pub errors_per_second: u32,
    /// What a network that was silent can get at once: as much as in so many seconds. At least 1.
    pub burst_seconds: u32,
    /// Each n-th limited answer is sent without records and truncated (TC), so that a resolver comes back over TCP;
    /// the others are dropped. 1: all are truncated. 0: all are dropped.
    pub slip: u32,
    /// Bits of an IPv4 address that make a network.
    pub ipv4_prefix: u32,
    /// Bits of an IPv6 address that make a network.
    pub ipv6_prefix: u32,
    /// Never limited: own resolvers and monitoring, and the workers that read records back.
    pub exempt: Vec<Network>,
    /// How many networks are counted at the same time, each with up to three kinds of answers. More than that, and
    /// those silent for longest are forgotten. 32 octets of memory for each, taken at the start.
    pub buckets: usize,
}

impl Default for RateLimit {
    /// 200 answers, 50 denials and 50 errors a second for each /24 and /56, five seconds' worth at once, each second
    /// limited answer truncated, loopback exempt, 65,536 buckets (2 MiB).
    fn default() -> Self {
        Self {
            answers_per_second: 200,
            nxdomains_per_second: 50,
            errors_per_second: 50,
            burst_seconds: 5,
            slip: 2,
            ipv4_prefix: 24,
            ipv6_prefix: 56,
            exempt: Network::loopback().to_vec(),
            buckets: 65_536,
        }
    }
}

/// Kinds of answers with a bucket of their own: a flood of one kind leaves the others alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Category {
    Answer,
    NxDomain,
    Error,
}

impl Category {
    pub(super) const ALL: [Self; 3] = [Self::Answer, Self::NxDomain, Self::Error];

    pub(super) fn of(code: ResponseCode) -> Self {
        match code {
            ResponseCode::NoError => Self::Answer,
            ResponseCode::NXDomain => Self::NxDomain,
            _ => Self::Error,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::NxDomain => "nxdomain",
            Self::Error => "error",
        }
    }
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Send,
    Truncate,
    Drop,
}

/// One answer, as buckets count.
const ANSWER: u64 = 1_000_000;

/// Buckets that can hold one key: the one silent for longest makes room.
const WAYS: usize = 4;

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// Hash of network and category; 0 is an empty bucket. Two networks with the same 64 bits would share one.
    tag: u64,
    /// Millionths of an answer.
    level: u64,
    /// Microseconds since the start, when it was last filled up. Fine enough to tell who was silent for longest also in
    /// a flood.
    filled_at: u64,
    limited: u32,
}

/// The buckets of all networks: a table of a fixed size, so that forged sources cannot make it grow.
pub(super) struct RateLimiter {
    settings: RateLimit,
    sets: Box<[Mutex<[Bucket; WAYS]>]>,
    hasher: RandomState,
    started: Instant,
}

impl RateLimiter {
    pub(super) fn new(settings: RateLimit) -> Self {
        let sets = settings.buckets.div_ceil(WAYS).max(1);
        Self {
            settings,
            sets: (0..sets).map(|_| Mutex::default()).collect(),
            // Keyed, so that nobody can choose addresses that share a set.
            hasher: RandomState::new(),
            started: Instant::now(),
        }
    }

    /// Counts one answer to this client.
    pub(super) fn judge(&self, client: IpAddr, category: Category, now: Instant) -> Verdict {
        let per_second = u64::from(match category {
            Category::Answer => self.settings.answers_per_second,
            Category::NxDomain => self.settings.nxdomains_per_second,
            Category::Error => self.settings.errors_per_second,
        });
        if per_second == 0 || self.settings.exempt.iter().any(|network| network.contains(client)) {
            return Verdict::Send;
        }
        let network = Network::around(client, self.settings.ipv4_prefix, self.settings.ipv6_prefix);
        let hash = self.hasher.hash_one((network, category));
        // Millionths of an answer in a microsecond are answers in a second.
        let capacity = per_second.saturating_mul(u64::from(self.settings.burst_seconds.max(1))).saturating_mul(ANSWER);
        let elapsed = now.saturating_duration_since(self.started).as_micros();
        let now = u64::try_from(elapsed).unwrap_or(u64::MAX);

        let place = usize::try_from(hash % self.sets.len() as u64).unwrap_or(0);
        let Some(set) = self.sets.get(place) else { return Verdict::Send };
        let mut set = set.lock();
        let bucket = Self::find(&mut set, hash | 1, capacity, now);
        let gained = now.saturating_sub(bucket.filled_at).saturating_mul(per_second);
        bucket.level = bucket.level.saturating_add(gained).min(capacity);
        bucket.filled_at = bucket.filled_at.max(now);
        if bucket.level >= ANSWER {
            bucket.level -= ANSWER;
            return Verdict::Send;
        }
        bucket.limited = bucket.limited.wrapping_add(1);
        match self.settings.slip {
            0 => Verdict::Drop,
            slip if bucket.limited.is_multiple_of(slip) => Verdict::Truncate,
            _ => Verdict::Drop,
        }
    }

    fn find(set: &mut [Bucket; WAYS], tag: u64, capacity: u64, now: u64) -> &mut Bucket {
        let known = set.iter().position(|bucket| bucket.tag == tag);
        let place = known.unwrap_or_else(|| {
            let oldest = set.iter().enumerate().min_by_key(|(_, bucket)| (bucket.tag != 0, bucket.filled_at));
            oldest.map_or(0, |(place, _)| place)
        });
        let bucket = &mut set[place];
        if known.is_none() {
            *bucket = Bucket { tag, level: capacity, filled_at: now, limited: 0 };
        }
        bucket
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limiter(change: impl FnOnce(&mut RateLimit)) -> RateLimiter {
        let mut settings = RateLimit {
            answers_per_second: 10,
            nxdomains_per_second: 2,
            errors_per_second: 2,
            burst_seconds: 1,
            ..RateLimit::default()
        };
        change(&mut settings);
        RateLimiter::new(settings)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of 100 answers at the same instant are sent, truncated and dropped.
    fn hundred(limiter: &RateLimiter, client: &str, category: Category, now: Instant) -> [usize; 3] {
        let verdicts: Vec<_> = (0..100).map(|_| limiter.judge(address(client), category, now)).collect();
        [Verdict::Send, Verdict::Truncate, Verdict::Drop]
            .map(|wanted| verdicts.iter().filter(|verdict| **verdict == wanted).count())
    }

    #[test]
    fn each_network_and_each_category_has_a_bucket_of_its_own() {
        let (limiter, now) = (limiter(|_| ()), Instant::now());
        assert_eq!(hundred(&limiter, "192.0.2.1", Category::Answer, now), [10, 45, 45]);
        assert_eq!(hundred(&limiter, "192.0.2.200", Category::Answer, now), [0, 50, 50]);
        assert_eq!(hundred(&limiter, "192.0.2.1", Category::NxDomain, now), [2, 49, 49]);
        assert_eq!(hundred(&limiter, "192.0.3.1", Category::Answer, now), [10, 45, 45]);
        assert_eq!(hundred(&limiter, "2001:db8::1", Category::Answer, now), [10, 45, 45]);
        assert_eq!(hundred(&limiter, "2001:db8:0:ff::1", Category::Answer, now), [0, 50, 50]);
        assert_eq!(hundred(&limiter, "2001:db8:0:100::1", Category::Answer, now), [10, 45, 45]);
    }

    #[test]
    fn a_bucket_fills_up_again_but_never_above_its_burst() {
        let (limiter, now) = (limiter(|_| ()), Instant::now());
        hundred(&limiter, "192.0.2.1", Category::Answer, now);
        let later = now + Duration::from_millis(500);
        assert_eq!(hundred(&limiter, "192.0.2.1", Category::Answer, later)[0], 5);
        let much_later = now + Duration::from_hours(1);
        assert_eq!(hundred(&limiter, "192.0.2.1", Category::Answer, much_later)[0], 10);
        assert_eq!(hundred(&limiter, "192.0.2.1", Category::Answer, now)[0], 0, "an older clock gains nothing");
    }

    #[test]
    fn slip_says_how_many_limited_answers_are_truncated() {
        let now = Instant::now();
        for (slip, expected) in [(0, [10, 0, 90]), (1, [10, 90, 0]), (3, [10, 30, 60])] {
            let limiter = limiter(|settings| settings.slip = slip);
            assert_eq!(hundred(&limiter, "192.0.2.1", Category::Answer, now), expected, "slip {slip}");
        }
    }

    #[test]
    fn exempt_networks_and_a_limit_of_nought_are_not_limited() {
        let now = Instant::now();
        let limiter = limiter(|settings| {
            settings.errors_per_second = 0;
            settings.exempt.push("198.51.100.0/24".parse().unwrap());
        });
        assert_eq!(hundred(&limiter, "127.0.0.1", Category::Answer, now), [100, 0, 0]);
        assert_eq!(hundred(&limiter, "198.51.100.7", Category::NxDomain, now), [100, 0, 0]);
        assert_eq!(hundred(&limiter, "192.0.2.1", Category::Error, now), [100, 0, 0]);
    }

    #[test]
    fn a_flood_of_forged_sources_neither_grows_the_table_nor_frees_a_busy_network() {
        let limiter = limiter(|settings| settings.buckets = 64);
        let (now, busy) = (Instant::now(), "192.0.2.1");
        hundred(&limiter, busy, Category::Answer, now);
        let mut sent = 0;
        for number in 0..110_000_u32 {
            let now = now + Duration::from_micros(u64::from(number));
            let forged = IpAddr::V4((0x0a00_0000 + number * 256).into());
            limiter.judge(forged, Category::Answer, now);
            // It asks on, so that it is not the one silent for longest.
            sent += usize::from(limiter.judge(address(busy), Category::Answer, now) == Verdict::Send);
        }
        assert_eq!(sent, 1, "110 ms give one answer");
        assert_eq!(limiter.sets.len() * WAYS, 64);
    }
}
