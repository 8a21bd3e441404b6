//! Taking a domain back (RFC 8461 §8.3, invariant 5).

use mtasts_model::{
    DomainId, PolicyVersionId, Timestamp,
    event::{DomainRemoved, DomainWithdrawing},
};
use serde_json::json;

use super::{LockedDomain, TenantTx, policies::described};
use crate::{
    Actor, Channel, DomainState, DomainView, NewVersion, PolicyVersion, RemovalGround, StoreError, event, host,
    new_version, schedule, sql,
};

impl TenantTx {
    /// Asks for a safe removal: `none` becomes the newest version, and is served until no sender can need another. A
    /// domain that the edges never had is gone at once, unless the answer to a challenge of the CA is in the zone still. Asking again changes nothing.
    pub async fn request_withdrawal(
        &mut self,
        id: DomainId,
        none: NewVersion,
        by: &Actor,
        now: Timestamp,
    ) -> Result<DomainView, StoreError> {
        let domain = self.lock(id).await?;
        if !domain.is_kept()? {
            return self.existing(id).await;
        }
        let (state, after) = if self.was_ever_fed(id).await? || self.has_answer_in_zone(id).await? {
            let version = self.make_none(&domain, none, by, now).await?;
            self.nudge_domain(id, now).await?;
            (DomainState::Withdrawing, json!({ "state": "withdrawing", "version": described(&version) }))
        } else {
            self.drop_everything(&domain, now).await?;
            (DomainState::Gone, json!({ "state": "gone" }))
        };
        let set = "UPDATE domains SET state = $1, withdraw_requested_at = $2 WHERE id = $3";
        sql::execute(&self.tx, set, vec![state.as_str().into(), now.into(), id.as_uuid().into()]).await?;
        // A plan has nothing left to lead to.
        let end = "DELETE FROM rollouts WHERE domain_id = $1";
        sql::execute(&self.tx, end, vec![id.as_uuid().into()]).await?;
        self.cancel_migrations(id, now).await?;
        self.forget_proposal(id).await?;
        let event_domain = event::domain(id, &domain.name)?;
        if state == DomainState::Gone {
            self.emit(DomainRemoved { domain: event_domain }, now).await?;
        } else {
            self.emit(DomainWithdrawing { domain: event_domain }, now).await?;
        }
        let before = json!({ "state": domain.state });
        self.audit(by, "domain.withdraw", id.to_string(), (Some(before), Some(after)), now).await?;
        self.existing(id).await
    }

    /// Removes a domain at once, whoever may hold a policy of it (invariant 5 gives way): for the operator alone, who says on
    /// which ground and why. Forced again it stays as it is.
    pub async fn force_removal(
        &mut self,
        id: DomainId,
        none: NewVersion,
        (ground, reason): (RemovalGround, &str),
        by: &Actor,
        now: Timestamp,
    ) -> Result<DomainView, StoreError> {
        let view = self.request_withdrawal(id, none, by, now).await?;
        if view.forced_removal.is_some() {
            return Ok(view);
        }
        let set = "UPDATE domains SET removal_forced_at = $1, removal_ground = $2 WHERE id = $3";
        sql::execute(&self.tx, set, vec![now.into(), ground.as_str().into(), id.as_uuid().into()]).await?;
        let after = json!({ "ground": ground.as_str(), "reason": reason });
        self.audit(by, "domain.force-removal", id.to_string(), (None, Some(after)), now).await?;
        if view.state == DomainState::Withdrawing {
            self.wake(id, now).await?;
        }
        self.existing(id).await
    }

    /// Whether an edge can ever have served a version.
    async fn was_ever_fed(&self, id: DomainId) -> Result<bool, StoreError> {
        let sql = "SELECT 1 AS fed FROM policy_versions WHERE domain_id = $1 AND fed_at IS NOT NULL LIMIT 1";
        Ok(sql::row(&self.tx, sql, vec![id.as_uuid().into()]).await?.is_some())
    }

    /// Whether the answer to a dns-01 challenge may be in the zone: only a worker can take it out again.
    async fn has_answer_in_zone(&self, id: DomainId) -> Result<bool, StoreError> {
        // No edge needs to have such an answer, so that it has no revision of the edge feed.
        let sql = "SELECT 1 AS there FROM acme_orders
            WHERE domain_id = $1 AND closed_at IS NULL AND challenge_revision = 0";
        Ok(sql::row(&self.tx, sql, vec![id.as_uuid().into()]).await?.is_some())
    }

    async fn make_none(
        &mut self,
        domain: &LockedDomain,
        none: NewVersion,
        by: &Actor,
        now: Timestamp,
    ) -> Result<PolicyVersion, StoreError> {
        let newest =
            new_version::newest(&self.tx, domain.version_id).await?.map(PolicyVersion::try_from).transpose()?;
        if let Some(newest) = newest.filter(|newest| newest.policy == none.policy) {
            return Ok(newest);
        }
        let made = new_version::make(&self.tx, domain.target(self.tenant), none, by, now).await?;
        self.tell_of_policy(&made, (DomainId::from_uuid(domain.id), &domain.name), now).await?;
        if made.fed {
            self.nudges.insert(Channel::Edge);
        }
        Ok(made.version)
    }

    /// Nothing was ever served: close what was begun. The place in the feed, if it was taken, holds nothing, and
    /// falls to whoever takes it next.
    async fn drop_everything(&mut self, domain: &LockedDomain, now: Timestamp) -> Result<(), StoreError> {
        let id = DomainId::from_uuid(domain.id);
        let close = "UPDATE acme_orders SET closed_at = $1, problem = 'withdrawn' WHERE domain_id = $2
            AND closed_at IS NULL";
        sql::execute(&self.tx, close, vec![now.into(), domain.id.into()]).await?;
        schedule::rest(&self.tx, id, None).await?;
        if let Some(version) = domain.version_id {
            new_version::superseded(&self.tx, PolicyVersionId::from_uuid(version), now).await?;
        }
        self.nudges.insert(Channel::Edge);
        host::remove_challenge(&self.tx, &domain.name, host::ChallengeOf::Domain(id), now).await
    }
}
