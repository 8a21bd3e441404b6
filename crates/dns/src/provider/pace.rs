//! How fast a provider is asked.

use std::time::Duration;

use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};

/// A token bucket: at most `burst` requests at once, and `per_second` in the long run. Shared by all calls to one zone.
#[derive(Debug)]
pub struct Pace {
    per_second: f64,
    burst: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tokens: f64,
    filled_at: Instant,
    /// The provider asked to be left alone until then.
    resting_until: Option<Instant>,
}

impl Pace {
    /// A full bucket. Rates below one request an hour are taken for that.
    pub fn new(per_second: f64, burst: u32) -> Self {
        let burst = f64::from(burst.max(1));
        let state = State { tokens: burst, filled_at: Instant::now(), resting_until: None };
        Self { per_second: per_second.max(1.0 / 3600.0), burst, state: Mutex::new(state) }
    }

    /// Waits for a token, first come, first served.
    pub async fn take(&self) {
        // Held while waiting: that is the queue.
        let mut state = self.state.lock().await;
        if let Some(until) = state.resting_until.take() {
            sleep_until(until).await;
        }
        let now = Instant::now();
        let filled = state.tokens + (now - state.filled_at).as_secs_f64() * self.per_second;
        state.tokens = filled.min(self.burst);
        state.filled_at = now;
        if state.tokens < 1.0 {
            let until = now + Duration::from_secs_f64((1.0 - state.tokens) / self.per_second);
            sleep_until(until).await;
            state.tokens = 1.0;
            state.filled_at = until;
        }
        state.tokens -= 1.0;
    }

    /// Lets nobody through for a while: the provider said so.
    pub async fn rest(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut state = self.state.lock().await;
        state.resting_until = Some(state.resting_until.map_or(until, |before| before.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let (pace, start) = (Pace::new(2.0, 3), Instant::now());
        for _ in 0..3 {
            pace.take().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..4 {
            pace.take().await;
        }
        let waited = start.elapsed();
        assert!((1.99..2.02).contains(&waited.as_secs_f64()), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_that_the_provider_asks_for_is_kept() {
        let (pace, start) = (Pace::new(100.0, 10), Instant::now());
        pace.take().await;
        pace.rest(Duration::from_secs(30)).await;
        pace.rest(Duration::from_secs(5)).await;
        pace.take().await;
        assert!(start.elapsed() >= Duration::from_secs(30));
        let waited = start.elapsed();
        pace.take().await;
        assert_eq!(start.elapsed(), waited, "and only once");
    }
}
