//! What was delivered to a tenant's addresses for reports, and what became of it.

use mtasts_model::{ArrivalId, DomainId, ReportKind, ReportVia, Timestamp};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::TenantTx;
use crate::{
    StoreError,
    sql::{self, MAX_LIST},
    stored::At,
};

/// What has become of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrivalState {
    /// It is still to be read.
    Waiting,
    /// It was read.
    Read,
    /// It, or a part of it, could not be read.
    Quarantined,
}

impl ArrivalState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Read, Self::Quarantined];

    /// The word in the store and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Read => "read",
            Self::Quarantined => "quarantined",
        }
    }
}

/// What somebody delivered to an address for reports.
#[derive(Debug, Clone, PartialEq)]
pub struct ArrivalView {
    /// Which.
    pub id: ArrivalId,
    /// The domain whose address it was sent to.
    pub domain: DomainId,
    /// The domain's name, if the domain is still known.
    pub domain_name: Option<String>,
    /// What the address is for.
    pub kind: ReportKind,
    /// By which way it came.
    pub via: ReportVia,
    /// When.
    pub received_at: Timestamp,
    /// From which address.
    pub peer: String,
    /// The name in EHLO, or the user agent.
    pub client_name: Option<String>,
    /// The sender of the envelope.
    pub envelope_from: Option<String>,
    /// As it was declared.
    pub content_type: Option<String>,
    /// None: it came without TLS.
    pub tls_version: Option<String>,
    /// Its length.
    pub octets: u64,
    /// Whether the octets are still there.
    pub has_raw: bool,
    /// What has become of it.
    pub state: ArrivalState,
    /// How often it was tried.
    pub attempts: u32,
    /// The worst that was wrong with it: a word.
    pub reason: Option<String>,
    /// The same in words.
    pub problem: Option<String>,
    /// Reports in it that were new.
    pub reports: Option<u32>,
    /// Reports in it that were there already.
    pub repeated: Option<u32>,
    /// When it was read last.
    pub read_at: Option<Timestamp>,
    /// By which version of the service.
    pub read_by: Option<String>,
}

/// Whether a tenant may have the octets of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RawAccess {
    /// It may.
    Open {
        /// How many.
        octets: u64,
    },
    /// Their time is over.
    Gone,
    /// It was not read so far: nobody knows whom it speaks of.
    NotRead,
    /// It speaks of others' domains as well, or that cannot be told.
    Shared,
}

#[derive(FromQueryResult)]
struct ArrivalRow {
    id: Uuid,
    domain_id: Uuid,
    kind: String,
    via: String,
    received_at: Timestamp,
    peer: String,
    client_name: Option<String>,
    envelope_from: Option<String>,
    content_type: Option<String>,
    tls_version: Option<String>,
    octets: i32,
    has_raw: bool,
    state: String,
    attempts: i32,
    reason: Option<String>,
    problem: Option<String>,
    reports: Option<i32>,
    repeated: Option<i32>,
    read_at: Option<Timestamp>,
    read_by: Option<String>,
    domain_name: Option<String>,
}

#[derive(FromQueryResult)]
struct AccessRow {
    state: String,
    octets: Option<i64>,
    reports: i64,
    repeated: i64,
    own: i64,
    shared: bool,
}

const COLUMNS: &str = "a.id, a.domain_id, a.kind, a.via, a.received_at, host(a.peer) AS peer, a.client_name, a.envelope_from,
    a.content_type, a.tls_version, a.octets, a.raw IS NOT NULL AS has_raw, a.state, a.attempts, a.reason, a.problem,
    a.reports, a.repeated, a.read_at, a.read_by, (SELECT d.name FROM domains d WHERE d.id = a.domain_id) AS domain_name";

impl TryFrom<ArrivalRow> for ArrivalView {
    type Error = StoreError;

    fn try_from(row: ArrivalRow) -> Result<Self, StoreError> {
        let at = At { table: "report_arrivals", row: row.id };
        let number = |column, value: Option<i32>| value.map(|value| at.number(column, value)).transpose();
        Ok(Self {
            id: ArrivalId::from_uuid(row.id),
            domain: DomainId::from_uuid(row.domain_id),
            kind: at.parse("kind", &row.kind)?,
            via: at.parse("via", &row.via)?,
            octets: at.number("octets", row.octets)?,
            state: at.word("state", &row.state, &ArrivalState::ALL, ArrivalState::as_str)?,
            attempts: at.number("attempts", row.attempts)?,
            reports: number("reports", row.reports)?,
            repeated: number("repeated", row.repeated)?,
            domain_name: row.domain_name,
            received_at: row.received_at,
            peer: row.peer,
            client_name: row.client_name,
            envelope_from: row.envelope_from,
            content_type: row.content_type,
            tls_version: row.tls_version,
            has_raw: row.has_raw,
            reason: row.reason,
            problem: row.problem,
            read_at: row.read_at,
            read_by: row.read_by,
        })
    }
}

impl TenantTx {
    /// Arrivals, newest first, at most 201 with ids below `before`.
    pub async fn report_arrivals(
        &self,
        state: Option<ArrivalState>,
        before: Option<ArrivalId>,
        limit: u32,
    ) -> Result<Vec<ArrivalView>, StoreError> {
        let of_state = state.map(|state| format!("AND a.state = '{}'", state.as_str())).unwrap_or_default();
        let read = format!(
            "SELECT {COLUMNS} FROM report_arrivals a WHERE a.tenant_id = $1 {of_state} AND a.id < $2
            ORDER BY a.id DESC LIMIT $3"
        );
        let before = before.map_or(Uuid::max(), ArrivalId::as_uuid);
        let values = vec![self.tenant.as_uuid().into(), before.into(), i64::from(limit.min(MAX_LIST + 1)).into()];
        let rows: Vec<ArrivalRow> = sql::all(&self.tx, &read, values).await?;
        rows.into_iter().map(ArrivalView::try_from).collect()
    }

    /// One arrival.
    pub async fn report_arrival(&self, id: ArrivalId) -> Result<Option<ArrivalView>, StoreError> {
        let read = format!("SELECT {COLUMNS} FROM report_arrivals a WHERE a.id = $1 AND a.tenant_id = $2");
        let values = vec![id.as_uuid().into(), self.tenant.as_uuid().into()];
        sql::one::<ArrivalRow>(&self.tx, &read, values).await?.map(ArrivalView::try_from).transpose()
    }

    /// Whether the tenant may have an arrival's octets. What it counts as new must be there to the last report, all of it
    /// the tenant's own: a report of which nothing is to be seen here speaks of somebody else.
    pub async fn arrival_raw(&self, id: ArrivalId) -> Result<RawAccess, StoreError> {
        let read = "SELECT a.state, octet_length(a.raw)::bigint AS octets, coalesce(a.reports, 0)::bigint AS reports,
                coalesce(a.repeated, 0)::bigint AS repeated, of.own, of.shared
            FROM report_arrivals a CROSS JOIN LATERAL (
                SELECT count(*) AS own, coalesce(bool_or(r.shared), false) AS shared FROM reports r WHERE r.arrival_id = a.id
            ) of WHERE a.id = $1 AND a.tenant_id = $2";
        let values = vec![id.as_uuid().into(), self.tenant.as_uuid().into()];
        let Some(row) = sql::one::<AccessRow>(&self.tx, read, values).await? else { return Ok(RawAccess::Gone) };
        let Some(octets) = row.octets else { return Ok(RawAccess::Gone) };
        Ok(if row.state == ArrivalState::Waiting.as_str() {
            RawAccess::NotRead
        } else if row.shared || row.own < row.reports || row.repeated > 0 {
            RawAccess::Shared
        } else {
            RawAccess::Open { octets: u64::try_from(octets).unwrap_or(0) }
        })
    }

    /// A piece of an arrival's octets, from `offset` on: empty behind the end, None where they are gone. Only of an arrival
    /// for which [`TenantTx::arrival_raw`] says `Open`.
    pub async fn arrival_piece(&self, id: ArrivalId, offset: u32, length: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let read = "SELECT substring(a.raw FROM $3 FOR $4) AS piece FROM report_arrivals a
            WHERE a.id = $1 AND a.tenant_id = $2 AND a.raw IS NOT NULL";
        let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        let values = vec![
            id.as_uuid().into(),
            self.tenant.as_uuid().into(),
            number(offset).saturating_add(1).into(),
            number(length).into(),
        ];
        let row = sql::row(&self.tx, read, values).await?;
        row.map(|row| Ok(row.try_get("", "piece")?)).transpose()
    }
}
