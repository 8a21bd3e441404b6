//! The limits as the caller sees them: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers).

use std::{cell::RefCell, fmt::Write as _, rc::Rc, time::Duration};

use actix_web::{
    HttpMessage,
    http::header::{HeaderMap, HeaderName, HeaderValue},
};
use mtasts_store::Quota;

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How one bucket stands after a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    /// The policy's name.
    pub(super) policy: &'static str,
    pub(super) quota: Quota,
    pub(super) until_full: Duration,
}

/// What the answer to a request says of its limits: nothing where none apply. The limiter fills it in.
#[derive(Clone, Default)]
pub(crate) struct Shown(Rc<RefCell<Vec<Standing>>>);

impl Shown {
    /// The request's; an unconnected one where the observing layer is not there.
    pub(super) fn of(message: &impl HttpMessage) -> Self {
        message.extensions().get::<Self>().cloned().unwrap_or_default()
    }

    pub(super) fn set(&self, standings: &[Standing]) {
        self.0.replace(standings.to_vec());
    }

    /// Puts in the headers.
    pub(crate) fn insert_into(&self, headers: &mut HeaderMap) {
        let standings = self.0.borrow();
        if standings.is_empty() {
            return;
        }
        for (name, value) in [(RATELIMIT_POLICY, policies(&standings)), (RATELIMIT, levels(&standings))] {
            // Names and numbers of ours: always a valid value.
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
    }
}

/// A bucket of `q` tokens that an empty one is again after `w` seconds.
fn policies(standings: &[Standing]) -> String {
    list(standings, |text, standing| {
        let quota = standing.quota;
        write!(text, "\"{}\";q={};w={}", standing.policy, quota.burst(), whole_seconds(quota.refill()))
    })
}

/// `r` calls are left; in `t` seconds all of `q` are, or, where none is left, the next one: as `Retry-After` says then.
fn levels(standings: &[Standing]) -> String {
    list(standings, |text, standing| {
        let left = standing.quota.left(standing.until_full);
        let then = if left == 0 { standing.quota.wait(standing.until_full) } else { standing.until_full };
        write!(text, "\"{}\";r={left};t={}", standing.policy, whole_seconds(then))
    })
}

fn list(standings: &[Standing], item: impl Fn(&mut String, &Standing) -> std::fmt::Result) -> String {
    standings.iter().enumerate().fold(String::new(), |mut text, (place, standing)| {
        if place > 0 {
            text.push_str(", ");
        }
        // Writing to a String cannot fail.
        let _ = item(&mut text, standing);
        text
    })
}

/// Rounded up: whoever waits for so long never comes too early.
pub(super) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(standings: &[Standing]) -> (Option<String>, Option<String>) {
        let shown = Shown::default();
        shown.set(standings);
        let mut headers = HeaderMap::new();
        shown.insert_into(&mut headers);
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        (text("ratelimit-policy"), text("ratelimit"))
    }

    fn standing(policy: &'static str, (per_minute, burst): (u32, u32), milliseconds: u64) -> Standing {
        let quota = Quota::per_minute(per_minute, burst).unwrap();
        Standing { policy, quota, until_full: Duration::from_millis(milliseconds) }
    }

    #[test]
    fn the_headers_are_right_to_the_unit() {
        let (policy, level) = headers(&[standing("key", (600, 200), 100), standing("tenant", (3000, 1000), 20)]);
        assert_eq!(policy.as_deref(), Some("\"key\";q=200;w=20, \"tenant\";q=1000;w=20"));
        assert_eq!(level.as_deref(), Some("\"key\";r=199;t=1, \"tenant\";r=999;t=1"));
        for (milliseconds, expected) in [
            (0, "\"key\";r=3;t=0"),
            (20_000, "\"key\";r=2;t=20"),
            (20_001, "\"key\";r=1;t=21"),
            (40_000, "\"key\";r=1;t=40"),
            (40_001, "\"key\";r=0;t=1"),
            (41_500, "\"key\";r=0;t=2"),
            (60_000, "\"key\";r=0;t=20"),
        ] {
            let (policy, level) = headers(&[standing("key", (3, 3), milliseconds)]);
            assert_eq!(policy.as_deref(), Some("\"key\";q=3;w=60"));
            assert_eq!(level.as_deref(), Some(expected), "{milliseconds} ms");
        }
    }

    #[test]
    fn without_a_limit_nothing_is_said() {
        assert_eq!(headers(&[]), (None, None));
    }
}
