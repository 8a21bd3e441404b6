//! What a provider has yet to be told.

use mtasts_model::{
    Revision, Timestamp,
    feed::{RecordData, RecordType},
};
use sea_orm::FromQueryResult;
use serde_json::Value as Json;
use uuid::Uuid;

use super::{HostingLease, locked, revision};
use crate::{Store, StoreError, sql, stored::revision_column, zone};

/// A wanted record set that the provider may not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueWrite {
    /// Owner name, absolute, lower-case, without the trailing dot.
    pub name: String,
    /// Its type.
    pub record_type: RecordType,
    /// Its values; None: it is to be removed.
    pub set: Option<RecordData>,
    /// False: it was never handed to this provider.
    pub attempted: bool,
    /// The provider's reference, if the last write arrived and gave one.
    pub reference: Option<String>,
    /// How often it was refused in a row.
    pub tries: u32,
}

/// One batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostingWork {
    /// What is to be handed over: changes in the order in which they were wanted, then what is tried again.
    pub writes: Vec<DueWrite>,
    /// Where the hosting stands once these have been handed over.
    pub position: Revision,
    /// True when more may be waiting.
    pub more: bool,
}

/// Joined row by row: LIMIT keeps the planner from reading the whole table for it.
const CHANGED: &str = "
    SELECT r.name, r.type AS record_type, r.revision, r.ttl, r.record_values, w.arrived, w.reference, w.tries
    FROM (SELECT * FROM zone_records WHERE zone = $2 AND revision > $3 AND revision <= $5
        ORDER BY revision LIMIT $4) r
    LEFT JOIN LATERAL (SELECT * FROM zone_writes w
        WHERE w.hosting = $1 AND w.name = r.name AND w.type = r.type LIMIT 1) w ON true
    ORDER BY r.revision";

/// The newest revision that can be seen. Commit order is revision order, so all below it can be seen as well.
const HEAD: &str = "SELECT COALESCE(max(revision), 0) AS head FROM zone_records";

/// What changed since comes with the changes.
const AGAIN: &str = "
    SELECT w.name, w.type AS record_type, COALESCE(r.revision, 0) AS revision, r.ttl, r.record_values, w.arrived,
        w.reference, w.tries
    FROM (SELECT * FROM zone_writes WHERE hosting = $1 AND retry_at <= $2 ORDER BY retry_at LIMIT $4) w
    LEFT JOIN LATERAL (SELECT * FROM zone_records r WHERE r.name = w.name AND r.type = w.type LIMIT 1) r ON true
    WHERE COALESCE(r.revision, 0) <= $3";

/// How many revisions of other zones may lie between a hosting that has nothing to do and the newest.
const FAR: u64 = 1_000;

#[derive(Debug, FromQueryResult)]
struct Row {
    name: String,
    record_type: String,
    revision: i64,
    ttl: Option<i64>,
    record_values: Option<Json>,
    arrived: Option<bool>,
    reference: Option<String>,
    tries: Option<i32>,
}

impl Row {
    fn write(self) -> Result<DueWrite, StoreError> {
        Ok(DueWrite {
            record_type: zone::record_type(&self.name, &self.record_type)?,
            set: zone::set(&self.name, self.ttl, self.record_values)?,
            attempted: self.arrived.is_some(),
            // An older reference may name what is gone, or not all of what there is.
            reference: self.reference.filter(|_| self.arrived == Some(true)),
            tries: self.tries.and_then(|tries| u32::try_from(tries).ok()).unwrap_or_default(),
            name: self.name,
        })
    }
}

impl Store {
    /// The next batch, `limit` writes at most. [`StoreError::Fenced`] when the lease is lost.
    pub async fn hosting_due(
        &self,
        lease: &HostingLease,
        limit: u32,
        now: Timestamp,
    ) -> Result<HostingWork, StoreError> {
        let tx = self.begin().await?;
        let position = locked(&tx, lease).await?;
        // Asked first, so that nothing above it is taken for absent.
        let head: i64 = sql::row(&tx, HEAD, vec![]).await?.ok_or(StoreError::NotFound)?.try_get("", "head")?;
        let values = vec![
            lease.id.as_str().into(),
            lease.zone.as_str().into(),
            revision_column(position).into(),
            i64::from(limit).into(),
            head.into(),
        ];
        let mut rows = sql::all::<Row>(&tx, CHANGED, values).await?;
        let full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
        let last = rows.last().map(|row| row.revision).filter(|_| full).unwrap_or(head);
        let reached = revision(&lease.id, last)?.max(position);
        if rows.is_empty() && reached.number() > position.number() + FAR {
            // Or else the changes of other zones would be walked over again and again.
            let sql = "UPDATE zone_hostings SET position = $1 WHERE id = $2";
            sql::execute(&tx, sql, vec![revision_column(reached).into(), lease.id.as_str().into()]).await?;
        }
        let left = limit.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX));
        if left > 0 {
            let values =
                vec![lease.id.as_str().into(), now.into(), revision_column(position).into(), i64::from(left).into()];
            rows.extend(sql::all::<Row>(&tx, AGAIN, values).await?);
        }
        let more = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
        let writes = rows.into_iter().map(Row::write).collect::<Result<_, _>>()?;
        tx.commit().await?;
        Ok(HostingWork { writes, position: reached, more })
    }

    /// When the next refused write is to be tried again.
    pub async fn hosting_retry_at(&self, lease: &HostingLease) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT min(retry_at) AS retry_at FROM zone_writes WHERE hosting = $1 AND retry_at IS NOT NULL";
        let row = sql::row(self.db(), sql, vec![lease.id.as_str().into()]).await?;
        Ok(row.map(|row| row.try_get::<Option<Timestamp>>("", "retry_at")).transpose()?.flatten())
    }

    /// Domains whose record sets are among these names, at most one for each.
    pub(super) async fn domains_of(
        db: &impl sea_orm::ConnectionTrait,
        names: Vec<String>,
    ) -> Result<Vec<Uuid>, StoreError> {
        let sql = "SELECT DISTINCT domain_id FROM zone_records WHERE name = ANY ($1::text[]) AND domain_id IS NOT NULL";
        let rows = sql::rows(db, sql, vec![names.into()]).await?;
        rows.iter().map(|row| Ok(row.try_get("", "domain_id")?)).collect()
    }
}
