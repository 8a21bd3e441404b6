//! Token buckets and ACME accounts: what all domains of an issuer, or of a tenant, share.

use chrono::TimeDelta;
use mtasts_model::{TenantId, Timestamp};
use sea_orm::FromQueryResult;

use crate::{Store, StoreError, sql};

/// A bucket that all who spend from it share: its name, its size, and how fast it fills.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenBucket {
    scope: String,
    capacity: f64,
    per_hour: f64,
    /// What must be left in it.
    reserve: f64,
}

impl TokenBucket {
    /// The bucket of an issuer's account. `reserve` tokens are left in it; whoever is
    /// urgent says 0.
    pub fn of_issuer(issuer: &str, capacity: u32, per_hour: u32, reserve: u32) -> Self {
        Self::new(format!("ca {issuer}"), capacity, per_hour, reserve)
    }

    /// One of a tenant's buckets.
    pub fn of_tenant(tenant: TenantId, name: &str, capacity: u32, per_hour: u32) -> Self {
        Self::new(format!("{tenant} {name}"), capacity, per_hour, 0)
    }

    fn new(scope: String, capacity: u32, per_hour: u32, reserve: u32) -> Self {
        Self { scope, capacity: f64::from(capacity), per_hour: f64::from(per_hour), reserve: f64::from(reserve) }
    }
}

/// Which bucket was empty, and when it will not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketEmpty {
    /// Its place among those that were asked.
    pub index: usize,
    /// When to try again.
    pub until: Timestamp,
}

/// What is in a bucket.
#[derive(Debug, Clone, Copy, FromQueryResult)]
struct Level {
    tokens: f64,
    updated_at: Timestamp,
}

impl TokenBucket {
    /// Fills it up to now, and takes a token: what is left, or when there will be one to take.
    fn take(&self, level: Level, now: Timestamp) -> Result<f64, Timestamp> {
        let hours = (now - level.updated_at).max(TimeDelta::zero()).as_seconds_f64() / 3600.0;
        let tokens = (level.tokens + hours * self.per_hour).min(self.capacity);
        let missing = self.reserve + 1.0 - tokens;
        if missing <= 0.0 {
            return Ok(tokens - 1.0);
        }
        // An empty bucket that never fills, or a reserve that is larger than the bucket: look again in a day.
        let seconds = (missing / self.per_hour * 3600.0).clamp(0.0, 86_400.0);
        Err(now + TimeDelta::milliseconds(milliseconds(seconds)))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "of a number between 0 and a day, rounded up")]
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0).ceil() as i64
}

impl Store {
    /// Takes a token from each of the buckets, or none from any. Whoever takes from several names them in the same
    /// order: the narrowest first, the one that all share last.
    pub async fn take_tokens(
        &self,
        buckets: &[TokenBucket],
        now: Timestamp,
    ) -> Result<Result<(), BucketEmpty>, StoreError> {
        let tx = self.begin().await?;
        for (index, bucket) in buckets.iter().enumerate() {
            let scope = bucket.scope.as_str();
            let full =
                "INSERT INTO token_buckets (scope, tokens, updated_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
            sql::execute(&tx, full, vec![scope.into(), bucket.capacity.into(), now.into()]).await?;
            let find = "SELECT tokens, updated_at FROM token_buckets WHERE scope = $1 FOR UPDATE";
            let level = sql::one::<Level>(&tx, find, vec![scope.into()]).await?.ok_or(StoreError::NotFound)?;
            let left = match bucket.take(level, now) {
                Ok(left) => left,
                // Dropped, the transaction gives back what was taken from the others.
                Err(until) => return Ok(Err(BucketEmpty { index, until })),
            };
            let update = "UPDATE token_buckets SET tokens = $1, updated_at = $2 WHERE scope = $3";
            sql::execute(&tx, update, vec![left.into(), now.into(), scope.into()]).await?;
        }
        tx.commit().await?;
        Ok(Ok(()))
    }

    /// Gives back what [`Self::take_tokens`] took and was not spent.
    pub async fn return_tokens(&self, buckets: &[TokenBucket]) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        for bucket in buckets {
            let update = "UPDATE token_buckets SET tokens = LEAST(tokens + 1, $1) WHERE scope = $2";
            sql::execute(&tx, update, vec![bucket.capacity.into(), bucket.scope.as_str().into()]).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The sealed credentials of our account at an issuer.
    pub async fn acme_account(&self, issuer: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let row = sql::row(self.db(), ACCOUNT, vec![issuer.into()]).await?;
        Ok(row.map(|row| row.try_get("", "sealed")).transpose()?)
    }

    /// Keeps the sealed credentials of an account if what is kept now is `replaces` (None: nothing). Returns those that
    /// are kept in the end: of several workers that make an account at once, the first's.
    pub async fn save_acme_account(
        &self,
        issuer: &str,
        sealed: &[u8],
        replaces: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Vec<u8>, StoreError> {
        let (statement, values) = match replaces {
            None => (
                "INSERT INTO acme_accounts (issuer, sealed, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                vec![issuer.into(), sealed.to_vec().into(), now.into()],
            ),
            Some(old) => (
                "UPDATE acme_accounts SET sealed = $2, created_at = $3 WHERE issuer = $1 AND sealed = $4",
                vec![issuer.into(), sealed.to_vec().into(), now.into(), old.to_vec().into()],
            ),
        };
        sql::execute(self.db(), statement, values).await?;
        self.acme_account(issuer).await?.ok_or(StoreError::NotFound)
    }
}

const ACCOUNT: &str = "SELECT sealed FROM acme_accounts WHERE issuer = $1";

#[cfg(test)]
mod tests {
    use mtasts_model::{Clock, clock::ManualClock};

    use super::*;

    const BUCKET: TokenBucket = TokenBucket { scope: String::new(), capacity: 10.0, per_hour: 60.0, reserve: 0.0 };

    #[test]
    fn a_bucket_gives_what_it_holds_and_then_says_when() {
        let now = ManualClock::default().now();
        let level = Level { tokens: 1.0, updated_at: now };
        assert_eq!(BUCKET.take(level, now), Ok(0.0));
        let empty = Level { tokens: 0.0, updated_at: now };
        assert_eq!(BUCKET.take(empty, now), Err(now + TimeDelta::minutes(1)));
        assert_eq!(BUCKET.take(empty, now + TimeDelta::minutes(1)), Ok(0.0));
    }

    #[test]
    fn a_bucket_never_holds_more_than_its_capacity() {
        let now = ManualClock::default().now();
        let level = Level { tokens: 10.0, updated_at: now - TimeDelta::days(9) };
        assert_eq!(BUCKET.take(level, now), Ok(9.0));
    }

    #[test]
    fn a_reserve_is_left_alone() {
        let now = ManualClock::default().now();
        let level = Level { tokens: 3.0, updated_at: now };
        assert!(TokenBucket { reserve: 3.0, ..BUCKET }.take(level, now).is_err());
        assert!(TokenBucket { reserve: 2.0, ..BUCKET }.take(level, now).is_ok());
    }

    #[test]
    fn a_clock_that_was_stepped_back_takes_nothing_out_and_a_bucket_that_never_fills_is_asked_daily() {
        let now = ManualClock::default().now();
        let level = Level { tokens: 1.0, updated_at: now + TimeDelta::hours(1) };
        assert_eq!(BUCKET.take(level, now), Ok(0.0));
        let never = TokenBucket { per_hour: 0.0, ..BUCKET };
        assert_eq!(never.take(Level { tokens: 0.0, updated_at: now }, now), Err(now + TimeDelta::days(1)));
    }
}
