//! Deadlines of our own around calls of the database: the server's time-outs are of no use when its answers are lost.

use std::time::Duration;

use mtasts_store::StoreError;
use tokio::time::timeout;

/// Longer than the server lets any statement run.
const DATABASE_DEADLINE: Duration = Duration::from_secs(15);

/// The call's answer; a database that says nothing is as good as one that is away.
pub(crate) async fn answered<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    answered_within(DATABASE_DEADLINE, call).await
}

async fn answered_within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(deadline, call).await.unwrap_or(Err(StoreError::Silent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_database_that_never_answers_counts_as_away() {
        let silent = std::future::pending::<Result<(), StoreError>>();
        let answer = answered_within(Duration::from_millis(20), silent).await;
        assert!(answer.is_err_and(|error| error.is_unavailable()));
        assert!(matches!(answered(async { Ok::<_, StoreError>(7) }).await, Ok(7)));
    }
}
