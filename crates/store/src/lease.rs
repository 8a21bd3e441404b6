//! Leases: which worker looks after which domain, and what it reads under a lease.

mod facts;

use std::collections::HashMap;

use chrono::TimeDelta;
use mtasts_model::{
    CertificateId, DomainId, Label, MailDomain, MaxAge, Mode, OrderId, ReportUri, TenantId, Timestamp,
    lifecycle::{DomainFacts, MxSource},
};

use sea_orm::{ColumnTrait, EntityTrait, FromQueryResult, QueryFilter};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::{
    Certificate, LeaseTx, Order, Store, StoreError,
    entity::{acme_order, certificate},
    sql,
    stored::At,
};

/// The right to work on one domain. Whoever claims it after `until` draws a higher token, and fences this one off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Which domain.
    pub domain_id: DomainId,
    /// Whose.
    pub tenant_id: TenantId,
    /// The fencing token.
    pub token: i64,
    /// Until when nobody else claims it.
    pub until: Timestamp,
}

/// How a worker shares its places among tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shares {
    /// A tenant gets so many at most while domains of others are due.
    pub most: u32,
    /// What tenants have now.
    pub held: HashMap<TenantId, u32>,
}

impl Default for Shares {
    /// Nobody has anything, and anybody may have all.
    fn default() -> Self {
        Self { most: u32::MAX, held: HashMap::new() }
    }
}

/// What executors need beyond the facts.
#[derive(Debug, Clone, PartialEq)]
pub struct DomainSettings {
    /// The mail domain.
    pub name: MailDomain,
    /// Our side of the delegation.
    pub label: Label,
    /// Who chooses the MX patterns.
    pub mx_source: MxSource,
    /// The mode of the first version for [`MxSource::Auto`].
    pub preferred_mode: Mode,
    /// The `max_age` of the first version for [`MxSource::Auto`].
    pub preferred_max_age: MaxAge,
    /// Where senders send their reports; hand these to [`LeaseTx::records_confirmed`] once they are in the zone.
    pub report_uris: Vec<ReportUri>,
    /// The newest certificate.
    pub certificate_id: Option<CertificateId>,
}

impl Store {
    /// Claims up to `limit` due domains, longest due first, but those of tenants who have their share last. Nobody
    /// waits for anybody's locks. Looks at the 1,000 that are due longest, so a tenant with more than that many ahead of
    /// another's goes before it.
    pub async fn claim_due(
        &self,
        worker: &str,
        limit: u32,
        lease: TimeDelta,
        now: Timestamp,
        shares: &Shares,
    ) -> Result<Vec<Lease>, StoreError> {
        let until = now + lease;
        let (tenants, held): (Vec<Uuid>, Vec<i64>) =
            shares.held.iter().map(|(tenant, held)| (tenant.as_uuid(), i64::from(*held))).unzip();
        let values = vec![
            now.into(),
            i64::from(limit).into(),
            until.into(),
            worker.into(),
            i64::from(limit.max(LOOKED_AT)).into(),
            i64::from(shares.most).into(),
            tenants.into(),
            held.into(),
        ];
        let claimed = sql::all::<Claimed>(self.db(), CLAIM, values).await?;
        Ok(claimed
            .into_iter()
            .map(|row| Lease {
                domain_id: DomainId::from_uuid(row.domain_id),
                tenant_id: TenantId::from_uuid(row.tenant_id),
                token: row.lease_token,
                until,
            })
            .collect())
    }

    /// Lengthens a lease that has not run out. [`StoreError::Fenced`] when it has, or is lost: somebody else may be about
    /// to claim the domain, so whoever was silent for so long must not go on.
    pub async fn extend_lease(&self, lease: &Lease, until: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE domain_schedule SET lease_until = $1
            WHERE domain_id = $2 AND lease_token = $3 AND lease_until > $4";
        let values = vec![until.into(), lease.domain_id.as_uuid().into(), lease.token.into(), now.into()];
        if sql::execute(self.db(), sql, values).await? == 0 { Err(StoreError::Fenced) } else { Ok(()) }
    }

    /// When the next domain is due (it may be in the past); None when none ever is.
    pub async fn next_due_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let row = sql::row(self.db(), "SELECT min(due_at) AS due_at FROM domain_schedule", vec![]).await?;
        Ok(row.map(|row| row.try_get("", "due_at")).transpose()?.flatten())
    }

    /// All that the planner looks at, as of one moment. [`StoreError::Fenced`] when the lease is lost. An edge is in
    /// service until `edge_grace` after its lease. `hostings` are those that must have the domain's records before they
    /// count as written.
    pub async fn facts(
        &self,
        lease: &Lease,
        now: Timestamp,
        edge_grace: TimeDelta,
        hostings: &[String],
    ) -> Result<DomainFacts, StoreError> {
        facts::read(self.db(), lease, now, edge_grace, hostings).await
    }

    /// Begins to record an outcome. [`StoreError::Fenced`] when the lease is lost.
    pub async fn lease_tx(&self, lease: &Lease, now: Timestamp) -> Result<LeaseTx, StoreError> {
        LeaseTx::begin(self.clone(), lease, now).await
    }

    /// An order of the domain, closed ones included.
    pub async fn order(&self, lease: &Lease, id: OrderId) -> Result<Option<Order>, StoreError> {
        let row = acme_order::Entity::find_by_id(id.as_uuid())
            .filter(acme_order::Column::DomainId.eq(lease.domain_id.as_uuid()))
            .one(self.db())
            .await?;
        row.map(Order::try_from).transpose()
    }

    /// A certificate of the domain.
    pub async fn certificate(&self, lease: &Lease, id: CertificateId) -> Result<Option<Certificate>, StoreError> {
        let row = certificate::Entity::find_by_id(id.as_uuid())
            .filter(certificate::Column::DomainId.eq(lease.domain_id.as_uuid()))
            .one(self.db())
            .await?;
        row.map(Certificate::try_from).transpose()
    }

    /// What executors need beyond the facts. [`StoreError::Fenced`] when the lease is lost.
    pub async fn domain_settings(&self, lease: &Lease) -> Result<DomainSettings, StoreError> {
        let sql = "SELECT d.name, d.label, d.mx_source, d.preferred_mode, d.preferred_max_age, d.report_uris,
                d.certificate_id
            FROM domain_schedule s JOIN domains d ON d.id = s.domain_id
            WHERE s.domain_id = $1 AND s.lease_token = $2";
        let values = vec![lease.domain_id.as_uuid().into(), lease.token.into()];
        let row = sql::one::<SettingsRow>(self.db(), sql, values).await?.ok_or(StoreError::Fenced)?;
        let at = At { table: "domains", row: lease.domain_id.as_uuid() };
        Ok(DomainSettings {
            name: at.mail_domain("name", &row.name)?,
            label: at.label(&row.label)?,
            mx_source: at.mx_source(&row.mx_source)?,
            preferred_mode: at.mode("preferred_mode", &row.preferred_mode)?,
            preferred_max_age: at.max_age("preferred_max_age", row.preferred_max_age)?,
            report_uris: at.report_uris(row.report_uris)?,
            certificate_id: row.certificate_id.map(CertificateId::from_uuid),
        })
    }
}

/// What is due for longer than anything else, of which a claim chooses.
const LOOKED_AT: u32 = 1_000;

/// The locks last as long as the statement: what holds a domain for its worker is `lease_until`. Twice as many are
/// chosen as wanted, because another worker may be claiming the same. By `ANY`, so that no plan reads the whole table.
const CLAIM: &str = "
    WITH near AS MATERIALIZED (
        SELECT domain_id, tenant_id, due_at FROM domain_schedule WHERE due_at <= $1 ORDER BY due_at LIMIT $5
    ), shared AS (
        SELECT n.domain_id, n.due_at,
            row_number() OVER (PARTITION BY n.tenant_id ORDER BY n.due_at) + COALESCE(h.held, 0) > $6 AS beyond
        FROM near n LEFT JOIN unnest($7::uuid[], $8::bigint[]) AS h (tenant_id, held) ON h.tenant_id = n.tenant_id
    ), chosen AS MATERIALIZED (
        SELECT ARRAY(SELECT domain_id FROM shared ORDER BY beyond, due_at LIMIT 2 * $2) AS ids
    ), due AS MATERIALIZED (
        SELECT domain_id FROM domain_schedule
        WHERE domain_id = ANY ((SELECT ids FROM chosen)::uuid[]) AND due_at <= $1
        ORDER BY array_position((SELECT ids FROM chosen), domain_id) LIMIT $2
        FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE domain_schedule s
    SET lease_token = nextval('lease_tokens'), lease_until = $3, worker = $4, woken = false
    FROM due WHERE s.domain_id = due.domain_id
    RETURNING s.domain_id, s.tenant_id, s.lease_token";

#[derive(Debug, FromQueryResult)]
struct Claimed {
    domain_id: Uuid,
    tenant_id: Uuid,
    lease_token: i64,
}

#[derive(Debug, FromQueryResult)]
struct SettingsRow {
    name: String,
    label: String,
    mx_source: String,
    preferred_mode: String,
    preferred_max_age: i32,
    report_uris: Json,
    certificate_id: Option<Uuid>,
}
