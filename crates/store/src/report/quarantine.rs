//! What an operator sees of arrivals: those that could not be read, and reading them again.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use mtasts_model::{ArrivalId, DomainId, TenantId, Timestamp};
use sea_orm::FromQueryResult;
use serde_json::json;
use uuid::Uuid;

use crate::{Actor, Channel, Store, StoreError, audit, nudge, sql};

/// An arrival but for its octets.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AnyArrival {
    /// Which.
    pub id: ArrivalId,
    /// Of the label that it was sent to.
    pub tenant_id: TenantId,
    /// Of the label that it was sent to.
    pub domain_id: DomainId,
    /// `tls-rpt` or `dmarc`, as its address says.
    pub kind: String,
    /// `https` or `smtp`.
    pub via: String,
    /// When it came.
    pub received_at: Timestamp,
    /// Who delivered it.
    pub peer: Option<IpAddr>,
    /// What it called itself.
    pub client_name: Option<String>,
    /// The sender in the envelope.
    pub envelope_from: Option<String>,
    /// As declared.
    pub content_type: Option<String>,
    /// Its octets.
    pub octets: u64,
    /// `waiting`, `read` or `quarantined`.
    pub state: String,
    /// A code for what was wrong with it.
    pub reason: Option<String>,
    /// The same in words.
    pub problem: Option<String>,
    /// Reports in it that were new.
    pub reports: u64,
    /// Reports in it that were there already.
    pub repeated: u64,
    /// How many times it was begun to be read.
    pub attempts: u64,
    /// When it was read last.
    pub read_at: Option<Timestamp>,
    /// The version of the service that did.
    pub read_by: Option<String>,
}

/// What is to be read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayFilter {
    /// All that could not be read.
    All,
    /// What could not be read for this reason.
    Reason(String),
    /// One arrival, read or not.
    One(ArrivalId),
}

/// A batch that is to be read again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replayed {
    /// How many.
    pub arrivals: u64,
    /// The last of them, for the next batch; None: there are no more.
    pub last: Option<ArrivalId>,
}

#[derive(Debug, FromQueryResult)]
struct ViewRow {
    id: Uuid,
    tenant_id: Uuid,
    domain_id: Uuid,
    kind: String,
    via: String,
    received_at: Timestamp,
    peer: String,
    client_name: Option<String>,
    envelope_from: Option<String>,
    content_type: Option<String>,
    octets: i32,
    state: String,
    reason: Option<String>,
    problem: Option<String>,
    reports: Option<i32>,
    repeated: Option<i32>,
    attempts: i32,
    read_at: Option<Timestamp>,
    read_by: Option<String>,
}

const COLUMNS: &str =
    "id, tenant_id, domain_id, kind, via, received_at, host(peer) AS peer, client_name, envelope_from,
    content_type, octets, state, reason, problem, reports, repeated, attempts, read_at, read_by";

impl From<ViewRow> for AnyArrival {
    fn from(row: ViewRow) -> Self {
        let count = |number: i32| u64::try_from(number).unwrap_or_default();
        Self {
            id: ArrivalId::from_uuid(row.id),
            tenant_id: TenantId::from_uuid(row.tenant_id),
            domain_id: DomainId::from_uuid(row.domain_id),
            kind: row.kind,
            via: row.via,
            received_at: row.received_at,
            peer: row.peer.parse().ok(),
            client_name: row.client_name,
            envelope_from: row.envelope_from,
            content_type: row.content_type,
            octets: count(row.octets),
            state: row.state,
            reason: row.reason,
            problem: row.problem,
            reports: row.reports.map_or(0, count),
            repeated: row.repeated.map_or(0, count),
            attempts: count(row.attempts),
            read_at: row.read_at,
            read_by: row.read_by,
        }
    }
}

impl Store {
    /// Arrivals that could not be read, of all tenants, oldest first, from the one after `after` on.
    pub async fn quarantined_arrivals(
        &self,
        reason: Option<&str>,
        after: Option<ArrivalId>,
        limit: u32,
    ) -> Result<Vec<AnyArrival>, StoreError> {
        let filter = if reason.is_some() { "reason = $3 AND" } else { "" };
        let sql = format!(
            "SELECT {COLUMNS} FROM report_arrivals WHERE {filter} state = 'quarantined' AND id > $1 ORDER BY id LIMIT $2"
        );
        let after = after.map_or(Uuid::nil(), ArrivalId::as_uuid);
        let mut values = vec![after.into(), i64::from(limit.min(sql::MAX_LIST)).into()];
        values.extend(reason.map(sea_orm::Value::from));
        let rows = sql::all::<ViewRow>(self.db(), &sql, values).await?;
        Ok(rows.into_iter().map(AnyArrival::from).collect())
    }

    /// One arrival.
    pub async fn arrival(&self, id: ArrivalId) -> Result<Option<AnyArrival>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM report_arrivals WHERE id = $1");
        Ok(sql::one::<ViewRow>(self.db(), &sql, vec![id.as_uuid().into()]).await?.map(AnyArrival::from))
    }

    /// Its octets; None when it is no more, or they are.
    pub async fn arrival_raw(&self, id: ArrivalId) -> Result<Option<Vec<u8>>, StoreError> {
        let row =
            sql::row(self.db(), "SELECT raw FROM report_arrivals WHERE id = $1", vec![id.as_uuid().into()]).await?;
        Ok(row.map(|row| row.try_get("", "raw")).transpose()?.flatten())
    }

    /// Has a batch of arrivals read again, from the one after `after` on. What was put in of them before stays, and is
    /// not put in again. A line in each tenant's audit log says so.
    pub async fn replay_arrivals(
        &self,
        filter: &ReplayFilter,
        after: Option<ArrivalId>,
        limit: u32,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Replayed, StoreError> {
        #[derive(FromQueryResult)]
        struct Row {
            id: Uuid,
            tenant_id: Uuid,
        }
        let (which, object, value) = match filter {
            ReplayFilter::All => ("state = 'quarantined'", "all".to_owned(), None),
            ReplayFilter::Reason(reason) => {
                ("state = 'quarantined' AND reason = $4", reason.clone(), Some(reason.clone().into()))
            }
            ReplayFilter::One(id) => ("state <> 'waiting' AND id = $4", id.to_string(), Some(id.as_uuid().into())),
        };
        let sql = format!(
            "UPDATE report_arrivals SET state = 'waiting', due_at = $3, lease_token = NULL, attempts = 0, reason = NULL,
                problem = NULL
            WHERE id = ANY (ARRAY(SELECT id FROM report_arrivals WHERE {which} AND raw IS NOT NULL AND id > $1
                ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED))
            RETURNING id, tenant_id"
        );
        let after = after.map_or(Uuid::nil(), ArrivalId::as_uuid);
        let mut values = vec![after.into(), i64::from(limit).into(), now.into()];
        values.extend(value);
        let tx = self.begin().await?;
        let rows = sql::all::<Row>(&tx, &sql, values).await?;
        let mut tenants: BTreeMap<Uuid, u64> = BTreeMap::new();
        for row in &rows {
            *tenants.entry(row.tenant_id).or_default() += 1;
        }
        for (tenant, arrivals) in tenants {
            let entry = audit::Entry {
                tenant: TenantId::from_uuid(tenant),
                action: "reports.replay",
                object: object.clone(),
                before: None,
                after: Some(json!({ "arrivals": arrivals })),
            };
            audit::record(&tx, by, entry, now).await?;
        }
        if !rows.is_empty() {
            nudge::notify(&tx, &BTreeSet::from([Channel::Reports])).await?;
        }
        tx.commit().await?;
        Ok(Replayed {
            arrivals: u64::try_from(rows.len()).unwrap_or(u64::MAX),
            last: rows.iter().map(|row| row.id).max().map(ArrivalId::from_uuid),
        })
    }
}
