//! What a provider answered.

use std::collections::BTreeSet;

use mtasts_model::{Revision, Timestamp, feed::RecordType};

use super::{HostingLease, locked};
use crate::{Channel, Store, StoreError, nudge, sql, stored::revision_column};

/// Which record set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteKey {
    /// Owner name.
    pub name: String,
    /// Its type.
    pub record_type: RecordType,
}

/// What became of one record set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteOutcome {
    /// Which.
    pub key: WriteKey,
    /// How it went.
    pub result: WriteResult,
}

/// How a write went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteResult {
    /// The provider has the set, and calls it so.
    Arrived {
        /// Its reference.
        reference: Option<String>,
    },
    /// The provider has no such set any more.
    Removed,
    /// The provider does not take it.
    Failed {
        /// A stable word in CamelCase.
        reason: String,
        /// For people: what is so and what to do.
        message: String,
        /// When to try again.
        retry_at: Timestamp,
    },
}

const BEGIN: &str = "
    INSERT INTO zone_writes (hosting, name, type, arrived)
    SELECT $1, name, type, false FROM unnest($2::text[], $3::text[]) AS k (name, type)
    ON CONFLICT (hosting, name, type) DO UPDATE SET arrived = false";

const ARRIVED: &str = "
    UPDATE zone_writes w
    SET arrived = true, reference = nullif(k.reference, ''), reason = NULL, message = NULL, tries = 0, retry_at = NULL
    FROM unnest($2::text[], $3::text[], $4::text[]) AS k (name, type, reference)
    WHERE w.hosting = $1 AND w.name = k.name AND w.type = k.type";

const REMOVED: &str = "
    DELETE FROM zone_writes w USING unnest($2::text[], $3::text[]) AS k (name, type)
    WHERE w.hosting = $1 AND w.name = k.name AND w.type = k.type";

const FAILED: &str = "
    INSERT INTO zone_writes AS w (hosting, name, type, arrived, reason, message, tries, retry_at)
    SELECT $1, k.name, k.type, false, k.reason, k.message, 1, k.retry_at
    FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
        AS k (name, type, reason, message, retry_at)
    ON CONFLICT (hosting, name, type) DO UPDATE SET arrived = false, reason = excluded.reason,
        message = excluded.message, tries = LEAST(w.tries, 1000000) + 1, retry_at = excluded.retry_at";

const WAKE: &str = "
    UPDATE domain_schedule SET wake_at = LEAST(wake_at, $1), woken = true WHERE domain_id = ANY ($2::uuid[])";

impl Store {
    /// These are about to be handed to the provider: from now on nobody knows whether they arrived, until an outcome
    /// says so. [`StoreError::Fenced`] when the lease is lost.
    pub async fn hosting_begins(&self, lease: &HostingLease, keys: &[WriteKey]) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        locked(&tx, lease).await?;
        let (names, types) = columns(keys.iter());
        sql::execute(&tx, BEGIN, vec![lease.id.as_str().into(), names.into(), types.into()]).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Notes outcomes, moves the hosting on to `position`, and wakes the domains whose record sets these are.
    /// [`StoreError::Fenced`] when the lease is lost.
    pub async fn hosting_outcomes(
        &self,
        lease: &HostingLease,
        outcomes: &[WriteOutcome],
        position: Revision,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        locked(&tx, lease).await?;
        let id = || sea_orm::Value::from(lease.id.as_str());
        let of = |wanted: fn(&WriteResult) -> bool| outcomes.iter().filter(move |outcome| wanted(&outcome.result));
        let arrived: Vec<_> = of(|result| matches!(result, WriteResult::Arrived { .. })).collect();
        if !arrived.is_empty() {
            let (names, types) = columns(arrived.iter().map(|outcome| &outcome.key));
            // An array of the driver's holds no nulls: nobody's reference is empty.
            let references: Vec<String> = arrived
                .iter()
                .map(|outcome| match &outcome.result {
                    WriteResult::Arrived { reference } => reference.clone().unwrap_or_default(),
                    _ => String::new(),
                })
                .collect();
            sql::execute(&tx, ARRIVED, vec![id(), names.into(), types.into(), references.into()]).await?;
        }
        let (names, types) = columns(of(|result| matches!(result, WriteResult::Removed)).map(|outcome| &outcome.key));
        if !names.is_empty() {
            sql::execute(&tx, REMOVED, vec![id(), names.into(), types.into()]).await?;
        }
        let (mut names, mut types) = (Vec::new(), Vec::new());
        let (mut reasons, mut messages, mut retries) = (Vec::new(), Vec::new(), Vec::new());
        for outcome in outcomes {
            if let WriteResult::Failed { reason, message, retry_at } = &outcome.result {
                names.push(outcome.key.name.clone());
                types.push(outcome.key.record_type.as_str().to_owned());
                reasons.push(reason.clone());
                messages.push(message.clone());
                retries.push(*retry_at);
            }
        }
        if !names.is_empty() {
            let values = vec![id(), names.into(), types.into(), reasons.into(), messages.into(), retries.into()];
            sql::execute(&tx, FAILED, values).await?;
        }
        let moved = "UPDATE zone_hostings SET position = GREATEST(position, $1) WHERE id = $2";
        sql::execute(&tx, moved, vec![revision_column(position).into(), id()]).await?;
        let domains = Self::domains_of(&tx, outcomes.iter().map(|outcome| outcome.key.name.clone()).collect()).await?;
        let mut nudges = BTreeSet::new();
        if !domains.is_empty() {
            sql::execute(&tx, WAKE, vec![now.into(), domains.into()]).await?;
            nudges.insert(Channel::Worker);
        }
        nudge::notify(&tx, &nudges).await?;
        tx.commit().await?;
        self.nudge_source().publish(&nudges);
        Ok(())
    }
}

fn columns<'a>(keys: impl Iterator<Item = &'a WriteKey>) -> (Vec<String>, Vec<String>) {
    keys.map(|key| (key.name.clone(), key.record_type.as_str().to_owned())).unzip()
}
