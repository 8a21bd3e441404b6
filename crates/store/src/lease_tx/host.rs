//! The name's one place in the edge feed (invariant 3).

use mtasts_model::{CertificateId, DomainId, PolicyVersionId, Revision, TenantId};
use sea_orm::FromQueryResult;
use serde_json::json;
use uuid::Uuid;

use super::LeaseTx;
use crate::{
    Channel, DomainState, StoreError,
    host::{self, ChallengeOf},
    sql,
};

/// What became of [`LeaseTx::take_host`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostTaken {
    /// The registration that held the name until now, whoever's it is.
    pub previous_owner: Option<DomainId>,
}

/// Whoever holds the place.
#[derive(Debug, FromQueryResult)]
struct Holder {
    domain_id: Uuid,
    tenant_id: Uuid,
    state: String,
}

impl LeaseTx {
    /// Takes the name's place in the edge feed, with nothing in it: from this revision on the edges serve nothing of
    /// the previous owner. The loser is told in its audit log, and looks at its delegation again at once.
    ///
    /// Takes nothing when the place is ours already. [`StoreError::Contended`] when the holder has just changed.
    pub async fn take_host(&mut self) -> Result<HostTaken, StoreError> {
        let (name, domain) = (self.domain.name.clone(), self.lease.domain_id);
        let before = host::read(&self.tx, &name).await?.and_then(|row| row.domain_id);
        if before == Some(domain.as_uuid()) {
            return Ok(HostTaken { previous_owner: None });
        }
        // The loser's rows before the feed: its tenant's transactions lock them in this order.
        let loser = match before {
            Some(holder) => self.lock_holder(holder).await?,
            None => None,
        };
        let revision = host::draw_revision(&self.tx).await?;
        if host::read(&self.tx, &name).await?.and_then(|row| row.domain_id) != before {
            return Err(StoreError::Contended);
        }
        host::hand_over(&self.tx, &name, Some((domain, self.lease.tenant_id)), revision, self.now).await?;
        host::remove_challenge(&self.tx, &name, ChallengeOf::OthersThan(domain), self.now).await?;
        self.nudges.insert(Channel::Edge);
        self.audit("host.take", json!({ "host_name": name, "revision": revision })).await?;
        if let Some(loser) = &loser {
            self.tell_loser(loser).await?;
        }
        Ok(HostTaken { previous_owner: loser.map(|loser| DomainId::from_uuid(loser.domain_id)) })
    }

    async fn lock_holder(&self, holder: Uuid) -> Result<Option<Holder>, StoreError> {
        let sql = "SELECT d.id AS domain_id, d.tenant_id, d.state
            FROM domain_schedule s JOIN domains d ON d.id = s.domain_id
            WHERE s.domain_id = $1 FOR NO KEY UPDATE OF s, d";
        sql::one(&self.tx, sql, vec![holder.into()]).await
    }

    async fn tell_loser(&mut self, loser: &Holder) -> Result<(), StoreError> {
        let (tenant, domain) = (TenantId::from_uuid(loser.tenant_id), DomainId::from_uuid(loser.domain_id));
        // Not to whom: that is another tenant's affair.
        self.audit_for(tenant, domain, "host.lost", Some(json!({ "host_name": self.domain.name }))).await?;
        if self.at().state(&loser.state)? == DomainState::Gone {
            return Ok(());
        }
        // Whatever it saw of its delegation is older than this.
        let stale = "UPDATE domains SET nudged_at = $1 WHERE id = $2";
        sql::execute(&self.tx, stale, vec![self.now.into(), loser.domain_id.into()]).await?;
        self.wake_other(domain).await
    }

    /// Gives the place up, if it is ours: the edges stop serving the name.
    pub async fn release_host(&mut self) -> Result<(), StoreError> {
        let (name, domain) = (self.domain.name.clone(), self.lease.domain_id);
        if !self.holds_host(&name).await? {
            return Ok(());
        }
        let revision = host::draw_revision(&self.tx).await?;
        if !self.holds_host(&name).await? {
            return Ok(());
        }
        host::hand_over(&self.tx, &name, None, revision, self.now).await?;
        host::remove_challenge(&self.tx, &name, ChallengeOf::Domain(domain), self.now).await?;
        self.nudges.insert(Channel::Edge);
        self.audit("host.release", json!({ "host_name": name, "revision": revision })).await
    }

    async fn holds_host(&self, name: &str) -> Result<bool, StoreError> {
        Ok(host::read(&self.tx, name).await?.is_some_and(|row| row.is_held_by(self.lease.domain_id)))
    }

    /// Tells the edges to serve this version with this certificate. Returns the revision from which it is so; serving
    /// what is served already draws no new one.
    ///
    /// [`StoreError::HostNotHeld`] unless this domain holds the place, [`StoreError::VersionConflict`] unless the
    /// version is the newest, [`StoreError::NotFound`] unless the certificate is this domain's.
    pub async fn serve_host(
        &mut self,
        version: PolicyVersionId,
        certificate: CertificateId,
    ) -> Result<Revision, StoreError> {
        if self.domain.version_id != Some(version.as_uuid()) {
            let current = self.domain.version_id.map(PolicyVersionId::from_uuid);
            return Err(StoreError::VersionConflict { current });
        }
        let ours = "SELECT 1 AS ours FROM certificates WHERE id = $1 AND domain_id = $2";
        let values = vec![certificate.as_uuid().into(), self.id().into()];
        sql::row(&self.tx, ours, values).await?.ok_or(StoreError::NotFound)?;
        let content = (version, certificate);
        let revision = host::fill(&self.tx, &self.domain.name, self.lease.domain_id, content, self.now).await?;
        let active = "UPDATE domains SET state = 'active' WHERE id = $1 AND state = 'pending'";
        sql::execute(&self.tx, active, vec![self.id().into()]).await?;
        self.nudges.insert(Channel::Edge);
        Ok(revision)
    }
}
