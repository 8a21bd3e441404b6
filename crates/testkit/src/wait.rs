//! Waiting on conditions, never for a guessed time.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(20);

/// Polls `holds` until it is true. Panics with `what` (such as "the edge serves version 2") at the deadline.
pub async fn wait_until<F, Fut>(deadline: Duration, what: &str, mut holds: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    wait_for(deadline, what, || {
        let holds = holds();
        async move { holds.await.then_some(()) }
    })
    .await;
}

/// Polls `probe` until it gives a value. Panics with `what` (such as "a certificate") at the deadline.
pub async fn wait_for<T, F, Fut>(deadline: Duration, what: &str, mut probe: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let start = Instant::now();
    let polling = async {
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(deadline, polling)
        .await
        .unwrap_or_else(|_| panic!("waited {:.1?} in vain until: {what}", start.elapsed()))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn waits_until_the_condition_turns_true() {
        let looks = Cell::new(0);
        wait_until(Duration::from_secs(10), "three looks", || async {
            looks.set(looks.get() + 1);
            looks.get() == 3
        })
        .await;
        assert_eq!(looks.get(), 3);
    }

    #[tokio::test]
    #[should_panic(expected = "in vain until: the moon is cheese")]
    async fn a_missed_deadline_panics_with_what_was_waited_for() {
        wait_until(Duration::from_millis(60), "the moon is cheese", || async { false }).await;
    }

    #[tokio::test]
    #[should_panic(expected = "in vain until: an answer")]
    async fn a_probe_that_hangs_does_not_outlive_the_deadline() {
        wait_until(Duration::from_millis(60), "an answer", std::future::pending::<bool>).await;
    }
}
