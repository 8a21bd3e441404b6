//! Reports as they arrive: stored before anybody is told that they were taken.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::IpAddr,
};

use bytes::Bytes;
use chrono::{Months, NaiveDate, TimeDelta};
use mtasts_model::{
    ArrivalId, DomainId, Label, TenantId, Timestamp,
    report::{ReportKind, ReportVia},
};
use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use crate::{Channel, Store, StoreError, nudge, sql};

/// Octets of reports that one statement carries; one that is larger goes alone.
const OCTETS_AT_ONCE: usize = 1 << 20;

/// SQLSTATE check_violation: what a partitioned table says when no partition takes the row.
const NO_PARTITION: &str = "23514";

/// For whom an address for reports is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipient {
    /// Whose domain it is.
    pub tenant_id: TenantId,
    /// The domain of the label.
    pub domain_id: DomainId,
    /// Whether the tenant had room for one more report today.
    pub has_room: bool,
}

/// What somebody delivered to one address.
#[derive(Debug, Clone)]
pub struct NewArrival {
    /// Drawn as it came.
    pub id: ArrivalId,
    /// Whose domain it is.
    pub tenant_id: TenantId,
    /// The domain of the label.
    pub domain_id: DomainId,
    /// What the address is for.
    pub kind: ReportKind,
    /// How it came.
    pub via: ReportVia,
    /// When its last octet came.
    pub received_at: Timestamp,
    /// Who delivered it.
    pub peer: IpAddr,
    /// The name in EHLO, or the user agent; 255 characters at most.
    pub client_name: Option<String>,
    /// The sender of the envelope; 320 characters at most.
    pub envelope_from: Option<String>,
    /// The header of a POST; 255 characters at most.
    pub content_type: Option<String>,
    /// None: it came without TLS.
    pub tls_version: Option<String>,
    /// SHA-256 of `raw`.
    pub digest: [u8; 32],
    /// The octets as they came.
    pub raw: Bytes,
}

/// What became of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// It is stored.
    Accepted,
    /// The same octets were stored for the same domain before.
    Duplicate,
    /// The tenant has had its reports of the day. Nothing is stored.
    OverQuota {
        /// When the next day begins.
        again_at: Timestamp,
    },
}

#[derive(Debug, FromQueryResult)]
struct Found {
    id: Uuid,
    tenant_id: Uuid,
    has_room: bool,
}

#[derive(Debug, FromQueryResult)]
struct Room {
    tenant_id: Uuid,
    reports: i64,
    quota: Option<i64>,
}

#[derive(Debug, FromQueryResult)]
struct Known {
    domain_id: Uuid,
    digest: Vec<u8>,
}

const RECIPIENT: &str = "
    SELECT d.id, d.tenant_id, COALESCE(u.reports, 0) < COALESCE(q.reports_a_day, $2) AS has_room
    FROM domains d
    LEFT JOIN usage_days u ON u.tenant_id = d.tenant_id AND u.day = $3
    LEFT JOIN tenant_quotas q ON q.tenant_id = d.tenant_id
    WHERE d.label = $1 AND d.state <> 'gone'";

/// Locks the tenants' counts until the commit, in order of the tenants. So whatever comes for one tenant is looked at one
/// after the other, and two that bring the same octets at the same moment agree on who was first.
const COUNTS: &str = "
    INSERT INTO usage_days AS old (tenant_id, day, reports)
    SELECT id, $2, 0 FROM unnest($1::uuid[]) AS t (id) ORDER BY id
    ON CONFLICT (tenant_id, day) DO UPDATE SET reports = old.reports
    RETURNING tenant_id, reports, (SELECT reports_a_day FROM tenant_quotas q WHERE q.tenant_id = old.tenant_id) AS quota";

const COUNT: &str = "
    UPDATE usage_days u SET reports = u.reports + n.reports
    FROM unnest($1::uuid[], $2::bigint[]) AS n (tenant_id, reports)
    WHERE u.tenant_id = n.tenant_id AND u.day = $3";

const KNOWN: &str = "
    SELECT r.domain_id, r.digest FROM unnest($1::uuid[], $2::bytea[]) AS n (domain_id, digest)
    JOIN report_digests r ON r.domain_id = n.domain_id AND r.digest = n.digest";

/// Between two processes that do not agree on the day there is no lock: who comes second is told by what is not returned.
const DIGESTS: &str = "
    INSERT INTO report_digests (domain_id, digest, arrival_id, at)
    SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::uuid[], $4::timestamptz[]) AS n (domain_id, digest, id, at)
    ORDER BY n.domain_id, n.digest
    ON CONFLICT DO NOTHING RETURNING domain_id, digest";

const ARRIVALS: &str = "
    INSERT INTO report_arrivals (id, tenant_id, domain_id, kind, via, received_at, peer, client_name, envelope_from,
        content_type, tls_version, octets, digest, raw, state, due_at)
    SELECT id, tenant_id, domain_id, kind, via, at, peer::inet, nullif(client_name, ''),
        CASE via WHEN 'smtp' THEN envelope_from END, nullif(content_type, ''), nullif(tls_version, ''), length(raw),
        digest, raw, 'waiting', at
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::text[],
            $9::text[], $10::text[], $11::text[], $12::bytea[], $13::bytea[])
        AS n (id, tenant_id, domain_id, kind, via, at, peer, client_name, envelope_from, content_type, tls_version,
            digest, raw)";

impl Store {
    /// Finds for whom an address is; None when there is no such label, or its domain is gone. `reports_a_day` is the quota
    /// of tenants to whom the operator granted no other.
    pub async fn recipient(
        &self,
        label: &Label,
        reports_a_day: u64,
        now: Timestamp,
    ) -> Result<Option<Recipient>, StoreError> {
        let values = vec![label.as_str().into(), quota_column(reports_a_day).into(), now.date_naive().into()];
        let found = sql::one::<Found>(self.db(), RECIPIENT, values).await?;
        Ok(found.map(|found| Recipient {
            tenant_id: TenantId::from_uuid(found.tenant_id),
            domain_id: DomainId::from_uuid(found.id),
            has_room: found.has_room,
        }))
    }

    /// Stores arrivals, all in one transaction, and says what became of each, in their order. Once this returns they are
    /// durable; an error means that none of them is stored, or, after [`StoreError::Unavailable`], that nobody knows: then
    /// the sender sends again, and what was stored is found to be a duplicate.
    ///
    /// Where the month has no partition yet, it is made.
    pub async fn accept_reports(
        &self,
        arrivals: &[NewArrival],
        reports_a_day: u64,
        now: Timestamp,
    ) -> Result<Vec<Acceptance>, StoreError> {
        match self.accept_once(arrivals, reports_a_day, now).await {
            Err(error) if error.sqlstate().as_deref() == Some(NO_PARTITION) => {
                let times = arrivals.iter().map(|arrival| arrival.received_at);
                if let (Some(first), Some(last)) = (times.clone().min(), times.max()) {
                    self.make_report_partitions(first, last).await?;
                }
                self.accept_once(arrivals, reports_a_day, now).await
            }
            answer => answer,
        }
    }

    /// Sees that the partitions of this month and the next two are there, so that what arrives has its place. Returns how
    /// many were made.
    pub async fn ensure_report_partitions(&self, now: Timestamp) -> Result<u32, StoreError> {
        let next = now.checked_add_months(Months::new(2)).unwrap_or(now);
        self.make_report_partitions(now, next).await
    }

    async fn make_report_partitions(&self, since: Timestamp, until: Timestamp) -> Result<u32, StoreError> {
        let make = "SELECT make_report_partitions($1, $2) AS made";
        let row = sql::row(self.db(), make, vec![since.into(), until.into()]).await?.ok_or(StoreError::NotFound)?;
        Ok(u32::try_from(row.try_get::<i32>("", "made")?).unwrap_or(0))
    }

    async fn accept_once(
        &self,
        arrivals: &[NewArrival],
        reports_a_day: u64,
        now: Timestamp,
    ) -> Result<Vec<Acceptance>, StoreError> {
        if arrivals.is_empty() {
            return Ok(Vec::new());
        }
        let day = now.date_naive();
        let tx = self.begin().await?;
        let mut rooms = rooms(&tx, arrivals, reports_a_day, day).await?;
        let mut seen = known(&tx, arrivals).await?;
        let mut fates = Vec::with_capacity(arrivals.len());
        for arrival in arrivals {
            let room = rooms.entry(arrival.tenant_id.as_uuid()).or_default();
            fates.push(if !seen.insert(key(arrival)) {
                Acceptance::Duplicate
            } else if *room > 0 {
                *room -= 1;
                Acceptance::Accepted
            } else {
                // Not seen after all: if it comes twice in this batch, both are told the same.
                seen.remove(&key(arrival));
                Acceptance::OverQuota { again_at: next_day(now) }
            });
        }
        let candidates: Vec<&NewArrival> = taken(arrivals, &fates).collect();
        let stored = digests(&tx, &candidates).await?;
        for (arrival, fate) in arrivals.iter().zip(&mut fates) {
            if *fate == Acceptance::Accepted && !stored.contains(&key(arrival)) {
                *fate = Acceptance::Duplicate;
            }
        }
        let new: Vec<&NewArrival> = taken(arrivals, &fates).collect();
        for batch in batches(&new) {
            insert(&tx, batch).await?;
        }
        count(&tx, &new, day).await?;
        let nudges = if new.is_empty() { BTreeSet::new() } else { BTreeSet::from([Channel::Reports]) };
        nudge::notify(&tx, &nudges).await?;
        tx.commit().await?;
        self.nudge_source().publish(&nudges);
        Ok(fates)
    }
}

fn key(arrival: &NewArrival) -> (Uuid, [u8; 32]) {
    (arrival.domain_id.as_uuid(), arrival.digest)
}

fn taken<'a>(arrivals: &'a [NewArrival], fates: &'a [Acceptance]) -> impl Iterator<Item = &'a NewArrival> {
    arrivals.iter().zip(fates).filter(|(_, fate)| **fate == Acceptance::Accepted).map(|(arrival, _)| arrival)
}

/// The first moment of the day (UTC) after this one.
fn next_day(now: Timestamp) -> Timestamp {
    let midnight = now.date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
    midnight + TimeDelta::days(1)
}

fn quota_column(reports_a_day: u64) -> i64 {
    i64::try_from(reports_a_day).unwrap_or(i64::MAX)
}

/// How many more each tenant may have today.
async fn rooms(
    db: &impl ConnectionTrait,
    arrivals: &[NewArrival],
    reports_a_day: u64,
    day: NaiveDate,
) -> Result<BTreeMap<Uuid, u64>, StoreError> {
    let tenants: BTreeSet<Uuid> = arrivals.iter().map(|arrival| arrival.tenant_id.as_uuid()).collect();
    let tenants: Vec<Uuid> = tenants.into_iter().collect();
    let rooms = sql::all::<Room>(db, COUNTS, vec![tenants.into(), day.into()]).await?;
    let left = |room: &Room| room.quota.unwrap_or(quota_column(reports_a_day)).saturating_sub(room.reports);
    Ok(rooms.iter().map(|room| (room.tenant_id, u64::try_from(left(room)).unwrap_or(0))).collect())
}

fn digest_columns(arrivals: &[&NewArrival]) -> (Vec<Uuid>, Vec<Vec<u8>>) {
    arrivals.iter().map(|arrival| (arrival.domain_id.as_uuid(), arrival.digest.to_vec())).unzip()
}

fn keys(rows: Vec<Known>) -> Result<HashSet<(Uuid, [u8; 32])>, StoreError> {
    let key = |row: Known| {
        let digest = <[u8; 32]>::try_from(row.digest).map_err(|_| {
            StoreError::unreadable("report_digests", "digest", row.domain_id, "it does not have 32 octets")
        })?;
        Ok((row.domain_id, digest))
    };
    rows.into_iter().map(key).collect()
}

async fn known(db: &impl ConnectionTrait, arrivals: &[NewArrival]) -> Result<HashSet<(Uuid, [u8; 32])>, StoreError> {
    let (domains, digests) = digest_columns(&arrivals.iter().collect::<Vec<_>>());
    keys(sql::all::<Known>(db, KNOWN, vec![domains.into(), digests.into()]).await?)
}

async fn digests(db: &impl ConnectionTrait, arrivals: &[&NewArrival]) -> Result<HashSet<(Uuid, [u8; 32])>, StoreError> {
    if arrivals.is_empty() {
        return Ok(HashSet::new());
    }
    let (domains, digests) = digest_columns(arrivals);
    let ids: Vec<Uuid> = arrivals.iter().map(|arrival| arrival.id.as_uuid()).collect();
    let times: Vec<Timestamp> = arrivals.iter().map(|arrival| arrival.received_at).collect();
    let values = vec![domains.into(), digests.into(), ids.into(), times.into()];
    keys(sql::all::<Known>(db, DIGESTS, values).await?)
}

/// Runs of arrivals that together have at most [`OCTETS_AT_ONCE`], or are one.
fn batches<'a, 'b>(mut arrivals: &'b [&'a NewArrival]) -> impl Iterator<Item = &'b [&'a NewArrival]> {
    std::iter::from_fn(move || {
        let mut octets = 0;
        let fits = |arrival: &&&NewArrival| {
            octets += arrival.raw.len();
            octets <= OCTETS_AT_ONCE
        };
        let count = arrivals.iter().take_while(fits).count().max(1).min(arrivals.len());
        let (batch, rest) = arrivals.split_at(count);
        arrivals = rest;
        (!batch.is_empty()).then_some(batch)
    })
}

async fn insert(db: &impl ConnectionTrait, arrivals: &[&NewArrival]) -> Result<(), StoreError> {
    let ids = |of: fn(&NewArrival) -> Uuid| arrivals.iter().map(|arrival| of(arrival)).collect::<Vec<_>>();
    let texts = |of: fn(&NewArrival) -> Option<&str>| {
        arrivals.iter().map(|arrival| of(arrival).unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let values = vec![
        ids(|arrival| arrival.id.as_uuid()).into(),
        ids(|arrival| arrival.tenant_id.as_uuid()).into(),
        ids(|arrival| arrival.domain_id.as_uuid()).into(),
        texts(|arrival| Some(arrival.kind.as_str())).into(),
        texts(|arrival| Some(arrival.via.as_str())).into(),
        arrivals.iter().map(|arrival| arrival.received_at).collect::<Vec<_>>().into(),
        arrivals.iter().map(|arrival| arrival.peer.to_canonical().to_string()).collect::<Vec<_>>().into(),
        texts(|arrival| arrival.client_name.as_deref()).into(),
        texts(|arrival| arrival.envelope_from.as_deref()).into(),
        texts(|arrival| arrival.content_type.as_deref()).into(),
        texts(|arrival| arrival.tls_version.as_deref()).into(),
        arrivals.iter().map(|arrival| arrival.digest.to_vec()).collect::<Vec<_>>().into(),
        arrivals.iter().map(|arrival| arrival.raw.to_vec()).collect::<Vec<_>>().into(),
    ];
    sql::execute(db, ARRIVALS, values).await?;
    Ok(())
}

async fn count(db: &impl ConnectionTrait, new: &[&NewArrival], day: NaiveDate) -> Result<(), StoreError> {
    let mut counts: BTreeMap<Uuid, i64> = BTreeMap::new();
    for arrival in new {
        *counts.entry(arrival.tenant_id.as_uuid()).or_default() += 1;
    }
    if counts.is_empty() {
        return Ok(());
    }
    let (tenants, reports): (Vec<Uuid>, Vec<i64>) = counts.into_iter().unzip();
    sql::execute(db, COUNT, vec![tenants.into(), reports.into(), day.into()]).await?;
    Ok(())
}
