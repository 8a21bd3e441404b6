//! What a zone is to hold, as a sweep compares it with what a provider holds.

use mtasts_model::{
    DomainId, Label, Timestamp, ZoneName,
    feed::{RecordData, RecordType},
};
use sea_orm::FromQueryResult;
use serde_json::Value as Json;
use uuid::Uuid;

use super::HostingLease;
use crate::{Channel, Store, StoreError, schedule, sql, stored::At, zone};

/// One wanted record set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedSet {
    /// Owner name.
    pub name: String,
    /// Its type.
    pub record_type: RecordType,
    /// Its TTL and values; None: it is to be absent.
    pub set: Option<RecordData>,
    /// Whether the provider has taken it: then a difference is drift, and not a write under way.
    pub settled: bool,
}

/// Joined row by row: LIMIT keeps the planner from reading the whole table for it.
///
/// Tombstones too: what is still to be removed is not for a sweep to judge.
const AT: &str = "
    SELECT r.name, r.type AS record_type, r.ttl, r.record_values,
        r.revision <= h.position AND w.retry_at IS NULL AS settled
    FROM zone_records r JOIN zone_hostings h ON h.id = $1
    LEFT JOIN LATERAL (SELECT retry_at FROM zone_writes w
        WHERE w.hosting = $1 AND w.name = r.name AND w.type = r.type LIMIT 1) w ON true
    WHERE r.zone = $2 AND r.name = ANY ($3::text[])";

const AFTER: &str = "
    SELECT r.name, r.type AS record_type, r.ttl, r.record_values,
        r.revision <= h.position AND w.retry_at IS NULL AS settled
    FROM (SELECT * FROM zone_records WHERE zone = $2 AND ttl IS NOT NULL AND (name, type) > ($3, $4)
        ORDER BY name, type LIMIT $5) r
    JOIN zone_hostings h ON h.id = $1
    LEFT JOIN LATERAL (SELECT retry_at FROM zone_writes w
        WHERE w.hosting = $1 AND w.name = r.name AND w.type = r.type LIMIT 1) w ON true
    ORDER BY r.name, r.type";

#[derive(Debug, FromQueryResult)]
struct Row {
    name: String,
    record_type: String,
    ttl: Option<i64>,
    record_values: Option<Json>,
    settled: bool,
}

impl Row {
    fn wanted(self) -> Result<WantedSet, StoreError> {
        Ok(WantedSet {
            record_type: zone::record_type(&self.name, &self.record_type)?,
            set: zone::set(&self.name, self.ttl, self.record_values)?,
            settled: self.settled,
            name: self.name,
        })
    }
}

impl Store {
    /// The wanted sets among these names, those that are to be absent included.
    pub async fn wanted_at(&self, lease: &HostingLease, names: &[String]) -> Result<Vec<WantedSet>, StoreError> {
        let values = vec![lease.id.as_str().into(), lease.zone.as_str().into(), names.to_vec().into()];
        let rows = sql::all::<Row>(self.db(), AT, values).await?;
        rows.into_iter().map(Row::wanted).collect()
    }

    /// Wanted sets after this one, by name and type, `limit` at most.
    pub async fn wanted_after(
        &self,
        lease: &HostingLease,
        after: Option<(&str, RecordType)>,
        limit: u32,
    ) -> Result<Vec<WantedSet>, StoreError> {
        let (name, record_type) = after.map_or(("", ""), |(name, record_type)| (name, record_type.as_str()));
        let values = vec![
            lease.id.as_str().into(),
            lease.zone.as_str().into(),
            name.into(),
            record_type.into(),
            i64::from(limit).into(),
        ];
        let rows = sql::all::<Row>(self.db(), AFTER, values).await?;
        rows.into_iter().map(Row::wanted).collect()
    }

    /// Lets domains that are at home in a zone begin to move to the zones that `choose` says, `limit` at most. Returns
    /// how many began. One that is still leaving another zone waits until it has.
    pub async fn begin_moves(
        &self,
        from: &ZoneName,
        choose: impl Fn(&Label) -> Option<ZoneName> + Send,
        limit: u32,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let tx = self.begin().await?;
        let find = "SELECT id, label FROM domains
            WHERE zone = $1 AND state IN ('pending', 'active') AND next_zone IS NULL AND former_zone IS NULL
            ORDER BY id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED";
        let rows = sql::rows(&tx, find, vec![from.as_str().into(), i64::from(limit).into()]).await?;
        let mut begun = 0;
        for row in rows {
            let id: Uuid = row.try_get("", "id")?;
            let label = At { table: "domains", row: id }.label(&row.try_get::<String>("", "label")?)?;
            let Some(next) = choose(&label).filter(|next| next != from) else { continue };
            let sql = "UPDATE domains SET next_zone = $1 WHERE id = $2";
            sql::execute(&tx, sql, vec![next.as_str().into(), id.into()]).await?;
            schedule::wake(&tx, DomainId::from_uuid(id), now).await?;
            begun += 1;
        }
        let nudges = if begun > 0 { [Channel::Worker].into() } else { std::collections::BTreeSet::new() };
        crate::nudge::notify(&tx, &nudges).await?;
        tx.commit().await?;
        self.nudge_source().publish(&nudges);
        Ok(begun)
    }
}
