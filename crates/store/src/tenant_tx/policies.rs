//! A domain's policy and its versions.

use mtasts_model::{DomainId, PolicyVersionId, Timestamp};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::{Value as Json, json};

use super::TenantTx;
use crate::{
    Actor, Channel, NewVersion, PolicyVersion, SetPolicy, StoreError,
    entity::policy_version,
    new_version,
    sql::{self, MAX_LIST},
};

impl TenantTx {
    /// Makes a new version, and gives it to the edges if they serve the domain; nothing is made when the newest
    /// version has that policy already. `expected`: the version that the caller thinks is the newest, if it cares.
    ///
    /// [`StoreError::Withdrawing`], [`StoreError::VersionConflict`], [`StoreError::NotFound`], or
    /// [`StoreError::Taken`] when a drawn id is taken.
    pub async fn set_policy(
        &mut self,
        id: DomainId,
        new: NewVersion,
        expected: Option<PolicyVersionId>,
        by: &Actor,
        now: Timestamp,
    ) -> Result<SetPolicy, StoreError> {
        let domain = self.lock(id).await?;
        if !domain.is_kept()? {
            return Err(StoreError::Withdrawing);
        }
        let current = domain.version_id.map(PolicyVersionId::from_uuid);
        if expected.is_some() && expected != current {
            return Err(StoreError::VersionConflict { current });
        }
        let newest =
            new_version::newest(&self.tx, domain.version_id).await?.map(PolicyVersion::try_from).transpose()?;
        if let Some(newest) = &newest
            && newest.policy == new.policy
        {
            return Ok(SetPolicy::Unchanged(newest.clone()));
        }
        let made = new_version::make(&self.tx, domain.target(self.tenant), new, by, now).await?;
        // Whoever lists MX hosts goes on listing them: discovery would overrule what was meant.
        let listed = made.version.policy.mx();
        if !listed.is_empty() && newest.as_ref().is_none_or(|newest| newest.policy.mx() != listed) {
            let sql = "UPDATE domains SET mx_source = 'listed' WHERE id = $1 AND mx_source = 'auto'";
            sql::execute(&self.tx, sql, vec![id.as_uuid().into()]).await?;
        }
        let change = (newest.as_ref().map(described), Some(described(&made.version)));
        self.audit(by, "policy.set", id.to_string(), change, now).await?;
        self.tell_of_policy(&made, (id, &domain.name), now).await?;
        if made.fed {
            self.nudges.insert(Channel::Edge);
        }
        let mode = newest.map(|newest| newest.policy.mode());
        if mode == Some(made.version.policy.mode()) {
            self.wake(id, now).await?;
        } else {
            self.nudge_domain(id, now).await?;
        }
        Ok(SetPolicy::Changed(made.version))
    }

    /// Versions, newest first, at most 200, with `seq` below `before`.
    pub async fn versions(
        &self,
        id: DomainId,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Vec<PolicyVersion>, StoreError> {
        let mut query = policy_version::Entity::find()
            .filter(policy_version::Column::DomainId.eq(id.as_uuid()))
            .order_by_desc(policy_version::Column::Seq)
            .limit(u64::from(limit.min(MAX_LIST)));
        if let Some(before) = before {
            query = query.filter(policy_version::Column::Seq.lt(i32::try_from(before).unwrap_or(i32::MAX)));
        }
        query.all(&self.tx).await?.into_iter().map(PolicyVersion::try_from).collect()
    }

    /// One version; None when the domain has no such version.
    pub async fn version(&self, id: DomainId, version: PolicyVersionId) -> Result<Option<PolicyVersion>, StoreError> {
        let row = policy_version::Entity::find_by_id(version.as_uuid())
            .filter(policy_version::Column::DomainId.eq(id.as_uuid()))
            .one(&self.tx)
            .await?;
        row.map(PolicyVersion::try_from).transpose()
    }
}

/// A version as the audit log tells of it.
pub(super) fn described(version: &PolicyVersion) -> Json {
    json!({ "version": version.id, "policy_id": version.policy_id.as_str(), "policy": version.policy,
        "reason": version.reason.as_str(), "forced": version.forced })
}
