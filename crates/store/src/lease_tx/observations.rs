//! What was seen of the customer's DNS and mail servers.

use mtasts_model::lifecycle::{DelegationSeen, MxSeen};
use serde_json::json;

use super::LeaseTx;
use crate::{
    Actor, Channel, NewVersion, StoreError,
    new_version::{self, Target},
    proof,
    stored::to_json,
};

impl LeaseTx {
    /// Records a conclusive look at the CNAMEs.
    pub async fn delegation_seen(&mut self, seen: &DelegationSeen) -> Result<(), StoreError> {
        let sql = "UPDATE domains SET delegation = $1 WHERE id = $2";
        self.must_touch(sql, vec![to_json(seen)?.into(), self.id().into()]).await
    }

    /// Records a conclusive look at the MX hosts.
    pub async fn mx_seen(&mut self, seen: &MxSeen) -> Result<(), StoreError> {
        self.tell_of_drift(seen).await?;
        proof::note_look(&self.tx, (self.lease.tenant_id, self.lease.domain_id), seen).await?;
        let sql = "UPDATE domains SET mx = $1 WHERE id = $2";
        self.must_touch(sql, vec![to_json(seen)?.into(), self.id().into()]).await
    }

    /// Makes the first version; does nothing and returns false when there is one already. [`StoreError::Taken`] when
    /// a drawn id is taken.
    pub async fn first_version(&mut self, new: NewVersion) -> Result<bool, StoreError> {
        if self.domain.version_id.is_some() {
            return Ok(false);
        }
        let target = Target {
            domain: self.lease.domain_id,
            tenant: self.lease.tenant_id,
            name: &self.domain.name,
            newest: None,
        };
        let made = new_version::make(&self.tx, target, new, &Actor::worker(), self.now).await?;
        self.domain.version_id = Some(made.version.id.as_uuid());
        self.tell_of_policy(&made).await?;
        if made.fed {
            self.nudges.insert(Channel::Edge);
        }
        let version = &made.version;
        let detail = json!({ "version": version.id, "policy_id": version.policy_id.as_str(),
            "policy": version.policy, "reason": version.reason.as_str() });
        self.audit("policy.set", detail).await?;
        Ok(true)
    }
}
