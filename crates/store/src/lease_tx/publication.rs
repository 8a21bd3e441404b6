//! How far a version has come, and what the service's zone says of it.

use chrono::TimeDelta;
use mtasts_model::{PolicyVersionId, ReportUri, lifecycle::DomainZones};
use serde_json::json;

use super::LeaseTx;
use crate::{DomainState, StoreError, schedule, sql, stored::report_uri_texts};

impl LeaseTx {
    /// Every in-service edge has the version. The first time counts.
    pub async fn version_served(&mut self, id: PolicyVersionId) -> Result<(), StoreError> {
        let sql = "UPDATE policy_versions SET served_at = COALESCE(served_at, $1) WHERE id = $2 AND domain_id = $3";
        self.must_touch(sql, vec![self.now.into(), id.as_uuid().into(), self.id().into()]).await
    }

    /// The version was fetched as a sender would, byte for byte. The first time counts.
    pub async fn version_verified(&mut self, id: PolicyVersionId) -> Result<(), StoreError> {
        let sql = "UPDATE policy_versions SET verified_at = COALESCE(verified_at, $1) WHERE id = $2 AND domain_id = $3";
        self.must_touch(sql, vec![self.now.into(), id.as_uuid().into(), self.id().into()]).await
    }

    /// The records of the version, with the domain's report addresses, are wanted in these zones (they may or may not
    /// have arrived).
    pub async fn records_written(&mut self, id: PolicyVersionId, zones: &DomainZones) -> Result<(), StoreError> {
        let sql = "UPDATE domains SET written_version_id = $1, written_at = $2, written_report_uris = report_uris
            WHERE id = $3
            AND EXISTS (SELECT FROM policy_versions WHERE id = $1 AND domain_id = $3)";
        self.must_touch(sql, vec![id.as_uuid().into(), self.now.into(), self.id().into()]).await?;
        self.wrote_to(zones).await
    }

    /// The records of the version were read back from all authoritative servers, with these report addresses in the
    /// TLSRPT record: those that [`crate::DomainSettings`] gave when the records were built.
    pub async fn records_confirmed(
        &mut self,
        id: PolicyVersionId,
        report_uris: &[ReportUri],
    ) -> Result<(), StoreError> {
        self.tell_of_publication(id).await?;
        let stamp = "UPDATE policy_versions SET published_at = COALESCE(published_at, $1)
            WHERE id = $2 AND domain_id = $3";
        self.must_touch(stamp, vec![self.now.into(), id.as_uuid().into(), self.id().into()]).await?;
        let sql = "UPDATE domains SET confirmed_version_id = $1, confirmed_at = $2, written_report_uris = $3
            WHERE id = $4";
        let values = vec![id.as_uuid().into(), self.now.into(), report_uri_texts(report_uris).into(), self.id().into()];
        self.must_touch(sql, values).await
    }

    /// The records are gone from the service's zones.
    pub async fn records_removed(&mut self) -> Result<(), StoreError> {
        let sql = "UPDATE domains SET written_version_id = NULL, written_at = NULL, confirmed_version_id = NULL,
            confirmed_at = NULL, written_report_uris = NULL, written_zones = NULL, removed_at = $1 WHERE id = $2";
        self.must_touch(sql, vec![self.now.into(), self.id().into()]).await
    }

    /// The withdrawal is complete: nothing of the domain is due ever again, and the lease ends.
    /// [`StoreError::NotFound`] unless the domain is being withdrawn.
    pub async fn finished(&mut self) -> Result<(), StoreError> {
        if self.state()? != DomainState::Withdrawing {
            return Err(StoreError::NotFound);
        }
        self.release_host().await?;
        let gone = "UPDATE domains SET state = 'gone', gone_at = $2 WHERE id = $1";
        self.must_touch(gone, vec![self.id().into(), self.now.into()]).await?;
        // Days stay for as long as those of other domains.
        sql::execute(&self.tx, "DELETE FROM domain_watches WHERE domain_id = $1", vec![self.id().into()]).await?;
        // From then on its CNAMEs are looked for.
        schedule::rest(&self.tx, self.lease.domain_id, Some(self.now + TimeDelta::days(1))).await?;
        self.ended = true;
        DomainState::Gone.as_str().clone_into(&mut self.domain.state);
        self.tell_of_removal().await?;
        self.audit("domain.gone", json!({})).await
    }
}
