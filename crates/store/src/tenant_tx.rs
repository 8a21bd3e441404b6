//! One transaction in which nothing but one tenant's rows can be seen or written (invariant 8).

mod customers;
mod digest_recipients;
mod dns_credentials;
mod domains;
mod events;
mod idempotency;
mod keys;
mod operation_chunks;
mod operations;
mod policies;
mod quotas;
mod rehearsal;
mod report_arrivals;
mod report_results;
mod report_rows;
mod report_settings;
mod report_sums;
mod reports;
mod usage;
mod webhooks;
mod withdrawal;

use std::collections::BTreeSet;

use chrono::TimeDelta;
pub(crate) use idempotency::IDEMPOTENCY_KEPT;
use mtasts_model::{AuditEventId, DomainId, TenantId, Timestamp};
pub use operation_chunks::OperationChunk;
pub use rehearsal::CachedVersion;
pub use report_arrivals::{ArrivalState, ArrivalView, RawAccess};
pub use report_results::{DmarcResult, DmarcResultFilter, TlsResult, TlsResultFilter};
pub use report_rows::{ReportPage, ReportPageQuery, ReportPosition};
pub use report_sums::{
    Breakdown, DaySum, FailureSums, GradeSum, ReportDimension, ReportOrder, ReportRange, SumRow, ValueSums,
    VerdictSums, VersionSeen,
};
pub use reports::{ReportFilter, ReportView};
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::{
    Actor, AuditEvent, AuditFilter, AuditLine, Channel, DomainState, Store, StoreError, audit,
    entity::audit_event,
    new_version::Target,
    nudge, schedule,
    sql::{self, MAX_LIST},
    stored::At,
};

/// A request to look again is heard this often.
const NUDGE_INTERVAL: TimeDelta = TimeDelta::seconds(15);

/// A tenant's transaction. Dropped, it is rolled back.
pub struct TenantTx {
    store: Store,
    tx: DatabaseTransaction,
    tenant: TenantId,
    /// Who is to be nudged by the commit.
    nudges: BTreeSet<Channel>,
    /// The key that was found fresh, and of which request, when.
    idempotent: Option<idempotency::Begun>,
    /// How many domains it has registered.
    domains_made: u64,
}

impl std::fmt::Debug for TenantTx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TenantTx").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

/// A domain whose row is locked until the transaction ends.
#[derive(Debug, FromQueryResult)]
struct LockedDomain {
    id: Uuid,
    name: String,
    state: String,
    version_id: Option<Uuid>,
    report_uris: Json,
    created_at: Timestamp,
    nudged_at: Timestamp,
}

impl LockedDomain {
    fn state(&self) -> Result<DomainState, StoreError> {
        At { table: "domains", row: self.id }.state(&self.state)
    }

    /// Whether its policy may still be changed.
    fn is_kept(&self) -> Result<bool, StoreError> {
        Ok(self.state()?.is_kept())
    }

    /// Registration is no request: who adds the CNAMEs right after it is heard. A stamp of the future (a clock was
    /// stepped) does not count.
    fn was_nudged_lately(&self, now: Timestamp) -> bool {
        self.nudged_at > self.created_at && self.nudged_at <= now && now - self.nudged_at < NUDGE_INTERVAL
    }

    fn target(&self, tenant: TenantId) -> Target<'_> {
        Target { domain: DomainId::from_uuid(self.id), tenant, name: &self.name, newest: self.version_id }
    }
}

impl TenantTx {
    pub(crate) async fn begin(store: Store, tenant: TenantId) -> Result<Self, StoreError> {
        let tx = store.begin().await?;
        // The tenant for this transaction only: a setting of the session would leak through the pool. The role again,
        // because row-level security must hold even if the pool was opened as somebody else.
        let set = "SELECT set_config('role', 'mtasts_api', true), set_config('app.tenant', $1, true)";
        sql::execute(&tx, set, vec![tenant.as_uuid().to_string().into()]).await?;
        Ok(Self { store, tx, tenant, nudges: BTreeSet::new(), idempotent: None, domains_made: 0 })
    }

    /// Whose it is.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    pub(crate) fn db(&self) -> &DatabaseTransaction {
        &self.tx
    }

    /// The audit log, oldest first, at most 200.
    pub async fn audit_events(&self, after: Option<AuditEventId>, limit: u32) -> Result<Vec<AuditEvent>, StoreError> {
        let mut query = audit_event::Entity::find()
            .filter(audit_event::Column::TenantId.eq(self.tenant.as_uuid()))
            .order_by_asc(audit_event::Column::Id)
            .limit(u64::from(limit.min(MAX_LIST)));
        if let Some(after) = after {
            query = query.filter(audit_event::Column::Id.gt(after.as_uuid()));
        }
        Ok(query.all(&self.tx).await?.into_iter().map(AuditEvent::from).collect())
    }

    /// The audit log with each line's place in the chain, newest first, at most 201 lines with ids below `before`.
    pub async fn audit_log(
        &self,
        filter: &AuditFilter,
        before: Option<AuditEventId>,
        limit: u32,
    ) -> Result<Vec<AuditLine>, StoreError> {
        audit::list(&self.tx, self.tenant, filter, before, limit).await
    }

    /// Takes everything back, and waits until that is so.
    pub(crate) async fn roll_back(self) -> Result<(), StoreError> {
        Ok(self.tx.rollback().await?)
    }

    /// Commits, and nudges whoever follows what changed.
    pub async fn commit(self) -> Result<(), StoreError> {
        nudge::notify(&self.tx, &self.nudges).await?;
        self.tx.commit().await?;
        self.store.nudge_source().publish(&self.nudges);
        Ok(())
    }

    /// Locks a domain against the worker and other requests. The schedule first, as a worker's transaction does.
    async fn lock(&self, id: DomainId) -> Result<LockedDomain, StoreError> {
        let sql = "SELECT d.id, d.name, d.state, d.version_id, d.report_uris, d.created_at, d.nudged_at
            FROM domain_schedule s JOIN domains d ON d.id = s.domain_id
            WHERE s.domain_id = $1 FOR NO KEY UPDATE OF s, d";
        sql::one(&self.tx, sql, vec![id.as_uuid().into()]).await?.ok_or(StoreError::NotFound)
    }

    pub(crate) fn nudge(&mut self, channel: Channel) {
        self.nudges.insert(channel);
    }

    pub(crate) async fn wake(&mut self, id: DomainId, now: Timestamp) -> Result<(), StoreError> {
        self.nudges.insert(Channel::Worker);
        schedule::wake(&self.tx, id, now).await
    }

    pub(crate) async fn audit(
        &self,
        by: &Actor,
        action: &str,
        object: String,
        (before, after): (Option<Json>, Option<Json>),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        audit::record(&self.tx, by, audit::Entry { tenant: self.tenant, action, object, before, after }, now).await
    }
}
