//! The service's zone, where our own nameservers answer for it.

use std::collections::BTreeSet;

use mtasts_model::{
    DomainId, Revision, Timestamp, ZoneName,
    feed::{RecordData, RecordType},
};

use sea_orm::{ConnectionTrait, FromQueryResult};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::{
    Channel, Store, StoreError, nudge, sql,
    stored::{At, revision_column, to_json},
};

/// One record set as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneWrite {
    /// In which of the service's zones.
    pub zone: ZoneName,
    /// Owner name, absolute, lower-case, without the trailing dot.
    pub name: String,
    /// Its type.
    pub record_type: RecordType,
    /// Its values; None: no such record set.
    pub set: Option<RecordData>,
}

impl Store {
    /// One record set; None when there is none.
    pub async fn zone_read(&self, name: &str, record_type: RecordType) -> Result<Option<RecordData>, StoreError> {
        match read(self.db(), name, record_type).await? {
            Some(row) => row.set(name),
            None => Ok(None),
        }
    }

    /// Writes record sets in one transaction. Returns the revision of the latest change that these names had, so that
    /// a caller can wait until nameservers have it; what is so already gets no new revision.
    pub async fn zone_apply(&self, writes: &[ZoneWrite], now: Timestamp) -> Result<Revision, StoreError> {
        let tx = self.begin().await?;
        let mut latest = Revision::ZERO;
        let mut nudges = BTreeSet::new();
        for write in writes {
            let before = unchanged(&tx, write).await?;
            let revision = if let Some(before) = before {
                before
            } else {
                // The first draw locks the feed. Read again under the lock, so that nobody's newer write is undone
                // by an older decision.
                let revision = draw_revision(&tx).await?;
                if let Some(before) = unchanged(&tx, write).await? {
                    before
                } else {
                    put(&tx, write, None, revision, now).await?;
                    nudges.insert(Channel::Zone);
                    revision
                }
            };
            latest = latest.max(revision);
        }
        nudge::notify(&tx, &nudges).await?;
        tx.commit().await?;
        self.nudge_source().publish(&nudges);
        Ok(latest)
    }
}

/// A row of the zone, gone or not.
#[derive(Debug, FromQueryResult)]
struct ZoneRow {
    revision: i64,
    ttl: Option<i64>,
    record_values: Option<Json>,
}

impl ZoneRow {
    fn set(self, name: &str) -> Result<Option<RecordData>, StoreError> {
        set(name, self.ttl, self.record_values)
    }
}

/// The values of a row; None: they are gone.
pub(crate) fn set(name: &str, ttl: Option<i64>, values: Option<Json>) -> Result<Option<RecordData>, StoreError> {
    let (Some(ttl), Some(values)) = (ttl, values) else { return Ok(None) };
    let unreadable = |column| move |error| StoreError::unreadable("zone_records", column, name, error);
    Ok(Some(RecordData {
        ttl: u32::try_from(ttl).map_err(|error| StoreError::unreadable("zone_records", "ttl", name, error))?,
        values: serde_json::from_value(values).map_err(unreadable("record_values"))?,
    }))
}

async fn read(db: &impl ConnectionTrait, name: &str, record_type: RecordType) -> Result<Option<ZoneRow>, StoreError> {
    let sql = "SELECT revision, ttl, record_values FROM zone_records WHERE name = $1 AND type = $2";
    sql::one(db, sql, vec![name.into(), record_type.as_str().into()]).await
}

/// The revision since which the record set is as it is to be; None when it is not.
async fn unchanged(db: &impl ConnectionTrait, write: &ZoneWrite) -> Result<Option<Revision>, StoreError> {
    let Some(row) = read(db, &write.name, write.record_type).await? else {
        // What never was needs no tombstone.
        return Ok(write.set.is_none().then_some(Revision::ZERO));
    };
    let revision = u64::try_from(row.revision)
        .map_err(|error| StoreError::unreadable("zone_records", "revision", &write.name, error))?;
    let same = match (row.set(&write.name)?, &write.set) {
        // A set has no order.
        (Some(found), Some(wanted)) => found.ttl == wanted.ttl && found.same_values(wanted),
        (None, None) => true,
        _ => false,
    };
    Ok(same.then_some(Revision::new(revision)))
}

/// Draws the next revision, and holds the feed until the transaction ends.
pub(crate) async fn draw_revision(db: &impl ConnectionTrait) -> Result<Revision, StoreError> {
    let row = sql::row(db, "SELECT next_zone_revision() AS revision", vec![]).await?;
    let number: i64 = row.ok_or(StoreError::NotFound)?.try_get("", "revision")?;
    At { table: "zone_records", row: Uuid::nil() }.revision("revision", number)
}

/// Writes a set at a drawn revision.
pub(crate) async fn put(
    db: &impl ConnectionTrait,
    write: &ZoneWrite,
    domain: Option<DomainId>,
    revision: Revision,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO zone_records (name, type, zone, domain_id, revision, changed_at, ttl, record_values)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (name, type) DO UPDATE SET zone = excluded.zone, domain_id = excluded.domain_id,
            revision = excluded.revision, changed_at = excluded.changed_at, ttl = excluded.ttl,
            record_values = excluded.record_values";
    let values = write.set.as_ref().map(|set| to_json(&set.values)).transpose()?;
    let values = vec![
        write.name.as_str().into(),
        write.record_type.as_str().into(),
        write.zone.as_str().into(),
        domain.map(DomainId::as_uuid).into(),
        revision_column(revision).into(),
        now.into(),
        write.set.as_ref().map(|set| i64::from(set.ttl)).into(),
        values.into(),
    ];
    sql::execute(db, sql, values).await?;
    Ok(())
}

/// Whether there ever was such a set, so that its absence needs a tombstone.
pub(crate) async fn is_known(db: &impl ConnectionTrait, write: &ZoneWrite) -> Result<bool, StoreError> {
    Ok(read(db, &write.name, write.record_type).await?.is_some())
}

/// The type that a word in the column stands for.
pub(crate) fn record_type(name: &str, word: &str) -> Result<RecordType, StoreError> {
    RecordType::ALL
        .into_iter()
        .find(|known| known.as_str() == word)
        .ok_or_else(|| StoreError::unreadable("zone_records", "type", name, UnknownType(word.to_owned())))
}

#[derive(Debug, thiserror::Error)]
#[error("unknown type of record {0:?}")]
struct UnknownType(String);
