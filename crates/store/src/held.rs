//! Which policies senders may hold, by the served ledger.

use mtasts_model::{DomainId, PolicyVersionId, Timestamp, simulation::Held};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::{StoreError, TenantTx, sql, stored::At};

/// More than any domain should have within a year; a year is the longest `max_age`.
const MOST: i64 = 50;

#[derive(Debug, FromQueryResult)]
struct Row {
    id: Uuid,
    policy_text: String,
    until: Timestamp,
}

impl TenantTx {
    /// The versions that some sender may hold at this moment, those that are held longest first, at most 50. What edges
    /// have served and not yet reported is not in it: a minute at most.
    pub async fn held_policies(&self, domain: DomainId, now: Timestamp) -> Result<Vec<Held>, StoreError> {
        let sql = "SELECT w.id, w.policy_text, l.last_served_at + w.max_age * interval '1 second' AS until
            FROM served_ledger l JOIN policy_versions w ON w.id = l.version_id
            WHERE l.domain_id = $1 AND l.last_served_at + w.max_age * interval '1 second' > $2
            ORDER BY until DESC, w.seq DESC LIMIT $3";
        let rows = sql::all::<Row>(self.db(), sql, vec![domain.as_uuid().into(), now.into(), MOST.into()]).await?;
        rows.into_iter()
            .map(|row| {
                let at = At { table: "policy_versions", row: row.id };
                let policy = at.policy(&row.policy_text)?;
                Ok(Held { version: PolicyVersionId::from_uuid(row.id), policy, until: row.until })
            })
            .collect()
    }
}
