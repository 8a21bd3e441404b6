//! A repeated request has one effect (invariant 7).

use chrono::TimeDelta;
use mtasts_model::Timestamp;
use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::TenantTx;
use crate::{Idempotency, StoreError, sql, stored::At};

/// How long an answer is kept.
pub(crate) const IDEMPOTENCY_KEPT: TimeDelta = TimeDelta::hours(24);

/// A key that was found fresh.
#[derive(Debug)]
pub(super) struct Begun {
    key: String,
    request_hash: [u8; 32],
    at: Timestamp,
}

#[derive(Debug, FromQueryResult)]
struct Answered {
    request_hash: Vec<u8>,
    status: i32,
    body: Vec<u8>,
    created_at: Timestamp,
}

impl TenantTx {
    /// Looks up a request's key. Until the transaction ends, others with the same key are told
    /// [`Idempotency::InFlight`].
    pub async fn begin_idempotent(
        &mut self,
        key: &str,
        request_hash: &[u8; 32],
        now: Timestamp,
    ) -> Result<Idempotency, StoreError> {
        // The answer is written in the transaction of its effect, so what is in flight shows by this lock alone.
        let lock = "SELECT pg_try_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 0)) AS locked";
        let row = sql::row(&self.tx, lock, vec![self.tenant.to_string().into(), key.into()]).await?;
        if !row.ok_or(StoreError::NotFound)?.try_get::<bool>("", "locked")? {
            return Ok(Idempotency::InFlight);
        }
        // A statement of its own, so that it sees what the lock's last holder has committed.
        let find = "SELECT request_hash, status, body, created_at FROM idempotency_keys WHERE key = $1
            AND tenant_id = $2";
        let found = sql::one::<Answered>(&self.tx, find, vec![key.into(), self.tenant.as_uuid().into()]).await?;
        if let Some(answered) = found {
            if answered.created_at + IDEMPOTENCY_KEPT > now {
                return self.replay(answered, request_hash);
            }
            let forget = "DELETE FROM idempotency_keys WHERE key = $1 AND tenant_id = $2";
            sql::execute(&self.tx, forget, vec![key.into(), self.tenant.as_uuid().into()]).await?;
        }
        self.idempotent = Some(Begun { key: key.to_owned(), request_hash: *request_hash, at: now });
        Ok(Idempotency::Fresh)
    }

    fn replay(&self, answered: Answered, request_hash: &[u8; 32]) -> Result<Idempotency, StoreError> {
        if answered.request_hash != request_hash {
            return Ok(Idempotency::Conflict);
        }
        let at = At { table: "idempotency_keys", row: self.tenant.as_uuid() };
        Ok(Idempotency::Replay { status: at.number("status", answered.status)?, body: answered.body })
    }

    /// Keeps the answer for a day under the key that [`Self::begin_idempotent`] found fresh in this transaction;
    /// [`StoreError::NotFound`] if it did not.
    pub async fn finish_idempotent(&mut self, key: &str, status: u16, body: &[u8]) -> Result<(), StoreError> {
        let begun = self.idempotent.take().filter(|begun| begun.key == key).ok_or(StoreError::NotFound)?;
        let keep = "INSERT INTO idempotency_keys (tenant_id, key, request_hash, status, body, created_at)
            VALUES ($1, $2, $3, $4, $5, $6)";
        let tenant: Uuid = self.tenant.as_uuid();
        let values = vec![
            tenant.into(),
            begun.key.into(),
            begun.request_hash.to_vec().into(),
            i32::from(status).into(),
            body.to_vec().into(),
            begun.at.into(),
        ];
        sql::execute(&self.tx, keep, values).await?;
        Ok(())
    }
}
