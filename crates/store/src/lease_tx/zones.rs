//! What the service's zones are to hold for the domain, and its moves between them.

use mtasts_model::{ZoneName, lifecycle::DomainZones};
use serde_json::json;

use super::LeaseTx;
use crate::{
    Channel, StoreError, ZoneWrite, sql,
    stored::zone_names,
    zone::{draw_revision, is_known, put},
};

impl LeaseTx {
    /// Wants these record sets. All get new revisions, also those that are wanted already: whoever asks again has not
    /// found them where they should be, and they are handed to the providers once more.
    pub async fn want_records(&mut self, writes: &[ZoneWrite]) -> Result<(), StoreError> {
        for write in writes {
            // What never was needs no tombstone.
            if write.set.is_none() && !is_known(&self.tx, write).await? {
                continue;
            }
            let revision = draw_revision(&self.tx).await?;
            put(&self.tx, write, Some(self.lease.domain_id), revision, self.now).await?;
            self.nudges.insert(Channel::Zone);
        }
        Ok(())
    }

    /// The zone that the domain moves to is its home from now on. [`StoreError::NotFound`] when it does not move there.
    pub async fn zone_entered(&mut self, next: &ZoneName) -> Result<(), StoreError> {
        // The looks at the CNAMEs so far were at another home.
        let sql = "UPDATE domains SET former_zone = zone, zone = next_zone, next_zone = NULL,
                delegation = CASE WHEN delegation IS NULL THEN NULL
                    ELSE jsonb_set(delegation, '{home_since}', 'null') END
            WHERE id = $1 AND next_zone = $2 AND former_zone IS NULL";
        self.must_touch(sql, vec![self.id().into(), next.as_str().into()]).await?;
        self.audit("domain.zone-entered", json!({ "zone": next.as_str() })).await
    }

    /// Nothing of the domain is wanted in the zone that it came from any more.
    pub async fn zone_left(&mut self, former: &ZoneName) -> Result<(), StoreError> {
        // Were the zone still counted among those that were written to, a later move back into it would take the records
        // as standing there, and leave a gap.
        let sql = "UPDATE domains SET former_zone = NULL, written_zones = written_zones - $2
            WHERE id = $1 AND former_zone = $2";
        self.must_touch(sql, vec![self.id().into(), former.as_str().into()]).await?;
        self.audit("domain.zone-left", json!({ "zone": former.as_str() })).await
    }

    /// To which zones the records were written.
    pub(super) async fn wrote_to(&mut self, zones: &DomainZones) -> Result<(), StoreError> {
        let sql = "UPDATE domains SET written_zones = $1 WHERE id = $2";
        sql::execute(&self.tx, sql, vec![zone_names(zones).into(), self.id().into()]).await?;
        Ok(())
    }
}
