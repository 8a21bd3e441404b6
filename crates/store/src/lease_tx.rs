//! One transaction that records one step's outcome under the lease's fencing token.

mod events;
mod host;
mod observations;
mod orders;
mod publication;
mod settling;
mod zones;

use std::collections::BTreeSet;

use mtasts_model::{DomainId, PolicyVersionId, TenantId, Timestamp};
use sea_orm::{DatabaseTransaction, FromQueryResult};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::{Actor, Channel, DomainState, Lease, Store, StoreError, audit, nudge, schedule, sql, stored::At};

pub(crate) use events::still_here;
pub use host::HostTaken;

/// A worker's transaction on one domain. Dropped, it is rolled back.
pub struct LeaseTx {
    store: Store,
    tx: DatabaseTransaction,
    lease: Lease,
    now: Timestamp,
    domain: LeasedDomain,
    /// The domain has gone within this transaction, and with it the lease.
    ended: bool,
    nudges: BTreeSet<Channel>,
}

impl std::fmt::Debug for LeaseTx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaseTx").field("lease", &self.lease).finish_non_exhaustive()
    }
}

/// The domain as it was when the transaction began; its row is locked.
#[derive(Debug, FromQueryResult)]
struct LeasedDomain {
    name: String,
    state: String,
    version_id: Option<Uuid>,
}

impl LeaseTx {
    pub(crate) async fn begin(store: Store, lease: &Lease, now: Timestamp) -> Result<Self, StoreError> {
        let tx = store.begin().await?;
        // The lock on the schedule keeps the token as it is until we commit.
        let sql = "SELECT d.name, d.state, d.version_id
            FROM domain_schedule s JOIN domains d ON d.id = s.domain_id
            WHERE s.domain_id = $1 AND s.lease_token = $2 FOR NO KEY UPDATE OF s, d";
        let values = vec![lease.domain_id.as_uuid().into(), lease.token.into()];
        let domain = sql::one(&tx, sql, values).await?.ok_or(StoreError::Fenced)?;
        Ok(Self { store, tx, lease: *lease, now, domain, ended: false, nudges: BTreeSet::new() })
    }

    /// Writes a line of the audit log.
    pub async fn audit(&mut self, action: &str, detail: Json) -> Result<(), StoreError> {
        self.audit_for(self.lease.tenant_id, self.lease.domain_id, action, Some(detail)).await
    }

    /// Commits, and nudges whoever follows what changed.
    pub async fn commit(self) -> Result<(), StoreError> {
        nudge::notify(&self.tx, &self.nudges).await?;
        self.tx.commit().await?;
        self.store.nudge_source().publish(&self.nudges);
        Ok(())
    }

    pub(crate) fn db(&self) -> &DatabaseTransaction {
        &self.tx
    }

    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// The domain's name, as its row has it.
    pub(crate) fn name(&self) -> &str {
        &self.domain.name
    }

    pub(crate) fn state_word(&self) -> &str {
        &self.domain.state
    }

    pub(crate) fn version_id(&self) -> Option<Uuid> {
        self.domain.version_id
    }

    pub(crate) fn set_version_id(&mut self, version: PolicyVersionId) {
        self.domain.version_id = Some(version.as_uuid());
    }

    pub(crate) fn nudge(&mut self, channel: Channel) {
        self.nudges.insert(channel);
    }

    pub(crate) fn id(&self) -> Uuid {
        self.lease.domain_id.as_uuid()
    }

    pub(crate) fn at(&self) -> At {
        At { table: "domains", row: self.id() }
    }

    fn state(&self) -> Result<DomainState, StoreError> {
        self.at().state(&self.domain.state)
    }

    /// Runs a statement that must touch a row: [`StoreError::NotFound`] when it touches none.
    async fn must_touch(&self, sql: &str, values: Vec<sea_orm::Value>) -> Result<(), StoreError> {
        if sql::execute(&self.tx, sql, values).await? == 0 { Err(StoreError::NotFound) } else { Ok(()) }
    }

    async fn audit_for(
        &self,
        tenant: TenantId,
        domain: DomainId,
        action: &str,
        after: Option<Json>,
    ) -> Result<(), StoreError> {
        let entry = audit::Entry { tenant, action, object: domain.to_string(), before: None, after };
        audit::record(&self.tx, &Actor::worker(), entry, self.now).await
    }

    async fn wake_other(&mut self, domain: DomainId) -> Result<(), StoreError> {
        self.nudges.insert(Channel::Worker);
        schedule::wake(&self.tx, domain, self.now).await
    }
}
