//! The claim of arrivals under a fencing token, and what becomes of those that are not read now.

use mtasts_model::{ArrivalId, DomainId, TenantId, Timestamp};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::{DueArrival, RawArrival};
use crate::{Store, StoreError, sql};

/// From one tenant with waiting arrivals to the next, by the index: however many of them one has, it is one step.
pub(crate) const WAITING: &str = "
    WITH RECURSIVE queue AS (
        (SELECT tenant_id FROM report_arrivals WHERE state = 'waiting' AND tenant_id > $1 ORDER BY tenant_id LIMIT 1)
        UNION ALL
        SELECT (SELECT a.tenant_id FROM report_arrivals a WHERE a.state = 'waiting' AND a.tenant_id > q.tenant_id
            ORDER BY a.tenant_id LIMIT 1)
        FROM queue q WHERE q.tenant_id IS NOT NULL)
    SELECT tenant_id AS id FROM queue WHERE tenant_id IS NOT NULL LIMIT $2";

/// The longest due of each tenant, as many as it has room for. Nobody waits for anybody's locks.
pub(crate) const CLAIM: &str = "
    WITH picked AS (
        SELECT a.id FROM unnest($1::uuid[], $2::bigint[]) AS q (tenant, room)
        CROSS JOIN LATERAL (
            SELECT id FROM report_arrivals
            WHERE tenant_id = q.tenant AND state = 'waiting' AND due_at <= $3
            ORDER BY due_at LIMIT q.room FOR UPDATE SKIP LOCKED) a
        LIMIT $4)
    UPDATE report_arrivals SET due_at = $5, lease_token = nextval('lease_tokens')
    WHERE id = ANY (ARRAY(SELECT id FROM picked))
    RETURNING id, lease_token, tenant_id, domain_id, kind, via, received_at, octets, digest, attempts";

#[derive(Debug, FromQueryResult)]
struct IdRow {
    id: Uuid,
}

#[derive(Debug, FromQueryResult)]
struct ClaimedRow {
    id: Uuid,
    lease_token: i64,
    tenant_id: Uuid,
    domain_id: Uuid,
    kind: String,
    via: String,
    received_at: Timestamp,
    octets: i32,
    digest: Vec<u8>,
    attempts: i32,
}

impl TryFrom<ClaimedRow> for DueArrival {
    type Error = StoreError;

    fn try_from(row: ClaimedRow) -> Result<Self, StoreError> {
        let unreadable = |column, error| StoreError::unreadable("report_arrivals", column, row.id, error);
        Ok(Self {
            id: ArrivalId::from_uuid(row.id),
            token: row.lease_token,
            tenant: TenantId::from_uuid(row.tenant_id),
            domain: DomainId::from_uuid(row.domain_id),
            kind: row.kind.parse().map_err(|error: mtasts_model::ReportWordError| unreadable("kind", error))?,
            via: row.via.parse().map_err(|error: mtasts_model::ReportWordError| unreadable("via", error))?,
            received_at: row.received_at,
            octets: u64::try_from(row.octets).unwrap_or_default(),
            attempts: u32::try_from(row.attempts).unwrap_or_default(),
            digest: row.digest,
        })
    }
}

impl Store {
    /// Tenants with arrivals that wait to be read, by id from the one after `after` on, at most `limit`.
    pub async fn tenants_with_arrivals(
        &self,
        after: Option<TenantId>,
        limit: u32,
    ) -> Result<Vec<TenantId>, StoreError> {
        let after = after.map_or(Uuid::nil(), TenantId::as_uuid);
        let rows = sql::all::<IdRow>(self.db(), WAITING, vec![after.into(), i64::from(limit).into()]).await?;
        Ok(rows.into_iter().map(|row| TenantId::from_uuid(row.id)).collect())
    }

    /// Claims due arrivals until `until`: of each of these tenants as many as it has room for, and no more than `limit`
    /// in all. In no certain order.
    pub async fn claim_arrivals(
        &self,
        rooms: &[(TenantId, u32)],
        limit: u32,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<DueArrival>, StoreError> {
        let (tenants, room): (Vec<Uuid>, Vec<i64>) =
            rooms.iter().map(|(tenant, room)| (tenant.as_uuid(), i64::from(*room))).unzip();
        let values = vec![tenants.into(), room.into(), now.into(), i64::from(limit).into(), until.into()];
        let rows = sql::all::<ClaimedRow>(self.db(), CLAIM, values).await?;
        rows.into_iter().map(DueArrival::try_from).collect()
    }

    /// Counts an attempt and gives what is to be read, and the time until `until` to read it. The attempt is counted
    /// before anything is read: of an arrival that ends the process each time there is a last one.
    /// [`StoreError::Fenced`] when another worker has it by now.
    pub async fn begin_reading(&self, arrival: &DueArrival, until: Timestamp) -> Result<RawArrival, StoreError> {
        let sql = "UPDATE report_arrivals SET attempts = attempts + 1, due_at = $3
            WHERE id = $1 AND lease_token = $2 RETURNING raw, attempts";
        let values = vec![arrival.id.as_uuid().into(), arrival.token.into(), until.into()];
        let row = sql::row(self.db(), sql, values).await?.ok_or(StoreError::Fenced)?;
        let attempts: i32 = row.try_get("", "attempts")?;
        Ok(RawArrival { raw: row.try_get("", "raw")?, attempts: u32::try_from(attempts).unwrap_or_default() })
    }

    /// Gives an arrival back, to be read at `due`; of the attempt nothing is held against it.
    /// [`StoreError::Fenced`] when another worker has it by now.
    pub async fn defer_arrival(&self, arrival: &DueArrival, due: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE report_arrivals SET due_at = $3, lease_token = NULL, attempts = GREATEST(attempts - 1, 0)
            WHERE id = $1 AND lease_token = $2";
        let values = vec![arrival.id.as_uuid().into(), arrival.token.into(), due.into()];
        if sql::execute(self.db(), sql, values).await? == 0 { Err(StoreError::Fenced) } else { Ok(()) }
    }

    /// When the arrival that is longest due was due; None: none waits.
    pub async fn oldest_arrival_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT due_at FROM report_arrivals WHERE state = 'waiting' ORDER BY due_at LIMIT 1";
        let row = sql::row(self.db(), sql, vec![]).await?;
        Ok(row.map(|row| row.try_get("", "due_at")).transpose()?)
    }
}
