//! Waking domains.

use mtasts_model::{DomainId, Timestamp};
use sea_orm::ConnectionTrait;

use crate::{StoreError, sql};

/// Makes a domain due at once. While a worker has it, that worker's settling makes it due again instead.
pub(crate) async fn wake(db: &impl ConnectionTrait, domain: DomainId, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE domain_schedule SET wake_at = LEAST(wake_at, $1), woken = true WHERE domain_id = $2";
    sql::execute(db, sql, vec![now.into(), domain.as_uuid().into()]).await?;
    Ok(())
}

/// Nothing is due before `until` (None: ever again), and whoever holds a lease is fenced off.
pub(crate) async fn rest(
    db: &impl ConnectionTrait,
    domain: DomainId,
    until: Option<Timestamp>,
) -> Result<(), StoreError> {
    let sql = "UPDATE domain_schedule SET wake_at = $2, woken = false, lease_token = NULL, lease_until = NULL
        WHERE domain_id = $1";
    sql::execute(db, sql, vec![domain.as_uuid().into(), until.into()]).await?;
    Ok(())
}
