//! What was seen of the customer's DNS and mail servers.

use mtasts_model::{
    Timestamp,
    lifecycle::{DelegationSeen, MxSeen},
};

use super::LeaseTx;
use crate::{NewVersion, StoreError, proof, stored::to_json};

impl LeaseTx {
    /// Records a conclusive look at the CNAMEs.
    pub async fn delegation_seen(&mut self, seen: &DelegationSeen) -> Result<(), StoreError> {
        self.tell_of_dangling(seen).await?;
        let sql = "UPDATE domains SET delegation = $1 WHERE id = $2";
        self.must_touch(sql, vec![to_json(seen)?.into(), self.id().into()]).await
    }

    /// Records a conclusive look at the MX hosts.
    pub async fn mx_seen(&mut self, seen: &MxSeen) -> Result<(), StoreError> {
        self.tell_of_drift(seen).await?;
        proof::note_look(&self.tx, (self.lease.tenant_id, self.lease.domain_id), seen).await?;
        self.propose(seen).await?;
        self.note_absence(seen).await?;
        let sql = "UPDATE domains SET mx = $1 WHERE id = $2";
        self.must_touch(sql, vec![to_json(seen)?.into(), self.id().into()]).await
    }

    /// Notes that a look at the MX hosts found no room, and when to come back. Nothing else changes.
    pub async fn put_off_mx(&mut self, until: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE domain_schedule SET mx_put_off_at = $1, mx_put_off_until = $2 WHERE domain_id = $3";
        self.must_touch(sql, vec![self.now.into(), until.into(), self.id().into()]).await
    }

    /// Makes the first version; does nothing and returns false when there is one already. [`StoreError::Taken`] when
    /// a drawn id is taken.
    pub async fn first_version(&mut self, new: NewVersion) -> Result<bool, StoreError> {
        if self.domain.version_id.is_some() {
            return Ok(false);
        }
        self.replace_version(new).await?;
        Ok(true)
    }
}
